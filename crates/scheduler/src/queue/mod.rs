//! Which pod is next. Upstream: backend/queue/scheduling_queue.go.
//!
//! A pod is in one of four places: *active* (most important, then longest waiting first), *backing off* (after a failed
//! try and an event that may have made room), *unschedulable* (waiting for such an event), or *gated*. A pod that is being
//! decided about is in none: events that come meanwhile are kept, and looked at when it comes back.
//!
//! The queue is plain data; time is given.

pub mod event;

use self::event::ClusterEvent;
use crate::framework::Plugin;
use crate::model::pod::Pod;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first pause after a failed try; doubled with each more.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A pod that waited for so long without a helpful event is tried again: events may have been misjudged.
pub const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(5 * 60);
/// How often such pods are looked for.
pub const FLUSH_PERIOD: Duration = Duration::from_secs(30);

/// A pod with its history in the queue.
#[derive(Clone, Debug)]
pub struct QueuedPod {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Tries so far, this one included.
    pub attempts: u32,
    /// When it was queued last.
    pub queued_at: Instant,
    /// When it was queued first.
    pub first_queued_at: Instant,
    /// The plugins that refused it last.
    pub rejectors: BTreeSet<&'static str>,
    /// The last try failed for another reason than nodes: it is not taken early from the backoff.
    pub errored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    Backoff,
    Unschedulable,
    Gated,
}

/// Orders active pods.
type Rank = (Reverse<i32>, Instant, u64);

/// The queue.
#[derive(Default)]
pub struct Queue {
    entries: HashMap<String, (QueuedPod, Place, Rank)>,
    active: BTreeMap<Rank, String>,
    backoff: BTreeMap<(Instant, u64), String>,
    unschedulable: HashSet<String>,
    /// Pods that are being decided about, with the number of the first event that they have not seen.
    in_flight: HashMap<String, (QueuedPod, u64)>,
    events: VecDeque<ClusterEvent>,
    /// The number of the first event in `events`.
    first_event: u64,
    sequence: u64,
    next_flush: Option<Instant>,
}

// === impl Queue ===

impl Queue {
    /// A pod without a node came.
    pub fn add(&mut self, pod: Arc<Pod>, plugins: &[&dyn Plugin], now: Instant) {
        let queued = QueuedPod {
            pod,
            attempts: 0,
            queued_at: now,
            first_queued_at: now,
            rejectors: BTreeSet::new(),
            errored: false,
        };
        self.remove(queued.pod.uid());
        self.enter(queued, Place::Active, plugins);
    }

    /// A pod without a node changed. What waits is tried again if the change is to what decides.
    pub fn update(&mut self, pod: Arc<Pod>, plugins: &[&dyn Plugin], now: Instant) {
        if let Some((queued, _)) = self.in_flight.get_mut(pod.uid()) {
            queued.pod = pod;
            self.push_event(ClusterEvent::Other);
            return;
        }
        let Some((mut queued, place, _)) = self.take(pod.uid()) else { return self.add(pod, plugins, now) };
        let changed = decides_differently(&queued.pod, &pod);
        queued.pod = pod;
        let place = match place {
            Place::Unschedulable if changed => self.after_unschedulable(&queued, now),
            Place::Gated => Place::Active,
            place => place,
        };
        self.enter(queued, place, plugins);
    }

    /// A pod is gone, or has a node. If it is being decided about, it will not come back.
    pub fn remove(&mut self, uid: &str) {
        self.take(uid);
        self.done(uid);
    }

    /// The next pod to decide about. It has to come back through [`Queue::done`] or [`Queue::failed`].
    pub fn pop(&mut self, now: Instant) -> Option<QueuedPod> {
        self.wake(now);
        let uid = match self.active.pop_first() {
            Some((_, uid)) => uid,
            // Nothing better to do: what backs off (not after an error) need not wait.
            None => self.early_from_backoff()?,
        };
        let (mut queued, place, rank) = self.entries.remove(&uid)?;
        self.leave_place(&queued, place, rank);
        queued.attempts += 1;
        self.in_flight.insert(uid, (queued.clone(), self.first_event + self.events.len() as u64));
        Some(queued)
    }

