//! TLS towards a server: which authorities are trusted, and the client's certificate.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::error::ClientError;

/// PEM text, given inline or in a file that is read again whenever a connection is made (certificates get renewed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// The text itself.
    Inline(Vec<u8>),
    /// Where it is kept.
    File(PathBuf),
}

/// What a connection is secured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Authorities that may sign the server's certificate. None: no server is trusted.
    pub authority: Option<Pem>,
    /// The client's certificate and key.
    pub identity: Option<(Pem, Pem)>,
    /// The name the server's certificate must carry, if it is not the host of the URL.
    pub server_name: Option<String>,
    /// Trust any server (`insecure-skip-tls-verify`).
    pub insecure: bool,
}

// === impl Pem ===

impl Pem {
    /// The text.
    ///
    /// # Errors
    /// [`ClientError::Request`] naming the file that can't be read.
    pub fn read(&self) -> Result<Vec<u8>, ClientError> {
        match self {
            Pem::Inline(text) => Ok(text.clone()),
            Pem::File(path) => {
                std::fs::read(path).map_err(|error| ClientError::Request(format!("{}: {error}", path.display())))
            }
        }
    }
}

// === impl TlsOptions ===

impl TlsOptions {
    /// Reads the files and makes rustls's configuration, offering `protocols` through ALPN.
    ///
    /// # Errors
    /// [`ClientError::Request`] for unreadable files, bad PEM, or a key that doesn't fit its certificate.
    pub fn client_config(&self, protocols: &[&str]) -> Result<ClientConfig, ClientError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.identity {
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(&key.read()?).map_err(refused)?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(refused)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let mut roots = RootCertStore::empty();
        if let Some(authority) = &self.authority {
            roots.add_parsable_certificates(certificates(authority)?);
        }
        Ok(roots)
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    CertificateDer::pem_slice_iter(&pem.read()?).collect::<Result<_, _>>().map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> ClientError {
    ClientError::Request(format!("TLS: {error}"))
}

/// The verifier behind `insecure-skip-tls-verify`: any certificate will do, but the handshake's signatures hold.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
