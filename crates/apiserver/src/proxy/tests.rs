//! The proxy verbs through the real pipeline, with servers of our own behind.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use api::user::UserInfo;
use bytes::Bytes;
use client::{Body, SystemClock};
use futures::{StreamExt, stream};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authn::token::{Issuer, KeySet};
use crate::authn::{self, Peer};
use crate::authz::Mode;
use crate::bootstrap::objects::AuthenticationTrust;
use crate::pki::key::PrivateKey;
use crate::pki::{Identity as Names, Pki, serving};
use crate::serve::Connection;
use crate::server::{Datastore, Identity, Server, own_user};
use crate::settings::Settings;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const MERGE: &str = "application/merge-patch+json";

/// An address of this machine that pods could have.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("this test needs a route");
    socket.local_addr().unwrap().ip()
}

async fn server() -> Server {
    let settings = Settings {
        advertise_address: "10.0.0.1".parse().unwrap(),
        secure_port: 6443,
        service_cluster_ip_range: "10.96.0.0/16".parse().unwrap(),
        service_node_port_range: (30_000, 32_767),
        service_account_issuer: "https://issuer.example".into(),
        disabled_admission_plugins: Vec::new(),
    };
    let key = PrivateKey::generate().unwrap();
    let keys = KeySet::new([key.public()]);
    let issuer = Issuer::new("https://issuer.example", key);
    let identity = Identity { authentication: authn::Settings::default(), issuer, keys };
    let server =
        Server::open(Datastore::Memory, settings, identity, Arc::new(SystemClock), vec![Mode::Rbac]).await.unwrap();
    server.seed(&AuthenticationTrust::default(), &CancellationToken::new()).await.unwrap();
    let account = r#"{"metadata":{"name":"default"}}"#;
    made(&server, "/api/v1/namespaces/default/serviceaccounts", account).await;
    server
}

fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Body> {
    let connection = Connection { peer: "198.51.100.7:1".parse().unwrap(), certificates: Peer::default() };
    let request = Request::builder().method(method).uri(path).header(HOST, "door.example");
    request.extension::<UserInfo>(own_user()).extension(Arc::new(connection)).body(Body::full(body)).unwrap()
}

async fn said(response: Response<Body>) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, String::from_utf8(body.collect(1 << 20).await.unwrap().to_vec()).unwrap())
}

async fn got(server: &Server, path: &str) -> (StatusCode, HeaderMap, String) {
    said(server.pipeline.call(request(Method::GET, path, "")).await).await
}

/// The message of a Status.
async fn refused(server: &Server, path: &str, code: u16) -> String {
    let (found, _, body) = got(server, path).await;
    assert_eq!(found, code, "{path}: {body}");
    api::codec::json::parse(body.as_bytes()).unwrap().str_at("message").to_owned()
}

async fn made(server: &Server, path: &str, body: &str) {
    let (code, _, body) = said(server.pipeline.call(request(Method::POST, path, body.to_owned())).await).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
}

async fn patched(server: &Server, path: &str, body: &str) {
    let mut request = request(Method::PATCH, path, body.to_owned());
    request.headers_mut().insert(CONTENT_TYPE, MERGE.parse().unwrap());
    let (code, _, body) = said(server.pipeline.call(request).await).await;
    assert_eq!(code, StatusCode::OK, "{body}");
}

async fn pod(server: &Server, name: &str, address: SocketAddr) {
    let (ip, port) = (address.ip(), address.port());
    let spec = format!(r#"{{"containers":[{{"name":"c","image":"i","ports":[{{"containerPort":{port}}}]}}]}}"#);
    made(server, PODS, &format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{spec}}}"#)).await;
    let status = format!(r#"{{"status":{{"phase":"Running","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}]}}}}"#);
    patched(server, &format!("{PODS}/{name}/status"), &status).await;
}

async fn slice(server: &Server, service: &str, port: (&str, u16), endpoints: &str) {
    let (name, number) = port;
    let labels = format!(r#"{{"kubernetes.io/service-name":"{service}"}}"#);
    let body = format!(
        r#"{{"metadata":{{"name":"{service}-1","labels":{labels}}},"addressType":"IPv4",
            "ports":[{{"name":"{name}","port":{number}}}],"endpoints":[{endpoints}]}}"#
    );
    made(server, SLICES, &body).await;
}

