//! OpenAPI: what there is and what it is made of, for clients that validate and explain.
//!
//! Documents are made of the same schema that everything else reads, and of upstream's words for it ([`prose`]), on
//! demand, and kept compressed. v3 has one document a group and version; v2 has all in one, in protobuf too
//! ([`gnostic`]).

mod documents;
mod gnostic;
mod paths;
mod prose;
mod types;

use std::sync::LazyLock;

use api::GIT_VERSION;
use api::registry::Registry;
use api::status::Status;
use api::value::{Map, Value};
use client::Body;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};
use sha2::{Digest, Sha512};

use crate::api::Api;
use crate::context::Context;
use crate::request::Encoding;
use crate::respond;
use crate::served::api_version;

pub use documents::Documents;
use documents::Format;
use prose::Prose;

/// Answers `/openapi/v3`, its documents, and `/openapi/v2`; `None` for other paths.
///
/// # Errors
/// A document can't be made.
pub fn answer(api: &Api, context: &Context, path: &str) -> Result<Option<Response<Body>>, Status> {
    let Some(rest) = path.strip_prefix("/openapi/") else { return Ok(None) };
    let version_2 = rest == "v2";
    let Some(format) = Format::negotiate(context, version_2) else { return Ok(Some(not_acceptable())) };
    let documents = &api.documents_of_types;
    let document = match rest {
        "v3" => return Ok(Some(index())),
        "v2" => documents.get(&format!("v2/{format:?}"), || format.write(&whole(&Prose::read()?))),
        _ => {
            let Some((group, version)) = rest.strip_prefix("v3/").and_then(group_version) else { return Ok(None) };
            if Registry::builtin().resources_of(group, version).next().is_none() {
                return Ok(None);
            }
            documents.get(rest, || format.write(&of_group(group, version, &Prose::read()?)))
        }
    };
    let document = document.map_err(Status::internal)?;
    let tag = format!("\"{}\"", hash(rest));
    let known = context.headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let mut response = match known == tag {
        true => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => document.respond(context, format.media_type()).map_err(Status::internal)?,
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.append(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    // A document whose hash is in its URL never changes.
    if context.query.get("hash").is_some() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
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

/// Changes with the version of the binary and with what it says, as the documents do.
fn hash(path: &str) -> String {
    static PROSE: LazyLock<[u8; 64]> = LazyLock::new(|| Sha512::digest(Prose::table()).into());
    let version = format!("{GIT_VERSION}/{}/{path}", env!("CARGO_PKG_VERSION"));
    let digest = Sha512::new().chain_update(*PROSE).chain_update(version).finalize();
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

/// What is answered to clients that take no format of ours.
fn not_acceptable() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    response
}

fn of_group(group: &str, version: &str, prose: &Prose) -> Value {
    let mut document = head("openapi", "3.0.0");
    let mut types = types::Types::new(types::Dialect::V3, prose);
    document.set("paths", paths::of(group, version, types::Dialect::V3));
    types.add_group(group, version);
    document.set("components.schemas", types.finish());
    document
}

fn whole(prose: &Prose) -> Value {
    let dialect = types::Dialect::V2;
    let mut document = head("swagger", "2.0");
    let mut types = types::Types::new(dialect, prose);
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