    /// A pod has a node, or is gone.
    pub fn done(&mut self, uid: &str) {
        self.in_flight.remove(uid);
        self.forget_events();
    }

    /// No node was found. The pod waits for an event that its rejectors find helpful; one may have come meanwhile.
    pub fn failed(
        &mut self,
        mut queued: QueuedPod,
        rejectors: BTreeSet<&'static str>,
        plugins: &[&dyn Plugin],
        now: Instant,
    ) {
        let Some((latest, seen)) = self.in_flight.remove(queued.pod.uid()) else { return };
        queued.pod = latest.pod;
        queued.queued_at = now;
        queued.errored = rejectors.is_empty();
        queued.rejectors = rejectors;
        let missed = self.events.iter().skip((seen - self.first_event) as usize);
        let helped = missed.into_iter().any(|event| helps(event, &queued, plugins));
        self.forget_events();
        let place =
            if helped || queued.errored { self.after_unschedulable(&queued, now) } else { Place::Unschedulable };
        self.enter(queued, place, plugins);
    }

    /// Something happened: pods that it may have helped are tried again after their backoff.
    pub fn happened(&mut self, event: &ClusterEvent, plugins: &[&dyn Plugin], now: Instant) {
        if !self.in_flight.is_empty() {
            self.push_event(event.clone());
        }
        let waiting = self.unschedulable.iter().filter_map(|uid| Some((uid, &self.entries.get(uid)?.0)));
        let helped = waiting.filter(|(_, queued)| helps(event, queued, plugins));
        let helped: Vec<String> = helped.map(|(uid, _)| uid.clone()).collect();
        for uid in helped {
            self.retry(&uid, plugins, now);
        }
    }

    /// Tries a pod at once: its victims are gone.
    pub fn activate(&mut self, uid: &str, plugins: &[&dyn Plugin]) {
        if matches!(self.entries.get(uid), Some((_, Place::Unschedulable | Place::Backoff, _)))
            && let Some((queued, ..)) = self.take(uid)
        {
            self.enter(queued, Place::Active, plugins);
        }
    }

    /// Retries pods that have waited for too long.
    pub fn flush(&mut self, plugins: &[&dyn Plugin], now: Instant) {
        self.next_flush = Some(now + FLUSH_PERIOD);
        let waiting = self.unschedulable.iter().filter_map(|uid| Some((uid, &self.entries.get(uid)?.0)));
        let old = waiting.filter(|(_, queued)| now.duration_since(queued.queued_at) > UNSCHEDULABLE_MAX);
        let old: Vec<String> = old.map(|(uid, _)| uid.clone()).collect();
        for uid in old {
            self.retry(&uid, plugins, now);
        }
    }

    /// When to look again although nothing happened: the end of a backoff, or a flush.
    pub fn next_wake(&self) -> Option<Instant> {
        let waits = !self.unschedulable.is_empty();
        let backoff = self.backoff.keys().next().map(|(until, _)| *until);
        [backoff, self.next_flush.filter(|_| waits)].into_iter().flatten().min()
    }

    /// Whether a flush is due.
    pub fn flush_due(&self, now: Instant) -> bool {
        self.next_flush.is_none_or(|at| at <= now)
    }

    /// Pods by place: active, backing off, unschedulable, gated.
    pub fn lengths(&self) -> [usize; 4] {
        let count = |wanted| self.entries.values().filter(|(_, place, _)| *place == wanted).count();
        [Place::Active, Place::Backoff, Place::Unschedulable, Place::Gated].map(count)
    }

    /// A pod that waits or is being decided about.
    pub fn get(&self, uid: &str) -> Option<&Arc<Pod>> {
        let waiting = self.entries.get(uid).map(|(queued, ..)| &queued.pod);
        waiting.or_else(|| self.in_flight.get(uid).map(|(queued, _)| &queued.pod))
    }

    fn retry(&mut self, uid: &str, plugins: &[&dyn Plugin], now: Instant) {
        if let Some((queued, ..)) = self.take(uid) {
            let place = self.after_unschedulable(&queued, now);
            self.enter(queued, place, plugins);
        }
    }

