//! Discovery: which groups, versions and resources there are, in the aggregated and the old form.
//!
//! Documents are made of the catalog, which changes rarely; `ETag` spares clients the reading.

use api::registry::{Group, Registry, Resource};
use api::status::Status;
use api::value::{Map, Value};
use client::Body;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};
use sha2::{Digest, Sha512};

use crate::api::Api;
use crate::context::Context;
use crate::health;
use crate::request::{Accept, Encoding};
use crate::respond;
use crate::served::api_version;

/// Answers `/api`, `/apis` and what lies directly below; `None` for other paths.
///
/// # Errors
/// 406 where the client accepts no encoding of ours.
pub fn answer(api: &Api, context: &Context, path: &str) -> Result<Option<Response<Body>>, Status> {
    let registry = Registry::builtin();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let document = match parts.as_slice() {
        ["api"] if wants_aggregated(context) => return aggregated(context, registry, true).map(Some),
        ["apis"] if wants_aggregated(context) => return aggregated(context, registry, false).map(Some),
        [""] => {
            let accept = Accept { pretty: true, ..Accept::default() };
            return Ok(Some(respond::tree(StatusCode::OK, &paths(registry), accept)));
        }
        ["api"] => versions(api),
        ["apis"] => groups(registry),
        ["api", version] => match resources(registry, "", version) {
            Some(document) => document,
            None => return Ok(None),
        },
        ["apis", group] => match registry.groups().iter().find(|one| one.name == *group && !group.is_empty()) {
            Some(group) => typed("APIGroup", "v1", group_document(group)),
            None => return Ok(None),
        },
        ["apis", group, version] => match resources(registry, group, version) {
            Some(document) => document,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let accept = context.accept_plain()?;
    Ok(Some(match (accept.encoding, parts.as_slice()) {
        (Encoding::Protobuf, ["api" | "apis", ..]) => respond::typed(StatusCode::OK, &document, accept),
        _ => respond::tree(StatusCode::OK, &document, accept),
    }))
}

/// Whether the first thing that the client accepts is the aggregated form.
fn wants_aggregated(context: &Context) -> bool {
    let accept = context.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|clause| {
        clause.contains("as=APIGroupDiscoveryList")
            && clause.contains("g=apidiscovery.k8s.io")
            && clause.split(';').any(|part| part.trim() == "v=v2")
            && clause.trim_start().starts_with("application/json")
    })
}

fn typed(kind: &str, version: &str, fields: Map) -> Value {
    let mut document = Value::object();
    document.set("kind", kind);
    if !version.is_empty() {
        document.set("apiVersion", version);
    }
    for (key, value) in fields {
        document.make_object().insert(key, value);
    }
    document
}

fn texts<'t>(texts: impl IntoIterator<Item = &'t smol_str::SmolStr>) -> Value {
    Value::Array(texts.into_iter().map(|text| Value::String(text.clone())).collect())
}

// ---- the old form ----

/// Documents of the core group don't say their own version, as in the first releases.
const UNVERSIONED: &str = "";

fn versions(api: &Api) -> Value {
    let mut fields = Map::new();
    fields.insert("versions", vec!["v1"]);
    let mut address = Map::new();
    address.insert("clientCIDR", "0.0.0.0/0");
    let port = api.settings.secure_port;
    address.insert("serverAddress", format!("{}:{port}", api.settings.advertise_address));
    fields.insert("serverAddressByClientCIDRs", vec![address]);
    typed("APIVersions", UNVERSIONED, fields)
}

fn groups(registry: &Registry) -> Value {
    let named = registry.groups().iter().filter(|group| !group.name.is_empty());
    let mut fields = Map::new();
    fields.insert("groups", named.map(group_document).collect::<Vec<_>>());
    typed("APIGroupList", "v1", fields)
}

fn group_document(group: &Group) -> Map {
    let version = |version: &smol_str::SmolStr| {
        let mut fields = Map::new();
        fields.insert("groupVersion", api_version(&group.name, version));
        fields.insert("version", version.clone());
        fields
    };
    let mut fields = Map::new();
    fields.insert("name", group.name.clone());
    fields.insert("versions", group.versions.iter().map(version).collect::<Vec<_>>());
    if let Some(preferred) = group.versions.first() {
        fields.insert("preferredVersion", version(preferred));
    }
    fields
}

fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for resource in registry.resources_of(group, version) {
        list.push(resource_row(resource));
        list.extend(resource.subresources.iter().map(|sub| {
            let mut row = Map::new();
            row.insert("name", format!("{}/{}", resource.plural, sub.name));
            row.insert("singularName", "");
            row.insert("namespaced", resource.namespaced);
            if sub.foreign {
                row.insert("group", sub.kind.group.clone());
                row.insert("version", sub.kind.version.clone());
            }
            row.insert("kind", sub.kind.kind.clone());
            row.insert("verbs", texts(&sub.verbs));
            row
        }));
    }
    if list.is_empty() {
        return None;
    }
    let mut fields = Map::new();
    fields.insert("groupVersion", api_version(group, version));
    fields.insert("resources", list);
    Some(typed("APIResourceList", if group.is_empty() { UNVERSIONED } else { "v1" }, fields))
}

fn resource_row(resource: &Resource) -> Map {
    let mut row = Map::new();
    row.insert("name", resource.plural.clone());
    row.insert("singularName", resource.singular.clone());
    row.insert("namespaced", resource.namespaced);
    row.insert("kind", resource.kind.clone());
    row.insert("verbs", texts(&resource.verbs));
    if !resource.short_names.is_empty() {
        row.insert("shortNames", texts(&resource.short_names));
    }
    if !resource.categories.is_empty() {
        row.insert("categories", texts(&resource.categories));
    }
    if !resource.storage_version_hash.is_empty() {
        row.insert("storageVersionHash", resource.storage_version_hash.clone());
    }
    row
}

// ---- the aggregated form ----

const AGGREGATED_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn aggregated(context: &Context, registry: &Registry, core: bool) -> Result<Response<Body>, Status> {
    let chosen = registry.groups().iter().filter(|group| group.name.is_empty() == core);
    let items: Vec<Map> = chosen.map(|group| aggregated_group(registry, group)).collect();
    let mut fields = Map::new();
    fields.insert("metadata", Map::new());
    fields.insert("items", items);
    let document = typed("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2", fields);
    let bytes = respond::write_text(&document, Encoding::Json, false);
    let hash: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    let tag = format!("\"{hash}\"");
    let known = context.headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let mut response = match known.split(',').any(|one| one.trim() == tag) {
        true => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => {
            let mut response = respond::document(StatusCode::OK, bytes, "application/json");
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(AGGREGATED_TYPE));
            response
        }
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

fn aggregated_group(registry: &Registry, group: &Group) -> Map {
    let versions = group.versions.iter().map(|version| {
        let rows: Vec<Map> = registry.resources_of(&group.name, version).map(aggregated_resource).collect();
        let mut fields = Map::new();
        fields.insert("version", version.clone());
        fields.insert("resources", rows);
        fields.insert("freshness", "Current");
        fields
    });
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name", group.name.clone());
    }
    let mut fields = Map::new();
    fields.insert("metadata", metadata);
    fields.insert("versions", versions.collect::<Vec<_>>());
    fields
}

/// The kind that is answered; group and version are said only where they are not the resource's own, as upstream.
fn response_kind(group: &str, version: &str, kind: &str) -> Map {
    [("group", group), ("version", version), ("kind", kind)].into_iter().collect()
}

fn aggregated_resource(resource: &Resource) -> Map {
    let mut row = Map::new();
    row.insert("resource", resource.plural.clone());
    row.insert("responseKind", response_kind("", "", &resource.kind));
    row.insert("scope", if resource.namespaced { "Namespaced" } else { "Cluster" });
    row.insert("singularResource", resource.singular.clone());
    row.insert("verbs", texts(&resource.verbs));
    if !resource.short_names.is_empty() {
        row.insert("shortNames", texts(&resource.short_names));
    }
    if !resource.categories.is_empty() {
        row.insert("categories", texts(&resource.categories));
    }
    let subresources = resource.subresources.iter().map(|sub| {
        let mut row = Map::new();
        row.insert("subresource", sub.name.clone());
        let (group, version) = if sub.foreign { (&*sub.kind.group, &*sub.kind.version) } else { ("", "") };
        row.insert("responseKind", response_kind(group, version, &sub.kind.kind));
        row.insert("verbs", texts(&sub.verbs));
        row
    });
    let subresources: Vec<Map> = subresources.collect();
    if !subresources.is_empty() {
        row.insert("subresources", subresources);
    }
    row
}

/// `/`: all paths, for people.
fn paths(registry: &Registry) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned(), "/apis/".to_owned()];
    for group in registry.groups().iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{version}", group.name)));
    }
    const OTHERS: [&str; 7] = [
        "/.well-known/openid-configuration",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/version",
    ];
    paths.extend(OTHERS.map(str::to_owned));
    paths.extend(health::paths());
    paths.sort_unstable();
    let mut document = Value::object();
    document.set("paths", paths);
    document
}
