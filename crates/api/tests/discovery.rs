//! The table of resources against upstream's discovery documents.
#![allow(clippy::unwrap_used)]

mod support;

use api::codec::json;
use api::registry::{Registry, Resource, Subresource};
use api::value::{Key, Value};

fn list(keys: &[Key]) -> Value {
    Value::Array(keys.iter().cloned().map(Value::String).collect())
}

/// A resource as the legacy discovery document of its group version lists it.
fn entry(resource: &Resource) -> Value {
    let mut entry = Value::object();
    entry.set("name", resource.plural.clone());
    entry.set("singularName", resource.singular.clone());
    entry.set("namespaced", resource.namespaced);
    entry.set("kind", resource.kind.clone());
    entry.set("verbs", list(&resource.verbs));
    for (key, keys) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !keys.is_empty() {
            entry.set(key, list(keys));
        }
    }
    if !resource.storage_version_hash.is_empty() {
        entry.set("storageVersionHash", resource.storage_version_hash.clone());
    }
    entry
}

fn subresource_entry(resource: &Resource, subresource: &Subresource) -> Value {
    let mut entry = Value::object();
    entry.set("name", format!("{}/{}", resource.plural, subresource.name));
    entry.set("singularName", "");
    entry.set("namespaced", resource.namespaced);
    if subresource.foreign {
        entry.set("group", subresource.kind.group.clone());
        entry.set("version", subresource.kind.version.clone());
    }
    entry.set("kind", subresource.kind.kind.clone());
    entry.set("verbs", list(&subresource.verbs));
    entry
}

#[test]
fn every_group_version_lists_what_upstream_lists() {
    let files = support::files();
    let registry = Registry::builtin();
    let mut documents = 0;
    for group_version in registry.groups().iter().flat_map(|group| group.group_versions()) {
        let name = match group_version.group.as_str() {
            "" => format!("discovery/api__{}.json", group_version.version),
            group => format!("discovery/apis__{group}__{}.json", group_version.version),
        };
        let document = json::parse(&files[&name]).unwrap();
        let ours: Vec<Value> = registry
            .resources_of(&group_version.group, &group_version.version)
            .flat_map(|one| {
                std::iter::once(entry(one)).chain(one.subresources.iter().map(|sub| subresource_entry(one, sub)))
            })
            .collect();
        assert_eq!(ours, document.array_at("resources"), "{name}");
        documents += 1;
    }
    assert_eq!(documents, 23);
}

/// Everything in discovery that is neither alpha nor beta is on by default, and nothing else is.
#[test]
fn groups_and_versions_come_in_upstreams_order() {
    let files = support::files();
    let document = json::parse(&files["discovery/aggregated_v2.json"]).unwrap();
    let stable = |version: &str| !version.contains("alpha") && !version.contains("beta");
    let theirs: Vec<(String, Vec<String>)> = document
        .array_at("items")
        .iter()
        .map(|group| {
            let versions = group.array_at("versions").iter().map(|one| one.str_at("version").to_owned());
            (group.str_at("metadata.name").to_owned(), versions.filter(|version| stable(version)).collect::<Vec<_>>())
        })
        .filter(|(_, versions)| !versions.is_empty())
        .collect();
    let ours: Vec<(String, Vec<String>)> = Registry::builtin()
        .groups()
        .iter()
        .skip(1)
        .map(|group| (group.name.to_string(), group.versions.iter().map(Key::to_string).collect()))
        .collect();
    assert_eq!(ours, theirs);
}
