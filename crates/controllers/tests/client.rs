//! The client through the real pipeline: in process, and over HTTPS with a kubeconfig.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apiserver::authz::Mode;
use apiserver::launch;
use apiserver::server::Datastore;
use apiserver::settings::Settings;
use client::{
    ClientError, Config, DeleteOptions, Event, Given, Informer, LeaderConfig, LeaderElector, ListParams, MetaExt,
    Patch, SystemClock, WriteOptions, json, resources,
};
use cluster::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

fn map(name: &str) -> String {
    format!(r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{name}"}},"data":{{"k":"v"}}}}"#)
}

#[tokio::test]
async fn an_informer_follows_the_server() {
    let cluster = Cluster::start().await;
    let maps = cluster.admin.namespaced(&resources::CONFIG_MAPS, "default");
    let options = WriteOptions::default();
    maps.create(map("before"), &options).await.unwrap();
    let informer = Informer::<ConfigMap>::of_kind(&cluster.admin, Given::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    informer.subscribe(move |event| {
        let kind = match event {
            Event::Added(_) => '+',
            Event::Updated { .. } => '~',
            Event::Deleted { .. } => '-',
        };
        if event.object().namespace() == "default" && event.object().name() != "kube-root-ca.crt" {
            tell.lock().push(format!("{kind}{}", event.object().name()));
        }
    });
    let stop = CancellationToken::new();
    tokio::spawn(informer.clone().run(stop.clone()));
    informer.synced().await;
    assert!(informer.find("default", "before").is_some());
    let made = maps.create(map("after"), &options).await.unwrap();
    let mut tree = made.tree().unwrap();
    tree.set("data.k", "w");
    let changed = maps.update(tree, &options).await.unwrap();
    informer.reached(changed.revision()).await;
    let after = informer.find("default", "after").unwrap();
    assert_eq!(after.data.as_ref().unwrap()["k"], "w");
    assert!(after.metadata.managed_fields.is_none());
    let gone = maps.delete("after", &DeleteOptions::default()).await.unwrap();
    drop(gone);
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while informer.find("default", "after").is_some() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
    assert_eq!(told.lock().as_slice(), ["+before", "+after", "~after", "-after"]);
    stop.cancel();
}

#[tokio::test]
async fn pages_patches_and_errors() {
    let cluster = Cluster::start().await;
    let maps = cluster.admin.namespaced(&resources::CONFIG_MAPS, "default");
    let options = WriteOptions::manager("test");
    for at in 0..5 {
        maps.create(map(&format!("m{at}")), &options).await.unwrap();
    }
    let all = maps.list_all(&ListParams { limit: Some(2), ..ListParams::default() }).await.unwrap();
    assert!(all.items.len() >= 5);
    let mut change = api::value::Value::object();
    change.set("data.more", "1");
    let patched = maps.patch("m0", "", &Patch::Merge(change), &options).await.unwrap().tree().unwrap();
    assert_eq!(json::write(patched.at("data")), r#"{"k":"v","more":"1"}"#);
    let again = maps.create(map("m0"), &options).await.unwrap_err();
    assert!(again.is_already_exists() && !again.is_conflict(), "{again}");
    let missing = maps.get("nowhere").await.unwrap_err();
    assert_eq!(missing.to_string(), "configmaps \"nowhere\" not found");
    assert!(missing.is_not_found());
    let stale = maps.delete("m1", &DeleteOptions::of_uid("other")).await.unwrap_err();
    assert!(stale.is_conflict(), "{stale}");
}

#[tokio::test]
async fn of_two_candidates_one_leads_and_the_other_follows() {
    let cluster = Cluster::start().await;
    let leading = Arc::new(AtomicUsize::new(0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let candidate = |name: &'static str, stop: CancellationToken| {
        let config =
            LeaderConfig { retry_period: Duration::from_millis(100), ..LeaderConfig::new("default", "l", name) };
        let elector = LeaderElector::new(&cluster.admin, config, Given::default());
        let (leading, order) = (leading.clone(), order.clone());
        tokio::spawn(elector.run(stop, move |token| {
            let (leading, order) = (leading.clone(), order.clone());
            async move {
                assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two leaders");
                order.lock().push(name);
                token.cancelled().await;
                leading.fetch_sub(1, Ordering::SeqCst);
            }
        }))
    };
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let one = candidate("one", first.clone());
    let reached = |count: usize| {
        let order = order.clone();
        async move {
            while order.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached(1)).await.unwrap();
    let two = candidate("two", second.clone());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(order.lock().as_slice(), ["one"]);
    // The leader stops and gives the lease back: nobody has to wait for it to run out.
    first.cancel();
    one.await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), reached(2)).await.unwrap();
    assert_eq!(order.lock().as_slice(), ["one", "two"]);
    second.cancel();
    two.await.unwrap();
}

#[tokio::test]
async fn a_kubeconfig_leads_through_tls_to_the_same_server() {
    let directory = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = directory.path().join("kubeconfig");
    let config = launch::Config {
        pki: directory.path().join("pki"),
        datastore: Datastore::Memory,
        bind_address: "127.0.0.1".parse().unwrap(),
        settings: Settings {
            advertise_address: "127.0.0.1".parse().unwrap(),
            secure_port: port,
            service_cluster_ip_range: "10.96.0.0/16".parse().unwrap(),
            service_node_port_range: (30_000, 32_767),
            service_account_issuer: "https://kubernetes.default.svc.cluster.local".into(),
            disabled_admission_plugins: Vec::new(),
        },
        hostname: "localhost".into(),
        kubeconfigs: vec![(kubeconfig.clone(), "admin".to_owned(), vec!["system:masters".to_owned()])],
        public_url: format!("https://127.0.0.1:{port}"),
        authorization_modes: vec![Mode::Node, Mode::Rbac],
        provided: Default::default(),
    };
    let stop = CancellationToken::new();
    let running = launch::launch(config, Arc::new(SystemClock), stop.clone()).await.unwrap();
    let client = Config::load(Some(&kubeconfig)).unwrap().client().unwrap();
    let maps = client.namespaced(&resources::CONFIG_MAPS, "default");
    let names =
        futures::future::join_all(
            (0..50).map(|at| {
                let maps = maps.clone();
                async move {
                    maps.create(map(&format!("m{at}")), &WriteOptions::default()).await.map(|answer| answer.name())
                }
            }),
        );
    let names: Result<Vec<String>, ClientError> = names.await.into_iter().collect();
    assert_eq!(names.unwrap().len(), 50);
    let informer = Informer::<ConfigMap>::of_kind(&client, Given::default());
    tokio::spawn(informer.clone().run(stop.clone()));
    informer.synced().await;
    let last = maps.create(map("last"), &WriteOptions::default()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), informer.reached(last.revision())).await.unwrap();
    assert!(informer.find("default", "last").is_some() && informer.len() >= 51);
    stop.cancel();
    running.finished().await;
}
