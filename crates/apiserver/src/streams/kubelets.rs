//! The way to kubelets: TLS with the API server's own certificate, theirs verified.

use std::sync::Arc;

use ::api::status::Status;
use arc_swap::ArcSwapOption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::dial::Peer;
use super::location::Node;
use crate::pki::{Issued, PkiError, PrivateKey, pem};

/// How kubelets are reached; nothing until it is set.
#[derive(Default)]
pub struct Kubelets(ArcSwapOption<ClientConfig>);

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

    /// A node's kubelet as the other side of a connection.
    ///
    /// # Errors
    /// 500 while this server has no certificate to show.
    pub fn peer(&self, node: &Node) -> Result<Peer, Status> {
        let config = self.0.load_full().ok_or_else(|| Status::internal("no certificate for kubelets"))?;
        Ok(Peer { host: node.host.clone(), port: node.port.to_string(), tls: Some(config) })
    }
}
