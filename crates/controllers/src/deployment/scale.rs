//! Scaling: in the middle of a rollout all sets grow or shrink in proportion, so that the risk stays the same.

use super::model::{DESIRED_REPLICAS, MAX_REPLICAS, Set, Wish};
use super::plan::{Work, resize, set_replica_annotations};

/// Brings the sets to the deployment's new size.
pub(super) fn scale(work: &mut Work<'_>) {
    let wish = work.wish;
    if let Some(set) = only_active_or_latest(work) {
        resize(wish, set, wish.replicas);
        return;
    }
    if work.new.as_ref().is_some_and(|new| is_saturated(wish, new)) {
        work.old.iter_mut().filter(|set| set.replicas > 0).for_each(|set| {
            resize(wish, set, 0);
        });
        return;
    }
    if wish.is_rolling {
        scale_in_proportion(work);
    }
}

/// The only set that has pods; with none of that kind, the current one, or the youngest. None if several have pods.
fn only_active_or_latest<'a>(work: &'a mut Work<'_>) -> Option<&'a mut Set> {
    match work.all().filter(|set| set.replicas > 0).count() {
        0 if work.new.is_some() => work.new.as_mut(),
        0 => work.old.last_mut(),
        1 => work.old.iter_mut().chain(&mut work.new).find(|set| set.replicas > 0),
        _ => None,
    }
}

/// The current set has all the pods that the deployment wants, and they are available.
fn is_saturated(wish: &Wish, new: &Set) -> bool {
    new.replicas == wish.replicas
        && new.annotated(DESIRED_REPLICAS) == Some(wish.replicas)
        && new.available == wish.replicas
}

fn scale_in_proportion(work: &mut Work<'_>) {
    let wish = work.wish;
    let mut active: Vec<&mut Set> = work.old.iter_mut().chain(&mut work.new).filter(|set| set.replicas > 0).collect();
    let total: i32 = active.iter().map(|set| set.replicas).sum();
    let allowed = if wish.replicas > 0 { wish.replicas + wish.max_surge } else { 0 };
    let to_add = allowed - total;
    // Larger sets first; among equals, the newer ones grow first and the older ones shrink first.
    active.sort_by(|a, b| {
        let age = a.age().cmp(&b.age());
        b.replicas.cmp(&a.replicas).then(if to_add > 0 { age.reverse() } else { age })
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let share = share(wish, set, to_add, added);
        sizes.push(set.replicas + share);
        added += share;
    }
    // What rounding left over goes to the largest.
    if let Some(first) = sizes.first_mut()
        && to_add != 0
    {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in active.into_iter().zip(sizes) {
        set.replicas = size;
        set_replica_annotations(set, wish.replicas, wish.replicas + wish.max_surge);
    }
}

/// How many of `to_add` replicas (negative: to be removed) are this set's.
fn share(wish: &Wish, set: &Set, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(wish, set);
    if to_add > 0 { fraction.min(to_add - added) } else { fraction.max(to_add - added) }
}

fn fraction(wish: &Wish, set: &Set) -> i32 {
    if wish.replicas == 0 {
        return -set.replicas;
    }
    // Without the annotation (somebody removed it), the deployment's current size has to do.
    let before = set.annotated(MAX_REPLICAS).filter(|max| *max != 0).unwrap_or(wish.status.replicas);
    if before == 0 {
        return 0;
    }
    let exact = f64::from(set.replicas) * f64::from(wish.replicas + wish.max_surge) / f64::from(before);
    exact.round() as i32 - set.replicas
}
