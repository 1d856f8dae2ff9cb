//! A control plane in memory: the real pipeline with RBAC, all controllers, and nodes that only pretend.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::user::UserInfo;
use api::value::Value;
use apiserver::authn;
use apiserver::authn::token::{Issuer, KeySet};
use apiserver::authz::Mode;
use apiserver::bootstrap::objects::AuthenticationTrust;
use apiserver::pki::PrivateKey;
use apiserver::server::{Datastore, Identity, Server, own_user};
use apiserver::settings::Settings;
use client::{
    Api, Client, DeleteOptions, Event, Given, Informer, Informers, Kind, MetaExt, Object, SystemClock, WatchParams,
    WriteOptions, json,
};
use controllers::{ClientFactory, Config, Context, ServiceAccounts};
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

/// How long a test waits for something to become true.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Cluster {
    pub admin: Client,
    /// Whatever must live as long as the cluster.
    _server: Box<dyn std::any::Any + Send>,
    stop: CancellationToken,
}

/// An authority in memory.
struct TestAuthority(apiserver::pki::Authority);

impl TestAuthority {
    fn new() -> TestAuthority {
        TestAuthority(apiserver::pki::Authority::generate("ca", 0, 4_000_000_000).unwrap())
    }
}

impl controllers::certificates::Authority for TestAuthority {
    fn read(&self, request: &[u8]) -> Result<controllers::certificates::plan::Request, String> {
        let read = apiserver::pki::csr::CertificateRequest::parse(request).map_err(|error| error.to_string())?;
        let (common_name, organizations) = (read.common_name, read.organizations);
        Ok(controllers::certificates::plan::Request { common_name, organizations, ..Default::default() })
    }

