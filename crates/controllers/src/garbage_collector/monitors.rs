//! All objects with their owners: a cache of metadata for every resource that can be deleted.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use client::informer::index;
use client::views::Metadata;
use client::{
    ClientError, Event, Informer, Informers, MetaExt, Object, ObjectKey, Resource, Selection, View, WorkQueue,
};
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::plan::{self, Ending};
use crate::common::resources::deletable;

/// What the collector looks at: where an object is. Its UID is looked up when its turn comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// Which of the monitors.
    pub monitor: u16,
    /// Which object of it.
    pub key: ObjectKey,
}

/// The metadata that tells of owners and deletion, without labels and annotations.
#[derive(Clone, Debug)]
pub struct Bones(ObjectMeta);

/// The caches. Cheap to clone.
#[derive(Clone)]
pub struct Monitors(Arc<Inner>);

struct Inner {
    monitors: Vec<Monitor>,
    by_kind: HashMap<(String, String), u16>,
}

struct Monitor {
    resource: Resource,
    informer: Informer<Bones>,
}

/// An object with where it is.
pub type Found = (Item, Arc<Object<Bones>>);

// === impl Bones ===

impl View for Bones {
    const METADATA_ONLY: bool = true;

    fn decode(bytes: &[u8]) -> Result<Bones, ClientError> {
        let Metadata { mut metadata } = Metadata::decode(bytes)?;
        metadata.labels = None;
        metadata.annotations = None;
        Ok(Bones(metadata))
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0
    }
}

// === impl Item ===

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.monitor, self.key)
    }
}

// === impl Monitors ===

impl Monitors {
    /// Caches of everything but events, which own nothing and are owned by nothing.
    pub fn new(informers: &Informers) -> Monitors {
        let mut monitors = Vec::new();
        let mut by_kind = HashMap::new();
        for deletable in deletable().into_iter().filter(|one| one.is_observable && one.resource.plural != "events") {
            let resource = deletable.resource;
            let selection = Selection { keep_bytes: false, ..Selection::default() };
            let informer = informers.view::<Bones>(&resource, selection);
            informer.add_index(index::OWNER_UID, index::owner_uids);
            // There are about sixty.
            let at = u16::try_from(monitors.len()).unwrap_or(u16::MAX);
            by_kind.insert((resource.group.clone().into_owned(), resource.kind.clone().into_owned()), at);
            monitors.push(Monitor { resource, informer });
        }
        Monitors(Arc::new(Inner { monitors, by_kind }))
    }

    /// Waits until everything is in.
    pub async fn synced(&self) {
        join_all(self.0.monitors.iter().map(|monitor| monitor.informer.synced())).await;
    }

    /// Calls `handler` with the resource and the namespace of everything that goes.
    pub fn on_deletions(&self, handler: impl Fn(&Resource, &str) + Clone + Send + Sync + 'static) {
        for monitor in &self.0.monitors {
            let (handler, resource) = (handler.clone(), monitor.resource.clone());
            monitor.informer.subscribe(move |event| {
                if let Event::Deleted { object, .. } = event {
                    handler(&resource, object.namespace());
                }
            });
        }
    }

    /// The resource of an item.
    pub fn resource(&self, item: &Item) -> &Resource {
        &self.0.monitors[usize::from(item.monitor)].resource
    }

    /// The item's object.
    pub fn get(&self, item: &Item) -> Option<Arc<Object<Bones>>> {
        self.0.monitors[usize::from(item.monitor)].informer.get(&item.key)
    }

    /// Where the owner is that a reference of an object in `namespace` names; none if there is no such kind, or a
    /// cluster-wide object names an owner in a namespace.
    pub fn owner(&self, namespace: &str, reference: &OwnerReference) -> Option<Item> {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        let monitor = *self.0.by_kind.get(&(group.to_owned(), reference.kind.clone()))?;
        let namespaced = self.0.monitors[usize::from(monitor)].resource.namespaced;
        if namespaced && namespace.is_empty() {
            return None;
        }
        let namespace = if namespaced { namespace } else { "" };
        Some(Item { monitor, key: ObjectKey::new(namespace, reference.name.as_str()) })
    }

    /// All objects that name the owner with this UID.
    pub fn dependents(&self, uid: &str) -> Vec<Found> {
        let mut found = Vec::new();
        for (monitor, at) in self.0.monitors.iter().zip(0..) {
            monitor.informer.with(|cache| {
                let objects = cache.indexed(index::OWNER_UID, uid);
                found.extend(objects.map(|one| (Item { monitor: at, key: one.key() }, one.clone())));
            });
        }
        found
    }

    /// Puts into the queue whatever an event may give reason to look at.
    pub fn watch(&self, queue: &WorkQueue<Item>) {
        for (monitor, at) in self.0.monitors.iter().zip(0..) {
            let (monitors, queue) = (Arc::downgrade(&self.0), queue.clone());
            monitor.informer.subscribe(move |event| {
                if let Some(inner) = monitors.upgrade() {
                    Monitors(inner).noticed(at, event, &queue);
                }
            });
        }
    }

    fn noticed(&self, monitor: u16, event: &Event<Bones>, queue: &WorkQueue<Item>) {
        let object = event.object();
        let item = Item { monitor, key: object.key() };
        match event {
            Event::Deleted { .. } => {
                self.dependents(object.uid()).into_iter().for_each(|(dependent, _)| queue.add(dependent));
                self.add_waiting_owners(object, queue);
            }
            Event::Updated { old, .. } if old.uid() != object.uid() => {
                // Another one of the same name: the one before is gone.
                self.dependents(old.uid()).into_iter().for_each(|(dependent, _)| queue.add(dependent));
                self.add_waiting_owners(old, queue);
                queue.add(item);
            }
            Event::Updated { old, .. } => {
                let owners_changed = old.0.owner_references != object.0.owner_references;
                let (before, now) = (plan::ending(&old.0), plan::ending(&object.0));
                if owners_changed {
                    self.add_waiting_owners(old, queue);
                }
                if before != now || (owners_changed && self.has_doubtful_owner(object)) {
                    self.add_with_dependents(item, object, now, queue);
                }
            }
            Event::Added(_) => {
                let now = plan::ending(&object.0);
                if matches!(now, Ending::Orphaning | Ending::Foreground) || self.has_doubtful_owner(object) {
                    self.add_with_dependents(item, object, now, queue);
                }
            }
        }
    }

    fn add_with_dependents(&self, item: Item, object: &Bones, ending: Ending, queue: &WorkQueue<Item>) {
        if ending == Ending::Foreground {
            self.dependents(object.uid()).into_iter().for_each(|(dependent, _)| queue.add(dependent));
        }
        queue.add(item);
    }

    /// Owners that wait for this object to go (or to let go).
    fn add_waiting_owners(&self, object: &Bones, queue: &WorkQueue<Item>) {
        for reference in object.0.owner_references.iter().flatten() {
            if let Some(owner) = self.owner(object.namespace(), reference)
                && self.get(&owner).is_some_and(|owner| plan::ending(&owner.0) == Ending::Foreground)
            {
                queue.add(owner);
            }
        }
    }

    /// Whether an owner is not known to be there and to stay.
    fn has_doubtful_owner(&self, object: &Bones) -> bool {
        object.0.owner_references.iter().flatten().any(|reference| {
            let owner = self.owner(object.namespace(), reference).and_then(|owner| self.get(&owner));
            !owner.is_some_and(|owner| owner.uid() == reference.uid && plan::ending(&owner.0) != Ending::Foreground)
        })
    }
}
