//! The kubelet's HTTPS server: what the API server asks of a node. Upstream: pkg/kubelet/server.
//!
//! Who clients are and what they may is the business of [`auth`]. [`logs`] reads containers' logs, [`streams`] runs
//! commands in containers and reaches their ports, [`summary`] and [`metrics`] tell what everything uses.

mod auth;
mod configz;
mod files;
pub(crate) mod logs;
mod metrics;
mod pods;
pub(crate) mod query;
mod streams;
mod summary;

use std::{net::SocketAddr, sync::Arc};

use client::Body;
use component::https::{self, text};
use http::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use hyper::body::Incoming;

use crate::kubelet::Kubelet;
use auth::Gate;
use query::Query;
use streams::Ask;

pub use component::https::Serving;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[error("kubelet server: {address}: {source}")]
pub struct ServeError {
    address: String,
    source: std::io::Error,
}

/// Listens, and serves in the background until the kubelet stops.
///
/// # Errors
/// The address can't be listened on, or TLS not be set up.
pub async fn serve(kubelet: Arc<Kubelet>, serving: &Serving) -> Result<SocketAddr, ServeError> {
    let address = format!("{}:{}", kubelet.config.address, kubelet.config.port);
    let gate = Arc::new(Gate::new(kubelet.client.clone(), &kubelet.config.node_name));
    let stop = kubelet.stop.clone();
    let bound = https::serve(&address, serving, stop, move |peer, request| {
        let (kubelet, gate) = (kubelet.clone(), gate.clone());
        async move {
            let path = request.uri().path().to_owned();
            match gate.check((*peer).as_ref(), request.headers(), request.method(), &path).await {
                Ok(()) => answer(&kubelet, request).await.unwrap_or_else(|refused| refused),
                Err((code, why)) => text(code, why),
            }
        }
    });
    bound.await.map_err(|source| ServeError { address, source })
}

/// Paths that are only read.
const READ_ONLY: [&str; 4] = ["pods", "runningpods", "containerLogs", "logs"];

/// The answer, or the one that says why there is none.
async fn answer(kubelet: &Arc<Kubelet>, request: Request<Incoming>) -> Result<Response<Body>, Response<Body>> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    if request.method() != Method::GET && READ_ONLY.contains(&parts[0]) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        refused.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET"));
        return Err(refused);
    }
    let failed = |error: crate::cri::Error| text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    match parts.as_slice() {
        ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => Ok(text(StatusCode::OK, "ok")),
        ["pods"] => Ok(json(&pods::pods(kubelet))),
        ["runningpods"] => pods::running(kubelet).await.map(|list| json(&list)).map_err(failed),
        ["configz"] => Ok(json(&configz::configz(&kubelet.config))),
        ["stats", "summary"] => {
            let summary = summary::summary(kubelet, query.flag("only_cpu_and_memory")).await;
            summary.map(|summary| json(&summary)).map_err(failed)
        }
        ["metrics"] => metrics::own(kubelet).await.map_err(failed),
        ["metrics", "resource"] => Ok(metrics::resource(kubelet).await),
        ["metrics", "cadvisor"] => metrics::cadvisor(kubelet).await.map_err(failed),
        ["metrics", "probes"] => Ok(metrics::probes(kubelet)),
        ["logs", ..] => Ok(files::answer(path.trim_start_matches("/logs"))),
        ["containerLogs", namespace, pod, container] => {
            logs::answer(kubelet, (namespace, pod, container), &query).await
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            streams::answer(kubelet, (namespace, pod), Ask::Exec(container), &query, request).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            streams::answer(kubelet, (namespace, pod), Ask::Attach(container), &query, request).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            streams::answer(kubelet, (namespace, pod), Ask::PortForward, &query, request).await
        }
        _ => Err(text(StatusCode::NOT_FOUND, "404 page not found\n")),
    }
}

fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::full(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
