//! Starts a kubelet: its parts are made, wired and set going.

use std::{fs, sync::Arc, time::Duration};

use client::{Client, EventRecorder, EventType, Informers, Kind, Selection, resources, time::Given};
use k8s_openapi::api::{
    certificates::v1::PodCertificateRequest,
    core::v1::{Node, Pod, Service},
};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::{ApiSigners, PodCertificates},
    cgroups::{Cgroups, Hierarchies, Limits, Version},
    config::Config,
    cri::{self, Runtime, v1},
    events::Events,
    eviction, gc,
    images::Images,
    kubelet::{Health, Kubelet, nanos},
    node::{self, machine},
    objects::ApiObjects,
    plan::backoff::Backoffs,
    pleg,
    probes::{Probes, run::Runner},
    resize::Allocations,
    sources,
    status::manager::StatusManager,
    userns::UserNamespaces,
    volumes::Volumes,
    worker::Workers,
};

/// Between two tries to reach the runtime.
const RUNTIME_WAIT: Duration = Duration::from_millis(200);

/// Why a kubelet can't start. A runtime or API server that is not there yet is no such reason: it waits for them.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The runtime's endpoint is none.
    #[error("failed to create runtime service: {0}")]
    Runtime(#[from] cri::Error),
    /// A directory can't be made.
    #[error("failed to make the directory {path}: {source}")]
    Directory {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The pods' cgroups can't be made.
    #[error("failed to make the cgroup root: {0}")]
    Cgroups(std::io::Error),
    /// It was told to stop before it had started.
    #[error("stopped while waiting for the container runtime")]
    Stopped,
}

/// Starts a kubelet and gives it, for its server. It goes on until `stop`; pods keep running then.
///
/// # Errors
/// [`StartError`].
pub async fn start(
    mut config: Config,
    client: Client,
    given: Given,
    stop: CancellationToken,
) -> Result<Arc<Kubelet>, StartError> {
    complete(&mut config);
    directories(&config)?;
    let runtime = Runtime::connect(&config.runtime_endpoint)?;
    let wait = wait_for_runtime(&runtime);
    let version = stop.run_until_cancelled(wait).await.ok_or(StartError::Stopped)?;
    let kubelet = build(config, client, given, runtime, version, &stop).await?;
    // A node whose runtime is ready is registered as ready.
    let health = node::ask_health(&kubelet).await;
    *kubelet.health.write() = health;
    kubelet.events.node(&kubelet.config.node_name, EventType::Normal, "Starting", "Starting kubelet.");
    spawn(&kubelet, &stop);
    Ok(kubelet)
}

/// Runs a kubelet until told to stop.
///
/// # Errors
/// [`StartError`].
pub async fn run(config: Config, client: Client, given: Given, stop: CancellationToken) -> Result<(), StartError> {
    let _kubelet = start(config, client, given, stop.clone()).await?;
    stop.cancelled().await;
    Ok(())
}

/// Fills in what the machine tells.
fn complete(config: &mut Config) {
    if config.node_ips.is_empty() {
        config.node_ips = vec![machine::default_address().to_string()];
    }
    if config.hostname.is_empty() {
        config.hostname = machine::hostname();
    }
}

fn directories(config: &Config) -> Result<(), StartError> {
    let pods = config.root_dir.join("pods");
    for path in [&config.root_dir, &pods, &config.pod_logs_dir, &config.container_logs_dir] {
        fs::create_dir_all(path)
            .map_err(|source| StartError::Directory { path: path.display().to_string(), source })?;
    }
    Ok(())
}

async fn wait_for_runtime(runtime: &Runtime) -> v1::VersionResponse {
    let mut told = false;
    loop {
        match runtime.version(v1::VersionRequest::default()).await {
            Ok(version) => return version,
            Err(error) if !told => {
                told = true;
                tracing::warn!(%error, "waiting for the container runtime");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RUNTIME_WAIT).await;
    }
}

async fn build(
    config: Config,
    client: Client,
    given: Given,
    runtime: Runtime,
    version: v1::VersionResponse,
    stop: &CancellationToken,
) -> Result<Arc<Kubelet>, StartError> {
    let hierarchies = Hierarchies::detect();
    let cgroup_version = hierarchies.as_ref().map_or(Version::V2, Hierarchies::version);
    let machine = machine::Machine::read(cgroup_version);
    let capacity = node::status::capacity(&config, &machine, machine::disk(&config.root_dir).ok());
    let allocatable = node::status::allocatable(&config, &capacity);
    let cgroups = match config.cgroups {
        true => Some(make_cgroups(&config, hierarchies.map_err(StartError::Cgroups)?, &allocatable, machine.cpus)?),
        false => None,
    };
    let informers = Informers::new(client.clone(), given.clone());
    let here = |field: &str| Selection {
        field_selector: format!("{field}={}", config.node_name),
        keep_bytes: false,
        ..Selection::default()
    };
    let pods = informers.view::<Pod>(&Pod::RESOURCE, here("spec.nodeName"));
    let nodes = informers.view::<Node>(&resources::NODES, here("metadata.name"));
    let services =
        informers.view::<Service>(&Service::RESOURCE, Selection { keep_bytes: false, ..Selection::default() });
    let requests = informers.view::<PodCertificateRequest>(&PodCertificateRequest::RESOURCE, here("spec.nodeName"));
    informers.start(stop);
    let recorder = EventRecorder::new(client.clone(), "kubelet", &config.node_name, given.clone(), stop.clone());
    let events = Events::new(recorder);
    let clock = given.clone();
    let now = move || nanos(&clock);
    let status = Arc::new(StatusManager::new(client.clone(), pods.clone(), now.clone()));
    let workers = Arc::<Workers>::default();
    let (statuses, woken) = (status.clone(), workers.clone());
    let probes = Probes::new(
        Runner::new(runtime.clone()),
        events.clone(),
        move |uid| statuses.get(uid),
        move |uid| woken.wake(uid),
        now.clone(),
        stop.clone(),
    );
    let signers = ApiSigners {
        client: client.clone(),
        requests: requests.clone(),
        nodes: nodes.clone(),
        node_name: config.node_name.clone(),
    };
    let woken = workers.clone();
    let certificates =
        PodCertificates::new(Arc::new(signers), events.clone(), given.clone(), move |uid| woken.wake(uid));
    let certificates = Arc::new(certificates);
    let told = Arc::downgrade(&certificates);
    requests.subscribe(move |event| {
        if let Some(certificates) = told.upgrade() {
            certificates.seen(&event.object().view);
        }
    });
    tokio::spawn(certificates.clone().run(stop.clone()));
    let parallel = if config.serialize_image_pulls { Some(1) } else { config.max_parallel_image_pulls };
    Ok(Arc::new(Kubelet {
        volumes: Volumes::new(&config.root_dir, Arc::new(ApiObjects(client.clone())), certificates),
        images: Images::new(runtime.clone(), parallel),
        allocations: Allocations::load(&config.root_dir),
        user_namespaces: UserNamespaces::load(&config.root_dir, config.max_pods),
        crashes: Mutex::new(Backoffs::with_max(config.crash_loop_max)),
        started_at: now(),
        runtime_name: version.runtime_name,
        probes: Arc::new(probes),
        health: RwLock::new(Health::default()),
        health_changed: tokio::sync::Notify::new(),
        pressure: RwLock::default(),
        snapshot: pleg::Snapshot::default(),
        rates: crate::stats::Rates::default(),
        manifests_known: CancellationToken::new(),
        stop: stop.clone(),
        config,
        machine,
        given,
        client,
        pods,
        services,
        nodes,
        runtime,
        events,
        status,
        cgroups,
        workers,
        allocatable,
    }))
}

fn make_cgroups(
    config: &Config,
    hierarchies: Hierarchies,
    allocatable: &crate::quantity::ResourceList,
    cpus: u32,
) -> Result<Cgroups, StartError> {
    let period = i64::try_from(config.cpu_quota_period.as_micros()).unwrap_or(crate::qos::QUOTA_PERIOD_MICROS);
    let cgroups = Cgroups::new(hierarchies, &config.cgroup_root, config.cpu_quota, period, config.pod_pids_limit);
    let memory = allocatable.get("memory").map(|memory| memory.value()).filter(|_| config.enforce_allocatable);
    let limits = Limits { shares: Some(i64::from(cpus) * 1024), memory, ..Limits::default() };
    cgroups.prepare(&limits).map_err(StartError::Cgroups)?;
    Ok(cgroups)
}

fn spawn(kubelet: &Arc<Kubelet>, stop: &CancellationToken) {
    let port = kubelet.config.port;
    let status = kubelet.status.clone();
    tokio::spawn(status.run(stop.clone()));
    tokio::spawn(node::watch_health(kubelet.clone(), stop.clone()));
    tokio::spawn(node::run(kubelet.clone(), port, stop.clone()));
    tokio::spawn(pleg::run(kubelet.clone(), stop.clone()));
    tokio::spawn(sources::follow_manifests(kubelet.clone(), stop.clone()));
    let (later, stop) = (kubelet.clone(), stop.clone());
    tokio::spawn(async move {
        let pods = async {
            // Pods are acted on once all of them are known: a half list would end the others.
            later.pods.synced().await;
            sources::follow_api(&later);
            later.manifests_known.cancelled().await;
        };
        if stop.run_until_cancelled(pods).await.is_some() {
            tokio::join!(gc::run(later.clone(), stop.clone()), eviction::run(later, stop));
        }
    });
}
