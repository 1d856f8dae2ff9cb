//! The server: the parts wired together in one process.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use api::user::UserInfo;
use apiserver::authz::Mode;
use apiserver::launch::{self, Config, Provided, Running};
use apiserver::pki::{CertResolver, Identity};
use apiserver::server::Datastore;
use apiserver::settings::Settings;
use client::transport::SharedTransport;
use client::transport::local::Local;
use client::{Given, Informers, SystemClock};
use controllers::ServiceAccounts;
use kubelet::server::Serving;
use network::dns;
use network::pod::apply;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Error;
use crate::machine::Machine;
use crate::node::{Access, Node, cluster_network, dns_address, resolv_conf};
use crate::options::{ApiserverOptions, ServerOptions, hostname, own_address};
use crate::signing::Signing;

/// Which parts run in this process.
#[derive(Clone, Copy, Debug)]
struct Parts {
    /// Controllers, scheduler and cluster DNS.
    control_plane: bool,
    /// Kubelet, service proxy and pod network.
    node: bool,
}

/// How often the kubelet's certificate is looked at; it is renewed long before it ends.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);

/// Everything on this machine, until `stop`.
///
/// # Errors
/// What kept a part from starting.
pub async fn run_server(options: ServerOptions, stop: CancellationToken) -> Result<(), Error> {
    let parts = Parts { control_plane: true, node: !options.disable_agent };
    let machine = machine(&options)?;
    let config = config(&options, &machine);
    run(options, machine, config, parts, stop).await
}

/// The API server alone, until `stop`.
///
/// # Errors
/// What kept it from starting.
pub async fn run_apiserver(options: ApiserverOptions, stop: CancellationToken) -> Result<(), Error> {
    let machine = machine(&options.server)?;
    let own = config(&options.server, &machine);
    let disabled_admission_plugins = options.disable_admission_plugins.clone();
    let config = Config {
        settings: Settings { disabled_admission_plugins, ..own.settings },
        authorization_modes: options.authorization_mode.clone(),
        provided: options.provided(),
        ..own
    };
    let parts = Parts { control_plane: false, node: false };
    run(options.server, machine, config, parts, stop).await
}

fn machine(options: &ServerOptions) -> Result<Machine, Error> {
    Ok(Machine::of(&options.data_dir)?.with_ranges(options.cluster_cidr, options.service_cluster_ip_range))
}

async fn run(
    options: ServerOptions,
    machine: Machine,
    config: Config,
    parts: Parts,
    stop: CancellationToken,
) -> Result<(), Error> {
    let started = Instant::now();
    machine.remember()?;
    std::fs::write(machine.pid_file(), std::process::id().to_string())?;
    let address = config.settings.advertise_address;
    let kubeconfig = options.kubeconfig();
    let running = launch::launch(config, Arc::new(SystemClock), stop.clone()).await?;
    tracing::info!(
        address = %running.address,
        kubeconfig = %kubeconfig.display(),
        ready_ms = started.elapsed().as_millis(),
        "API server is ready"
    );
    let mut tasks = JoinSet::new();
    if parts.control_plane {
        running.server.api.components_inside.store(true, Ordering::Relaxed);
        start_controllers(&running, &machine, &mut tasks, &stop)?;
        start_scheduler(&running, &mut tasks, &stop);
        start_dns(&running, &machine, &options, &mut tasks, &stop);
    }
    if parts.node {
        let name = options.node.name();
        let node = Node {
            machine: machine.clone(),
            options: options.node.clone(),
            name: name.clone(),
            address: options.node.node_ip.unwrap_or(address),
        };
        let access = access(&running, &node, &mut tasks, &stop)?;
        node.start(access, &mut tasks, &stop).await?;
        tracing::info!(node = name, started_ms = started.elapsed().as_millis(), "node is started");
    } else if parts.control_plane {
        // The API server calls pods (webhooks, proxy), wherever they are.
        let informers = Informers::new(running.own_client(), Given::default());
        let (network, stop) = (cluster_network(&machine), stop.clone());
        tasks.spawn(async move { apply::keep_routes(&network, "", &informers, stop).await });
    }
    running.finished().await;
    tasks.shutdown().await;
    let _ = std::fs::remove_file(machine.pid_file());
    Ok(())
}

fn start_controllers(
    running: &Running,
    machine: &Machine,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let given = Given::default();
    let manager = running.client(UserInfo::authenticated("system:kube-controller-manager", &[]));
    let informers = Informers::new(manager, given);
    let pipeline = running.server.pipeline.clone();
    let factory = ServiceAccounts(move |user| -> SharedTransport { Arc::new(Local::new(pipeline.clone(), user)) });
    let context = controllers::Context::new(Arc::new(factory), informers, stop.clone());
    let config = controllers::Config {
        cluster_cidrs: vec![machine.cluster_cidr.to_string().parse()?],
        service_cidrs: vec![machine.service_cidr.to_string().parse()?],
        root_ca: Some(std::fs::read_to_string(running.pki.path("ca.crt"))?.into()),
        authority: Some(Arc::new(Signing(running.pki.ca.clone()))),
        ..controllers::Config::default()
    };
    tasks.spawn(controllers::run(context, config));
    Ok(())
}

