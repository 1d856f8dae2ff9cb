//! An HTTPS server that knows whom its clients' certificates name.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use client::Body;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::CertificateDer,
    server::{ResolvesServerCert, WebPkiClientVerifier},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::peer::{self, User};

/// How a server proves who it is, and whose clients it believes.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Gives the present serving certificate.
    pub certificate: Arc<dyn ResolvesServerCert>,
    /// The authorities that sign clients, DER. None: certificates of clients are not looked at.
    pub client_authorities: Vec<Vec<u8>>,
}

/// A handshake that takes longer is given up.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// The pause after `accept` failed (no free descriptors, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on `address` and has requests answered in the background until `stop`. `answer` is told whom the connection's
/// certificate names.
///
/// # Errors
/// The address can't be listened on, or TLS not be set up.
pub async fn serve<A, F>(address: &str, serving: &Serving, stop: CancellationToken, answer: A) -> io::Result<SocketAddr>
where
    A: Fn(Arc<Option<User>>, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(tls(serving)?));
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = connection(stream, acceptor.clone(), answer.clone());
                    tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }));
    Ok(bound)
}

fn tls(serving: &Serving) -> io::Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match serving.client_authorities.is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            let mut roots = RootCertStore::empty();
            for authority in &serving.client_authorities {
                roots.add(CertificateDer::from(authority.clone())).map_err(io::Error::other)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                // Whoever has none is told so by a 401.
                .allow_unauthenticated()
                .build()
                .map_err(io::Error::other)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(serving.certificate.clone());
    // Streams upgrade their connection, which HTTP/2 does not.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn connection<A, F>(stream: TcpStream, acceptor: TlsAcceptor, answer: A)
where
    A: Fn(Arc<Option<User>>, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await else { return };
    let peer = Arc::new(peer::identify(stream.get_ref().1.peer_certificates().unwrap_or_default()));
    let service = service_fn(move |request: Request<Incoming>| {
        let answered = answer(peer.clone(), request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = serving.await {
        tracing::debug!(%error, "connection ended");
    }
}

/// An answer of plain text.
pub fn text(code: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
