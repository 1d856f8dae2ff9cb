//! A node for tests: a private containerd, the real API server in process, a kubelet between them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use api::user::UserInfo;
use apiserver::{
    authn::{
        self,
        token::{Issuer, KeySet},
    },
    authz::Mode,
    bootstrap::objects::AuthenticationTrust,
    pki::PrivateKey,
    server::{Datastore, Identity, Server, own_user},
    settings::Settings,
};
use client::{Client, DeleteOptions, Given, SystemClock, WriteOptions, resources};
use k8s_openapi::api::core::v1::{Event, Pod};
use kubelet::{
    config::Config,
    images::{
        archive::{self, ImageSource},
        pause,
    },
    kubelet::Kubelet,
    runtime::containerd,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The image of all containers in tests.
pub const IMAGE: &str = "localhost/xebec/busybox:1";
/// Everything in these tests happens in less than this.
const PATIENCE: Duration = Duration::from_secs(40);
/// One node at a time: the machine has two cores.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub struct Node {
    pub name: String,
    pub dir: PathBuf,
    pub admin: Client,
    pub kubelet: Option<Arc<Kubelet>>,
    server: Server,
    containerd: Child,
    bridge: String,
    sync_frequency: Duration,
    stop: CancellationToken,
    _one: tokio::sync::MutexGuard<'static, ()>,
    temporary: Option<tempfile::TempDir>,
}

impl Node {
    /// Brings all of it up.
    pub async fn start() -> Node {
        Node::start_with(Duration::from_secs(60)).await
    }

    /// The same with pods looked at this often without need.
    pub async fn start_with(sync_frequency: Duration) -> Node {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        // Only the first one of a process can set it.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let one = ONE.lock().await;
        assert!(rustix::process::geteuid().is_root(), "these tests need root: containers, mounts, cgroups");
        let temporary = tempfile::Builder::new().prefix("kubelet-test").tempdir().unwrap();
        let dir = temporary.path().to_owned();
        let unique = std::process::id();
        let name = format!("node-{unique}");
        let bridge = format!("kt{unique}");
        let containerd = start_containerd(&dir, &bridge);
        let server = start_server().await;
        let admin = server.client(own_user());
        let mut node = Node {
            name,
            dir,
            admin,
            kubelet: None,
            server,
            containerd,
            bridge,
            sync_frequency,
            stop: CancellationToken::new(),
            _one: one,
            temporary: Some(temporary),
        };
        node.import_images().await;
        node.seed().await;
        node.start_kubelet().await;
        node
    }

