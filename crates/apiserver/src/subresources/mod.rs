//! Requests below an object: a file for each shape.

mod binding;
mod eviction;
pub mod reviews;
mod scale;
mod token;

use api::status::Status;
use client::Body;
use http::Response;

use crate::api::Api;
use crate::context::{Context, discard_body, read_body};
use crate::route::not_allowed;
use crate::served::Served;
use crate::streams;
use crate::verbs::{get, patch, update};

/// Answers a request to a subresource that the table knows.
pub async fn dispatch(api: &Api, context: &Context, served: &Served, body: Body) -> Result<Response<Body>, Status> {
    let info = &context.info;
    let known = served.resource().subresource(&info.subresource).ok_or_else(not_allowed)?;
    // What others answer, they may be asked in any way; OPTIONS is no verb of ours.
    let is_proxied = info.subresource == "proxy" && streams::PROXIED.contains(&context.method);
    if !known.allows(info.verb) && !is_proxied {
        discard_body(body).await;
        return Err(not_allowed());
    }
    match (info.subresource.as_str(), info.verb) {
        ("exec" | "attach" | "portforward" | "proxy" | "log", _) => streams::connect(api, context, served, body).await,
        ("scale", _) => scale::dispatch(api, context, served, read_body(body).await?).await,
        ("binding", _) => binding::create(api, context, served, read_body(body).await?).await,
        ("eviction", _) => eviction::create(api, context, served, read_body(body).await?).await,
        ("token", _) => token::create(api, context, served, read_body(body).await?).await,
        // The others have the object's own shape.
        (_, "get") => get::get(api, context, served).await,
        (_, "update") => update::update(api, context, served, read_body(body).await?).await,
        (_, "patch") => patch::patch(api, context, served, read_body(body).await?).await,
        _ => Err(not_allowed()),
    }
}
