//! A resource's objects as they were at one revision, and the few old ones that are kept for lists that continue.

use std::collections::{HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::resource::{Item, Objects, Resource};
use crate::{Entry, Event, Revision};

/// All objects of a resource at one revision. It costs nothing to take or clone and never changes.
#[derive(Clone)]
pub struct Snapshot {
    objects: Objects,
    revision: Revision,
}

/// Snapshots that somebody is expected to ask for again, the one used last at the end.
pub(crate) struct Kept {
    list: Mutex<VecDeque<KeptOne>>,
    count_max: usize,
    age_max: Duration,
}

struct KeptOne {
    resource: Arc<Resource>,
    snapshot: Snapshot,
    used: Instant,
}

// === impl Snapshot ===

impl Snapshot {
    pub(crate) fn of(objects: Objects, revision: Revision) -> Self {
        Self { objects, revision }
    }

    /// The revision at which the resource was like this: a list's `resourceVersion`, and where a watch goes on.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The object of this key.
    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.objects.get(key).map(|item| &item.0)
    }

    /// All objects in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> + '_ {
        self.objects.iter().map(|item| &item.0)
    }

    /// The objects whose keys start with `prefix`, in order, behind the key `start_after` if one is given.
    pub fn range<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + 'a {
        let start = match start_after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        let behind = self.objects.range::<_, str>((start, Bound::Unbounded));
        behind.map(|item| &item.0).take_while(move |entry| entry.key.starts_with(prefix))
    }

    pub(crate) fn at(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// Takes back events, oldest first, that came after `revision`. `seen` remembers keys from call to call: only a
    /// key's first event tells what was there before.
    pub(crate) fn undo(&mut self, events: &[Arc<Event>], seen: &mut HashSet<Arc<str>>) {
        for event in events {
            if !seen.insert(event.entry.key.clone()) {
                continue;
            }
            match &event.prev {
                Some(prev) => drop(self.objects.insert(Item(prev.clone()))),
                None => drop(self.objects.remove(&*event.entry.key)),
            }
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("revision", &self.revision).field("len", &self.len()).finish()
    }
}

// === impl Kept ===

impl Kept {
    pub(crate) fn new(count_max: usize, age_max: Duration) -> Self {
        Self { list: Mutex::default(), count_max, age_max }
    }

    pub(crate) fn get(&self, resource: &Arc<Resource>, revision: Revision) -> Option<Snapshot> {
        let mut list = self.list.lock();
        let at =
            list.iter().position(|one| Arc::ptr_eq(&one.resource, resource) && one.snapshot.revision == revision)?;
        let mut one = list.remove(at)?;
        one.used = Instant::now();
        let snapshot = one.snapshot.clone();
        list.push_back(one);
        Some(snapshot)
    }

    pub(crate) fn keep(&self, resource: &Arc<Resource>, snapshot: &Snapshot) {
        if self.get(resource, snapshot.revision).is_some() {
            return;
        }
        let mut list = self.list.lock();
        list.push_back(KeptOne { resource: resource.clone(), snapshot: snapshot.clone(), used: Instant::now() });
        while list.len() > self.count_max {
            list.pop_front();
        }
    }

    /// Drops what nobody used for long or is compacted; true if some are left.
    pub(crate) fn sweep(&self, compacted: Revision) -> bool {
        let mut list = self.list.lock();
        list.retain(|one| one.used.elapsed() < self.age_max && one.snapshot.revision >= compacted);
        !list.is_empty()
    }
}