    async fn import_images(&self) {
        let mut busybox =
            ImageSource { names: vec![IMAGE.to_owned()], command: vec!["/bin/sh".into()], ..ImageSource::default() };
        busybox.add_busybox(&archive::busybox()).unwrap();
        let path = self.dir.join("images.tar");
        archive::write(&path, &[busybox, pause::image().unwrap()]).unwrap();
        let socket = self.dir.join("c.sock");
        let mut tries = 0;
        loop {
            let output = Command::new(program("ctr"))
                .arg("--address")
                .arg(&socket)
                .args(["-n", "k8s.io", "images", "import", "--local"])
                .arg(&path)
                .output()
                .unwrap();
            let output = if output.status.success() {
                output
            } else {
                Command::new(program("ctr"))
                    .arg("--address")
                    .arg(&socket)
                    .args(["-n", "k8s.io", "images", "import"])
                    .arg(&path)
                    .output()
                    .unwrap()
            };
            if output.status.success() {
                return;
            }
            tries += 1;
            assert!(tries < 100, "images could not be imported: {}", String::from_utf8_lossy(&output.stderr));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What controllers would have made.
    async fn seed(&self) {
        let accounts = self.admin.namespaced(&resources::SERVICE_ACCOUNTS, "default");
        let _ = accounts
            .create(
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}).to_string(),
                &WriteOptions::default(),
            )
            .await;
        self.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "certificate"}})).await;
    }

    pub async fn start_kubelet(&mut self) {
        self.stop = CancellationToken::new();
        let mut config = Config::new(&self.name, &self.dir.join("kubelet"));
        config.runtime_endpoint = format!("unix://{}", self.dir.join("c.sock").display());
        config.pod_logs_dir = self.dir.join("pod-logs");
        config.container_logs_dir = self.dir.join("container-logs");
        config.static_pod_path = Some(self.dir.join("manifests"));
        config.file_check_frequency = Duration::from_secs(1);
        config.cgroup_root = self.cgroup_root();
        config.cluster_dns = vec!["10.96.0.10".into()];
        config.node_ips = vec!["127.0.0.1".into()];
        config.sync_frequency = self.sync_frequency;
        // What else fills this machine's disk is not the tests' business.
        config.eviction_hard.clear();
        fs::create_dir_all(self.dir.join("manifests")).unwrap();
        let user = UserInfo::authenticated(format!("system:node:{}", self.name), &["system:nodes"]);
        let client = self.server.client(user);
        let kubelet = kubelet::start(config, client, Given::default(), self.stop.clone()).await.unwrap();
        self.kubelet = Some(kubelet);
    }

    /// Ends the kubelet, not the pods.
    pub async fn stop_kubelet(&mut self) {
        self.stop.cancel();
        let kubelet = self.kubelet.take().unwrap();
        // Its tasks end; the last of them lets go of it.
        for _ in 0..100 {
            if Arc::strong_count(&kubelet) <= 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn cgroup_root(&self) -> String {
        format!("/kubelet-test-{}", std::process::id())
    }

    pub async fn create(&self, object: Value) {
        let resource = match object["kind"].as_str().unwrap() {
            "Pod" => resources::PODS,
            "ConfigMap" => resources::CONFIG_MAPS,
            "Secret" => resources::SECRETS,
            other => panic!("{other}"),
        };
        self.admin.namespaced(&resource, "default").create(object.to_string(), &WriteOptions::default()).await.unwrap();
    }

    /// A pod of this node; `spec` needs its containers.
    pub async fn pod(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!(self.name);
        if spec["terminationGracePeriodSeconds"].is_null() {
            spec["terminationGracePeriodSeconds"] = json!(1);
        }
        self.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})).await;
    }

    pub async fn get(&self, name: &str) -> Option<Pod> {
        let answer = self.admin.namespaced(&resources::PODS, "default").get_opt(name).await.unwrap();
        answer.map(|answer| answer.view().unwrap())
    }

    /// Waits until the pod is as it should be.
    pub async fn until(&self, name: &str, what: &str, is: impl Fn(&Pod) -> bool) -> Pod {
        let begun = std::time::Instant::now();
        loop {
            let pod = self.get(name).await;
            if let Some(pod) = pod.as_ref().filter(|pod| is(pod)) {
                return pod.clone();
            }
            if begun.elapsed() > PATIENCE {
                let status = pod.map(|pod| serde_json::to_string_pretty(&pod.status).unwrap());
                let events = self.events(name).await;
                panic!(
                    "pod {name} is not {what} after {PATIENCE:?}: {}\nevents: {events:#?}",
                    status.unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn until_phase(&self, name: &str, phase: &str) -> Pod {
        self.until(name, phase, |pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase))
            .await
    }

    pub async fn until_ready(&self, name: &str) -> Pod {
        self.until(name, "ready", is_ready).await
    }

    pub async fn until_gone(&self, name: &str) {
        let begun = std::time::Instant::now();
        while let Some(pod) = self.get(name).await {
            assert!(begun.elapsed() < PATIENCE, "pod {name} is not gone: {:#?}", pod.status);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn delete(&self, name: &str, grace: i64) {
        let options = DeleteOptions::default().grace(grace);
        self.admin.namespaced(&resources::PODS, "default").delete(name, &options).await.unwrap();
    }

    /// `reason: message` of a pod's events.
    pub async fn events(&self, name: &str) -> Vec<String> {
        let list = self.admin.namespaced(&resources::EVENTS, "default").list_all(&Default::default()).await.unwrap();
        let events = list.items.iter().map(|item| serde_json::from_slice::<Event>(item).unwrap());
        let about = events.filter(|event| event.involved_object.name.as_deref() == Some(name));
        about
            .map(|event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect()
    }

    /// What a container has written.
    pub async fn log(&self, name: &str, container: &str) -> String {
        let kubelet = self.kubelet.as_ref().unwrap();
        let pod = kubelet.find_pod("default", name, None).unwrap();
        let path = kubelet.log_source(&pod, container, false).await.unwrap().path;
        String::from_utf8(kubelet::logs::tail(&path, 1000, 1 << 20).unwrap()).unwrap()
    }

    /// Runs a command in a container; its output.
    pub async fn exec(&self, name: &str, container: &str, command: &str) -> String {
        let kubelet = self.kubelet.as_ref().unwrap();
        let pod = kubelet.find_pod("default", name, None).unwrap();
        let found = kubelet.running_container(&pod, container).await.unwrap().expect("a running container");
        let command = ["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()];
        let answer = kubelet.runtime.exec_sync(&found.id, &command, Duration::from_secs(10)).await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr))
    }

    /// Takes all of it down, and checks that nothing is left.
    pub async fn finish(mut self) {
        let pods = self.admin.namespaced(&resources::PODS, "default");
        let list = pods.list_all(&Default::default()).await.unwrap();
        for item in &list.items {
            let pod: Pod = serde_json::from_slice(item).unwrap();
            self.delete(pod.metadata.name.as_deref().unwrap(), 0).await;
        }
        let kubelet = self.kubelet.clone().unwrap();
        let begun = std::time::Instant::now();
        while !kubelet.workers.pods().is_empty() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let left: Vec<_> = kubelet.workers.pods().iter().filter_map(|pod| pod.metadata.name.clone()).collect();
        let directories = fs::read_dir(self.dir.join("kubelet/pods")).unwrap().count();
        let cgroups = kubelet.cgroups.clone();
        drop(kubelet);
        self.stop_kubelet().await;
        for _ in 0..50 {
            if cgroups.as_ref().is_none_or(|cgroups| cgroups.remove_all().is_ok()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.clean_up();
        assert!(left.is_empty(), "pods are left: {left:?}");
        assert_eq!(directories, 0, "directories of pods are left");
    }

    fn clean_up(&mut self) {
        let Some(temporary) = self.temporary.take() else { return };
        let _ = self.containerd.kill();
        let _ = self.containerd.wait();
        kill_shims(&self.dir);
        unmount_below(&self.dir);
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).stderr(Stdio::null()).status();
        drop(temporary);
    }
}

impl Drop for Node {
    /// After a failure too.
    fn drop(&mut self) {
        self.stop.cancel();
        self.clean_up();
    }
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.clone().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn start_server() -> Server {
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
    let identity = Identity {
        authentication: authn::Settings::default(),
        issuer: Issuer::new("https://issuer.example", key),
        keys,
    };
    let modes = vec![Mode::Node, Mode::Rbac];
    let server = Server::open(Datastore::Memory, settings, identity, Arc::new(SystemClock), modes).await.unwrap();
    server.seed(&AuthenticationTrust::default(), &CancellationToken::new()).await.unwrap();
    server
}

/// `KUBELET_TEST_RUNTIME` is a folder with another containerd, its shim, `ctr` and `runc`.
fn program_dir() -> Option<PathBuf> {
    std::env::var_os("KUBELET_TEST_RUNTIME").map(PathBuf::from)
}

fn program(name: &str) -> PathBuf {
    program_dir().map_or_else(|| name.into(), |dir| dir.join(name))
}

fn start_containerd(dir: &Path, bridge: &str) -> Child {
    let at = |name: &str| dir.join(name).display().to_string();
    fs::create_dir_all(dir.join("cni")).unwrap();
    // Another range for each process: tests of others run beside.
    let (high, low) = (200 + std::process::id() / 256 % 50, std::process::id() % 256);
    let network = json!({"cniVersion": "0.4.0", "name": "test", "plugins": [
        {"type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": false,
         "ipam": {"type": "host-local", "dataDir": at("ipam"), "ranges": [[{"subnet": format!("10.{high}.{low}.0/24")}]]}},
        {"type": "portmap", "capabilities": {"portMappings": true}}]});
    fs::write(dir.join("cni/10-test.conflist"), network.to_string()).unwrap();
    let program = program("containerd");
    let version = Command::new(&program).arg("--version").output().unwrap();
    let options = containerd::Options {
        major: containerd::major_version(&String::from_utf8_lossy(&version.stdout)).unwrap(),
        root: dir.join("root"),
        state: dir.join("state"),
        socket: dir.join("c.sock"),
        snapshotter: "native".into(),
        sandbox_image: pause::NAME.into(),
        cni_bin_dir: "/usr/lib/cni".into(),
        cni_conf_dir: dir.join("cni"),
        runc: program_dir().map(|dir| dir.join("runc")),
        registry_dir: None,
        handlers: vec!["test-handler".into()],
    };
    fs::write(dir.join("config.toml"), containerd::configuration(&options)).unwrap();
    let log = fs::File::create(dir.join("containerd.log")).unwrap();
    // It looks for its shim there.
    let usual = std::env::var_os("PATH").unwrap();
    let path = program_dir().into_iter().chain(std::env::split_paths(&usual));
    Command::new(&program)
        .env("PATH", std::env::join_paths(path).unwrap())
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The shims of this containerd: they are known by its socket on their command line or in their environment.
fn kill_shims(dir: &Path) {
    let needle = dir.display().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains("containerd-shim") && command.contains(&needle) {
            kill_tree(pid);
        }
    }
}

fn kill_tree(pid: i32) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        if parent == Some(pid)
            && let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok())
        {
            kill_tree(child);
        }
    }
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn unmount_below(dir: &Path) {
    for point in kubelet::volumes::mount::below(dir) {
        let _ = kubelet::volumes::mount::unmount(&point);
    }
}
