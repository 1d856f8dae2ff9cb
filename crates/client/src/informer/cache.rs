//! The objects of an informer and the indexes over them.

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::Event;
use crate::object::{Object, ObjectKey};
use crate::views::View;

/// The values under which an index files an object.
pub type IndexFn<T> = Box<dyn Fn(&T) -> Vec<SmolStr> + Send + Sync>;

/// Objects by key, and by what the indexes say.
pub struct Cache<T> {
    objects: HashMap<ObjectKey, Arc<Object<T>>>,
    indexes: Vec<Index<T>>,
}

struct Index<T> {
    name: &'static str,
    values: IndexFn<T>,
    filed: HashMap<SmolStr, HashMap<ObjectKey, Arc<Object<T>>>>,
}

/// One step of the cache.
pub enum Change<T> {
    /// The object is like this now.
    Put(Arc<Object<T>>),
    /// It is gone; this was its last state.
    Remove(Arc<Object<T>>),
    /// It is gone, and nobody saw how.
    Lost(ObjectKey),
}

// === impl Cache ===

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache { objects: HashMap::new(), indexes: Vec::new() }
    }
}

impl<T> Cache<T> {
    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object<T>>> {
        self.objects.get(key)
    }

    /// All objects, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<T>>> {
        self.objects.values()
    }

    /// All keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.objects.keys()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// What an index files under a value, in no order.
    pub fn indexed(&self, index: &str, value: &str) -> impl Iterator<Item = &Arc<Object<T>>> {
        let index = self.indexes.iter().find(|one| one.name == index);
        index.and_then(|index| index.filed.get(value)).into_iter().flat_map(HashMap::values)
    }
}

impl<T: View> Cache<T> {
    pub(super) fn add_index(&mut self, name: &'static str, values: IndexFn<T>) {
        if self.indexes.iter().any(|index| index.name == name) {
            return;
        }
        let mut index = Index { name, values, filed: HashMap::new() };
        self.objects.iter().for_each(|(key, object)| index.file(key, object));
        self.indexes.push(index);
    }

    /// Makes the change and says what happened; nothing, if an older state came late or there was nothing to remove.
    pub(super) fn apply(&mut self, change: Change<T>) -> Option<Event<T>> {
        match change {
            Change::Put(new) => self.put(new),
            Change::Remove(last) => {
                self.take(&last.key())?;
                Some(Event::Deleted { object: last, tombstone: false })
            }
            Change::Lost(key) => Some(Event::Deleted { object: self.take(&key)?, tombstone: true }),
        }
    }

    fn put(&mut self, new: Arc<Object<T>>) -> Option<Event<T>> {
        let key = new.key();
        let old = self.objects.insert(key.clone(), new.clone());
        for index in &mut self.indexes {
            if let Some(old) = &old {
                index.remove(&key, old);
            }
            index.file(&key, &new);
        }
        match old {
            None => Some(Event::Added(new)),
            Some(old) if old.revision == new.revision && new.revision != 0 => None,
            Some(old) => Some(Event::Updated { old, new }),
        }
    }

    fn take(&mut self, key: &ObjectKey) -> Option<Arc<Object<T>>> {
        let old = self.objects.remove(key)?;
        self.indexes.iter_mut().for_each(|index| index.remove(key, &old));
        Some(old)
    }
}

// === impl Index ===

impl<T: View> Index<T> {
    fn file(&mut self, key: &ObjectKey, object: &Arc<Object<T>>) {
        for value in (self.values)(&object.view) {
            self.filed.entry(value).or_default().insert(key.clone(), object.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &Object<T>) {
        for value in (self.values)(&object.view) {
            if let Some(bucket) = self.filed.get_mut(&value) {
                bucket.remove(key);
                if bucket.is_empty() {
                    self.filed.remove(&value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::informer::index;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(name: &str, node: &str, revision: u64) -> Arc<Object<Pod>> {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"x","resourceVersion":"{revision}"}},
                "spec":{{"nodeName":"{node}","containers":[]}}}}"#
        );
        Arc::new(Object::decode(json.into()).unwrap())
    }

    fn on(cache: &Cache<Pod>, node: &str) -> Vec<u64> {
        cache.indexed(index::NODE_NAME, node).map(|pod| pod.revision).collect()
    }

    #[test]
    fn an_index_follows_changes_and_can_come_late() {
        let mut cache = Cache::default();
        cache.apply(Change::Put(pod("a", "n1", 1)));
        cache.add_index(index::NODE_NAME, Box::new(index::node_name));
        assert_eq!(on(&cache, "n1"), [1]);
        assert!(matches!(cache.apply(Change::Put(pod("a", "n2", 2))), Some(Event::Updated { .. })));
        assert_eq!((on(&cache, "n1"), on(&cache, "n2")), (vec![], vec![2]));
        cache.apply(Change::Remove(pod("a", "n2", 3)));
        assert!(on(&cache, "n2").is_empty() && cache.is_empty());
        assert!(cache.indexes[0].filed.is_empty());
    }

    #[test]
    fn what_is_not_there_is_not_deleted() {
        let mut cache: Cache<Pod> = Cache::default();
        assert!(cache.apply(Change::Lost(ObjectKey::new("x", "a"))).is_none());
        cache.apply(Change::Put(pod("a", "n1", 1)));
        let lost = cache.apply(Change::Lost(ObjectKey::new("x", "a")));
        assert!(matches!(lost, Some(Event::Deleted { tombstone: true, .. })));
    }

    #[test]
    fn the_same_revision_again_is_no_event() {
        let mut cache = Cache::default();
        cache.apply(Change::Put(pod("a", "n1", 4)));
        assert!(cache.apply(Change::Put(pod("a", "n1", 4))).is_none());
    }
}
