//! What readers see: all resources, the newest visible revision, and how commits get in.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use crate::resource::{Item, Objects, Resource};
use crate::ring::File;
use crate::snapshot::Snapshot;
use crate::{Clock, Entry, Event, Extract, Limits, Origin, Revision, Transform};

/// The state in memory, the same for all engines.
pub(crate) struct State {
    table: ArcSwap<Table>,
    visible: AtomicU64,
    published: watch::Sender<Revision>,
    /// History up to here is gone.
    compacted: AtomicU64,
    closed: AtomicBool,
    /// Held by who changes resources: commits come one after another.
    applying: Mutex<()>,
    /// None if the engine keeps time itself.
    pub(crate) deadlines: Option<Deadlines>,
    pub(crate) extract: Arc<dyn Extract>,
    pub(crate) transform: Option<Arc<dyn Transform>>,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Which resource a key belongs to.
#[derive(Clone)]
struct Table {
    resources: HashMap<Box<str>, Arc<Resource>>,
    /// Keys of no resource.
    rest: Arc<Resource>,
}

/// One key's change, durable and about to be visible.
pub(crate) struct Change {
    pub(crate) revision: Revision,
    pub(crate) key: Arc<str>,
    pub(crate) prev: Option<Arc<Entry>>,
    pub(crate) next: Option<Arc<Entry>>,
    pub(crate) origin: Option<Arc<Origin>>,
}

/// Keys that expire, the earliest first. Used by the engines that keep time themselves.
#[derive(Default)]
pub(crate) struct Deadlines {
    keys: Mutex<BTreeSet<(u64, Arc<str>)>>,
    pub(crate) earlier: Notify,
}

// === impl State ===

impl State {
    pub(crate) fn new(extract: Arc<dyn Extract>, options: &crate::Options, keeps_time: bool) -> Self {
        let limits = options.limits.clone();
        let rest = Resource::new("", 0, limits.hot_events_bytes_max);
        let state = Self {
            table: ArcSwap::from_pointee(Table { resources: HashMap::new(), rest }),
            visible: AtomicU64::new(0),
            published: watch::Sender::new(0),
            compacted: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            applying: Mutex::new(()),
            deadlines: keeps_time.then(Deadlines::default),
            extract,
            transform: options.transform.clone(),
            limits,
            clock: options.clock.clone(),
        };
        for prefix in &options.resources {
            state.add_resource(prefix);
        }
        state
    }

    /// Gives the keys under `prefix` a map and a ring of their own; those that are there already move.
    pub(crate) fn add_resource(&self, prefix: &str) {
        let _applying = self.applying.lock();
        let table = self.table.load_full();
        if table.resources.contains_key(prefix) {
            return;
        }
        let parent = table.owner(prefix).clone();
        let resource = Resource::new(prefix, self.visible(), self.limits.hot_events_bytes_max);
        let moving =
            Snapshot::of(parent.current.read().objects.clone(), 0).range(prefix, None).cloned().collect::<Vec<_>>();
        resource.current.write().objects.extend(moving.iter().cloned().map(Item));
        let mut next = Table::clone(&table);
        next.resources.insert(prefix.into(), resource);
        self.table.store(Arc::new(next));
        let mut current = parent.current.write();
        for entry in moving {
            current.objects.remove(&*entry.key);
        }
    }

    /// The resource that keys with this prefix (or this key) belong to.
    pub(crate) fn resource(&self, key: &str) -> Arc<Resource> {
        self.table.load().owner(key).clone()
    }

    pub(crate) fn resources(&self) -> Vec<Arc<Resource>> {
        let table = self.table.load();
        table.resources.values().chain([&table.rest]).cloned().collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.table.load().owner(key).get(key)
    }

    /// Holds commits back as long as the guard lives.
    pub(crate) fn pause(&self) -> MutexGuard<'_, ()> {
        self.applying.lock()
    }

