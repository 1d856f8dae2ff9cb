//! Requests that become streams to a node: logs, commands, ports.
//!
//! The API server finds the node and passes bytes; what is in them is the client's and the kubelet's.

mod kubelets;
mod location;
mod log;
mod upgrade;

use ::api::status::Status;
use client::Body;
use http::Response;

use crate::api::Api;
use crate::context::Context;
use crate::served::Served;

pub use kubelets::Kubelets;

/// Answers a request to a streaming subresource.
///
/// # Errors
/// The Status that says why there is no stream.
pub async fn connect(api: &Api, context: &Context, served: &Served, _: Body) -> Result<Response<Body>, Status> {
    match context.info.subresource.as_str() {
        "log" => log::get(api, context, served).await,
        "exec" | "attach" | "portforward" => upgrade::connect(api, context, served).await,
        other => Err(Status::unavailable(format!("{other} is not served yet"))),
    }
}