    fn sign(&self, request: &[u8], usages: &[String], ttl: Duration) -> Result<String, String> {
        let usages = apiserver::pki::usage::Usages::parse(usages.iter().map(String::as_str)).unwrap();
        let ttl_seconds = i64::try_from(ttl.as_secs()).unwrap();
        let profile = apiserver::pki::csr::Profile { usages, ttl_seconds, backdate_seconds: 300 };
        let der = &apiserver::pki::pem::blocks(request).unwrap()[0].der;
        let now = jiff::Timestamp::now().as_second();
        let certificate = apiserver::pki::sign_csr(der, &self.0, &profile, now).map_err(|error| error.to_string())?;
        Ok(apiserver::pki::pem::encode("CERTIFICATE", &certificate))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    /// Server and controllers; no node yet.
    pub async fn start() -> Cluster {
        let server = Arc::new(server().await);
        let admin = server.client(own_user());
        let account = r#"{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"default"}}"#;
        let accounts = admin.namespaced(&client::resources::SERVICE_ACCOUNTS, "default");
        // The controller that makes it may be faster.
        let _ = accounts.create(account, &WriteOptions::default()).await;
        let manager = server.client(UserInfo::authenticated("system:kube-controller-manager", &[]));
        let clients = server.clone();
        let factory = Arc::new(ServiceAccounts(move |user| clients.client(user)));
        Cluster::over(admin, manager, factory, Box::new(server))
    }

    /// Controllers on any server; `server` lives as long as the cluster.
    pub fn over(
        admin: Client,
        manager: Client,
        factory: Arc<dyn ClientFactory>,
        server: Box<dyn std::any::Any + Send>,
    ) -> Cluster {
        let stop = CancellationToken::new();
        let context = Context::new(factory, Informers::new(manager, Given::default()), stop.clone());
        let config = Config {
            cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
            root_ca: Some("a certificate".into()),
            authority: Some(Arc::new(TestAuthority::new())),
            ..Config::default()
        };
        tokio::spawn(controllers::run(context, config));
        Cluster { admin, _server: server, stop }
    }

    /// The same with nodes that run every pod at once and stop deleted ones.
    pub async fn with_nodes(names: &[&str]) -> Cluster {
        let cluster = Cluster::start().await;
        for name in names {
            cluster.create_node(name).await;
        }
        cluster.pretend_kubelets(|_| Verdict::Runs);
        cluster
    }

    pub async fn create_node(&self, name: &str) {
        let text = format!(r#"{{"kind":"Node","apiVersion":"v1","metadata":{{"name":"{name}"}}}}"#);
        let nodes = self.admin.all(&client::resources::NODES);
        let mut node = nodes.create(text, &WriteOptions::default()).await.unwrap().tree().unwrap();
        // A new node is tainted until somebody has found it ready.
        node.remove("spec.taints");
        nodes.update(node, &WriteOptions::default()).await.unwrap();
    }

    /// Plays scheduler and kubelet; `verdict` says what becomes of a pod.
    pub fn pretend_kubelets(&self, verdict: impl Fn(&Pod) -> Verdict + Send + Sync + 'static) {
        let informer = Informer::<Pod>::of_kind(&self.admin, Given::default());
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        informer.subscribe(move |event| {
            if !matches!(event, Event::Deleted { .. }) {
                let _ = sender.send(event.object().clone());
            }
        });
        tokio::spawn(informer.run(self.stop.clone()));
        let admin = self.admin.clone();
        tokio::spawn(async move {
            while let Some(pod) = receiver.recv().await {
                match live(&admin, &pod, verdict(&pod)).await {
                    // Somebody was faster; the next event tells.
                    Err(error) if error.is_conflict() || error.is_not_found() => {}
                    lived => lived.unwrap(),
                }
            }
        });
    }

    pub fn api<K: Kind>(&self) -> Api {
        self.admin.kind::<K>("default")
    }

    pub async fn create<K: Kind>(&self, text: &str) -> Value {
        let tree = json::parse(text.as_bytes()).unwrap();
        let answer = self.api::<K>().create_tree(tree, &WriteOptions::default()).await;
        answer.unwrap_or_else(|error| panic!("{error}")).tree().unwrap()
    }

    /// Edits an object, again if somebody else was faster.
    pub async fn edit<K: Kind>(&self, name: &str, change: impl Fn(&mut Value)) {
        loop {
            let mut tree = self.api::<K>().get(name).await.unwrap().tree().unwrap();
            change(&mut tree);
            match self.api::<K>().update(tree, &WriteOptions::default()).await {
                Err(error) if error.is_conflict() => {}
                answer => return drop(answer.unwrap()),
            }
        }
    }

    /// Waits until the object is as wanted, and gives it.
    pub async fn until<K: Kind>(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let api = self.api::<K>();
        let mut last = Value::Null;
        let waiting = async {
            loop {
                let list = api.list(&Default::default()).await.unwrap();
                for item in &list.items {
                    let tree = json::parse(item).unwrap();
                    if tree.str_at("metadata.name") == name {
                        last = tree;
                    }
                }
                if wanted(&last) {
                    return;
                }
                next_event(&api, &list.resource_version).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        last.remove("metadata.managedFields");
        assert!(waited.is_ok(), "still {}", String::from_utf8_lossy(&json::write(&last)));
        last
    }

    /// Waits until all objects of a kind together are as wanted.
    pub async fn until_all<K: Kind>(&self, wanted: impl Fn(&[Object<K>]) -> bool) -> Vec<Object<K>> {
        let api = self.api::<K>();
        let waiting = async {
            loop {
                let list = api.list(&Default::default()).await.unwrap();
                let objects = list.objects::<K>().unwrap();
                if wanted(&objects) {
                    return objects;
                }
                next_event(&api, &list.resource_version).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        match waited {
            Ok(objects) => objects,
            Err(_) => {
                let names: Vec<String> = self
                    .admin
                    .kind::<K>("default")
                    .list(&Default::default())
                    .await
                    .unwrap()
                    .items
                    .iter()
                    .map(|item| String::from_utf8_lossy(item).chars().take(600).collect())
                    .collect();
                panic!("still {names:#?}")
            }
        }
    }

    /// Waits until the names of all objects of a resource are as wanted.
    pub async fn until_in(&self, api: &Api, wanted: impl Fn(&[String]) -> bool) {
        let mut names = Vec::new();
        let waiting = async {
            loop {
                let list = api.list(&Default::default()).await.unwrap();
                names = list.items.iter().filter_map(|item| json::metadata_str(item, "name")).collect();
                if wanted(&names) {
                    return;
                }
                next_event(api, &list.resource_version).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "still {names:?}");
    }

    /// Waits until an object outside of namespaces is as wanted.
    pub async fn until_cluster_wide<K: Kind>(&self, name: &str, wanted: impl Fn(&Value) -> bool) {
        let api = self.admin.kind::<K>("");
        let waiting = async {
            loop {
                let list = api.list(&Default::default()).await.unwrap();
                let mut trees = list.items.iter().map(|item| json::parse(item).unwrap());
                if trees.any(|tree| tree.str_at("metadata.name") == name && wanted(&tree)) {
                    return;
                }
                next_event(&api, &list.resource_version).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{name} is not as wanted");
    }

    /// Messages of the events about an object.
    pub async fn events_about(&self, name: &str) -> Vec<String> {
        let list =
            self.admin.namespaced(&client::resources::EVENTS, "default").list(&Default::default()).await.unwrap();
        let trees = list.items.iter().map(|item| json::parse(item).unwrap());
        let about = trees.filter(|event| event.str_at("involvedObject.name") == name);
        about.map(|event| format!("{} {}", event.str_at("reason"), event.str_at("message"))).collect()
    }
}

async fn next_event(api: &Api, after: &str) {
    let params = WatchParams { resource_version: after.to_owned(), ..WatchParams::default() };
    let mut watch = api.watch(&params).await.unwrap();
    watch.next().await.unwrap();
}

/// What becomes of a pod on its node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Runs,
    RunsUnready,
    Succeeds,
    Fails,
    Waits,
}

/// Binds a pod, reports its state, or lets it go.
fn live(admin: &Client, pod: &Object<Pod>, verdict: Verdict) -> impl Future<Output = Result<(), client::ClientError>> {
    let api = admin.kind::<Pod>(pod.namespace());
    let name = pod.name().to_owned();
    let (is_deleting, spec, phase) = (pod.is_deleting(), pod.spec.clone().unwrap_or_default(), phase(pod));
    let (bytes, revision) = (pod.bytes.clone(), pod.revision);
    async move {
        if is_deleting {
            api.delete(&name, &DeleteOptions::default().grace(0)).await?;
            return Ok(());
        }
        if spec.node_name.is_none() {
            let node = wanted_node(&spec).unwrap_or_else(|| "n1".to_owned());
            let binding = format!(
                r#"{{"kind":"Binding","apiVersion":"v1","metadata":{{"name":"{name}"}},"target":{{"kind":"Node","name":"{node}"}}}}"#
            );
            api.create_subresource(&name, "binding", binding, &WriteOptions::default()).await?;
            return Ok(());
        }
        let (wanted, ready) = match verdict {
            Verdict::Runs => ("Running", "True"),
            Verdict::RunsUnready => ("Running", "False"),
            Verdict::Succeeds => ("Succeeded", "False"),
            Verdict::Fails => ("Failed", "False"),
            Verdict::Waits => return Ok(()),
        };
        if phase != wanted {
            let tree = json::edit(&bytes, |tree| {
                tree.set("status.phase", wanted);
                // All addresses differ, as those of real pods do.
                let ip = format!("10.244.{}.{}", (revision >> 8) & 0xff, revision & 0xff);
                tree.set("status.podIP", ip.as_str());
                tree.set("status.podIPs", vec![api::value::Map::from_iter([("ip", ip.as_str())])]);
                let condition = format!(
                    r#"[{{"type":"Ready","status":"{ready}","lastTransitionTime":"{}"}}]"#,
                    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ")
                );
                tree.set("status.conditions", json::parse(condition.as_bytes()).unwrap());
            })?;
            api.update_status(tree, &WriteOptions::default()).await?;
        }
        Ok(())
    }
}

fn phase(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default()
}

fn wanted_node(spec: &k8s_openapi::api::core::v1::PodSpec) -> Option<String> {
    let pod = Pod { spec: Some(spec.clone()), ..Pod::default() };
    controllers::daemonset::plan::target_node(&pod).map(str::to_owned)
}

async fn server() -> Server {
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
