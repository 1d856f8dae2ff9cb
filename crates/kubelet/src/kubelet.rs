//! What all parts of one node share.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use client::{Client, Informer, time::Given};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use parking_lot::{Mutex, RwLock};

use crate::{
    cgroups::Cgroups,
    config::Config,
    cri::Runtime,
    events::Events,
    images::Images,
    node::{machine::Machine, status::Pressure},
    plan::backoff::Backoffs,
    pleg::Snapshot,
    probes::Probes,
    quantity::ResourceList,
    resize::Allocations,
    runtime::{fields, limits, security},
    stats::Rates,
    status::manager::StatusManager,
    userns::UserNamespaces,
    volumes::Volumes,
    worker::Workers,
};

/// One node's kubelet: the owners of everything, and what they have in common.
pub struct Kubelet {
    /// What it was told.
    pub config: Config,
    /// The machine it runs on.
    pub machine: Machine,
    /// Time and chance.
    pub given: Given,
    /// The API server.
    pub client: Client,
    /// The pods bound to this node, as the API server has them.
    pub pods: Informer<Pod>,
    /// All services, for variables.
    pub services: Informer<Service>,
    /// This node, as the API server has it.
    pub nodes: Informer<Node>,
    /// Containers.
    pub runtime: Runtime,
    /// The runtime's name, the scheme of container ids.
    pub runtime_name: String,
    /// Where events go.
    pub events: Events,
    /// The pods' statuses.
    pub status: Arc<StatusManager>,
    /// The pods' volumes.
    pub volumes: Volumes,
    /// The node's images.
    pub images: Images,
    /// The containers' probes.
    pub probes: Arc<Probes>,
    /// The pods' cgroups; none where the runtime makes them.
    pub cgroups: Option<Cgroups>,
    /// The pods' workers.
    pub workers: Arc<Workers>,
    /// Back-off of containers that end.
    pub crashes: Mutex<Backoffs>,
    /// What the runtime last said of itself.
    pub health: RwLock<Health>,
    /// Rung when it says something else.
    pub health_changed: tokio::sync::Notify,
    /// What is short.
    pub pressure: RwLock<Pressure>,
    /// What pods may use altogether.
    pub allocatable: ResourceList,
    /// What each of them may use.
    pub allocations: Allocations,
    /// Their ranges of user ids.
    pub user_namespaces: UserNamespaces,
    /// What runs, as last seen.
    pub snapshot: Snapshot,
    /// The last readings of CPU.
    pub rates: Rates,
    /// Cancelled when the directory of manifests has been read once: its pods are no orphans.
    pub manifests_known: tokio_util::sync::CancellationToken,
    /// Cancelled when it is to end; pods run on.
    pub stop: tokio_util::sync::CancellationToken,
    /// When it started, nanoseconds since 1970.
    pub started_at: i64,
}

/// What the runtime says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why it is not ready.
    pub runtime: Result<(), String>,
    /// Why the network is not.
    pub network: Result<(), String>,
    /// Handlers by name: whether each makes recursive read-only mounts and user namespaces.
    pub handlers: BTreeMap<String, (bool, bool)>,
    /// Whether it follows `supplementalGroupsPolicy`, where it says.
    pub supplemental_groups_policy: Option<bool>,
}

impl Default for Health {
    fn default() -> Self {
        let not_yet = |what: &str| Err(format!("{what} status check may not have completed yet"));
        Health {
            runtime: not_yet("container runtime"),
            network: not_yet("container runtime network"),
            handlers: BTreeMap::new(),
            supplemental_groups_policy: None,
        }
    }
}

impl Kubelet {
    /// Nanoseconds since 1970.
    pub fn now(&self) -> i64 {
        nanos(&self.given)
    }

    /// What the node knows of itself for the downward API.
    pub fn facts<'a>(&'a self, pod_ips: &'a [String]) -> fields::Node<'a> {
        fields::Node { host_ips: &self.config.node_ips, pod_ips, allocatable: &self.allocatable }
    }

    /// The node's part in containers' security.
    pub fn security<'a>(&self, seccomp_root: &'a PathBuf) -> security::Settings<'a> {
        security::Settings {
            seccomp_root,
            seccomp_default: self.config.seccomp_default,
            apparmor: self.machine.apparmor,
        }
    }

    /// The node's part in containers' resources.
    pub fn limits(&self) -> limits::Settings<'_> {
        limits::Settings {
            quota: self.config.cpu_quota,
            period_micros: i64::try_from(self.config.cpu_quota_period.as_micros()).unwrap_or(100_000),
            memory_capacity: i64::try_from(self.machine.memory_bytes).unwrap_or(i64::MAX),
            huge_page_sizes: &self.machine.huge_page_sizes,
            version: self.machine.cgroup_version,
        }
    }

    /// Whether the runtime's usual handler makes mounts read-only with all below them.
    pub fn recursive_read_only(&self) -> bool {
        self.health.read().handlers.get("").is_some_and(|(recursive, _)| *recursive)
    }
}

/// Nanoseconds since 1970.
pub fn nanos(given: &Given) -> i64 {
    i64::try_from(given.now().as_nanosecond()).unwrap_or(i64::MAX)
}
