//! Resources whose objects can be deleted, for controllers that look after all of them.

use std::borrow::Cow;
use std::collections::HashSet;

use api::registry::{Registry, Resource as Row};
use client::Resource;

/// A resource with the verb `delete`.
#[derive(Clone, Debug)]
pub struct Deletable {
    /// In the version that its group prefers.
    pub resource: Resource,
    /// Whether all objects of a namespace can be deleted by one request.
    pub has_collection: bool,
    /// Whether it can be listed and watched.
    pub is_observable: bool,
}

/// The built-in ones. What is stored once is here once, whatever groups serve it.
pub fn deletable() -> Vec<Deletable> {
    let registry = Registry::builtin();
    let mut stored = HashSet::new();
    let is_preferred =
        |row: &Row| registry.preferred(&row.group, &row.plural).is_some_and(|one| one.version == row.version);
    let has = |row: &Row, verb: &str| row.verbs.iter().any(|one| one == verb);
    let rows = registry.resources().iter().filter(|row| has(row, "delete") && is_preferred(row));
    let once = rows.filter(|row| stored.insert(row.storage_prefix.clone()));
    once.map(|row| Deletable {
        resource: resource(row),
        has_collection: has(row, "deletecollection"),
        is_observable: has(row, "list") && has(row, "watch"),
    })
    .collect()
}

/// The resource of a kind, as owner references name it.
pub fn of_kind(api_version: &str, kind: &str) -> Option<Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Registry::builtin().resource_for_kind(group, version, kind).map(resource)
}

fn resource(row: &Row) -> Resource {
    let owned = |text: &str| Cow::Owned(text.to_owned());
    Resource {
        group: owned(&row.group),
        version: owned(&row.version),
        plural: owned(&row.plural),
        kind: owned(&row.kind),
        namespaced: row.namespaced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_only_what_can_be_deleted() {
        let all = deletable();
        let named = |name: &str| all.iter().filter(|one| one.resource.group_resource() == name).count();
        assert_eq!((named("pods"), named("deployments.apps"), named("bindings")), (1, 1, 0));
        assert_eq!(named("events") + named("events.events.k8s.io"), 1);
        assert!(of_kind("apps/v1", "ReplicaSet").is_some_and(|one| one.plural == "replicasets" && one.namespaced));
        assert!(of_kind("apps/v9", "ReplicaSet").is_none());
    }
}
