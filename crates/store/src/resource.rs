//! One resource in memory: the persistent map of its objects, and its event ring.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use imbl::OrdSet;
use parking_lot::{Mutex, RwLock};

use crate::ring::{File, Ring};
use crate::state::Change;
use crate::{Entry, Event, Revision};

/// An entry ordered by its key.
#[derive(Clone)]
pub(crate) struct Item(pub(crate) Arc<Entry>);

/// A persistent map from key to entry: a clone costs nothing and stays as it is.
pub(crate) type Objects = OrdSet<Item>;

/// The objects and hot events of one key prefix.
pub(crate) struct Resource {
    pub(crate) prefix: Box<str>,
    pub(crate) current: RwLock<Current>,
    pub(crate) ring: Mutex<Ring>,
}

pub(crate) struct Current {
    pub(crate) objects: Objects,
    /// The newest revision that changed an object here.
    pub(crate) changed: Revision,
}

// === impl Resource ===

impl Resource {
    pub(crate) fn new(prefix: &str, floor: Revision, hot_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            prefix: prefix.into(),
            current: RwLock::new(Current { objects: Objects::new(), changed: floor }),
            ring: Mutex::new(Ring::new(floor, hot_bytes_max)),
        })
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.current.read().objects.get(key).map(|item| item.0.clone())
    }

    /// Applies changes, oldest first, all at one moment for readers, and tells which files to wake.
    pub(crate) fn apply(
        &self,
        changes: &[Change],
        touched: &mut Vec<Arc<File>>,
        mut log: Option<&mut Vec<Arc<Event>>>,
    ) {
        let mut current = self.current.write();
        for change in changes {
            current.changed = current.changed.max(change.revision);
            match &change.next {
                Some(entry) => drop(current.objects.insert(Item(entry.clone()))),
                None => drop(current.objects.remove(&*change.key)),
            }
        }
        drop(current);
        let mut ring = self.ring.lock();
        for event in changes.iter().filter_map(Change::event) {
            let event = Arc::new(event);
            if let Some(log) = log.as_deref_mut() {
                log.push(event.clone());
            }
            ring.push(event, touched);
        }
    }
}

// === impl Item ===

impl Borrow<str> for Item {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}
