//! The proxy verbs: `pods/NAME/proxy`, `services/NAME/proxy`, `nodes/NAME/proxy`.
//!
//! [`place`] finds whom a request is for, [`path`] what of its path is theirs; [`forward`] carries it there and the
//! answer back, whose links ([`link`], [`html`]) are made to lead through here again. Upstream: the `ProxyREST`s of
//! pkg/registry/core and apimachinery's util/proxy.

mod coding;
mod forward;
mod html;
mod link;
mod path;
mod place;

use ::api::status::Status;
use client::Body;
use http::header::{HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};
use streaming::upgrade::is_upgrade;

use crate::api::Api;
use crate::context::Context;
use crate::streams::join::join;

/// Answers a request with what another server says.
///
/// # Errors
/// There is no such server, or it can't be reached.
pub async fn connect(api: &Api, context: &Context, body: Body) -> Result<Response<Body>, Status> {
    if context.query.get("dryRun").is_some() {
        return Err(Status::bad_request("dryRun is not supported"));
    }
    let peer = place::find(api, context).await?;
    let path = path::Paths::of(context);
    if is_upgrade(&context.headers) {
        // The query stays behind, as upstream.
        return join(context, &peer, &path.target("")).await;
    }
    let query = context.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if path.is_bare() && matches!(context.method, Method::GET | Method::HEAD) {
        return Ok(moved(&format!("{}/{query}", path.asked_text())));
    }
    forward::forward(context, &peer, &path, &query, body).await
}

/// Sends the client to the same path with a slash, so that relative links work.
fn moved(location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(value) = HeaderValue::from_bytes(location.as_bytes()) {
        response.headers_mut().insert(LOCATION, value);
    }
    forward::not_cached(response.headers_mut());
    response
}

#[cfg(test)]
mod tests;
