//! `xebec proxy`, in the place of kube-proxy.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use client::{Given, Informers};
use network::instance::Instance;
use network::proxy::config_file::KubeProxyConfiguration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Connection, Ignored};
use crate::commands::Error;
use crate::node::spawn_proxy;
use crate::options::{hostname, own_address};

/// What `xebec proxy` takes.
#[derive(Args, Clone, Debug)]
pub struct ProxyOptions {
    /// A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1).
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// The node's name; the host's where not given.
    #[arg(long)]
    hostname_override: Option<String>,
    /// Addresses of pods: what comes from elsewhere is masqueraded.
    #[arg(long)]
    cluster_cidr: Option<String>,
    /// Where NodePorts answer.
    #[arg(long, value_delimiter = ',')]
    nodeport_addresses: Vec<String>,
    /// The node's addresses.
    #[arg(long, value_delimiter = ',')]
    node_ip: Vec<IpAddr>,
    /// Names the nftables table: two proxies in one network namespace need two.
    #[arg(long, default_value = "main")]
    instance: String,
    #[arg(long, hide = true)]
    bind_address: Option<String>,
    #[command(flatten)]
    ignored: Ignored,
}

/// Proxies until `stop`; the rules stay.
///
/// # Errors
/// A file or value can't be used.
pub async fn run(options: ProxyOptions, stop: CancellationToken) -> Result<(), Error> {
    let mut file = match &options.config {
        Some(path) => serde_saphyr::from_str(&fs::read_to_string(path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?,
        None => KubeProxyConfiguration::default(),
    };
    if let Some(cidr) = options.cluster_cidr {
        file.cluster_cidr = cidr;
    }
    if !options.nodeport_addresses.is_empty() {
        file.node_port_addresses = Some(options.nodeport_addresses);
    }
    let kubeconfig = Some(file.client_connection.kubeconfig.clone()).filter(|path| !path.as_os_str().is_empty());
    let client = options.connection.config_or(kubeconfig.as_deref())?.client()?.named("kube-proxy");
    let name = options.hostname_override.unwrap_or_else(hostname);
    let addresses = if options.node_ip.is_empty() { vec![own_address()] } else { options.node_ip };
    let config = file.config(&name, addresses, &[])?;
    let informers = Informers::new(client, Given::default());
    let mut parts = JoinSet::new();
    spawn_proxy(config, Instance::new(options.instance)?, informers, &mut parts, &stop);
    while parts.join_next().await.is_some() {}
    Ok(())
}