fn endpoint(pod: &str, address: IpAddr, ready: bool) -> String {
    let target = format!(r#"{{"kind":"Pod","namespace":"default","name":"{pod}"}}"#);
    format!(r#"{{"addresses":["{address}"],"conditions":{{"ready":{ready}}},"targetRef":{target}}}"#)
}

/// A server that answers with what it was asked, and by the path in other ways.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serving = hyper::server::conn::http1::Builder::new();
            tokio::spawn(serving.serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades());
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let response = Response::builder();
    let response = match path.as_str() {
        "/redirect" => response.status(302).header(LOCATION, request.uri().query().unwrap()).body(Body::empty()),
        "/page" => {
            let page = r#"<a href="/abs">x</a>"#;
            let response = response.header(CONTENT_TYPE, "text/html; charset=utf-8");
            response.header(CONTENT_LENGTH, page.len()).body(Body::full(page))
        }
        "/upgrade" => {
            let asked = format!("{}\n", request.uri());
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                stream.write_all(asked.as_bytes()).await.unwrap();
                let mut said = [0; 4];
                stream.read_exact(&mut said).await.unwrap();
                stream.write_all(&said.to_ascii_uppercase()).await.unwrap();
            });
            response.status(101).header(CONNECTION, "Upgrade").header(UPGRADE, "echo").body(Body::empty())
        }
        _ => {
            let (parts, body) = request.into_parts();
            let header = |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
            let body = Body::from(body).collect(1 << 20).await.unwrap();
            let text = [
                format!("{} {}", parts.method, parts.uri),
                header("host"),
                header("x-forwarded-for"),
                header("x-forwarded-uri"),
                header("x-mine"),
                header("keep-alive"),
                String::from_utf8(body.to_vec()).unwrap(),
            ];
            response.header("access-control-allow-origin", "*").header("x-theirs", "1").body(Body::full(text.join("|")))
        }
    };
    Ok(response.unwrap())
}

