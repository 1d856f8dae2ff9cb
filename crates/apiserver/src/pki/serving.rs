//! TLS on the serving side: a certificate that changes in place, and client certificates that are
//! asked for but judged later, by authentication.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use super::directory::{Identity, Issued, Pki, is_due};
use super::key::PrivateKey;
use super::{PkiError, certificate, pem};

/// Hands out the current serving certificate; [`CertResolver::renew`] changes it while connections go on.
pub struct CertResolver {
    current: ArcSwap<CertifiedKey>,
    /// What `current` was made from.
    issued: Mutex<(Identity, Issued)>,
    name: String,
}

// === impl CertResolver ===

impl CertResolver {
    /// Serves the certificate `NAME.crt` of the directory.
    pub fn new(pki: &Pki, name: &str, identity: Identity, now: i64) -> Result<Arc<CertResolver>, PkiError> {
        let issued = pki.ensure(name, &identity, now)?;
        let current = ArcSwap::from_pointee(certified_key(&issued.certificate_pem, &issued.key_pem)?);
        Ok(Arc::new(CertResolver { current, issued: Mutex::new((identity, issued)), name: name.to_owned() }))
    }

    /// Makes a new certificate if the present one is due or the identity (names) changed; says
    /// whether it did. Call it at start, on address changes, and at [`CertResolver::due_at`].
    pub fn renew(&self, pki: &Pki, identity: Identity, now: i64) -> Result<bool, PkiError> {
        let mut issued = self.issued.lock();
        let same = issued.0.names == identity.names && issued.0.common_name == identity.common_name;
        if same && !is_due(issued.1.not_before, issued.1.not_after, now) {
            return Ok(false);
        }
        let new = pki.ensure(&self.name, &identity, now)?;
        self.current.store(Arc::new(certified_key(&new.certificate_pem, &new.key_pem)?));
        *issued = (identity, new);
        Ok(true)
    }

    /// When the present certificate is due, in seconds since 1970.
    pub fn due_at(&self) -> i64 {
        let issued = self.issued.lock();
        issued.1.not_before + (issued.1.not_after - issued.1.not_before) / 3 * 2
    }
}

impl std::fmt::Debug for CertResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertResolver").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// A certificate chain and key as rustls wants them.
pub fn certified_key(certificate_pem: &str, key_pem: &str) -> Result<CertifiedKey, PkiError> {
    let chain = pem::certificates(certificate_pem.as_bytes())?.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKey::from_pem(key_pem.as_bytes())?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
    let key = ring::sign::any_supported_type(&key).map_err(|error| PkiError::Crypto(error.to_string()))?;
    Ok(CertifiedKey::new(chain, key))
}

/// TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, client certificates of `client_cas` asked for.
pub fn server_config(resolver: Arc<dyn ResolvesServerCert>, client_cas: &[&[u8]]) -> Result<ServerConfig, PkiError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = RequestClientCert::new(&provider, client_cas);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PkiError::Crypto(error.to_string()))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Go's `RequestClientCert`: whoever brings a certificate must hold its key, but who signed it and
/// whether it is over is authentication's to say, with a 401 instead of a broken handshake.
#[derive(Debug)]
struct RequestClientCert {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

// === impl RequestClientCert ===

impl RequestClientCert {
    fn new(provider: &CryptoProvider, client_cas: &[&[u8]]) -> RequestClientCert {
        let parsed = client_cas.iter().filter_map(|der| certificate::parse(der).ok());
        let hints = parsed.map(|ca| DistinguishedName::from(ca.subject().as_raw().to_vec())).collect();
        RequestClientCert { algorithms: provider.signature_verification_algorithms, hints }
    }
}

impl ClientCertVerifier for RequestClientCert {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::ServerNames;

    #[test]
    fn the_certificate_changes_in_place() {
        const NOW: i64 = 1_800_000_000;
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), NOW).unwrap();
        let names = |host: &str| Identity::api_server(&ServerNames { hostname: host.into(), ..ServerNames::default() });
        let resolver = CertResolver::new(&pki, "apiserver", names("a"), NOW).unwrap();
        let config = server_config(resolver.clone(), &[pki.ca.der()]).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        let first = resolver.current.load_full();
        assert!(!resolver.renew(&pki, names("a"), NOW + 10).unwrap());
        assert!(resolver.renew(&pki, names("b"), NOW + 10).unwrap());
        let second = resolver.current.load_full();
        assert_ne!(first.cert, second.cert);
        assert!(resolver.renew(&pki, names("b"), resolver.due_at()).unwrap());
        assert_ne!(resolver.current.load_full().cert, second.cert);
    }
}
