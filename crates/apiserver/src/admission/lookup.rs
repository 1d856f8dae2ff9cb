//! What plugins look up: objects as they are in memory at this moment.
//!
//! Most writes ask for the same few objects (their namespace, its service account), so trees that
//! were read are kept beside the revision that they are of.

use std::collections::HashMap;
use std::sync::Arc;

use api::codec::json;
use api::value::Value;
use parking_lot::Mutex;
use store::{Entry, Revision};

use crate::api::Api;

/// Trees that were read before, by key.
#[derive(Default)]
pub struct Trees(Mutex<HashMap<Arc<str>, Parsed>>);

/// A tree and the revision of the bytes that it was parsed from.
type Parsed = (Revision, Arc<Value>);

/// Beyond this all are forgotten: a cluster's working set is smaller.
const TREES_MAX: usize = 1024;
/// Larger objects are read anew.
const TREE_BYTES_MAX: usize = 4 << 10;

// === impl Trees ===

impl Trees {
    /// An entry's tree.
    fn of(&self, entry: &Entry) -> Option<Arc<Value>> {
        if let Some((revision, tree)) = self.0.lock().get(&entry.key)
            && *revision == entry.mod_revision
        {
            return Some(tree.clone());
        }
        let tree = Arc::new(json::parse(&entry.value).ok()?);
        if entry.value.len() <= TREE_BYTES_MAX {
            let mut trees = self.0.lock();
            if trees.len() >= TREES_MAX {
                trees.clear();
            }
            trees.insert(entry.key.clone(), (entry.mod_revision, tree.clone()));
        }
        Some(tree)
    }
}

/// One object in its stored version.
pub fn get(api: &Api, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
    json::parse(&entry(api, group, plural, namespace, name)?.value).ok()
}

/// One object that will be asked for again.
pub fn again(api: &Api, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
    api.trees.of(&*entry(api, group, plural, namespace, name)?)
}

fn entry(api: &Api, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Entry>> {
    let catalog = api.catalog.load();
    api.store.get(&catalog.stored(group, plural)?.key(namespace, name))
}

/// All objects of a cluster-scoped resource.
pub fn all(api: &Api, group: &str, plural: &str) -> Vec<Arc<Value>> {
    let catalog = api.catalog.load();
    let Some(served) = catalog.stored(group, plural) else { return Vec::new() };
    api.store.snapshot(served.prefix()).iter().filter_map(|entry| api.trees.of(entry)).collect()
}

/// The object among several that an annotation makes the default: the newest one.
pub fn default_by_annotation(objects: Vec<Arc<Value>>, annotation: &str) -> Option<Arc<Value>> {
    objects.into_iter().filter(|one| one.at("metadata.annotations").get(annotation).as_str() == Some("true")).max_by(
        |a, b| {
            let created = |one: &Value| one.str_at("metadata.creationTimestamp").to_owned();
            created(a).cmp(&created(b)).then_with(|| b.str_at("metadata.name").cmp(a.str_at("metadata.name")))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{EngineConfig, NoExtract, Options, Store, Txn};

    #[tokio::test]
    async fn a_tree_is_read_once_for_each_revision() {
        const KEY: &str = "/registry/namespaces/a";
        let store = Store::open(EngineConfig::Memory, Arc::new(NoExtract), Options::default()).await.unwrap();
        let trees = Trees::default();
        let write = async |text: &'static str| {
            store.txn(Txn::new().put(KEY, text)).await.unwrap();
            trees.of(&store.get(KEY).unwrap()).unwrap()
        };
        let first = write(r#"{"status":{"phase":"Active"}}"#).await;
        assert!(Arc::ptr_eq(&first, &trees.of(&store.get(KEY).unwrap()).unwrap()));
        let second = write(r#"{"status":{"phase":"Terminating"}}"#).await;
        assert_eq!((first.str_at("status.phase"), second.str_at("status.phase")), ("Active", "Terminating"));
    }
}
