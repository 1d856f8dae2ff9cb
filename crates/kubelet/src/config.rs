//! What a kubelet is told: where its directories are, who it is, its limits. Everything in which two kubelets on one
//! machine differ is here.

mod file;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::Taint;

pub use file::{ConfigError, KubeletConfiguration};

/// A kubelet's settings, with upstream's defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `--hostname-override`, the node's name.
    pub node_name: String,
    /// The machine's host name, for the address and the label.
    pub hostname: String,
    /// `--node-ip`: the node's addresses, the first one first.
    pub node_ips: Vec<String>,
    /// `--root-dir`.
    pub root_dir: PathBuf,
    /// `containerRuntimeEndpoint`.
    pub runtime_endpoint: String,
    /// `podLogsDir`.
    pub pod_logs_dir: PathBuf,
    /// Where links to the logs are made, by pod and container name.
    pub container_logs_dir: PathBuf,
    /// `staticPodPath`: a directory of pod manifests.
    pub static_pod_path: Option<PathBuf>,
    /// `cgroupRoot`: the node's own parent of all pods' cgroups.
    pub cgroup_root: String,
    /// `cgroupsPerQOS`: make cgroups for pods. Without it containers land where the runtime likes.
    pub cgroups: bool,
    /// `address`: where the kubelet's server listens.
    pub address: String,
    /// `port` of the kubelet's server; 0 takes a free one.
    pub port: u16,
    /// `clusterDNS`.
    pub cluster_dns: Vec<String>,
    /// `clusterDomain`.
    pub cluster_domain: String,
    /// `resolvConf`; none means pods get the node's own loopback name server.
    pub resolv_conf: Option<PathBuf>,
    /// `registerNode`.
    pub register_node: bool,
    /// `--node-labels`.
    pub node_labels: BTreeMap<String, String>,
    /// `registerWithTaints`.
    pub taints: Vec<Taint>,
    /// `--provider-id`.
    pub provider_id: String,
    /// `podCIDR`, where no controller gives one.
    pub pod_cidr: String,
    /// `maxPods`.
    pub max_pods: u32,
    /// `podPidsLimit`; none is no limit.
    pub pod_pids_limit: Option<i64>,
    /// `cpuCFSQuota`.
    pub cpu_quota: bool,
    /// `cpuCFSQuotaPeriod`.
    pub cpu_quota_period: Duration,
    /// `seccompDefault`.
    pub seccomp_default: bool,
    /// `syncFrequency`: how often a pod is looked at when nothing happens.
    pub sync_frequency: Duration,
    /// `fileCheckFrequency`.
    pub file_check_frequency: Duration,
    /// `nodeStatusUpdateFrequency`.
    pub node_status_update_frequency: Duration,
    /// `nodeStatusReportFrequency`.
    pub node_status_report_frequency: Duration,
    /// `nodeLeaseDurationSeconds`.
    pub node_lease_duration_seconds: i32,
    /// `nodeStatusMaxImages`; -1 is no limit.
    pub node_status_max_images: i64,
    /// `serializeImagePulls`.
    pub serialize_image_pulls: bool,
    /// `maxParallelImagePulls`.
    pub max_parallel_image_pulls: Option<usize>,
    /// `imageMinimumGCAge`.
    pub image_minimum_gc_age: Duration,
    /// `imageMaximumGCAge`; zero is never.
    pub image_maximum_gc_age: Duration,
    /// `imageGCHighThresholdPercent`.
    pub image_gc_high_percent: u8,
    /// `imageGCLowThresholdPercent`.
    pub image_gc_low_percent: u8,
    /// Images that are never removed, by name: runtimes before containerd 1.7 don't pin the one of sandboxes.
    pub pinned_images: Vec<String>,
    /// `containerLogMaxSize` in bytes.
    pub log_bytes_max: u64,
    /// `containerLogMaxFiles`.
    pub log_files_max: usize,
    /// `containerLogMonitorInterval`.
    pub log_check_interval: Duration,
    /// `--maximum-dead-containers-per-container`.
    pub dead_containers_per_container: usize,
    /// `crashLoopBackOff.maxContainerRestartPeriod`.
    pub crash_loop_max: Duration,
    /// `systemReserved` and `kubeReserved` added up.
    pub reserved: BTreeMap<String, String>,
    /// `evictionHard`.
    pub eviction_hard: BTreeMap<String, String>,
    /// `allowedUnsafeSysctls`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// `enforceNodeAllocatable` includes `pods`.
    pub enforce_allocatable: bool,
    /// The state of the machine's cgroup v1 is an error: `failCgroupV1`.
    pub fail_cgroup_v1: bool,
    /// `runtimeRequestTimeout`.
    pub runtime_request_timeout: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Config {
    /// Upstream's defaults for a node of this name with everything below `root_dir`.
    pub fn new(node_name: &str, root_dir: &Path) -> Self {
        Config {
            node_name: node_name.to_owned(),
            hostname: node_name.to_owned(),
            node_ips: Vec::new(),
            root_dir: root_dir.to_owned(),
            runtime_endpoint: "unix:///run/containerd/containerd.sock".into(),
            pod_logs_dir: "/var/log/pods".into(),
            container_logs_dir: "/var/log/containers".into(),
            static_pod_path: None,
            cgroup_root: "/".into(),
            cgroups: true,
            address: "0.0.0.0".into(),
            port: 10250,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            resolv_conf: Some("/etc/resolv.conf".into()),
            register_node: true,
            node_labels: BTreeMap::new(),
            taints: Vec::new(),
            provider_id: String::new(),
            pod_cidr: String::new(),
            max_pods: 110,
            pod_pids_limit: None,
            cpu_quota: true,
            cpu_quota_period: Duration::from_millis(100),
            seccomp_default: false,
            sync_frequency: MINUTE,
            file_check_frequency: Duration::from_secs(20),
            node_status_update_frequency: Duration::from_secs(10),
            node_status_report_frequency: 5 * MINUTE,
            node_lease_duration_seconds: 40,
            node_status_max_images: 50,
            serialize_image_pulls: true,
            max_parallel_image_pulls: None,
            image_minimum_gc_age: 2 * MINUTE,
            image_maximum_gc_age: Duration::ZERO,
            image_gc_high_percent: 85,
            image_gc_low_percent: 80,
            pinned_images: Vec::new(),
            log_bytes_max: 10 << 20,
            log_files_max: 5,
            log_check_interval: Duration::from_secs(10),
            dead_containers_per_container: 1,
            crash_loop_max: 5 * MINUTE,
            reserved: BTreeMap::new(),
            eviction_hard: BTreeMap::from(
                [
                    ("memory.available", "100Mi"),
                    ("nodefs.available", "10%"),
                    ("nodefs.inodesFree", "5%"),
                    ("imagefs.available", "15%"),
                    ("imagefs.inodesFree", "5%"),
                ]
                .map(|(signal, value)| (signal.to_owned(), value.to_owned())),
            ),
            allowed_unsafe_sysctls: Vec::new(),
            enforce_allocatable: true,
            fail_cgroup_v1: false,
            runtime_request_timeout: 2 * MINUTE,
        }
    }

    /// `<root>/pods/<uid>`.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// The directory of a pod's logs: `<namespace>_<name>_<uid>`.
    pub fn pod_log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.pod_logs_dir.join(format!("{namespace}_{name}_{uid}"))
    }
}
