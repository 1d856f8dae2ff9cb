//! The node in this process: runtime, pod network, kubelet, service proxy, DNS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::user::UserInfo;
use apiserver::launch::Running;
use apiserver::pki::{CertResolver, Identity};
use apiserver::settings::Cidr;
use client::{Given, Informers};
use kubelet::images::pause;
use kubelet::server::Serving;
use network::dns;
use network::pod::{PodNetwork, apply, cni};
use network::proxy::config::Config as ProxyConfig;
use network::proxy::nft::NftTool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Error;
use crate::containerd;
use crate::machine::Machine;
use crate::options::ServerOptions;

/// What the node is started with.
pub struct Node<'a> {
    pub machine: &'a Machine,
    pub options: &'a ServerOptions,
    pub name: String,
    pub address: IpAddr,
}

/// How often the kubelet's certificate is looked at; it is renewed long before it ends.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);
/// The tenth address of the Services' range, where clients expect DNS.
const DNS_ADDRESS: u128 = 10;

// === impl Node ===

impl Node<'_> {
    /// Starts the node's parts; they run until `stop`.
    ///
    /// # Errors
    /// A part can't be started: no runtime, no rights.
    pub async fn start(
        &self,
        running: &Running,
        parts: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let endpoint = match &self.options.container_runtime_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let endpoint = containerd::ensure(self.machine).await?;
                containerd::import_images(self.machine, &endpoint).await?;
                endpoint
            }
        };
        let network = self.network()?;
        apply::set_up(&network, &NftTool::default()).await?;
        cni::write(&network, &self.machine.below("cni/net.d"), &self.machine.below("cni/leases"))?;

        let user = UserInfo::authenticated(format!("system:node:{}", self.name), &["system:nodes"]);
        let kubelet =
            kubelet::start(self.kubelet(endpoint), running.client(user), Given::default(), stop.clone()).await?;
        self.serve_kubelet(&kubelet, running, parts, stop).await?;
        parts.spawn({
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                drop(kubelet);
            }
        });
        self.start_proxy(running, &network, parts, stop);
        self.start_dns(running, parts, stop);
        Ok(())
    }

    /// The kubelet's HTTPS server, with a certificate of the cluster's authority that is renewed in time.
    async fn serve_kubelet(
        &self,
        kubelet: &Arc<kubelet::kubelet::Kubelet>,
        running: &Running,
        parts: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let identity = Identity::kubelet_server(&self.name, &[self.address]);
        let now = Given::default().now().as_second();
        let certificate = CertResolver::new(&running.pki, "kubelet", identity.clone(), now)?;
        let serving = Serving { certificate: certificate.clone(), client_ca: running.pki.ca.der().to_vec() };
        kubelet::server::serve(kubelet.clone(), &serving).await?;
        let (pki, stop) = (running.pki.clone(), stop.clone());
        parts.spawn(async move {
            let mut checks = tokio::time::interval(RENEWAL_CHECK);
            while stop.run_until_cancelled(checks.tick()).await.is_some() {
                let now = Given::default().now().as_second();
                if let Err(error) = certificate.renew(&pki, identity.clone(), now) {
                    tracing::warn!(%error, "the kubelet's certificate could not be renewed; the old one is still good");
                }
            }
        });
        Ok(())
    }

    fn network(&self) -> Result<PodNetwork, Error> {
        let pods = node_range(self.machine.cluster_cidr);
        Ok(PodNetwork {
            instance: self.machine.instance.clone(),
            pod_cidrs: vec![pods.parse()?],
            cluster_cidrs: vec![self.machine.cluster_cidr.to_string().parse()?],
            service_cidrs: vec![self.machine.service_cidr.to_string().parse()?],
            node_ips: vec![self.address],
            mtu: None,
        })
    }

    fn kubelet(&self, endpoint: String) -> kubelet::config::Config {
        let mut config = kubelet::config::Config::new(&self.name, &self.machine.below("kubelet"));
        config.runtime_endpoint = endpoint;
        config.node_ips = vec![self.address.to_string()];
        config.pod_logs_dir = self.machine.below("pod-logs");
        config.container_logs_dir = self.machine.below("container-logs");
        config.static_pod_path = Some(self.machine.below("manifests"));
        config.cgroup_root = self.machine.cgroup_root();
        config.port = self.machine.ports.kubelet;
        config.cluster_dns = self.dns_address().iter().map(IpAddr::to_string).collect();
        // On a machine that does other things too, a tenth of a large disk is more than pods need.
        for signal in ["nodefs.available", "imagefs.available"] {
            config.eviction_hard.insert(signal.to_owned(), "5%".to_owned());
        }
        config.pod_cidr = node_range(self.machine.cluster_cidr);
        // They came with the binary and could be pulled from nowhere.
        config.pinned_images = [pause::NAME, containerd::DEMO_IMAGE].map(str::to_owned).into();
        config
    }

    fn start_proxy(&self, running: &Running, network: &PodNetwork, parts: &mut JoinSet<()>, stop: &CancellationToken) {
        let mut config = ProxyConfig::new(self.name.clone(), vec![self.address], network.cluster_cidrs.clone());
        config.service_cidrs = network.service_cidrs.clone();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        config.healthz_bind_address = Some(SocketAddr::new(loopback, self.machine.ports.proxy_healthz));
        config.metrics_bind_address = Some(SocketAddr::new(loopback, self.machine.ports.proxy_metrics));
        let client = running.client(UserInfo::authenticated("system:kube-proxy", &[]));
        let informers = Informers::new(client, Given::default());
        let (instance, stop) = (self.machine.instance.clone(), stop.clone());
        parts.spawn(async move {
            if let Err(error) = network::proxy::run::run(config, &instance, NftTool::default(), &informers, stop).await
            {
                tracing::error!(%error, "service proxy");
            }
        });
    }

    fn start_dns(&self, running: &Running, parts: &mut JoinSet<()>, stop: &CancellationToken) {
        let Some(cluster_ip) = self.dns_address() else { return };
        let config = dns::run::Config {
            domain: "cluster.local".to_owned(),
            cluster_ip,
            listen: SocketAddr::new(self.address, self.machine.ports.dns),
            node: self.name.clone(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            ttl_seconds: dns::run::TTL_SECONDS_DEFAULT,
        };
        let client = running.own_client();
        let informers = Informers::new(client.clone(), Given::default());
        let stop = stop.clone();
        parts.spawn(async move {
            if let Err(error) = dns::run::run(config, client, &informers, stop).await {
                tracing::error!(%error, "cluster DNS");
            }
        });
    }

    fn dns_address(&self) -> Option<IpAddr> {
        self.machine.service_cidr.nth(DNS_ADDRESS)
    }
}

/// The first /24 (or /64) of the cluster's pods: this machine's, as the first node of its cluster.
fn node_range(cluster: Cidr) -> String {
    let bits = if cluster.base.is_ipv4() { 24 } else { 64 };
    format!("{}/{}", cluster.base, cluster.prefix.max(bits))
}
