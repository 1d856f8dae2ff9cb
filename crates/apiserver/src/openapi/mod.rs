//! OpenAPI: what there is and what it is made of, for clients that validate and explain.
//!
//! Documents are made of the same schema that everything else reads, on demand, and kept.
//! v3 has one document a group and version; v2 has all in one.

mod paths;
mod types;

use std::collections::HashMap;

use api::registry::Registry;
use api::status::Status;
use api::value::{Map, Value};
use bytes::Bytes;
use client::Body;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use sha2::{Digest, Sha512};

use crate::api::Api;
use crate::context::Context;
use crate::health::GIT_VERSION;
use crate::request::Encoding;
use crate::respond;
use crate::served::api_version;

/// Documents that were asked for, by path.
#[derive(Default)]
pub struct Documents(Mutex<HashMap<String, Bytes>>);

/// Answers `/openapi/v3`, its documents, and `/openapi/v2`; `None` for other paths.
///
/// # Errors
/// 406 for a v2 client that wants protobuf only.
pub fn answer(api: &Api, context: &Context, path: &str) -> Result<Option<Response<Body>>, Status> {
    let Some(rest) = path.strip_prefix("/openapi/") else { return Ok(None) };
    let document = match rest {
        "v3" => return Ok(Some(index())),
        "v2" => {
            let accept = context.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
            if !accept.contains("json") && !accept.contains("*/*") {
                return Err(Status::not_acceptable("only the following media types are accepted: application/json"));
            }
            api.documents_of_types.get(rest, || whole(types::Dialect::V2))
        }
        _ => {
            let Some((group, version)) = rest.strip_prefix("v3/").and_then(group_version) else { return Ok(None) };
            if Registry::builtin().resources_of(group, version).next().is_none() {
                return Ok(None);
            }
            api.documents_of_types.get(rest, || of_group(group, version))
        }
    };
    let tag = format!("\"{}\"", hash(rest));
    let known = context.headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let mut response = match known == tag {
        true => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => respond::document(StatusCode::OK, document, "application/json"),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    // A document whose hash is in its URL never changes.
    if context.query.get("hash").is_some() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(Some(response))
}

/// `api/v1` or `apis/GROUP/VERSION`.
fn group_version(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", *version)),
        ["apis", group, version] => Some((*group, *version)),
        _ => None,
    }
}

/// Changes with the version of the binary, as the documents do.
fn hash(path: &str) -> String {
    let digest = Sha512::digest(format!("{GIT_VERSION}/{}/{path}", env!("CARGO_PKG_VERSION")));
    digest[..32].iter().map(|byte| format!("{byte:02X}")).collect()
}

fn index() -> Response<Body> {
    let mut paths = Map::new();
    for group in Registry::builtin().groups() {
        for version in &group.versions {
            let path = match group.name.as_str() {
                "" => format!("api/{version}"),
                name => format!("apis/{name}/{version}"),
            };
            let url = format!("/openapi/v3/{path}?hash={}", hash(&format!("v3/{path}")));
            paths.insert(path, Map::from_iter([("serverRelativeURL", url)]));
        }
    }
    let mut document = Value::object();
    document.set("paths", paths);
    respond::document(StatusCode::OK, respond::write_text(&document, Encoding::Json, false), "application/json")
}

fn of_group(group: &str, version: &str) -> Value {
    let mut document = head("openapi", "3.0.0");
    let mut types = types::Types::new(types::Dialect::V3);
    document.set("paths", paths::of(group, version, types::Dialect::V3));
    types.add_group(group, version);
    document.set("components.schemas", types.finish());
    document
}

fn whole(dialect: types::Dialect) -> Value {
    let mut document = head("swagger", "2.0");
    let mut types = types::Types::new(dialect);
    let mut all = Map::new();
    for group in Registry::builtin().groups() {
        for version in &group.versions {
            types.add_group(&group.name, version);
            for (path, operations) in paths::of(&group.name, version, dialect) {
                all.insert(path, operations);
            }
        }
    }
    document.set("paths", all);
    document.set("definitions", types.finish());
    document
}

fn head(key: &str, version: &str) -> Value {
    let mut document = Value::object();
    document.set(key, version);
    document.set("info", Map::from_iter([("title", "Kubernetes"), ("version", GIT_VERSION)]));
    document
}

/// `x-kubernetes-group-version-kind`.
fn group_version_kind(group: &str, version: &str, kind: &str) -> Map {
    Map::from_iter([("group", group), ("kind", kind), ("version", version)])
}

/// Where a group and version is served.
fn root(group: &str, version: &str) -> String {
    match group {
        "" => format!("/api/{version}"),
        _ => format!("/apis/{}", api_version(group, version)),
    }
}

// === impl Documents ===

impl Documents {
    fn get(&self, name: &str, make: impl FnOnce() -> Value) -> Bytes {
        if let Some(made) = self.0.lock().get(name) {
            return made.clone();
        }
        // Made without the lock: two at once may make the same.
        let made = respond::write_text(&make(), Encoding::Json, false);
        self.0.lock().insert(name.to_owned(), made.clone());
        made
    }
}
