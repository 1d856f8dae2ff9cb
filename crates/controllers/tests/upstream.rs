//! Our controllers under upstream's API server (and etcd), each impersonating its service account: what fails here is
//! our controllers' or client's fault, not our server's.
//!
//! Needs `etcd` and `kube-apiserver` v1.37.2 in `$UPSTREAM` (or `/root/.cache/upstream-v1.37.2`):
//! `cargo test -p controllers --test upstream -- --ignored`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cluster;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use api::value::Value;
use client::transport::https::{Credentials, Https};
use client::transport::tls::TlsOptions;
use client::transport::{BoxFuture, MaybeUpgraded, SharedTransport, Transport};
use client::{Body, BoxError, Client, MetaExt};
use cluster::{Cluster, Verdict};
use controllers::ServiceAccounts;
use http::{HeaderValue, Request, Response};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;

/// Upstream's processes, ended with the test.
struct Upstream {
    children: Vec<Child>,
    _directory: tempfile::TempDir,
    url: String,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn binaries() -> PathBuf {
    std::env::var_os("UPSTREAM").map_or_else(|| "/root/.cache/upstream-v1.37.2".into(), PathBuf::from)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(directory: &Path, name: &str, arguments: &[String]) -> Child {
    let log = std::fs::File::create(directory.join(format!("{name}.log"))).unwrap();
    let program = binaries().join(name);
    let mut command = Command::new(&program);
    command.args(arguments).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

impl Upstream {
    fn start() -> Upstream {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let (etcd, peer, port) = (free_port(), free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{etcd}");
        let etcd = start(
            directory.path(),
            "etcd",
            &[
                format!("--data-dir={}", at("etcd")),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            ],
        );
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(at("sa.key"), key.serialize_pem()).unwrap();
        std::fs::write(at("sa.pub"), key.public_key_pem()).unwrap();
        std::fs::write(at("tokens"), "secret,admin,1,system:masters\n").unwrap();
        let server = start(
            directory.path(),
            "kube-apiserver",
            &[
                format!("--etcd-servers={etcd_url}"),
                format!("--cert-dir={}", at("certs")),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-signing-key-file={}", at("sa.key")),
                format!("--service-account-key-file={}", at("sa.pub")),
                format!("--token-auth-file={}", at("tokens")),
                "--authorization-mode=Node,RBAC".to_owned(),
            ],
        );
        let url = format!("https://127.0.0.1:{port}");
        Upstream { children: vec![etcd, server], _directory: directory, url }
    }
}

/// Requests as somebody else, which the administrator may send.
struct Impersonating {
    inner: SharedTransport,
    user: HeaderValue,
}

impl Transport for Impersonating {
    fn send(&self, mut request: Request<Body>) -> BoxFuture<Result<Response<Body>, BoxError>> {
        request.headers_mut().insert("impersonate-user", self.user.clone());
        self.inner.send(request)
    }

    fn upgrade(&self, request: Request<Body>) -> BoxFuture<Result<MaybeUpgraded, BoxError>> {
        self.inner.upgrade(request)
    }

    fn target(&self) -> &str {
        self.inner.target()
    }
}

async fn cluster() -> Cluster {
    let upstream = Upstream::start();
    let tls = TlsOptions { insecure: true, ..TlsOptions::default() };
    let https: SharedTransport = Arc::new(Https::new(&upstream.url, tls, Credentials::Token("secret".into())).unwrap());
    let admin = Client::over(https.clone());
    let ready = async {
        while admin.get("/readyz").await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // RBAC's roles are made after the server has begun to serve.
        let role =
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:controller:ttl-after-finished-controller";
        while admin.get(role).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), ready).await.unwrap();
    let as_user = move |name: String| -> SharedTransport {
        Arc::new(Impersonating { inner: https.clone(), user: HeaderValue::from_str(&name).unwrap() })
    };
    let manager = Client::over(as_user("system:kube-controller-manager".into()));
    let factory = ServiceAccounts(move |user: api::user::UserInfo| as_user(user.name));
    Cluster::over(admin, manager, Arc::new(factory), Box::new(upstream))
}

const TEMPLATE: &str = r#"{"metadata":{"labels":{"app":"APP"}},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i:1"}]}}"#;

fn workload(name: &str, spec: &str) -> String {
    let template = TEMPLATE.replace("APP", name);
    format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{{spec}"selector":{{"matchLabels":{{"app":"{name}"}}}},"template":{template}}}}}"#
    )
}

