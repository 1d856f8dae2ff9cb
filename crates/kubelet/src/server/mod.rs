//! The kubelet's HTTPS server: what the API server asks of a node. Upstream: pkg/kubelet/server.
//!
//! Who clients are and what they may is the business of [`auth`]. [`logs`] reads containers' logs, [`streams`] runs
//! commands in containers and reaches their ports, [`summary`] and [`metrics`] tell what everything uses.

mod auth;
mod configz;
mod files;
pub(crate) mod logs;
mod metrics;
mod peer;
mod pods;
pub(crate) mod query;
mod streams;
mod summary;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use client::Body;
use http::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    RootCertStore, ServerConfig, crypto::ring, pki_types::CertificateDer, server::ResolvesServerCert,
    server::WebPkiClientVerifier,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::kubelet::Kubelet;
use auth::Gate;
use query::Query;
use streams::Ask;

/// How the server proves who it is, and whose clients it believes.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Gives the present serving certificate.
    pub certificate: Arc<dyn ResolvesServerCert>,
    /// The cluster's authority, DER: signs clients.
    pub client_ca: Vec<u8>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("kubelet server: {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The authority is none, or TLS can't be set up.
    #[error("kubelet server: {0}")]
    Tls(String),
}

/// A handshake that takes longer is given up.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// The pause after `accept` failed (no free descriptors, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens, and serves in the background until the kubelet stops.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(kubelet: Arc<Kubelet>, serving: &Serving) -> Result<SocketAddr, ServeError> {
    let address = format!("{}:{}", kubelet.config.address, kubelet.config.port);
    let failed = |source| ServeError::Listen { address: address.clone(), source };
    let listener = TcpListener::bind(&address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls(serving).map_err(ServeError::Tls)?));
    let gate = Arc::new(Gate::new(kubelet.client.clone(), &kubelet.config.node_name));
    tokio::spawn(async move {
        let stop = kubelet.stop.clone();
        stop.run_until_cancelled(accept(listener, acceptor, kubelet, gate)).await;
    });
    Ok(bound)
}

fn tls(serving: &Serving) -> Result<ServerConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(serving.client_ca.clone())).map_err(|error| error.to_string())?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        // Whoever has none is told so by a 401.
        .allow_unauthenticated()
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(serving.certificate.clone());
    // Streams upgrade their connection, which HTTP/2 does not.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, kubelet: Arc<Kubelet>, gate: Arc<Gate>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, kubelet, gate) = (acceptor.clone(), kubelet.clone(), gate.clone());
                tokio::spawn(async move {
                    let stop = kubelet.stop.clone();
                    stop.run_until_cancelled(connection(stream, acceptor, kubelet, gate)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "kubelet server: connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, kubelet: Arc<Kubelet>, gate: Arc<Gate>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await else { return };
    let peer = Arc::new(peer::identify(stream.get_ref().1.peer_certificates().unwrap_or_default()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (kubelet, gate, peer) = (kubelet.clone(), gate.clone(), peer.clone());
        async move {
            let path = request.uri().path().to_owned();
            let allowed = gate.check((*peer).as_ref(), request.headers(), request.method(), &path).await;
            Ok::<_, Infallible>(match allowed {
                Ok(()) => answer(&kubelet, request).await.unwrap_or_else(|refused| refused),
                Err((code, why)) => text(code, why),
            })
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = serving.await {
        tracing::debug!(%error, "kubelet server: connection ended");
    }
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

/// Plain text, as all of the kubelet's errors are.
fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
