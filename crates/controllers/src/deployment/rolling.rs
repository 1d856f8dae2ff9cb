//! Rolling out a template: step by step, or all old pods first.

use super::model::{Set, Wish};
use super::plan::{Work, resize};
use super::status;

/// One step of a rolling update: the current set grows as far as the surge allows, or else old ones shrink as far as
/// availability allows.
pub(super) fn roll(work: &mut Work<'_>) {
    work.sync_revision(true);
    if grow_new(work) || shrink_old(work) {
        return;
    }
    if status::is_complete(work.wish, &work.wish.status) {
        work.clean_up();
    }
}

/// One step of a recreation: old sets go to zero, and when their pods are gone, the current one is made at full size.
pub(super) fn recreate(work: &mut Work<'_>, old_pods_run: bool) {
    work.sync_revision(false);
    let wish = work.wish;
    let shrunk = work.old.iter_mut().map(|set| resize(wish, set, 0)).filter(|shrunk| *shrunk).count();
    if shrunk > 0 || old_pods_run || work.old.iter().any(|set| set.actual > 0) {
        return;
    }
    if work.new.is_none() {
        work.sync_revision(true);
    }
    if let Some(new) = work.new.as_mut().filter(|new| !new.uid.is_empty()) {
        resize(wish, new, wish.replicas);
    }
    if status::is_complete(wish, &wish.status) {
        work.clean_up();
    }
}

/// How large the current set may be now.
pub(super) fn new_replicas<'a>(wish: &Wish, old: impl Iterator<Item = &'a Set>, new: &Set) -> i32 {
    if !wish.is_rolling {
        return wish.replicas;
    }
    let total: i32 = old.map(|set| set.replicas).sum::<i32>() + new.replicas;
    let room = wish.replicas + wish.max_surge - total;
    if room <= 0 { new.replicas } else { new.replicas + room.min(wish.replicas - new.replicas) }
}

fn grow_new(work: &mut Work<'_>) -> bool {
    let wish = work.wish;
    let Some(new) = work.new.as_mut().filter(|new| !new.uid.is_empty()) else { return false };
    let size = match new.replicas.cmp(&wish.replicas) {
        std::cmp::Ordering::Equal => return false,
        std::cmp::Ordering::Greater => wish.replicas,
        std::cmp::Ordering::Less => new_replicas(wish, work.old.iter(), new),
    };
    resize(wish, new, size)
}

fn shrink_old(work: &mut Work<'_>) -> bool {
    let wish = work.wish;
    let total: i32 = work.all().map(|set| set.replicas).sum();
    let (new_size, new_available) = work.new.as_ref().map_or((0, 0), |new| (new.replicas, new.available));
    if total == new_size {
        return false;
    }
    let min_available = wish.replicas - wish.max_unavailable;
    // Pods of the current set that are not available yet must not count for old ones to go.
    let room = total - min_available - (new_size - new_available);
    if room <= 0 {
        return false;
    }
    let unhealthy = drop_unhealthy(work, room);
    unhealthy + drop_available(work, min_available) > 0
}

/// Old pods that are not available go first: they block the rollout and nobody misses them.
fn drop_unhealthy(work: &mut Work<'_>, max: i32) -> i32 {
    let wish = work.wish;
    let mut dropped = 0;
    for set in work.old.iter_mut().filter(|set| set.replicas > 0 && set.replicas != set.available) {
        if dropped >= max {
            break;
        }
        let count = (max - dropped).min(set.replicas - set.available);
        if count > 0 {
            let size = set.replicas - count;
            resize(wish, set, size);
            dropped += count;
        }
    }
    dropped
}

/// Then available ones, as many as there are too many.
fn drop_available(work: &mut Work<'_>, min_available: i32) -> i32 {
    let wish = work.wish;
    let available: i32 = work.all().map(|set| set.available).sum();
    let max = available - min_available;
    let mut dropped = 0;
    for set in work.old.iter_mut().filter(|set| set.replicas > 0) {
        if dropped >= max {
            break;
        }
        let count = set.replicas.min(max - dropped);
        let size = set.replicas - count;
        resize(wish, set, size);
        dropped += count;
    }
    dropped
}