#[tokio::test]
async fn pods_are_asked_in_any_way() {
    let server = server().await;
    let address = backend().await;
    pod(&server, "echo", address).await;
    for method in crate::streams::PROXIED {
        let body = if method == Method::HEAD { "" } else { "body" };
        let mut request = request(method.clone(), &format!("{PODS}/echo/proxy/a%20b/?x=1&y"), body);
        request.headers_mut().insert("x-mine", "m".parse().unwrap());
        request.headers_mut().insert("keep-alive", "5".parse().unwrap());
        request.headers_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        let (code, headers, text) = said(server.pipeline.call(request).await).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(headers["x-theirs"], "1");
        assert!(!headers.contains_key("access-control-allow-origin"));
        let uri = format!("{PODS}/echo/proxy/a%20b/");
        let expected = format!("{method} /a%20b/?x=1&y|door.example|203.0.113.9, 198.51.100.7|{uri}|m|-|{body}");
        assert_eq!(text, if method == Method::HEAD { "" } else { expected.as_str() });
    }
    let (code, ..) = said(server.pipeline.call(request(Method::TRACE, &format!("{PODS}/echo/proxy/"), "")).await).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    let (code, headers, _) = got(&server, &format!("{PODS}/echo:{}/proxy?q", address.port())).await;
    assert_eq!(code, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(headers[LOCATION], format!("{PODS}/echo:{}/proxy/?q", address.port()));
}

#[tokio::test]
async fn pods_that_can_not_be_asked() {
    let server = server().await;
    let closed = TcpListener::bind((own_address(), 0)).await.unwrap().local_addr().unwrap();
    pod(&server, "closed", closed).await;
    pod(&server, "near", "127.0.0.1:80".parse().unwrap()).await;
    let unreached = format!("error trying to reach service: dial tcp {closed}: connect: connection refused");
    assert_eq!(refused(&server, &format!("{PODS}/closed/proxy/"), 503).await, unreached);
    assert_eq!(refused(&server, &format!("{PODS}/near/proxy/"), 400).await, "address not allowed");
    assert_eq!(refused(&server, &format!("{PODS}/none/proxy/"), 404).await, "pods \"none\" not found");
    assert_eq!(refused(&server, &format!("{PODS}/a:b:c:d/proxy/"), 400).await, "invalid pod request \"a:b:c:d\"");
    assert_eq!(refused(&server, &format!("{PODS}/closed/proxy/?dryRun=All"), 400).await, "dryRun is not supported");
}

#[tokio::test]
async fn services_are_asked_by_their_ready_endpoints() {
    let server = server().await;
    let address = backend().await;
    pod(&server, "echo", address).await;
    let ports = r#"[{"name":"web","port":80},{"name":"other","port":81}]"#;
    for name in ["web", "unready", "foreign"] {
        made(&server, SERVICES, &format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"ports":{ports}}}}}"#)).await;
    }
    let unready = endpoint("echo", address.ip(), false);
    let endpoints = format!("{unready},{}", endpoint("echo", address.ip(), true));
    slice(&server, "web", ("web", address.port()), &endpoints).await;
    slice(&server, "unready", ("web", address.port()), &unready).await;
    slice(&server, "foreign", ("web", address.port()), &endpoint("echo", "192.0.2.200".parse().unwrap(), true)).await;
    for name in ["web:web", "web:80", "http:web:web"] {
        let (code, _, text) = got(&server, &format!("{SERVICES}/{name}/proxy/x")).await;
        assert_eq!((code, text.starts_with("GET /x|")), (StatusCode::OK, true), "{name}: {text}");
    }
    for (name, expected) in [
        ("web", "no endpoints available for service \"web\""),
        ("web:other", "no endpoints available for service \"web\""),
        ("web:82", "no service port 82 found for service \"web\""),
        ("unready:80", "no endpoints available for service \"unready\""),
        ("foreign:80", "no endpoints available for service \"foreign\""),
        ("none", "no endpoints available for service \"none\""),
    ] {
        assert_eq!(refused(&server, &format!("{SERVICES}/{name}/proxy/x"), 503).await, expected);
    }
    assert_eq!(refused(&server, &format!("{SERVICES}/none:80/proxy/"), 404).await, "services \"none\" not found");
}

#[tokio::test]
async fn links_lead_back_here() {
    let server = server().await;
    let address = backend().await;
    pod(&server, "echo", address).await;
    let proxy = format!("{PODS}/echo/proxy");
    for (link, expected) in [
        ("/x?y", format!("{proxy}/x?y")),
        (&format!("http://{address}/x/"), format!("{proxy}/x/")),
        ("http://elsewhere/x", "http://elsewhere/x".to_owned()),
    ] {
        let (code, headers, _) = got(&server, &format!("{proxy}/redirect?{link}")).await;
        assert_eq!((code, headers[LOCATION].to_str().unwrap()), (StatusCode::FOUND, expected.as_str()));
    }
    let broken = refused(&server, &format!("{proxy}/redirect?%zz"), 500).await;
    let expected =
        "Internal error occurred: error trying to parse Location header: parse \"%zz\": invalid URL escape \"%zz\"";
    assert_eq!(broken, expected);
    let (_, headers, page) = got(&server, &format!("{proxy}/page")).await;
    assert_eq!(page, format!(r#"<a href="{proxy}/abs">x</a>"#));
    assert!(!headers.contains_key(CONTENT_LENGTH));
}

/// Neither side's bytes are gathered: each piece passes before the next one is made.
#[tokio::test]
async fn bodies_are_streams() {
    let server = server().await;
    let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    pod(&server, "echo", listener.local_addr().unwrap()).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        let mut piece = [0; 6];
        while stream.read_exact(&mut piece).await.is_ok() {
            stream.write_all(&piece).await.unwrap();
        }
    });
    let (send, receive) = mpsc::channel::<Bytes>(1);
    let pieces = stream::unfold(receive, |mut receive| async move { Some((Ok(receive.recv().await?), receive)) });
    let asked = request(Method::POST, &format!("{PODS}/echo/proxy/"), "").map(|_| Body::stream(pieces.boxed()));
    let mut body = server.pipeline.call(asked).await.into_body();
    for piece in ["a", "b", "c"] {
        send.send(piece.into()).await.unwrap();
        assert_eq!(body.next_data().await.unwrap().unwrap(), piece);
    }
}