fn set_image(object: &mut Value) {
    object.at_mut("spec.template.spec.containers").unwrap().as_array_mut().unwrap()[0].set("image", "i:2");
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let mut conditions = object.array_at("status.conditions").iter();
    conditions.find(|one| one.str_at("type") == kind).map_or("", |one| one.str_at("reason"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs upstream's binaries and some seconds"]
async fn our_controllers_serve_upstreams_api_server() {
    let cluster = cluster().await;
    // Pods are refused until their namespace has its service account.
    let accounts = cluster.admin.namespaced(&client::resources::SERVICE_ACCOUNTS, "default");
    while accounts.get("default").await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for node in ["n1", "n2"] {
        cluster.create_node(node).await;
    }
    cluster.pretend_kubelets(|pod| match pod.label("run") {
        Some("once") => Verdict::Succeeds,
        _ => Verdict::Runs,
    });

    cluster.create::<Deployment>(&workload("web", r#""replicas":4,"#)).await;
    let is_complete = |object: &Value| {
        condition(object, "Progressing") == "NewReplicaSetAvailable"
            && object.i64_at("status.observedGeneration") == object.i64_at("metadata.generation")
            && object.i64_at("status.updatedReplicas") == object.i64_at("spec.replicas")
            && object.i64_at("status.replicas") == object.i64_at("spec.replicas")
    };
    cluster.until::<Deployment>("web", is_complete).await;
    cluster.edit::<Deployment>("web", set_image).await;
    cluster.until::<Deployment>("web", is_complete).await;
    cluster.edit::<Deployment>("web", |object| object.set("spec.replicas", 1i64)).await;
    cluster.until::<Deployment>("web", is_complete).await;
    assert_eq!(cluster.until_all::<ReplicaSet>(|sets| sets.len() == 2).await.len(), 2);

    cluster.create::<DaemonSet>(&workload("agent", "")).await;
    cluster.until::<DaemonSet>("agent", |set| set.i64_at("status.numberAvailable") == Some(2)).await;
    cluster.edit::<DaemonSet>("agent", set_image).await;
    let is_updated = |set: &Value| {
        set.i64_at("status.updatedNumberScheduled") == Some(2) && set.i64_at("status.numberAvailable") == Some(2)
    };
    cluster.until::<DaemonSet>("agent", is_updated).await;

    cluster.create::<StatefulSet>(&workload("db", r#""serviceName":"db","replicas":2,"#)).await;
    cluster.until::<StatefulSet>("db", |set| set.i64_at("status.availableReplicas") == Some(2)).await;
    cluster.edit::<StatefulSet>("db", set_image).await;
    let is_current = |set: &Value| {
        set.i64_at("status.updatedReplicas") == Some(2)
            && set.str_at("status.currentRevision") == set.str_at("status.updateRevision")
            && set.i64_at("status.observedGeneration") == Some(2)
    };
    cluster.until::<StatefulSet>("db", is_current).await;
    cluster.until_all::<ControllerRevision>(|all| all.len() == 4).await;

    const ONCE: &str = r#""template":{"metadata":{"labels":{"run":"once"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}"#;
    let text = format!(r#"{{"metadata":{{"name":"calc"}},"spec":{{"completions":4,"parallelism":2,{ONCE}}}}}"#);
    cluster.create::<Job>(&text).await;
    let done = cluster.until::<Job>("calc", |job| !condition(job, "Complete").is_empty()).await;
    assert_eq!(done.i64_at("status.succeeded"), Some(4));
    let text = format!(
        r#"{{"metadata":{{"name":"many"}},"spec":{{"completionMode":"Indexed","completions":5,"parallelism":3,"backoffLimitPerIndex":1,{ONCE}}}}}"#
    );
    cluster.create::<Job>(&text).await;
    let done = cluster.until::<Job>("many", |job| !condition(job, "Complete").is_empty()).await;
    assert_eq!(done.str_at("status.completedIndexes"), "0-4");

    let text = format!(
        r#"{{"metadata":{{"name":"tick"}},"spec":{{"schedule":"@every 1s","concurrencyPolicy":"Forbid","jobTemplate":{{"spec":{{{ONCE}}}}}}}}}"#
    );
    cluster.create::<CronJob>(&text).await;
    cluster.until::<CronJob>("tick", |cron| !cron.str_at("status.lastSuccessfulTime").is_empty()).await;
    cluster.until_all::<Pod>(|pods| pods.iter().all(|pod| pod.metadata.finalizers.is_none())).await;
}
