//! Clients that are slow, silent or broken, over TLS in this process; time passes when nobody has anything to do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use apiserver::pki::{CertResolver, Identity, Pki, ServerNames, serving};
use apiserver::serve::connection;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

struct Clients {
    _files: tempfile::TempDir,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    server: apiserver::server::Server,
}

// === impl Clients ===

impl Clients {
    async fn new(protocol: &str) -> Clients {
        let files = tempfile::tempdir().unwrap();
        let now = jiff::Timestamp::now().as_second();
        let pki = Pki::open(files.path(), now).unwrap();
        let names = ServerNames { hostname: "server".into(), ..ServerNames::default() };
        let resolver = CertResolver::new(&pki, "apiserver", Identity::api_server(&names), now).unwrap();
        let config = serving::server_config(resolver, &[pki.ca.der()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(pki.ca.der().to_vec().into()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![protocol.into()];
        Clients {
            _files: files,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            connector: TlsConnector::from(Arc::new(client)),
            server: support::server().await,
        }
    }

    /// The client's end, and the task that serves the other one.
    fn raw(&self) -> (DuplexStream, JoinHandle<()>) {
        let (near, far) = duplex(1 << 16);
        let peer = "127.0.0.1:1".parse().unwrap();
        let pipeline = self.server.pipeline.clone();
        (near, tokio::spawn(connection(far, peer, self.acceptor.clone(), pipeline, CancellationToken::new())))
    }

    async fn connect(&self) -> (TlsStream<DuplexStream>, JoinHandle<()>) {
        let (near, serving) = self.raw();
        (self.connector.connect("server".try_into().unwrap(), near).await.unwrap(), serving)
    }
}

/// How long the server bears with a client.
async fn patience(serving: JoinHandle<()>) -> Duration {
    let since = Instant::now();
    serving.await.unwrap();
    since.elapsed()
}

fn about(seconds: u64) -> std::ops::Range<Duration> {
    Duration::from_secs(seconds - 1)..Duration::from_secs(seconds + 1)
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_hung_up_on() {
    for protocol in ["http/1.1", "h2"] {
        let clients = Clients::new(protocol).await;
        let (_silent, serving) = clients.connect().await;
        assert!(about(32).contains(&patience(serving).await));
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_even_shake_hands_is_hung_up_on() {
    let (_silent, serving) = Clients::new("h2").await.raw();
    assert!(about(10).contains(&patience(serving).await));
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_not_waited_for_longer_than_for_the_next_request() {
    let clients = Clients::new("http/1.1").await;
    let (mut client, serving) = clients.connect().await;
    client.write_all(b"GET /version HTTP/1.1\r\nHost: server\r\n").await.unwrap();
    assert!(about(90).contains(&patience(serving).await));
    let (mut client, serving) = clients.connect().await;
    client.write_all(b"GET /version HTTP/1.1\r\nHost: server\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    // Nobody has said who asks.
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert!(about(90).contains(&patience(serving).await));
}

/// A stranger's body was waited for without end.
#[tokio::test(start_paused = true)]
async fn the_body_of_a_request_that_is_refused_is_not_waited_for() {
    let clients = Clients::new("http/1.1").await;
    let (mut client, _serving) = clients.connect().await;
    let head = b"POST /api/v1/namespaces HTTP/1.1\r\nHost: server\r\nContent-Length: 1000\r\n\r\n{";
    client.write_all(head).await.unwrap();
    let since = Instant::now();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
}

/// No TLS, no HTTP, no sense: the connection ends, the server does not.
#[tokio::test]
async fn what_is_no_request_ends_the_connection() {
    let clients = Clients::new("http/1.1").await;
    let (mut client, serving) = clients.raw();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    serving.await.unwrap();
    for nonsense in [
        "HELLO\r\n\r\n",
        "GET /api HTTP/9.9\r\n\r\n",
        "POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "GET /api HTTP/1.1\r\nHost x\r\n\r\n",
    ] {
        let (mut client, serving) = clients.connect().await;
        client.write_all(nonsense.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{nonsense}");
        serving.await.unwrap();
    }
    assert_eq!(support::ask(&clients.server, "GET", "/livez", ("accept", "*/*"), "").await, (200, "ok".to_owned()));
}
