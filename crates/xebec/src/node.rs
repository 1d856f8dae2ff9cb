//! A node in this process: runtime, kubelet, pod network, service proxy.
//!
//! The kubelet comes first and registers the node; a controller gives the node its range of pod addresses; the pod
//! network is made of that, and its CNI configuration is what makes the node Ready.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use client::{Client, Given, Informers};
use kubelet::images::pause;
use kubelet::kubelet::Kubelet;
use kubelet::server::Serving;
use network::instance::Instance;
use network::pod::{PodNetwork, apply, cni};
use network::proxy::address::Cidr;
use network::proxy::config::{Config as ProxyConfig, NodePortAddresses};
use network::proxy::nft::NftTool;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Error;
use crate::containerd;
use crate::machine::Machine;
use crate::options::NodeOptions;

/// What a node is started with.
pub struct Node {
    pub machine: Machine,
    pub options: NodeOptions,
    pub name: String,
    pub address: IpAddr,
}

/// How a node's parts reach the API server, and how its kubelet proves who it is.
pub struct Access {
    /// Acts as `system:node:NAME`.
    pub kubelet: Client,
    /// Acts as `system:kube-proxy`.
    pub proxy: Client,
    pub serving: Serving,
}

/// The tenth address of the Services' range, where clients expect DNS.
const DNS_ADDRESS: u128 = 10;

// === impl Node ===

impl Node {
    /// Starts the node's parts; they run until `stop`.
    ///
    /// # Errors
    /// A part can't be started: no runtime, no rights.
    pub async fn start(self, access: Access, parts: &mut JoinSet<()>, stop: &CancellationToken) -> Result<(), Error> {
        let endpoint = match &self.options.container_runtime_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let endpoint = containerd::ensure(&self.machine, &self.options.runtime_handlers).await?;
                containerd::import_images(&self.machine, &endpoint).await?;
                let handlers = self.options.runtime_handlers.clone();
                parts.spawn(containerd::keep(self.machine.clone(), handlers, stop.clone()));
                endpoint
            }
        };
        let config = self.kubelet(endpoint);
        let kubelet = kubelet::start(config, access.kubelet, Given::default(), stop.clone()).await?;
        kubelet::server::serve(kubelet.clone(), &access.serving).await?;
        let informers = Informers::new(access.proxy, Given::default());
        self.start_proxy(&informers, parts, stop)?;
        let stop = stop.clone();
        parts.spawn(async move {
            let Some(ranges) = stop.run_until_cancelled(pod_ranges(&kubelet)).await else { return };
            let network = self.network(ranges);
            if let Err(error) = self.set_up(&network).await {
                tracing::error!(%error, "the pod network could not be made");
            }
            apply::keep_routes(&network, &self.name, &informers, stop).await;
            drop(kubelet);
        });
        Ok(())
    }

    async fn set_up(&self, network: &PodNetwork) -> Result<(), Error> {
        apply::set_up(network, &NftTool::default()).await?;
        cni::write(network, &self.machine.cni_dir(), &self.machine.below("cni/leases"))?;
        Ok(())
    }

    fn network(&self, pod_cidrs: Vec<Cidr>) -> PodNetwork {
        PodNetwork { pod_cidrs, node_ips: vec![self.address], ..cluster_network(&self.machine) }
    }

    fn kubelet(&self, endpoint: String) -> kubelet::config::Config {
        let mut config = kubelet::config::Config::new(&self.name, &self.machine.below("kubelet"));
        config.runtime_endpoint = endpoint;
        config.node_ips = vec![self.address.to_string()];
        config.pod_logs_dir = self.machine.below("pod-logs");
        config.container_logs_dir = self.machine.below("container-logs");
        config.static_pod_path = Some(self.machine.below("manifests"));
        config.cgroup_root = self.machine.cgroup_root();
        config.port = self.options.kubelet_port.unwrap_or(self.machine.ports.kubelet);
        config.cluster_dns = dns_address(&self.machine).iter().map(IpAddr::to_string).collect();
        if let Some(path) = &self.options.resolv_conf {
            config.resolv_conf = Some(path.clone());
        }
        config.node_labels = self.options.node_labels.iter().cloned().collect();
        // On a machine that does other things too, a tenth of a large disk is more than pods need.
        for signal in ["nodefs.available", "imagefs.available"] {
            config.eviction_hard.insert(signal.to_owned(), "5%".to_owned());
        }
        // They came with the binary and could be pulled from nowhere.
        config.pinned_images = [pause::NAME, containerd::DEMO_IMAGE].map(str::to_owned).into();
        config
    }

    fn start_proxy(
        &self,
        informers: &Informers,
        parts: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let network = self.network(Vec::new());
        let mut config = ProxyConfig::new(self.name.clone(), vec![self.address], network.cluster_cidrs);
        config.service_cidrs = network.service_cidrs;
        config.node_port_addresses = NodePortAddresses::parse(&self.options.nodeport_addresses, &config.node_ips)?;
        let loopback = IpAddr::from([127, 0, 0, 1]);
        config.healthz_bind_address = Some(SocketAddr::new(loopback, self.machine.ports.proxy_healthz));
        config.metrics_bind_address = Some(SocketAddr::new(loopback, self.machine.ports.proxy_metrics));
        spawn_proxy(config, self.machine.instance.clone(), informers.clone(), parts, stop);
        Ok(())
    }
}

/// Runs the service proxy beside the other parts; it trying to listen where another one does is told, not fatal.
pub fn spawn_proxy(
    config: ProxyConfig,
    instance: Instance,
    informers: Informers,
    parts: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let stop = stop.clone();
    parts.spawn(async move {
        if let Err(error) = network::proxy::run::run(config, &instance, NftTool::default(), &informers, stop).await {
            tracing::error!(%error, "service proxy");
        }
    });
}

/// The ranges of addresses that the node's pods get, as soon as the node has them.
async fn pod_ranges(kubelet: &Arc<Kubelet>) -> Vec<Cidr> {
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    kubelet.nodes.subscribe(move |_| notify.notify_one());
    loop {
        let ranges: Vec<Cidr> = kubelet
            .nodes
            .find("", &kubelet.config.node_name)
            .and_then(|node| node.view.spec.clone()?.pod_cidrs)
            .unwrap_or_default()
            .iter()
            .filter_map(|range| range.parse().ok())
            .collect();
        if !ranges.is_empty() {
            return ranges;
        }
        changed.notified().await;
    }
}

/// What every machine of the cluster knows of its network.
pub fn cluster_network(machine: &Machine) -> PodNetwork {
    let range = |cidr: apiserver::settings::Cidr| Cidr::of(cidr.base, cidr.prefix);
    PodNetwork {
        instance: machine.instance.clone(),
        pod_cidrs: Vec::new(),
        cluster_cidrs: vec![range(machine.cluster_cidr)],
        service_cidrs: vec![range(machine.service_cidr)],
        node_ips: Vec::new(),
        mtu: None,
    }
}

/// Where pods ask for names.
pub fn dns_address(machine: &Machine) -> Option<IpAddr> {
    machine.service_cidr.nth(DNS_ADDRESS)
}

/// The file whose name servers are asked for names outside the cluster.
pub fn resolv_conf(options: &NodeOptions) -> PathBuf {
    options.resolv_conf.clone().unwrap_or_else(|| PathBuf::from("/etc/resolv.conf"))
}