    /// The newest visible revision.
    pub(crate) fn visible(&self) -> Revision {
        self.visible.load(Ordering::Acquire)
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A resource's objects at this moment. Its revision may be one that is about to become visible.
    pub(crate) fn snapshot(&self, resource: &Resource) -> Snapshot {
        // Before the objects are taken: all changes up to it are in them.
        let visible = self.visible();
        let current = resource.current.read();
        Snapshot::of(current.objects.clone(), visible.max(current.changed))
    }

    /// Makes changes visible, oldest first, and `through` the newest revision.
    pub(crate) fn apply(&self, changes: Vec<Change>, through: Revision, log: Option<&mut Vec<Arc<Event>>>) {
        let applying = self.applying.lock();
        if let Some(deadlines) = &self.deadlines {
            deadlines.apply(&changes);
        }
        let mut touched = Vec::new();
        self.apply_by_resource(changes, &mut touched, log);
        self.publish(through);
        drop(applying);
        touched.iter().for_each(|file| file.notify.notify_waiters());
    }

    fn apply_by_resource(
        &self,
        changes: Vec<Change>,
        touched: &mut Vec<Arc<File>>,
        mut log: Option<&mut Vec<Arc<Event>>>,
    ) {
        let table = self.table.load();
        let mut groups: Vec<(&Arc<Resource>, Vec<Change>)> = Vec::new();
        for change in changes {
            let owner = table.owner(&change.key);
            match groups.iter_mut().find(|(resource, _)| Arc::ptr_eq(resource, owner)) {
                Some((_, group)) => group.push(change),
                None => groups.push((owner, vec![change])),
            }
        }
        let from = log.as_ref().map_or(0, |log| log.len());
        for (resource, group) in &groups {
            resource.apply(group, touched, log.as_deref_mut());
        }
        if let Some(log) = log {
            log[from..].sort_by_key(|event| event.revision);
        }
    }

    /// Sets all objects at once: at opening, or when an engine has lost track. Watchers behind `revision` must ask
    /// the engine for history.
    pub(crate) fn load(&self, entries: impl IntoIterator<Item = Arc<Entry>>, revision: Revision, compacted: Revision) {
        let _applying = self.applying.lock();
        let table = self.table.load();
        let mut groups: HashMap<*const Resource, (Arc<Resource>, Objects)> = HashMap::new();
        let (mut deadlines, mut touched) = (BTreeSet::new(), Vec::new());
        for entry in entries {
            if let Some(lease) = entry.lease {
                deadlines.insert((lease.get(), entry.key.clone()));
            }
            let owner = table.owner(&entry.key);
            groups.entry(Arc::as_ptr(owner)).or_insert_with(|| (owner.clone(), Objects::new())).1.insert(Item(entry));
        }
        for resource in table.resources.values().chain([&table.rest]) {
            let objects = groups.remove(&Arc::as_ptr(resource)).map(|(_, objects)| objects).unwrap_or_default();
            let mut current = resource.current.write();
            (current.objects, current.changed) = (objects, revision);
            drop(current);
            touched.extend(resource.ring.lock().reset(revision));
        }
        if let Some(known) = &self.deadlines {
            *known.keys.lock() = deadlines;
        }
        self.compacted.fetch_max(compacted, Ordering::AcqRel);
        self.publish(revision);
        touched.iter().for_each(|file| file.notify.notify_waiters());
    }

    fn publish(&self, through: Revision) {
        self.visible.fetch_max(through, Ordering::AcqRel);
        self.published.send_if_modified(|published| {
            let newer = through > *published;
            *published = through.max(*published);
            newer
        });
    }

    /// The engine has no history up to `revision`; memory may.
    pub(crate) fn history_starts_at(&self, revision: Revision) {
        self.compacted.fetch_max(revision, Ordering::AcqRel);
    }

    /// Forgets history up to `revision`.
    pub(crate) fn compact(&self, revision: Revision) {
        self.compacted.fetch_max(revision, Ordering::AcqRel);
        for resource in self.resources() {
            let files = {
                let mut ring = resource.ring.lock();
                ring.trim(revision);
                ring.files()
            };
            // Who waits for rare events moves on from what was compacted.
            files.iter().for_each(|file| file.notify.notify_waiters());
        }
    }

    /// Drops events up to `revision` from memory; the engine still has them.
    pub(crate) fn cool(&self, revision: Revision) {
        self.resources().iter().for_each(|resource| resource.ring.lock().trim(revision));
    }

    /// Waits until `revision` is visible; false if the store was closed.
    pub(crate) async fn wait_for(&self, revision: Revision) -> bool {
        if self.visible() >= revision {
            return true;
        }
        let mut published = self.published.subscribe();
        // The sender lives as long as self.
        let _ = published.wait_for(|published| *published >= revision || self.is_closed()).await;
        self.visible() >= revision
    }

    /// Ends all watches and waits.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.published.send_modify(|_| {});
        for resource in self.resources() {
            let files = resource.ring.lock().files();
            files.iter().for_each(|file| file.notify.notify_waiters());
        }
    }

    /// Writes the records of all objects under `prefix` anew: the extractor answers differently now.
    pub(crate) fn reindex(&self, prefix: &str) {
        let _applying = self.applying.lock();
        let resource = self.resource(prefix);
        let stale = self.snapshot(&resource);
        let mut current = resource.current.write();
        for entry in stale.range(prefix, None) {
            let record = self.extract.extract(&entry.key, &entry.value);
            if record != entry.record {
                current.objects.insert(Item(Arc::new(entry.with_record(record))));
            }
        }
    }
}

// === impl Table ===

impl Table {
    fn owner(&self, key: &str) -> &Arc<Resource> {
        let mut end = key.len();
        while let Some(slash) = key[..end].rfind('/') {
            if let Some(resource) = self.resources.get(&key[..=slash]) {
                return resource;
            }
            end = slash;
        }
        &self.rest
    }
}

// === impl Change ===

impl Change {
    pub(crate) fn event(&self) -> Option<Event> {
        match (&self.next, &self.prev) {
            (Some(entry), prev) => Some(Event::put(entry.clone(), prev.clone(), self.origin.clone())),
            (None, Some(last)) => Some(Event::delete(self.revision, last.clone(), self.origin.clone())),
            (None, None) => None,
        }
    }
}

// === impl Deadlines ===

impl Deadlines {
    fn apply(&self, changes: &[Change]) {
        let lease = |entry: &Option<Arc<Entry>>| entry.as_ref().and_then(|entry| entry.lease);
        if changes.iter().all(|change| lease(&change.prev).is_none() && lease(&change.next).is_none()) {
            return;
        }
        let mut keys = self.keys.lock();
        let earliest = keys.first().map(|(at, _)| *at);
        for change in changes {
            if let Some(at) = lease(&change.prev) {
                keys.remove(&(at.get(), change.key.clone()));
            }
            if let Some(at) = lease(&change.next) {
                keys.insert((at.get(), change.key.clone()));
            }
        }
        if keys.first().map(|(at, _)| *at) != earliest {
            self.earlier.notify_one();
        }
    }

    /// When the next key expires.
    pub(crate) fn earliest(&self) -> Option<u64> {
        self.keys.lock().first().map(|(at, _)| *at)
    }

    /// Up to `max` keys whose time is up, with their deadlines.
    pub(crate) fn due(&self, now_ms: u64, max: usize) -> Vec<(u64, Arc<str>)> {
        self.keys.lock().iter().take_while(|(at, _)| *at <= now_ms).take(max).cloned().collect()
    }
}
