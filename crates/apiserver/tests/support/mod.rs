//! A server in this process, asked with bytes.
#![allow(dead_code, reason = "not every test asks with bytes")]

use std::sync::Arc;

use apiserver::authn;
use apiserver::authn::token::{Issuer, KeySet};
use apiserver::authz::Mode;
use apiserver::bootstrap::objects::AuthenticationTrust;
use apiserver::pki::key::PrivateKey;
use apiserver::server::{Datastore, Identity, Server, own_user};
use apiserver::settings::Settings;
use client::{Body, SystemClock};
use tokio_util::sync::CancellationToken;

/// A fresh cluster over the memory engine.
pub async fn server() -> Server {
    let settings = Settings {
        advertise_address: "10.0.0.1".parse().unwrap(),
        secure_port: 6443,
        service_cluster_ip_range: "10.96.0.0/16".parse().unwrap(),
        service_node_port_range: (30_000, 32_767),
        service_account_issuer: "https://kubernetes.default.svc.cluster.local".into(),
        disabled_admission_plugins: Vec::new(),
    };
    let key = PrivateKey::generate().unwrap();
    let keys = KeySet::new([key.public()]);
    let issuer = Issuer::new("https://issuer.example", key);
    let identity = Identity { authentication: authn::Settings::default(), issuer, keys };
    let modes = vec![Mode::Node, Mode::Rbac];
    let server = Server::open(Datastore::Memory, settings, identity, Arc::new(SystemClock), modes).await.unwrap();
    server.seed(&AuthenticationTrust::default(), &CancellationToken::new()).await.unwrap();
    server
}

/// What the server answers its administrator: code and body.
pub async fn ask(
    server: &Server,
    method: &str,
    path: &str,
    header: (&str, &str),
    body: impl Into<bytes::Bytes>,
) -> (u16, String) {
    let request = http::Request::builder().method(method).uri(path).header(header.0, header.1).extension(own_user());
    let answer = server.pipeline.call(request.body(Body::full(body)).unwrap()).await;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect(16 << 20).await.unwrap();
    (code, String::from_utf8_lossy(&body).into_owned())
}