    fn after_unschedulable(&self, queued: &QueuedPod, now: Instant) -> Place {
        if backoff_until(queued) > now { Place::Backoff } else { Place::Active }
    }

    /// Puts a pod in its place; a closed gate comes before any.
    fn enter(&mut self, queued: QueuedPod, place: Place, plugins: &[&dyn Plugin]) {
        let gated = plugins.iter().any(|plugin| plugin.pre_enqueue(&queued.pod).is_err());
        let place = if gated { Place::Gated } else { place };
        self.sequence += 1;
        let rank = (Reverse(queued.pod.priority), queued.queued_at, self.sequence);
        let uid = queued.pod.uid().to_string();
        match place {
            Place::Active => {
                self.active.insert(rank, uid.clone());
            }
            Place::Backoff => {
                self.backoff.insert((backoff_until(&queued), rank.2), uid.clone());
            }
            Place::Unschedulable => {
                self.unschedulable.insert(uid.clone());
            }
            Place::Gated => {}
        }
        self.entries.insert(uid, (queued, place, rank));
    }

    fn take(&mut self, uid: &str) -> Option<(QueuedPod, Place, Rank)> {
        let (queued, place, rank) = self.entries.remove(uid)?;
        self.leave_place(&queued, place, rank);
        Some((queued, place, rank))
    }

    fn leave_place(&mut self, queued: &QueuedPod, place: Place, rank: Rank) {
        match place {
            Place::Active => {
                self.active.remove(&rank);
            }
            Place::Backoff => {
                self.backoff.remove(&(backoff_until(queued), rank.2));
            }
            Place::Unschedulable => {
                self.unschedulable.remove(queued.pod.uid());
            }
            Place::Gated => {}
        }
    }

    /// Pods whose backoff has ended become active.
    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.backoff.first_entry().filter(|entry| entry.key().0 <= now) {
            let uid = entry.remove();
            if let Some((_, place, rank)) = self.entries.get_mut(&uid) {
                *place = Place::Active;
                self.active.insert(*rank, uid);
            }
        }
    }

    fn early_from_backoff(&mut self) -> Option<String> {
        let candidates = self.backoff.values().filter_map(|uid| Some((self.entries.get(uid)?, uid)));
        let early = candidates.filter(|((queued, ..), _)| !queued.errored).min_by_key(|((_, _, rank), _)| *rank);
        early.map(|(_, uid)| uid.clone())
    }

    fn push_event(&mut self, event: ClusterEvent) {
        self.events.push_back(event);
    }

    /// Events that all pods in flight have seen are not needed any more.
    fn forget_events(&mut self) {
        let end = self.first_event + self.events.len() as u64;
        let needed = self.in_flight.values().map(|(_, seen)| *seen).min().unwrap_or(end);
        while self.first_event < needed {
            self.events.pop_front();
            self.first_event += 1;
        }
    }
}

/// When a pod's backoff ends.
fn backoff_until(queued: &QueuedPod) -> Instant {
    let doublings = queued.attempts.saturating_sub(1).min(16);
    let pause = if queued.attempts == 0 { Duration::ZERO } else { (BACKOFF_FIRST * (1 << doublings)).min(BACKOFF_MAX) };
    queued.queued_at + pause
}

/// Whether an event may help a pod: one of the plugins that refused it finds so.
fn helps(event: &ClusterEvent, queued: &QueuedPod, plugins: &[&dyn Plugin]) -> bool {
    let refused = plugins.iter().filter(|plugin| queued.rejectors.contains(plugin.name()));
    queued.rejectors.is_empty() || refused.into_iter().any(|plugin| plugin.may_help(event, &queued.pod))
}

/// Whether a pod that could not be placed may be now, by its own change: status does not matter.
fn decides_differently(old: &Pod, new: &Pod) -> bool {
    old.labels != new.labels
        || old.requests != new.requests
        || old.tolerations != new.tolerations
        || old.node_selector != new.node_selector
        || old.required_nodes != new.required_nodes
        || old.gates != new.gates
        || old.priority != new.priority
}

#[cfg(test)]
mod tests;
