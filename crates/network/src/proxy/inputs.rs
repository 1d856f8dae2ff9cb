//! What the API says at the moment, by Service, with a mark on what changed.

use crate::views::{EndpointSliceView, NodeView, ObjectName, ServiceView};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::Notify;

/// One event from the API.
#[derive(Clone, Debug)]
pub enum Change {
    /// A Service came, changed or went.
    Service(ObjectName, Option<Arc<ServiceView>>),
    /// An EndpointSlice came, changed or went.
    Slice(ObjectName, Option<Arc<EndpointSliceView>>),
    /// This node came, changed or went.
    Node(Option<Arc<NodeView>>),
    /// Both Services and EndpointSlices were listed: from now on the table may be written.
    Synced,
}

/// Services with their slices.
#[derive(Debug, Default)]
pub struct Inputs {
    services: HashMap<ObjectName, Arc<ServiceView>>,
    /// By Service, then by the slice's name.
    slices: HashMap<ObjectName, BTreeMap<String, Arc<EndpointSliceView>>>,
    /// Which Service a slice belonged to when last seen.
    owners: HashMap<ObjectName, ObjectName>,
    /// Services whose plan may have changed.
    dirty: BTreeSet<ObjectName>,
}

/// Changes on their way to the proxy. Two of the same object become one, so that however slowly the table is written,
/// no more waits here than there are objects.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<BTreeMap<Key, Change>>,
    filled: Notify,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Service(ObjectName),
    Slice(ObjectName),
    Node,
    // Last: what was listed before it is taken in before it.
    Synced,
}

// === impl Inbox ===

impl Inbox {
    /// Puts a change in; never waits.
    pub fn put(&self, change: Change) {
        let key = match &change {
            Change::Service(name, _) => Key::Service(name.clone()),
            Change::Slice(name, _) => Key::Slice(name.clone()),
            Change::Node(_) => Key::Node,
            Change::Synced => Key::Synced,
        };
        self.waiting.lock().insert(key, change);
        self.filled.notify_one();
    }

    /// Takes all changes, as soon as there are some.
    pub async fn take(&self) -> Vec<Change> {
        loop {
            let waiting = std::mem::take(&mut *self.waiting.lock());
            if !waiting.is_empty() {
                return waiting.into_values().collect();
            }
            self.filled.notified().await;
        }
    }
}

// === impl Inputs ===

impl Inputs {
    /// Takes a Service in.
    pub fn service(&mut self, name: ObjectName, view: Option<Arc<ServiceView>>) {
        let old = match &view {
            Some(view) => self.services.insert(name.clone(), view.clone()),
            None => self.services.remove(&name),
        };
        let same = match (&old, &view) {
            (Some(old), Some(new)) => old.spec == new.spec && old.status == new.status,
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.dirty.insert(name);
        }
    }

    /// Takes an EndpointSlice in.
    pub fn slice(&mut self, name: ObjectName, view: Option<Arc<EndpointSliceView>>) {
        let owner = view.as_ref().and_then(|view| view.service());
        let old_owner = match &owner {
            Some(owner) => self.owners.insert(name.clone(), owner.clone()),
            None => self.owners.remove(&name),
        };
        if let Some(old_owner) = old_owner.filter(|old| Some(old) != owner.as_ref()) {
            self.put_slice(old_owner, name.name.clone(), None);
        }
        if let Some(owner) = owner {
            self.put_slice(owner, name.name, view);
        }
    }

    fn put_slice(&mut self, owner: ObjectName, slice: String, view: Option<Arc<EndpointSliceView>>) {
        let slices = self.slices.entry(owner.clone()).or_default();
        let old = match &view {
            Some(view) => slices.insert(slice, view.clone()),
            None => slices.remove(&slice),
        };
        if slices.is_empty() {
            self.slices.remove(&owner);
        }
        let same = match (&old, &view) {
            (Some(old), Some(new)) => {
                old.endpoints == new.endpoints && old.ports == new.ports && old.address_type == new.address_type
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.dirty.insert(owner);
        }
    }

    /// Marks all Services: something that all plans depend on has changed.
    pub fn mark_all(&mut self) {
        self.dirty.extend(self.services.keys().cloned());
    }

    /// The Services that were marked since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<ObjectName> {
        std::mem::take(&mut self.dirty)
    }

    /// Whether something is marked.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// A Service with its slices.
    pub fn get(&self, name: &ObjectName) -> Option<(&ServiceView, impl Iterator<Item = &EndpointSliceView>)> {
        let service = self.services.get(name)?;
        Some((service, self.slices.get(name).into_iter().flat_map(|slices| slices.values().map(Arc::as_ref))))
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &ServiceView> {
        self.services.values().map(Arc::as_ref)
    }

    /// All slices that belong to a Service.
    pub fn slices(&self) -> impl Iterator<Item = &EndpointSliceView> {
        self.slices.values().flat_map(|slices| slices.values().map(Arc::as_ref))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::testing::{ready, service, slice};
    use serde_json::json;

    #[test]
    fn a_slice_that_changes_hands_marks_both_services() {
        let mut inputs = Inputs::default();
        let mut view = slice("a", "x", json!([ready("10.1.0.1", "n")]));
        let name = view.object_name();
        inputs.slice(name.clone(), Some(Arc::new(view.clone())));
        assert_eq!(inputs.take_dirty(), BTreeSet::from([ObjectName::new("ns", "a")]));
        inputs.slice(name.clone(), Some(Arc::new(view.clone())));
        assert!(!inputs.is_dirty(), "nothing changed");
        let labels = view.metadata.labels.as_mut().unwrap();
        labels.insert("kubernetes.io/service-name".to_string(), "b".to_string());
        inputs.slice(name, Some(Arc::new(view)));
        assert_eq!(inputs.take_dirty().len(), 2);
        assert_eq!(inputs.slices().count(), 1);
    }

    #[test]
    fn metadata_alone_marks_nothing() {
        let mut inputs = Inputs::default();
        let mut view = service("a", "10.96.0.1", json!({}));
        inputs.service(view.object_name(), Some(Arc::new(view.clone())));
        inputs.take_dirty();
        view.metadata.resource_version = Some("2".to_string());
        inputs.service(view.object_name(), Some(Arc::new(view)));
        assert!(!inputs.is_dirty());
    }

    #[tokio::test]
    async fn changes_of_one_object_become_one_and_synced_comes_last() {
        let inbox = Inbox::default();
        let name = ObjectName::new("ns", "a");
        inbox.put(Change::Synced);
        inbox.put(Change::Service(name.clone(), Some(Arc::new(service("a", "10.96.0.1", json!({}))))));
        inbox.put(Change::Service(name, None));
        inbox.put(Change::Node(None));
        let taken = inbox.take().await;
        assert!(
            matches!(taken.as_slice(), [Change::Service(_, None), Change::Node(None), Change::Synced]),
            "{taken:?}"
        );
    }
}
