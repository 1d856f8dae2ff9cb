//! Requests that become streams to a node: logs, commands, ports.
//!
//! The API server finds the node and passes bytes; what is in them is the client's and the kubelet's.

pub mod dial;
pub mod join;
mod kubelets;
pub mod location;
mod log;
mod translated;
mod upgrade;

use ::api::status::Status;
use client::Body;
use http::{Method, Response};

use crate::api::Api;
use crate::context::Context;
use crate::proxy;
use crate::served::Served;

pub use kubelets::Kubelets;

/// How the servers behind the proxy verbs can be asked.
pub const PROXIED: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];

/// Answers a request to a streaming subresource.
///
/// # Errors
/// The Status that says why there is no stream.
pub async fn connect(api: &Api, context: &Context, served: &Served, body: Body) -> Result<Response<Body>, Status> {
    match context.info.subresource.as_str() {
        "log" => log::get(api, context, served).await,
        "exec" | "attach" | "portforward" => upgrade::connect(api, context, served).await,
        _ => proxy::connect(api, context, body).await,
    }
}