fn start_scheduler(running: &Running, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let client = running.client(UserInfo::authenticated("system:kube-scheduler", &[]));
    let informers = Informers::new(client.clone(), Given::default());
    let stop = stop.clone();
    tasks.spawn(async move { scheduler::run::run(scheduler::run::Config::default(), client, &informers, stop).await });
}

/// A node in this process goes through the pipeline, and has its serving certificate from the cluster's authority.
fn access(running: &Running, node: &Node, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> Result<Access, Error> {
    let identity = Identity::kubelet_server(&node.name, &[node.address]);
    let now = || Given::default().now().as_second();
    let certificate = CertResolver::new(&running.pki, "kubelet", identity.clone(), now())?;
    let user = UserInfo::authenticated(format!("system:node:{}", node.name), &["system:nodes"]);
    let access = Access {
        kubelet: running.client(user),
        proxy: running.client(UserInfo::authenticated("system:kube-proxy", &[])),
        serving: Serving { certificate: certificate.clone(), client_authorities: vec![running.pki.ca.der().to_vec()] },
    };
    let (pki, stop) = (running.pki.clone(), stop.clone());
    tasks.spawn(async move {
        let mut checks = tokio::time::interval(RENEWAL_CHECK);
        while stop.run_until_cancelled(checks.tick()).await.is_some() {
            if let Err(error) = certificate.renew(&pki, identity.clone(), now()) {
                tracing::warn!(%error, "the kubelet's certificate could not be renewed; the old one is still good");
            }
        }
    });
    Ok(access)
}

fn start_dns(
    running: &Running,
    machine: &Machine,
    options: &ServerOptions,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let Some(cluster_ip) = dns_address(machine) else { return };
    let config = dns::run::Config {
        domain: "cluster.local".to_owned(),
        cluster_ip,
        listen: SocketAddr::new(advertise_address(options), machine.ports.dns),
        node: options.node.name(),
        resolv_conf: resolv_conf(&options.node),
        ttl_seconds: dns::run::TTL_SECONDS_DEFAULT,
    };
    let client = running.own_client();
    let informers = Informers::new(client.clone(), Given::default());
    let stop = stop.clone();
    tasks.spawn(async move {
        if let Err(error) = dns::run::run(config, client, &informers, stop).await {
            tracing::error!(%error, "cluster DNS");
        }
    });
}

/// Where others reach this server.
fn advertise_address(options: &ServerOptions) -> IpAddr {
    let bound = options.bind_address;
    // A loopback address can't be an endpoint of the `kubernetes` Service.
    options.advertise_address.unwrap_or_else(|| match bound.is_unspecified() || bound.is_loopback() {
        true => own_address(),
        false => bound,
    })
}

fn config(options: &ServerOptions, machine: &Machine) -> Config {
    let datastore = match options.datastore_endpoint.is_empty() {
        true => Datastore::Embedded(options.data_dir.join("store")),
        false => Datastore::Etcd(options.datastore_endpoint.clone()),
    };
    // Whoever administers from this machine comes over loopback, whatever its addresses become.
    let host = match options.bind_address.is_unspecified() {
        true => "127.0.0.1".to_owned(),
        false => options.bind_address.to_string(),
    };
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let conf = |name: &str| options.data_dir.join("conf").join(name);
    Config {
        pki: options.data_dir.join("pki"),
        datastore,
        bind_address: options.bind_address,
        settings: Settings {
            advertise_address: advertise_address(options),
            secure_port: options.secure_port,
            service_cluster_ip_range: machine.service_cidr,
            service_node_port_range: (30_000, 32_767),
            service_account_issuer: options.service_account_issuer.clone(),
            disabled_admission_plugins: Vec::new(),
        },
        hostname: hostname(),
        kubeconfigs: vec![
            (options.kubeconfig(), "admin".to_owned(), groups(&["system:masters"])),
            (conf("controller-manager.conf"), "system:kube-controller-manager".to_owned(), Vec::new()),
            (conf("scheduler.conf"), "system:kube-scheduler".to_owned(), Vec::new()),
            (conf("proxy.conf"), "system:kube-proxy".to_owned(), Vec::new()),
        ],
        public_url: format!("https://{host}:{}", options.secure_port),
        authorization_modes: vec![Mode::Node, Mode::Rbac],
        provided: Provided::default(),
    }
}
