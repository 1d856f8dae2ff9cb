//! What plugins look up: objects as they are in memory at this moment.

use api::codec::json;
use api::value::Value;

use crate::api::Api;

/// One object in its stored version.
pub fn get(api: &Api, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
    let catalog = api.catalog.load();
    let served = catalog.stored(group, plural)?;
    let entry = api.store.get(&served.key(namespace, name))?;
    json::parse(&entry.value).ok()
}

/// All objects of a cluster-scoped resource.
pub fn all(api: &Api, group: &str, plural: &str) -> Vec<Value> {
    let catalog = api.catalog.load();
    let Some(served) = catalog.stored(group, plural) else { return Vec::new() };
    api.store.snapshot(served.prefix()).iter().filter_map(|entry| json::parse(&entry.value).ok()).collect()
}

/// The object among several that an annotation makes the default: the newest one.
pub fn default_by_annotation(objects: Vec<Value>, annotation: &str) -> Option<Value> {
    objects.into_iter().filter(|one| one.at("metadata.annotations").get(annotation).as_str() == Some("true")).max_by(
        |a, b| {
            let created = |one: &Value| one.str_at("metadata.creationTimestamp").to_owned();
            created(a).cmp(&created(b)).then_with(|| b.str_at("metadata.name").cmp(a.str_at("metadata.name")))
        },
    )
}
