//! Which handler answers a request.

use api::status::{Details, Status};
use client::Body;
use http::{Method, Response, StatusCode};

use crate::api::Api;
use crate::context::{Context, read_body};
use crate::served::Served;
use crate::verbs::{create, delete, get, list, patch, update, watch};
use crate::{discovery, health, openapi, respond, subresources};

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
    if !info.is_resource || info.resource.is_empty() {
        return other_path(api, context).await;
    }
    let catalog = api.catalog.load();
    let Some(served) = catalog.find(&info.group, &info.version, &info.resource) else {
        return Ok(respond::no_such_path());
    };
    match info.subresource.as_str() {
        "" => object(api, context, &served, body).await,
        subresource => match served.resource().subresource(subresource) {
            Some(_) => subresources::dispatch(api, context, &served, body).await,
            None => Ok(respond::no_such_path()),
        },
    }
}

/// The verbs on a resource itself.
async fn object(api: &Api, context: &Context, served: &Served, body: Body) -> Result<Response<Body>, Status> {
    let verb = context.info.verb;
    if served.resource().is_virtual() {
        return match verb {
            "create" => subresources::reviews::create(api, context, served, read_body(body).await?).await,
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
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Ok(respond::text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed"));
    }
    let path = context.info.path.trim_end_matches('/');
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
    Ok(respond::no_such_path())
}
