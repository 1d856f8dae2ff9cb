//! Paths: what can be done where, with which parameters.

use api::registry::{Registry, Resource};
use api::value::{Map, Value};

use super::types::Dialect;
use super::{group_version_kind, root};

/// Query parameters, and the actions that take them.
const PARAMETERS: &[(&str, &str, &[&str])] = &[
    ("allowWatchBookmarks", "boolean", &["list", "watch"]),
    ("continue", "string", &["list", "deletecollection"]),
    ("dryRun", "string", &["post", "put", "patch", "delete", "deletecollection"]),
    ("fieldManager", "string", &["post", "put", "patch"]),
    ("fieldSelector", "string", &["list", "deletecollection"]),
    ("fieldValidation", "string", &["post", "put", "patch"]),
    ("force", "boolean", &["patch"]),
    ("gracePeriodSeconds", "integer", &["delete", "deletecollection"]),
    ("labelSelector", "string", &["list", "deletecollection"]),
    ("limit", "integer", &["list", "deletecollection"]),
    ("orphanDependents", "boolean", &["delete", "deletecollection"]),
    ("pretty", "string", &["get", "list", "post", "put", "patch", "delete", "deletecollection"]),
    ("propagationPolicy", "string", &["delete", "deletecollection"]),
    ("resourceVersion", "string", &["list", "deletecollection"]),
    ("resourceVersionMatch", "string", &["list", "deletecollection"]),
    ("sendInitialEvents", "boolean", &["list"]),
    ("timeoutSeconds", "integer", &["list", "deletecollection"]),
    ("watch", "boolean", &["list"]),
];

/// Verbs of collections and of single objects, as methods and actions.
const COLLECTION: &[(&str, &str, &str)] =
    &[("list", "get", "list"), ("create", "post", "post"), ("deletecollection", "delete", "deletecollection")];
const SINGLE: &[(&str, &str, &str)] =
    &[("get", "get", "get"), ("update", "put", "put"), ("patch", "patch", "patch"), ("delete", "delete", "delete")];
const CONNECT: &[(&str, &str, &str)] = &[
    ("get", "get", "get"),
    ("create", "post", "post"),
    ("update", "put", "put"),
    ("patch", "patch", "patch"),
    ("delete", "delete", "delete"),
];

/// All paths of a group and version.
pub fn of(group: &str, version: &str, dialect: Dialect) -> Map {
    let mut paths = Map::new();
    let base = root(group, version);
    for resource in Registry::builtin().resources_of(group, version) {
        let collection = match resource.namespaced {
            true => format!("{base}/namespaces/{{namespace}}/{}", resource.plural),
            false => format!("{base}/{}", resource.plural),
        };
        let kind = (group, version, resource.kind.as_str());
        let allowed = |verb: &str| resource.allows(verb);
        add(&mut paths, &collection, COLLECTION, allowed, kind, resource, dialect);
        if resource.namespaced && resource.allows("list") {
            let everywhere = format!("{base}/{}", resource.plural);
            add(&mut paths, &everywhere, &COLLECTION[..1], allowed, kind, resource, dialect);
        }
        let single = format!("{collection}/{{name}}");
        add(&mut paths, &single, SINGLE, allowed, kind, resource, dialect);
        for sub in &resource.subresources {
            let path = format!("{single}/{}", sub.name);
            let (sub_group, sub_version) = match sub.foreign {
                true => (sub.kind.group.as_str(), sub.kind.version.as_str()),
                false => (group, version),
            };
            let kind = (sub_group, sub_version, sub.kind.kind.as_str());
            add(&mut paths, &path, CONNECT, |verb| sub.allows(verb), kind, resource, dialect);
        }
    }
    paths
}

fn add(
    paths: &mut Map,
    path: &str,
    verbs: &[(&str, &str, &str)],
    allowed: impl Fn(&str) -> bool,
    (group, version, kind): (&str, &str, &str),
    resource: &Resource,
    dialect: Dialect,
) {
    let mut operations = Map::new();
    for (verb, method, action) in verbs.iter().filter(|(verb, ..)| allowed(verb)) {
        let mut operation = Map::new();
        let scope = if path.contains("{namespace}") { "Namespaced" } else { "" };
        let words = path.rsplit('/').next().unwrap_or_default().replace(['{', '}'], "");
        operation.insert("operationId", format!("{verb}{group}{version}{scope}{}{words}", resource.kind));
        operation.insert("parameters", parameters(action, dialect));
        operation.insert("responses", responses());
        operation.insert("x-kubernetes-action", *action);
        operation.insert("x-kubernetes-group-version-kind", group_version_kind(group, version, kind));
        operations.insert(*method, operation);
    }
    if operations.is_empty() {
        return;
    }
    let placed = ["name", "namespace"].into_iter().filter(|name| path.contains(&format!("{{{name}}}")));
    let placed: Vec<Value> = placed.map(|name| parameter(name, "path", "string", dialect)).collect();
    if !placed.is_empty() {
        operations.insert("parameters", placed);
    }
    paths.insert(path.to_owned(), operations);
}

fn parameters(action: &str, dialect: Dialect) -> Vec<Value> {
    let taken = PARAMETERS.iter().filter(|(_, _, actions)| actions.contains(&action));
    taken.map(|(name, kind, _)| parameter(name, "query", kind, dialect)).collect()
}

fn parameter(name: &str, place: &str, kind: &str, dialect: Dialect) -> Value {
    let mut parameter = Value::object();
    parameter.set("name", name);
    parameter.set("in", place);
    if place == "path" {
        parameter.set("required", true);
    }
    match dialect {
        Dialect::V2 => {
            parameter.set("type", kind);
            parameter.set("uniqueItems", true);
        }
        Dialect::V3 => {
            parameter.set("schema", Map::from_iter([("type", Value::from(kind)), ("uniqueItems", true.into())]))
        }
    }
    parameter
}

fn responses() -> Map {
    Map::from_iter([
        ("200", Map::from_iter([("description", "OK")])),
        ("401", Map::from_iter([("description", "Unauthorized")])),
    ])
}
