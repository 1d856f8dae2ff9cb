//! `xebec agent`: a machine that joins a cluster as a node; and `xebec node-config`, which writes on the server what
//! such a machine needs to prove who it is.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use apiserver::pki::{FileCertificate, Identity, Pki, kubeconfig};
use clap::Args;
use client::config::Config;
use client::{Clock, SystemClock};
use kubelet::server::Serving;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Error;
use crate::components::authorities;
use crate::machine::{DEFAULT_DATA_DIR, Machine};
use crate::node::{Access, Node};
use crate::options::{AgentOptions, own_address};

/// What `xebec node-config` takes.
#[derive(Args, Clone, Debug)]
pub struct NodeConfigOptions {
    /// The server's data directory.
    #[arg(long, default_value = DEFAULT_DATA_DIR, env = "XEBEC_DATA_DIR")]
    data_dir: PathBuf,
    /// The server as the node reaches it: https://10.0.0.1:6443.
    #[arg(long)]
    server: String,
    /// The node's name.
    #[arg(long)]
    node_name: String,
    /// The node's addresses, for its kubelet's certificate.
    #[arg(long, value_delimiter = ',', required = true)]
    node_ip: Vec<IpAddr>,
    /// The directory to write; what is good in it stays.
    #[arg(long)]
    out: PathBuf,
}

/// The name of the kubelet's certificate and key.
const KUBELET: &str = "kubelet";

/// The files of a node's directory.
struct NodeFiles {
    ca: PathBuf,
    kubelet: PathBuf,
    proxy: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

// === impl NodeFiles ===

impl NodeFiles {
    fn of(directory: &Path) -> NodeFiles {
        let file = |name: &str| directory.join(name);
        NodeFiles {
            ca: file("ca.crt"),
            kubelet: file("kubelet.conf"),
            proxy: file("proxy.conf"),
            certificate: file(&format!("{KUBELET}.crt")),
            key: file(&format!("{KUBELET}.key")),
        }
    }
}

/// Writes a node's certificates and kubeconfigs, signed by the authority in the server's data directory.
///
/// # Errors
/// There is no authority, or the directory can't be written.
pub fn write_node_config(options: &NodeConfigOptions) -> Result<(), Error> {
    let authority = options.data_dir.join("pki");
    if !authority.join("ca.crt").exists() {
        return Err(format!("no server has run with this data directory: {} is missing", authority.display()).into());
    }
    let now = SystemClock.now().as_second();
    let pki = Pki::open(&authority, now)?;
    fs::create_dir_all(&options.out)?;
    let files = NodeFiles::of(&options.out);
    fs::write(&files.ca, pki.ca.to_pem())?;
    let name = &options.node_name;
    let node = Identity::client(&format!("system:node:{name}"), &["system:nodes"]);
    let proxy = Identity::client("system:kube-proxy", &[]);
    kubeconfig::ensure(&files.kubelet, &options.server, &node, &pki, now)?;
    kubeconfig::ensure(&files.proxy, &options.server, &proxy, &pki, now)?;
    let kubelet = Identity::kubelet_server(name, &options.node_ip);
    pki.ensure_in(&options.out, KUBELET, &kubelet, now)?;
    Ok(())
}

/// Runs a node until `stop`; its pods go on after that.
///
/// # Errors
/// What kept a part from starting.
pub async fn run(options: AgentOptions, stop: CancellationToken) -> Result<(), Error> {
    let machine = Machine::of(&options.data_dir)?.with_ranges(options.cluster_cidr, options.service_cluster_ip_range);
    machine.remember()?;
    fs::write(machine.pid_file(), std::process::id().to_string())?;
    let directory = options.node_config.clone().unwrap_or_else(|| machine.below("node"));
    let files = NodeFiles::of(&directory);
    let mut tasks = JoinSet::new();
    let certificate = FileCertificate::read(&files.certificate, &files.key)?;
    let (follow, until) = (certificate.clone(), stop.clone());
    tasks.spawn(async move { follow.follow(until).await });
    let client_authorities = authorities(&files.ca)?;
    let access = Access {
        kubelet: Config::load(Some(&files.kubelet))?.client()?.named("kubelet"),
        proxy: Config::load(Some(&files.proxy))?.client()?.named("kube-proxy"),
        serving: Serving { certificate, client_authorities },
    };
    let address = options.node.node_ip.unwrap_or_else(own_address);
    let name = options.node.name();
    let pid_file = machine.pid_file();
    let node = Node { machine, options: options.node, name: name.clone(), address };
    node.start(access, &mut tasks, &stop).await?;
    tracing::info!(node = name, "node is started");
    stop.cancelled().await;
    tasks.shutdown().await;
    let _ = fs::remove_file(pid_file);
    Ok(())
}
