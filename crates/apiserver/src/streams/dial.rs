//! Connections to nodes, pods and endpoints, and what is said of those that fail: the words of Go's `net` and
//! `crypto/tls`, which clients see in messages.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use client::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use streaming::upgrade::SendError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The other side of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub host: String,
    /// A number, unless the client who named it is wrong.
    pub port: String,
    /// How it is believed, where it speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A connection, encrypted or not.
pub type Connection = Box<dyn Io>;

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Reaching another side takes no longer, the handshake included; upstream's dial timeout.
const DIAL_TIME_MAX: Duration = Duration::from_secs(30);
/// Streams upgrade their connection, which HTTP/2 does not.
const PROTOCOL: &[u8] = b"http/1.1";

// === impl Peer ===

impl Peer {
    /// `host:port`, the host in brackets where it has colons.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// Why not, as Go says it.
    pub async fn dial(&self) -> Result<Connection, String> {
        let port: u16 = self.port.parse().map_err(|_| self.no_port())?;
        let authority = self.authority();
        let connected = async {
            let refused = |error: io::Error| format!("dial tcp {authority}: connect: {}", errno(&error));
            let stream = TcpStream::connect((self.host.as_str(), port)).await.map_err(refused)?;
            // Latency only; a connection without it works as well.
            let _ = stream.set_nodelay(true);
            let Some(config) = &self.tls else { return Ok(Box::new(stream) as Connection) };
            let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
            stream.map(|stream| Box::new(stream) as Connection).map_err(|error| words_of_io(&error))
        };
        match tokio::time::timeout(DIAL_TIME_MAX, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("dial tcp {authority}: i/o timeout")),
        }
    }

    /// Connects and sends one request, which may change the connection's protocol.
    ///
    /// # Errors
    /// Why there is no answer, and whether a connection came to be.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        let connection = self.dial().await?;
        streaming::upgrade::send(connection, &self.authority(), request).await.map_err(|error| words(&error))
    }

    fn no_port(&self) -> String {
        match !self.port.is_empty() && self.port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("dial tcp: address {}: invalid port", self.port),
            false => format!("dial tcp: lookup tcp/{}: unknown port", self.port),
        }
    }
}

/// TLS that asks for no proof: pods and endpoints have certificates for any name. Upstream's `CreateProxyTransport`.
pub fn anyone() -> Arc<ClientConfig> {
    static ANYONE: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let provider = Arc::new(ring::default_provider());
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
        // Both versions are among the provider's; a table that says otherwise ends the program at its first use.
        #[allow(clippy::expect_used)]
        let builder = builder.expect("ring has TLS 1.2 and 1.3");
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Arc::new(config)
    });
    ANYONE.clone()
}

/// Believes every certificate whose key is really there.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn words(error: &SendError) -> String {
    match error {
        SendError::Io(error) => words_of_io(error),
        SendError::Http(error) if error.is_incomplete_message() => "EOF".to_owned(),
        SendError::Http(error) => match source::<io::Error>(error) {
            Some(error) => words_of_io(error),
            None => error.to_string(),
        },
    }
}

fn source<'e, E: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn words_of_io(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => "tls: first record does not look like a TLS handshake".to_owned(),
        // Another authority of the same name signs badly.
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(other)) => {
            format!("tls: failed to verify certificate: x509: {other}")
        }
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => errno(error),
    }
}

/// An error of the system, as Go writes it: `connection refused`.
fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    match (text.split_once(" (os error"), error.raw_os_error()) {
        (Some((name, _)), Some(_)) => name.to_lowercase(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn peer(port: &str) -> Peer {
        Peer { host: "127.0.0.1".to_owned(), port: port.to_owned(), tls: None }
    }

    #[rstest]
    #[case("99999", "dial tcp: address 99999: invalid port")]
    #[case("web", "dial tcp: lookup tcp/web: unknown port")]
    #[tokio::test]
    async fn ports_that_are_none(#[case] port: &str, #[case] expected: &str) {
        assert_eq!(peer(port).dial().await.err().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        drop(listener);
        let said = peer(&port).dial().await.err().unwrap();
        assert_eq!(said, format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
    }
}
