//! Flags with good defaults. Names are upstream's where upstream has them.

use std::net::IpAddr;
use std::path::PathBuf;

use apiserver::settings::Cidr;
use clap::Args;

/// What `xebec server` and `xebec apiserver` take.
#[derive(Args, Clone, Debug)]
pub struct ServerOptions {
    /// All state lies below this directory.
    #[arg(long, default_value = "/var/lib/xebec", env = "XEBEC_DATA_DIR")]
    pub data_dir: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Address under which other machines and pods reach this server; found by itself where not given.
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// Port to listen on.
    #[arg(long, default_value_t = 6443)]
    pub secure_port: u16,
    /// An etcd (http://host:2379, several separated by commas) instead of the embedded datastore.
    #[arg(long, value_delimiter = ',')]
    pub datastore_endpoint: Vec<String>,
    /// Where the administrator's kubeconfig is written; DATA_DIR/kubeconfig where not given.
    #[arg(long)]
    pub kubeconfig_out: Option<PathBuf>,
    /// Addresses of Services; 10.96.0.0/16 for the default data directory, another range for each other one.
    #[arg(long)]
    pub service_cluster_ip_range: Option<Cidr>,
    /// Addresses of pods; 10.244.0.0/16 for the default data directory, another range for each other one.
    #[arg(long)]
    pub cluster_cidr: Option<Cidr>,
    /// A container runtime (unix:///run/containerd/containerd.sock) instead of a private one.
    #[arg(long)]
    pub container_runtime_endpoint: Option<String>,
    /// This machine's name as a node; its host name where not given.
    #[arg(long)]
    pub node_name: Option<String>,
    /// Issuer of service-account tokens.
    #[arg(long, default_value = "https://kubernetes.default.svc.cluster.local")]
    pub service_account_issuer: String,
}

// === impl ServerOptions ===

impl ServerOptions {
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_out.clone().unwrap_or_else(|| self.data_dir.join("kubeconfig"))
    }
}

/// The machine's name as the kernel has it.
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_lowercase(),
    }
}

/// The address that this machine would use to talk to others: no packet is sent for it.
/// Loopback where there is no route.
pub fn own_address() -> IpAddr {
    let probe = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    };
    let found: std::io::Result<std::net::SocketAddr> = probe();
    found.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}
