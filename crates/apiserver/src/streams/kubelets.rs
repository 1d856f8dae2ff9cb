//! The way to kubelets: TLS with the API server's own certificate, theirs verified.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use ::api::status::Status;
use arc_swap::ArcSwapOption;
use client::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::location::Node;
use crate::pki::{Issued, PkiError, PrivateKey, pem};

/// How kubelets are reached; nothing until it is set.
#[derive(Default)]
pub struct Kubelets(ArcSwapOption<ClientConfig>);

/// Reaching a node takes no longer; upstream's dial timeout.
const DIAL_TIME_MAX: Duration = Duration::from_secs(30);

// === impl Kubelets ===

impl Kubelets {
    /// Believes kubelets by an authority (DER), and shows them a certificate.
    ///
    /// # Errors
    /// One of them is none.
    pub fn set(&self, ca: &[u8], own: &Issued) -> Result<(), PkiError> {
        let broken = |error: rustls::Error| PkiError::malformed(error.to_string());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.to_vec())).map_err(broken)?;
        let chain = pem::certificates(own.certificate_pem.as_bytes())?.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKey::from_pem(own.key_pem.as_bytes())?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(broken)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(broken)?;
        // Streams upgrade their connection, which HTTP/2 does not.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.0.store(Some(Arc::new(config)));
        Ok(())
    }

    /// Sends one request to a node's kubelet, over a connection of its own.
    ///
    /// # Errors
    /// 500 where the kubelet can't be reached.
    pub async fn send(&self, node: &Node, request: Request<Body>) -> Result<Response<Incoming>, Status> {
        let (method, path) = (request.method().clone(), request.uri().clone());
        let failed = |error: &dyn Display| {
            let method = if method == http::Method::POST { "Post" } else { "Get" };
            Status::internal(format!("{method} \"https://{}{path}\": {error}", node.authority()))
        };
        let config = self.0.load_full().ok_or_else(|| failed(&"no certificate for kubelets"))?;
        let authority = node.authority();
        let name = ServerName::try_from(node.host.clone()).map_err(|error| failed(&error))?;
        let connected = async {
            let stream = TcpStream::connect(&authority).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(config).connect(name, stream).await
        };
        let connected = tokio::time::timeout(DIAL_TIME_MAX, connected).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(&format!("dial tcp {authority}: {error}"))),
            Err(_) => return Err(failed(&format!("dial tcp {authority}: i/o timeout"))),
        };
        streaming::upgrade::send(stream, &authority, request).await.map_err(|error| failed(&error))
    }
}
