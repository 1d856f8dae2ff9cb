//! Which handler answers a request.

use api::names::path_segment;
use api::registry::Registry;
use api::status::{Details, Status};
use client::Body;
use http::{Method, Response, StatusCode};

use crate::api::Api;
use crate::context::{Context, discard_body, read_body};
use crate::request::RequestInfo;
use crate::request::query::has_whole_escapes;
use crate::served::Served;
use crate::verbs::{create, delete, get, list, patch, update, watch};
use crate::{component_status, discovery, health, openapi, respond, subresources};

/// Subresources whose requests are streams, open as long as both sides like.
const STREAMS: [&str; 5] = ["exec", "attach", "portforward", "proxy", "log"];

/// Watches and streams: exempt from time limits and seats.
pub fn is_long_running(context: &Context) -> bool {
    let info = &context.info;
    info.verb == "watch" || (info.is_resource && STREAMS.contains(&info.subresource.as_str()))
}

/// Answers an authorized request.
pub async fn dispatch(api: &Api, context: &Context, body: Body) -> Result<Response<Body>, Status> {
    let info = &context.info;
    if !has_whole_escapes(&info.path) {
        discard_body(body).await;
        return Ok(respond::text(StatusCode::BAD_REQUEST, "400 Bad Request"));
    }
    if !info.is_resource || info.resource.is_empty() {
        discard_body(body).await;
        return other_path(api, context).await;
    }
    let catalog = api.catalog.load();
    let found = catalog.find(&info.group, &info.version, &info.resource);
    let Some(served) = found.filter(|served| has_path(served, info)) else {
        discard_body(body).await;
        return no_such_path(info);
    };
    if !info.subresource.is_empty() {
        return subresources::dispatch(api, context, &served, body).await;
    }
    if !has_method(&served, info) || context.method == Method::HEAD {
        discard_body(body).await;
        return Err(not_allowed());
    }
    if let Some(why) = path_segment(&info.name, false).first().filter(|_| !info.name.is_empty()) {
        discard_body(body).await;
        return Err(Status::bad_request(format!("Name parameter invalid: {:?}: {why}", info.name)));
    }
    warn_of_age(context, &served);
    object(api, context, &served, body).await
}

/// Whether there is such a path below a resource, whatever the method.
fn has_path(served: &Served, info: &RequestInfo) -> bool {
    let placed = served.namespaced() || info.namespace.is_empty() || served.plural() == "namespaces";
    placed
        && !info.path.trim_end_matches('/').contains("//")
        && (info.subresource.is_empty() || served.resource().subresource(&info.subresource).is_some())
}

/// Whether the verb belongs to that path: what is created has no name in it, what is changed has one.
fn has_method(served: &Served, info: &RequestInfo) -> bool {
    let somewhere = !served.namespaced() || !info.namespace.is_empty();
    match info.verb {
        "create" => info.name.is_empty() && somewhere,
        "update" | "patch" | "delete" => !info.name.is_empty() && somewhere,
        "deletecollection" => somewhere,
        _ => true,
    }
}

/// The API versions that upstream tells clients to leave: kind, since when, what to use.
const AGED: [(&str, &str, &str); 2] =
    [("Endpoints", "v1.33+", "; use discovery.k8s.io/v1 EndpointSlice"), ("ComponentStatus", "v1.19+", "")];

fn warn_of_age(context: &Context, served: &Served) {
    // Upstream's router refuses some before.
    let verb = context.info.verb;
    let is_routed = (verb == "watch" || served.resource().allows(verb))
        && context.accept().err().is_none_or(|status| status.details.is_none())
        && (verb != "patch" || patch::is_known(context.content_type()));
    if let Some((kind, since, instead)) =
        AGED.iter().find(|(kind, ..)| served.group().is_empty() && *kind == served.kind())
        && is_routed
    {
        context.warn(format!("v1 {kind} is deprecated in {since}{instead}"));
    }
}

/// 404. Upstream's router says it as a Status below the groups that it knows, and as text elsewhere.
fn no_such_path(info: &RequestInfo) -> Result<Response<Body>, Status> {
    let mut parts = info.path.split('/').skip(1);
    let known = match (parts.next(), parts.next()) {
        (Some("api"), Some(_)) => true,
        (Some("apis"), Some(group)) => Registry::builtin().groups().iter().any(|one| one.name == group),
        _ => false,
    };
    match known {
        true => Err(Status {
            details: Some(Details::default()),
            ..Status::new(404, "NotFound", "the server could not find the requested resource")
        }),
        false => Ok(respond::no_such_path()),
    }
}

/// The verbs on a resource itself.
async fn object(api: &Api, context: &Context, served: &Served, body: Body) -> Result<Response<Body>, Status> {
    let verb = context.info.verb;
    if served.resource().is_virtual() {
        return match verb {
            "create" => subresources::reviews::create(api, context, served, read_body(body).await?).await,
            "get" | "list" | "watch" if served.resource().allows("list") => {
                component_status::answer(api, context, served).await
            }
            _ => Err(not_allowed()),
        };
    }
    if !served.resource().verbs.iter().any(|one| one == verb) {
        return Err(not_allowed());
    }
    match verb {
        "get" => get::get(api, context, served).await,
        "list" => list::list(api, context, served).await,
        "watch" => watch::watch(api, context, served).await,
        "create" => create::create(api, context, served, read_body(body).await?).await,
        "update" => update::update(api, context, served, read_body(body).await?).await,
        "patch" => patch::patch(api, context, served, read_body(body).await?).await,
        "delete" => delete::delete(api, context, served, read_body(body).await?).await,
        "deletecollection" => delete::delete_collection(api, context, served, read_body(body).await?).await,
        _ => Err(not_allowed()),
    }
}

/// 405 for a verb that a resource does not have. Upstream's router says it, which does not know the resource.
pub fn not_allowed() -> Status {
    const WHY: &str = "the server does not allow this method on the requested resource";
    Status { details: Some(Details::default()), ..Status::new(405, "MethodNotAllowed", WHY) }
}

/// Everything that is no object: discovery, health, metrics, documents.
async fn other_path(api: &Api, context: &Context) -> Result<Response<Body>, Status> {
    let path = context.info.path.trim_end_matches('/');
    // Upstream's router has these; it knows their methods, and paths that end in a slash.
    let routed = ["/api", "/apis", "/version"].contains(&path) || context.info.is_resource || path.starts_with("/api");
    if routed && path != "/apis" && context.method != Method::GET {
        return Err(not_allowed());
    }
    // `/` is the path that is empty without its slash.
    if !routed && path != context.info.path && !path.is_empty() {
        return no_such_path(&context.info);
    }
    if let Some(answer) = discovery::answer(api, context, path)? {
        return Ok(answer);
    }
    if let Some(answer) = openapi::answer(api, context, path)? {
        return Ok(answer);
    }
    if let Some(answer) = health::answer(api, context, path).await {
        return Ok(answer);
    }
    if let Some(answer) = api.documents.answer(path) {
        return Ok(answer);
    }
    no_such_path(&context.info)
}
