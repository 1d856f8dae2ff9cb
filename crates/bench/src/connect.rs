//! Connections to the server under load.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A server and the client certificate to show it.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    address: String,
    tls: Arc<rustls::ClientConfig>,
}

/// One HTTP/2 connection.
pub struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: String,
    client_key_data: String,
}

// === impl Target ===

impl Target {
    /// Reads the first cluster and user of a kubeconfig with embedded certificates.
    pub fn from_kubeconfig(path: &Path) -> Result<Target, Error> {
        let config: Kubeconfig = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
        let cluster = config.clusters.into_iter().next().ok_or("no cluster in the kubeconfig")?.cluster;
        let user = config.users.into_iter().next().ok_or("no user in the kubeconfig")?.user;
        let mut roots = rustls::RootCertStore::empty();
        for ca in certificates(&cluster.certificate_authority_data)? {
            roots.add(ca)?;
        }
        let key = PrivateKeyDer::from_pem_slice(&BASE64_STANDARD.decode(user.client_key_data)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&user.client_certificate_data)?, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let address = cluster.server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned();
        Ok(Target { host, address, tls: Arc::new(tls) })
    }

    pub async fn connect(&self) -> Result<Connection, Error> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        let stream = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(64 << 20)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(Connection { host: self.address.clone(), sender })
    }
}

fn certificates(data: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = BASE64_STANDARD.decode(data)?;
    Ok(CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?)
}

// === impl Connection ===

impl Connection {
    fn request(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        Ok(Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.host))
            .header("content-type", media_type)
            .header("accept", "application/json")
            .header("user-agent", "bench/1")
            .body(Full::new(body))?)
    }

    /// Sends a request and reads the whole answer; gives its length.
    ///
    /// # Errors
    /// A broken connection, or an answer that is no success.
    pub async fn call(&mut self, method: Method, path: &str, media_type: &str, body: Bytes) -> Result<Bytes, Error> {
        let request = self.request(method, path, media_type, body)?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        match status.is_success() {
            true => Ok(body),
            false => {
                Err(format!("{status} for {path}: {}", String::from_utf8_lossy(&body[..body.len().min(300)])).into())
            }
        }
    }

    /// Reads an answer's bytes as they come and drops them; gives how many.
    pub async fn drain(&mut self, path: &str) -> Result<usize, Error> {
        let mut body = self.open(path).await?;
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(length)
    }

    /// Sends a GET and gives the body that goes on.
    pub async fn open(&mut self, path: &str) -> Result<hyper::body::Incoming, Error> {
        let request = self.request(Method::GET, path, "application/json", Bytes::new())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        match response.status().is_success() {
            true => Ok(response.into_body()),
            false => Err(format!("{} for {path}", response.status()).into()),
        }
    }
}
