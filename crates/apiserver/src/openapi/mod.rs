//! OpenAPI: what there is and what it is made of, for clients that validate and explain.
//!
//! Documents are made of the same schema that everything else reads, and of upstream's words for it ([`prose`]), on
//! demand, and kept compressed. v3 has one document a group and version, and some for what stands above; v2 has all in
//! one. Either comes in protobuf too ([`gnostic`]). What can be done is [`routes`]; [`paths`] writes that down.
//!
//! Upstream's documents are the measure: `crates/apiserver/tests/data/openapi-digests.txt`, and the tests here.

mod documents;
mod extras;
mod gnostic;
mod parameters;
mod paths;
mod prose;
mod roots;
mod routes;
mod types;
#[cfg(test)]
mod upstream;

use std::sync::LazyLock;

use api::GIT_VERSION;
use api::registry::Registry;
use api::status::Status;
use api::value::{Map, Value};
use client::Body;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use http::{Response, StatusCode};
use sha2::{Digest, Sha512};

use crate::api::Api;
use crate::context::Context;
use crate::request::Encoding;
use crate::respond;
use crate::served::api_version;

pub use documents::Documents;
use documents::Format;
use parameters::Shared;
use prose::Prose;
use routes::Route;
use types::{Dialect, Types};

/// Answers `/openapi/v3`, its documents, and `/openapi/v2`; `None` for other paths.
///
/// # Errors
/// A document can't be made.
pub fn answer(api: &Api, context: &Context, path: &str) -> Result<Option<Response<Body>>, Status> {
    let Some(rest) = path.strip_prefix("/openapi/") else { return Ok(None) };
    let of_version_3 = rest.strip_prefix("v3/");
    let dialect = if rest == "v2" { Dialect::V2 } else { Dialect::V3 };
    let Some(format) = Format::negotiate(context, dialect) else { return Ok(Some(not_acceptable())) };
    match of_version_3 {
        None if rest == "v3" => return Ok(Some(index())),
        None if rest != "v2" => return Ok(None),
        Some(path) if !documents().iter().any(|known| known == path) => return Ok(None),
        _ => {}
    }
    let hash = hash(rest);
    let asked = context.query.get("hash").filter(|asked| !asked.is_empty());
    if asked.is_some_and(|asked| *asked != hash) {
        return Ok(Some(moved(&format!("{path}?hash={hash}"))));
    }
    let make = || {
        let prose = Prose::read()?;
        format.write(&of_version_3.map_or_else(|| whole(&prose), |path| one(path, &prose)))
    };
    let document = api.documents_of_types.get(&format!("{rest}/{format:?}"), make).map_err(Status::internal)?;
    let tag = format!("\"{hash}\"");
    let known = context.headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let mut response = match known == tag {
        true => empty(StatusCode::NOT_MODIFIED),
        false => document.respond(context, format.media_type()).map_err(Status::internal)?,
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.append(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    // A document whose hash is in its URL never changes.
    if asked.is_some() {
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
    /// To be raised where documents change otherwise: clients keep them by their hash.
    const FORM: u32 = 2;
    static PROSE: LazyLock<[u8; 64]> = LazyLock::new(|| Sha512::digest(Prose::table()).into());
    let version = format!("{GIT_VERSION}/{}/{FORM}/{path}", env!("CARGO_PKG_VERSION"));
    let digest = Sha512::new().chain_update(*PROSE).chain_update(version).finalize();
    digest[..32].iter().map(|byte| format!("{byte:02X}")).collect()
}

fn index() -> Response<Body> {
    let paths = documents().into_iter().map(|path| {
        let url = format!("/openapi/v3/{path}?hash={}", hash(&format!("v3/{path}")));
        (path, Map::from_iter([("serverRelativeURL", url)]))
    });
    let mut document = Value::object();
    document.set("paths", paths.collect::<Map>());
    respond::document(StatusCode::OK, respond::write_text(&document, Encoding::Json, false), "application/json")
}

/// What is answered to clients that take no format of ours.
fn not_acceptable() -> Response<Body> {
    empty(StatusCode::NOT_ACCEPTABLE)
}

/// What is answered to clients that know the document as it was.
fn moved(url: &str) -> Response<Body> {
    let mut response = empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(url) = HeaderValue::from_str(url) {
        response.headers_mut().insert(LOCATION, url);
    }
    response
}

fn empty(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// Documents of version 3, by path.
fn documents() -> Vec<String> {
    let versions = Registry::builtin().groups().iter().flat_map(|group| {
        group.versions.iter().map(|version| root(&group.name, version).trim_start_matches('/').to_owned())
    });
    roots::all().into_iter().map(|(path, _)| path).chain(versions).collect()
}

/// A document of version 3.
fn one(path: &str, prose: &Prose) -> Value {
    let own = group_version(path).unwrap_or_default();
    let routes = match roots::all().into_iter().find(|(root, _)| root == path) {
        Some((_, route)) => vec![route],
        None => all_of(own.0, own.1, prose),
    };
    let mut document = head("openapi", "3.0.0");
    let mut types = Types::new(Dialect::V3, own, prose);
    document.set("paths", paths::of(routes, &mut types, &mut Shared::default()));
    let schemas = types.finish();
    if !schemas.is_empty() {
        document.set("components.schemas", schemas);
    }
    document.set("components.securitySchemes", security());
    document
}

/// The document of version 2.
fn whole(prose: &Prose) -> Value {
    let mut document = head("swagger", "2.0");
    let mut types = Types::new(Dialect::V2, ("", ""), prose);
    let mut shared = Shared::default();
    let mut routes: Vec<Route> = roots::all().into_iter().map(|(_, route)| route).collect();
    for group in Registry::builtin().groups() {
        routes.extend(group.versions.iter().flat_map(|version| all_of(&group.name, version, prose)));
    }
    let mut paths = paths::of(routes, &mut types, &mut shared);
    paths.sort();
    document.set("paths", paths);
    document.set("definitions", types.finish());
    document.set("parameters", shared.finish());
    document.set("securityDefinitions", security());
    document.set("security", vec![Map::from_iter([("BearerToken", Vec::<Value>::new())])]);
    document
}

fn all_of(group: &str, version: &str, prose: &Prose) -> Vec<Route> {
    let mut routes = vec![roots::resources(group, version)];
    routes.extend(routes::of(group, version, prose));
    routes
}

/// How clients say who they are, as far as OpenAPI can tell.
fn security() -> Map {
    let token = [
        ("description", "Bearer Token authentication"),
        ("type", "apiKey"),
        ("name", "authorization"),
        ("in", "header"),
    ];
    Map::from_iter([("BearerToken", Map::from_iter(token))])
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
