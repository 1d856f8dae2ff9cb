//! The server: the parts wired together in one process.

use std::sync::Arc;
use std::time::Instant;

use api::user::UserInfo;
use apiserver::authz::Mode;
use apiserver::launch::{self, Config, Running};
use apiserver::server::Datastore;
use apiserver::settings::Settings;
use client::transport::SharedTransport;
use client::transport::local::Local;
use client::{Given, Informers, SystemClock};
use controllers::ServiceAccounts;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Error;
use crate::machine::Machine;
use crate::node::Node;
use crate::options::{ServerOptions, hostname, own_address};
use crate::signing::Signing;

/// Which parts run in this process.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Controllers and scheduler.
    pub control_plane: bool,
    /// Kubelet, proxy, DNS.
    pub node: bool,
}

// === impl Parts ===

impl Parts {
    pub fn all() -> Parts {
        Parts { control_plane: true, node: true }
    }

    pub fn api_only() -> Parts {
        Parts { control_plane: false, node: false }
    }
}

/// Runs until `stop`.
///
/// # Errors
/// What kept a part from starting.
pub async fn run(options: ServerOptions, parts: Parts, stop: CancellationToken) -> Result<(), Error> {
    let started = Instant::now();
    let mut machine = Machine::of(&options.data_dir)?;
    machine.cluster_cidr = options.cluster_cidr.unwrap_or(machine.cluster_cidr);
    machine.service_cidr = options.service_cluster_ip_range.unwrap_or(machine.service_cidr);
    std::fs::create_dir_all(&machine.data_dir)?;
    std::fs::write(machine.pid_file(), std::process::id().to_string())?;
    let config = config(&options, &machine);
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
        start_controllers(&running, &machine, &mut tasks, &stop)?;
        start_scheduler(&running, &mut tasks, &stop);
    }
    if parts.node {
        let name = options.node_name.clone().unwrap_or_else(hostname);
        let node = Node { machine: &machine, options: &options, name: name.clone(), address };
        node.start(&running, &mut tasks, &stop).await?;
        tracing::info!(node = name, started_ms = started.elapsed().as_millis(), "node is started");
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
        authority: Some(Arc::new(Signing(running.pki.clone()))),
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

fn config(options: &ServerOptions, machine: &Machine) -> Config {
    let advertise = options.advertise_address.unwrap_or_else(|| match options.bind_address.is_unspecified() {
        true => own_address(),
        false => options.bind_address,
    });
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
            advertise_address: advertise,
            secure_port: options.secure_port,
            service_cluster_ip_range: machine.service_cidr,
            service_node_port_range: (30_000, 32_767),
            service_account_issuer: options.service_account_issuer.clone(),
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
    }
}
