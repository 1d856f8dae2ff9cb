//! The kubelet's HTTPS server: what the API server asks of a node. Upstream: pkg/kubelet/server.
//!
//! Clients prove who they are with a certificate of the cluster's authority; see [`peer`]. [`logs`] reads containers'
//! logs, [`streams`] runs commands in containers and reaches their ports.

mod logs;
mod peer;
mod query;
mod streams;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use client::Body;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    RootCertStore, ServerConfig, crypto::ring, pki_types::CertificateDer, server::ResolvesServerCert,
    server::WebPkiClientVerifier,
};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::kubelet::Kubelet;
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
    tokio::spawn(async move {
        let stop = kubelet.stop.clone();
        stop.run_until_cancelled(accept(listener, acceptor, kubelet)).await;
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

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, kubelet: Arc<Kubelet>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, kubelet) = (acceptor.clone(), kubelet.clone());
                tokio::spawn(async move {
                    let stop = kubelet.stop.clone();
                    stop.run_until_cancelled(connection(stream, acceptor, kubelet)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "kubelet server: connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, kubelet: Arc<Kubelet>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await else { return };
    let allowed = peer::judge(stream.get_ref().1.peer_certificates().unwrap_or_default());
    let service = service_fn(move |request: Request<Incoming>| {
        let kubelet = kubelet.clone();
        async move {
            Ok::<_, Infallible>(match allowed {
                Ok(()) => answer(&kubelet, request).await.unwrap_or_else(|refused| refused),
                Err(code) => text(code, code.canonical_reason().unwrap_or_default()),
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

/// The answer, or the one that says why there is none.
async fn answer(kubelet: &Arc<Kubelet>, request: Request<Incoming>) -> Result<Response<Body>, Response<Body>> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let read = request.method() == Method::GET;
    match parts.as_slice() {
        ["healthz" | "healthz/ping"] if read => Ok(text(StatusCode::OK, "ok")),
        ["pods"] if read => Ok(pods(kubelet)),
        ["containerLogs", namespace, pod, container] if read => {
            logs::answer(kubelet, (namespace, pod, container), &query).await
        }
        ["exec", namespace, pod, container] => {
            streams::answer(kubelet, (namespace, pod), Ask::Exec(container), &query, request).await
        }
        ["attach", namespace, pod, container] => {
            streams::answer(kubelet, (namespace, pod), Ask::Attach(container), &query, request).await
        }
        ["portForward", namespace, pod] => {
            streams::answer(kubelet, (namespace, pod), Ask::PortForward, &query, request).await
        }
        _ => Err(text(StatusCode::NOT_FOUND, "404 page not found\n")),
    }
}

/// The node's pods with the statuses known here.
fn pods(kubelet: &Kubelet) -> Response<Body> {
    let pods: Vec<_> = kubelet
        .workers
        .pods()
        .iter()
        .map(|pod| {
            let mut pod = (**pod).clone();
            pod.status = Some(kubelet.pod_status(&pod));
            pod
        })
        .collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods});
    let mut response = Response::new(Body::full(list.to_string()));
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
