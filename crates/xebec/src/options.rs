//! Flags with good defaults. Names are upstream's where upstream has them.

use std::net::IpAddr;
use std::path::PathBuf;

use apiserver::authz::Mode;
use apiserver::launch::Provided;
use apiserver::settings::Cidr;
use clap::Args;

/// What `xebec server` takes.
#[derive(Args, Clone, Debug)]
pub struct ServerOptions {
    /// A YAML file with flags: `secure-port: 7443`, a line each. The command line wins.
    #[arg(long)]
    pub config: Option<PathBuf>,
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
    #[arg(long, visible_alias = "etcd-servers", value_delimiter = ',')]
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
    /// Issuer of service-account tokens.
    #[arg(long, default_value = "https://kubernetes.default.svc.cluster.local")]
    pub service_account_issuer: String,
    /// No node in this process: API server, datastore, controllers, scheduler and cluster DNS only.
    #[arg(long)]
    pub disable_agent: bool,
    #[command(flatten)]
    pub node: NodeOptions,
}

/// What `xebec apiserver` takes: what is here beside [`ServerOptions`] is upstream's, for those who start it in the place
/// of kube-apiserver.
#[derive(Args, Clone, Debug)]
pub struct ApiserverOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    /// Certificate (with its chain) to serve with, instead of one of the own authority, which is the one that the
    /// kubeconfigs written trust.
    #[arg(long, requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// Where apiserver.crt and apiserver.key lie that are served with, or are made, where no files are named.
    #[arg(long)]
    pub cert_dir: Option<PathBuf>,
    /// Authorities whose client certificates are good, beside the own one.
    #[arg(long)]
    pub client_ca_file: Option<PathBuf>,
    /// Keys that service-account tokens may be signed with, beside the one that signs them here.
    #[arg(long)]
    pub service_account_key_file: Vec<PathBuf>,
    /// The key that signs them, instead of the own one.
    #[arg(long)]
    pub service_account_signing_key_file: Option<PathBuf>,
    /// Who says what is allowed, in order.
    #[arg(long, value_delimiter = ',', default_values = ["Node", "RBAC"], value_parser = authorization_mode)]
    pub authorization_mode: Vec<Mode>,
    /// Admission plugins that are on by default and are not wanted.
    #[arg(long, value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    /// Privileged containers are always allowed; upstream's flag is taken.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = allowed)]
    pub allow_privileged: Option<()>,
}

/// What a node takes, in `xebec server` and `xebec agent`.
#[derive(Args, Clone, Debug)]
pub struct NodeOptions {
    /// A container runtime (unix:///run/containerd/containerd.sock) instead of a private one.
    #[arg(long)]
    pub container_runtime_endpoint: Option<String>,
    /// Further handlers of the private runtime that RuntimeClasses may name; each is runc under another name.
    #[arg(long, value_delimiter = ',')]
    pub runtime_handlers: Vec<String>,
    /// This machine's name as a node; its host name where not given.
    #[arg(long)]
    pub node_name: Option<String>,
    /// The node's address; the one that leads to others where not given.
    #[arg(long)]
    pub node_ip: Option<IpAddr>,
    /// Port of the kubelet's server; 10250 for the default data directory, another one for each other one.
    #[arg(long)]
    pub kubelet_port: Option<u16>,
    /// Labels of the node when it is registered (zone=a,disk=ssd).
    #[arg(long, value_delimiter = ',', value_parser = label)]
    pub node_labels: Vec<(String, String)>,
    /// The resolv.conf that pods' own are made from; /etc/resolv.conf where not given.
    #[arg(long)]
    pub resolv_conf: Option<PathBuf>,
    /// Where NodePorts answer: ranges, `primary`, `localhost`, `all`. All addresses of the node and 127.0.0.1 where not
    /// given.
    #[arg(long, value_delimiter = ',')]
    pub nodeport_addresses: Vec<String>,
}

/// What `xebec agent` takes.
#[derive(Args, Clone, Debug)]
pub struct AgentOptions {
    /// A YAML file with flags, a line each. The command line wins.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// All state of the node lies below this directory.
    #[arg(long, default_value = "/var/lib/xebec", env = "XEBEC_DATA_DIR")]
    pub data_dir: PathBuf,
    /// What `xebec node-config` wrote for this node; DATA_DIR/node where not given.
    #[arg(long)]
    pub node_config: Option<PathBuf>,
    /// Addresses of Services, as the server has them.
    #[arg(long)]
    pub service_cluster_ip_range: Option<Cidr>,
    /// Addresses of pods, as the server has them.
    #[arg(long)]
    pub cluster_cidr: Option<Cidr>,
    #[command(flatten)]
    pub node: NodeOptions,
}

// === impl ServerOptions ===

impl ServerOptions {
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_out.clone().unwrap_or_else(|| self.data_dir.join("kubeconfig"))
    }
}

// === impl ApiserverOptions ===

impl ApiserverOptions {
    /// The keys and certificates that are given.
    pub fn provided(&self) -> Provided {
        let named = self.tls_cert_file.clone().zip(self.tls_private_key_file.clone());
        let in_directory = |dir: &PathBuf| (dir.join("apiserver.crt"), dir.join("apiserver.key"));
        Provided {
            tls: named.or_else(|| self.cert_dir.as_ref().map(in_directory)),
            client_ca: self.client_ca_file.clone(),
            token_signing_key: self.service_account_signing_key_file.clone(),
            token_keys: self.service_account_key_file.clone(),
        }
    }
}

/// A mode of authorization by upstream's name.
fn authorization_mode(text: &str) -> Result<Mode, String> {
    match text {
        "AlwaysAllow" => Ok(Mode::AlwaysAllow),
        "AlwaysDeny" => Ok(Mode::AlwaysDeny),
        "Node" => Ok(Mode::Node),
        "RBAC" => Ok(Mode::Rbac),
        _ => Err("not one of AlwaysAllow, AlwaysDeny, Node, RBAC".to_owned()),
    }
}

fn allowed(text: &str) -> Result<(), String> {
    (text == "true").then_some(()).ok_or_else(|| "privileged containers can't be refused here".to_owned())
}

// === impl NodeOptions ===

impl NodeOptions {
    /// The node's name.
    pub fn name(&self) -> String {
        self.node_name.clone().unwrap_or_else(hostname)
    }
}

/// `key=value`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
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