/// A connection to the pipeline, over which protocols can be changed.
async fn connection(server: &Server) -> hyper::client::conn::http1::SendRequest<Body> {
    let (near, far) = duplex(1 << 16);
    let pipeline = server.pipeline.clone();
    let service = service_fn(move |asked: Request<Incoming>| {
        let pipeline = pipeline.clone();
        async move {
            let (mut parts, body) = asked.into_parts();
            parts.extensions.extend(request(Method::GET, "/", "").into_parts().0.extensions);
            Ok::<_, Infallible>(pipeline.call(Request::from_parts(parts, Body::from(body))).await)
        }
    });
    tokio::spawn(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).with_upgrades(),
    );
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

fn upgrade(path: &str) -> Request<Body> {
    let request = Request::get(path).header(HOST, "door.example").header(CONNECTION, "Upgrade").header(UPGRADE, "echo");
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn protocols_change_across_it() {
    let server = server().await;
    pod(&server, "echo", backend().await).await;
    let mut door = connection(&server).await;
    let response = door.send_request(upgrade(&format!("{PODS}/echo/proxy/upgrade?lost"))).await.unwrap();
    assert_eq!(
        (response.status(), response.headers()[UPGRADE].to_str().unwrap()),
        (StatusCode::SWITCHING_PROTOCOLS, "echo")
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"ping").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "/upgrade\nPING");

    let response = connection(&server).await.send_request(upgrade(&format!("{PODS}/echo/proxy/page"))).await.unwrap();
    let (code, _, text) = said(response.map(Body::from)).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("\"message\":\"invalid upgrade response: status code 200\""), "{text}");
}

/// A kubelet is spoken with as the API server, and believed by the cluster's authority only.
#[tokio::test]
async fn kubelets_prove_who_they_are() {
    let server = server().await;
    let now = jiff::Timestamp::now().as_second();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [ours, theirs] = folders.each_ref().map(|folder| Pki::open(folder.path(), now).unwrap());
    server.api.kubelets.set(ours.ca.der(), &ours.issue(&Names::kubelet_client(), now).unwrap()).unwrap();
    let ip = own_address();
    for (name, pki) in [("good", &ours), ("bad", &theirs)] {
        let resolver = serving::CertResolver::new(pki, "kubelet", Names::kubelet_server(name, &[ip]), now).unwrap();
        let config = serving::server_config(resolver, &[ours.ca.der()]).unwrap();
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(kubelet(stream, acceptor.clone()));
            }
        });
        made(&server, "/api/v1/nodes", &format!(r#"{{"metadata":{{"name":"{name}"}}}}"#)).await;
        let addresses = format!(r#"[{{"type":"InternalIP","address":"{ip}"}}]"#);
        let status =
            format!(r#"{{"addresses":{addresses},"daemonEndpoints":{{"kubeletEndpoint":{{"Port":{port}}}}}}}"#);
        patched(&server, &format!("/api/v1/nodes/{name}/status"), &format!(r#"{{"status":{status}}}"#)).await;
    }
    let (code, _, text) = got(&server, "/api/v1/nodes/good/proxy/healthz?x").await;
    assert_eq!((code, text.as_str()), (StatusCode::OK, "kube-apiserver-kubelet-client /healthz?x"));
    let expected = "error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(refused(&server, "/api/v1/nodes/bad/proxy/healthz", 503).await, expected);
    assert_eq!(refused(&server, "/api/v1/nodes/none/proxy/", 404).await, "nodes \"none\" not found");
}

/// Answers with who asks, and what for.
async fn kubelet(stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let chain = stream.get_ref().1.peer_certificates().unwrap().to_vec();
    let subject = crate::pki::certificate::parse(&chain[0])
        .unwrap()
        .subject()
        .iter_common_name()
        .next()
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    let service = service_fn(move |request: Request<Incoming>| {
        let text = format!("{subject} {}", request.uri());
        async move { Ok::<_, Infallible>(Response::new(Body::full(text))) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
