//! The HTTPS transport against hyper's server with certificates made for the test.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::config::kubeconfig::{Cluster, User};
use client::transport::https::Credentials;
use client::transport::tls::{Pem, TlsOptions};
use client::{Body, Client, Kubeconfig};
use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct Server {
    url: String,
    ca_pem: String,
    client_pem: (String, String),
    connections: Arc<AtomicUsize>,
    // Keeps the files of a kubeconfig.
    directory: tempfile::TempDir,
}

/// Answers `version authorization path`; echoes upgraded connections.
async fn answer(mut request: Request<hyper::body::Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    if request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut said = [0; 4];
            io.read_exact(&mut said).await.unwrap();
            io.write_all(&said).await.unwrap();
            io.flush().await.unwrap();
        });
        let response = Response::builder().status(101).header("upgrade", "echo").header("connection", "upgrade");
        return Ok(response.body(Body::empty()).unwrap());
    }
    let authorization = request.headers().get("authorization").map_or("-", |value| value.to_str().unwrap()).to_owned();
    let path = request.uri().path_and_query().unwrap().as_str();
    Ok(Response::new(Body::from(format!("{:?} {authorization} {path}", request.version()))))
}

impl Server {
    async fn start(protocols: &[&str]) -> Server {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let issue = |names: Vec<String>| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
            (certificate, key)
        };
        let (certificate, key) = issue(vec!["127.0.0.1".into()]);
        let (client_certificate, client_key) = issue(vec!["somebody".into()]);
        let mut roots = rustls::RootCertStore::empty();
        let authority = rustls_pki_types::pem::PemObject::from_pem_slice(ca_pem.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer)).await;
                });
            }
        });
        let client_pem = (client_certificate.pem(), client_key.serialize_pem());
        Server { url, ca_pem, client_pem, connections, directory: tempfile::tempdir().unwrap() }
    }

    fn tls(&self) -> TlsOptions {
        let pem = |text: &str| Pem::Inline(text.as_bytes().to_vec());
        TlsOptions {
            authority: Some(pem(&self.ca_pem)),
            identity: Some((pem(&self.client_pem.0), pem(&self.client_pem.1))),
            ..TlsOptions::default()
        }
    }
}

#[tokio::test]
async fn http2_is_preferred_and_one_connection_carries_many_requests() {
    let server = Server::start(&["h2", "http/1.1"]).await;
    let client = Client::https(&server.url, server.tls(), Credentials::Token("t".into())).unwrap();
    let answers = futures::future::join_all((0..20).map(|_| client.get("/a?b=c"))).await;
    for answer in answers {
        assert_eq!(answer.unwrap(), "HTTP/2.0 Bearer t /a?b=c");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    client.reconnect();
    client.get("/").await.unwrap();
    assert_eq!(server.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn http1_connections_are_used_again() {
    let server = Server::start(&["http/1.1"]).await;
    let client = Client::https(&format!("{}/proxy/", server.url), server.tls(), Credentials::None).unwrap();
    for _ in 0..5 {
        assert_eq!(client.get("/a?b").await.unwrap(), "HTTP/1.1 - /proxy/a?b");
        tokio::task::yield_now().await;
    }
    assert!(server.connections.load(Ordering::Relaxed) < 5);
}

#[tokio::test]
async fn an_upgrade_speaks_http1_whatever_the_pool_speaks() {
    let server = Server::start(&["h2", "http/1.1"]).await;
    let client = Client::https(&server.url, server.tls(), Credentials::None).unwrap();
    let request = Request::get("/exec").header("upgrade", "echo").header("connection", "upgrade");
    let mut connection = client.upgrade(request.body(Body::empty()).unwrap()).await.unwrap();
    connection.io.write_all(b"ping").await.unwrap();
    connection.io.flush().await.unwrap();
    let mut said = [0; 4];
    connection.io.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"ping");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_skip_verify_is_not() {
    let (server, other) = (Server::start(&["h2"]).await, Server::start(&["h2"]).await);
    let tls = TlsOptions { authority: other.tls().authority, ..server.tls() };
    let error = Client::https(&server.url, tls, Credentials::None).unwrap().get("/").await.unwrap_err();
    assert!(error.is_transient() && error.api().is_none(), "{error}");
    let tls = TlsOptions { authority: None, insecure: true, ..server.tls() };
    assert!(Client::https(&server.url, tls, Credentials::None).unwrap().get("/").await.is_ok());
}

#[tokio::test]
async fn a_kubeconfig_with_files_connects_and_a_token_file_is_read() {
    let server = Server::start(&["h2"]).await;
    let file = |name: &str, text: &str| std::fs::write(server.directory.path().join(name), text).unwrap();
    file("ca.pem", &server.ca_pem);
    file("cert.pem", &server.client_pem.0);
    file("key.pem", &server.client_pem.1);
    file("token", "secret\n");
    let cluster =
        Cluster { server: server.url.clone(), certificate_authority: Some("ca.pem".into()), ..Cluster::default() };
    let user = User {
        client_certificate: Some("cert.pem".into()),
        client_key: Some("key.pem".into()),
        token_file: Some("token".into()),
        ..User::default()
    };
    file("config", &Kubeconfig::single("x", cluster, user).write());
    let config = client::Config::load(Some(&server.directory.path().join("config"))).unwrap();
    assert_eq!(config.client().unwrap().get("/x").await.unwrap(), "HTTP/2.0 Bearer secret /x");
}

/// Serves so many requests on each connection and then closes it without a word.
async fn rude_server(requests_per_connection: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                for _ in 0..requests_per_connection {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = socket.read_u8().await else { return };
                        head.push(byte);
                    }
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            });
        }
    });
    (url, connections)
}

#[tokio::test]
async fn a_connection_that_ended_unnoticed_is_replaced() {
    let (url, connections) = rude_server(1).await;
    let client = Client::https(&url, TlsOptions::default(), Credentials::None).unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap(), "ok");
        tokio::task::yield_now().await;
    }
    assert!(connections.load(Ordering::Relaxed) >= 20);
}
