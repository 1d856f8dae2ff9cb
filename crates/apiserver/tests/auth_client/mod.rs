//! One HTTP/1.1 request over TLS, by hand: the certificate, the headers and the bytes are the test's.

use std::net::SocketAddr;
use std::sync::Arc;

use api::codec::json;
use api::value::Value;
use apiserver::pki::{Issued, PrivateKey, pem};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where an API server listens, and the authority of its certificate.
pub struct Door {
    pub address: SocketAddr,
    pub ca: Vec<u8>,
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Door {
    /// One request on a connection of its own: status code and body.
    pub async fn send(
        &self,
        by: Option<&Issued>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.ca.clone())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match by {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = pem::certificates(issued.certificate_pem.as_bytes()).unwrap();
                let key = PrivateKey::from_pem(issued.key_pem.as_bytes()).unwrap();
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
                builder.with_client_auth_cert(chain.into_iter().map(CertificateDer::from).collect(), key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("kubernetes.default.svc").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let length = body.len();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\nAccept: application/json, */*\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n"
        );
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A peer that closes without TLS's goodbye is no failure of the answer.
        drop(stream.read_to_end(&mut answer).await);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        (code, json::parse(body.as_bytes()).unwrap_or_default())
    }
}

fn unchunked(body: &str) -> String {
    let (mut out, mut rest) = (String::new(), body);
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap();
        if length == 0 {
            break;
        }
        out.push_str(&after[..length]);
        rest = &after[length + 2..];
    }
    out
}
