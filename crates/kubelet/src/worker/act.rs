//! Carries a plan out, in its order. Upstream: kuberuntime's `SyncPod`.

use std::{fs, sync::Arc, time::Duration};

use client::EventType;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};

use super::{SyncError, Worker, kill, resize, start};
use crate::{
    cri::{self, v1},
    kubelet::Kubelet,
    observed::{Observed, RunState, Sandbox},
    plan::{Actions, Cause, backoff::go_duration},
    pod::{PodExt, as_container, is_sidecar},
    runtime::{dns, sandbox},
    status::Waiting,
    userns,
};

/// A container that could not be started is tried again after this.
const START_WAIT: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Acted {
    /// The runtime was told to do something: look again.
    pub did_something: bool,
    /// Other containers wait, or for other reasons.
    pub changed_reasons: bool,
    /// When something is due again.
    pub wait: Option<Duration>,
}

/// An event's reason and message.
type Warning = (&'static str, String);

/// A container to be started.
pub(crate) struct Start<'a> {
    pub container: &'a Container,
    /// Whose processes an ephemeral container sees.
    pub target: Option<&'a str>,
}

/// What starting containers of a pod needs.
pub(crate) struct InSandbox<'a> {
    pub id: &'a str,
    pub config: &'a v1::PodSandboxConfig,
    pub addresses: &'a [String],
    pub observed: &'a Observed,
    pub secrets: &'a [Arc<Secret>],
}

/// Carries it out.
pub(crate) async fn act(
    worker: &mut Worker,
    pod: &Arc<Pod>,
    observed: &Observed,
    actions: &Actions,
    secrets: &[Arc<Secret>],
) -> Result<Acted, SyncError> {
    let kubelet = worker.kubelet.clone();
    let mut acted = Acted::default();
    if actions.create_sandbox && actions.sandbox.is_some() {
        let message = "Pod sandbox changed, it will be killed and re-created.";
        kubelet.events.pod(pod, EventType::Normal, "SandboxChanged", message);
    }
    stop(&kubelet, pod, observed, actions, &mut acted).await?;
    prune_init(&kubelet, pod, observed).await;
    if !actions.resize.is_empty() {
        if let Err(error) = resize::carry_out(&kubelet, pod, &actions.resize).await {
            kubelet.resize_failed(pod, &error);
            let status = worker.derive(pod, observed, false, None);
            kubelet.status.set(pod, status);
            return Err(SyncError::Other(error));
        }
        acted.did_something = true;
    }
    let starts = actions.start_init.len() + actions.start.len() + actions.start_ephemeral.len();
    if !actions.create_sandbox && starts == 0 {
        worker
            .memory
            .waiting
            .retain(|name, _| observed.container(name).is_none_or(|seen| seen.state != RunState::Running));
        return Ok(acted);
    }
    let made = match user_namespace(&kubelet, pod).await {
        Ok(users) => sandbox_config(&kubelet, pod, actions.attempt, users),
        Err(error) => Err(error),
    };
    let (config, events) = made.map_err(|error| no_sandbox(&kubelet, pod, error))?;
    for (reason, message) in events {
        kubelet.events.pod(pod, EventType::Warning, reason, message);
    }
    let mut addresses = observed.addresses();
    let mut id = actions.sandbox.clone().unwrap_or_default();
    if actions.create_sandbox {
        let made = create_sandbox(&kubelet, pod, &config).await?;
        acted.did_something = true;
        if !pod.host_network() {
            addresses = made.addresses.clone().unwrap_or_default();
        }
        id = made.id.clone();
        let mut now = observed.clone();
        now.sandboxes.iter_mut().for_each(|sandbox| sandbox.ready = false);
        now.sandboxes.insert(0, made);
        // Network and volumes stand: users see it before images are pulled.
        let status = worker.derive(pod, &now, false, None);
        kubelet.status.set(pod, status);
    }
    let place = InSandbox { id: &id, config: &config, addresses: &addresses, observed, secrets };
    start_all(worker, pod, actions, &place, &mut acted).await;
    Ok(acted)
}

async fn stop(
    kubelet: &Kubelet,
    pod: &Arc<Pod>,
    observed: &Observed,
    actions: &Actions,
    acted: &mut Acted,
) -> Result<(), cri::Error> {
    if actions.kill_pod {
        let alive = observed.running().next().is_some() || observed.sandboxes.iter().any(|sandbox| sandbox.ready);
        acted.did_something |= alive;
        kill::pod(kubelet, pod, observed, None).await?;
        if actions.create_sandbox {
            for container in init_containers(pod, observed) {
                remove(kubelet, &container.id).await;
            }
        }
        return Ok(());
    }
    for kill in &actions.kill {
        acted.did_something = true;
        kill::container(kubelet, pod, (&kill.id, &kill.name), &kill.message, kill.cause, None).await?;
    }
    for reset in &actions.reset {
        acted.did_something = true;
        if reset.kill {
            kill::container(kubelet, pod, (&reset.id, &reset.name), "killing", Cause::RestartAll, Some(0)).await?;
        }
        remove(kubelet, &reset.id).await;
    }
    Ok(())
}

fn init_containers<'a>(pod: &'a Pod, observed: &'a Observed) -> impl Iterator<Item = &'a crate::observed::Container> {
    let is_init = |name: &str| pod.init_containers().iter().any(|container| container.name == name);
    observed.containers.iter().filter(move |seen| is_init(&seen.name))
}

/// Of each init container only the newest dead one is kept.
async fn prune_init(kubelet: &Kubelet, pod: &Pod, observed: &Observed) {
    for container in pod.init_containers() {
        let dead = observed
            .containers
            .iter()
            .filter(|seen| seen.name == container.name && matches!(seen.state, RunState::Exited | RunState::Unknown));
        for old in dead.skip(1) {
            remove(kubelet, &old.id).await;
        }
    }
}

async fn remove(kubelet: &Kubelet, id: &str) {
    let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
    if let Err(error) = kubelet.runtime.remove_container(request).await {
        tracing::warn!(id, %error, "a container could not be removed");
    }
}

/// What the runtime is told of the pod, and the events that go with it.
pub(crate) fn sandbox_config(
    kubelet: &Kubelet,
    pod: &Pod,
    attempt: u32,
    users: Option<v1::UserNamespace>,
) -> Result<(v1::PodSandboxConfig, Vec<Warning>), String> {
    let host = match &kubelet.config.resolv_conf {
        Some(path) => Some(fs::read_to_string(path).map_err(|error| format!("open {}: {error}", path.display()))?),
        None => None,
    };
    let settings = dns::Settings {
        host: host.as_deref(),
        cluster_dns: &kubelet.config.cluster_dns,
        cluster_domain: &kubelet.config.cluster_domain,
    };
    let (dns, events) = dns::config(pod, settings);
    let log_directory = kubelet.config.pod_log_dir(pod.namespace(), pod.name(), pod.uid());
    let config = sandbox::config(
        pod,
        attempt,
        sandbox::Settings {
            dns,
            cluster_domain: &kubelet.config.cluster_domain,
            cgroup_parent: kubelet.cgroups.as_ref().map(|cgroups| cgroups.pod_path(pod)).unwrap_or_default(),
            log_directory: &log_directory,
            limits: kubelet.limits(),
            users,
        },
    )?;
    Ok((config, events))
}

fn no_sandbox(kubelet: &Kubelet, pod: &Pod, error: String) -> SyncError {
    let message = format!("Failed to create pod sandbox: {error}");
    kubelet.events.pod(pod, EventType::Warning, "FailedCreatePodSandBox", message.clone());
    SyncError::Other(message)
}

/// Whom the pod's users are on the node, where that differs.
async fn user_namespace(kubelet: &Kubelet, pod: &Pod) -> Result<Option<v1::UserNamespace>, String> {
    if !userns::wants_own(pod) {
        return Ok(None);
    }
    let handler = runtime_handler(kubelet, pod).await?;
    let supported = kubelet.health.read().handlers.get(&handler).is_some_and(|(_, users)| *users);
    kubelet.user_namespaces.of(pod, &handler, supported)
}

async fn create_sandbox(kubelet: &Kubelet, pod: &Pod, config: &v1::PodSandboxConfig) -> Result<Sandbox, SyncError> {
    let failed = |error: String| no_sandbox(kubelet, pod, error);
    fs::create_dir_all(&config.log_directory).map_err(|error| failed(error.to_string()))?;
    let handler = runtime_handler(kubelet, pod).await.map_err(failed)?;
    let id =
        kubelet.runtime.run_pod_sandbox(config.clone(), &handler).await.map_err(|error| failed(error.to_string()))?;
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id, verbose: false };
    let status = kubelet.runtime.pod_sandbox_status(request).await.map_err(|error| {
        let message = format!("Unable to get pod sandbox status: {error}");
        kubelet.events.pod(pod, EventType::Warning, "FailedPodSandBoxStatus", message);
        error
    })?;
    status.status.map(Sandbox::from).ok_or_else(|| SyncError::Other("pod sandbox status is nil".into()))
}

/// The runtime's handler that the pod's runtime class names.
async fn runtime_handler(kubelet: &Kubelet, pod: &Pod) -> Result<String, String> {
    let name = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).filter(|name| !name.is_empty());
    let Some(name) = name else { return Ok(String::new()) };
    let answer = kubelet.client.kind::<k8s_openapi::api::node::v1::RuntimeClass>("").get(name).await;
    let class = answer.and_then(|answer| answer.view::<k8s_openapi::api::node::v1::RuntimeClass>());
    class.map(|class| class.handler).map_err(|error| error.to_string())
}

async fn start_all(worker: &mut Worker, pod: &Arc<Pod>, actions: &Actions, place: &InSandbox<'_>, acted: &mut Acted) {
    let ephemeral: Vec<(Container, Option<&str>)> = pod
        .ephemeral_containers()
        .iter()
        .map(|common| (as_container(common), common.target_container_name.as_deref().filter(|name| !name.is_empty())))
        .collect();
    for index in &actions.start_ephemeral {
        let (container, target) = &ephemeral[*index];
        start_one(worker, pod, Start { container, target: *target }, place, acted).await;
    }
    for index in &actions.start_init {
        let container = &pod.init_containers()[*index];
        let ok = start_one(worker, pod, Start { container, target: None }, place, acted).await;
        if !ok && !is_sidecar(container) {
            return;
        }
    }
    for index in &actions.start {
        let container = &pod.containers()[*index];
        start_one(worker, pod, Start { container, target: None }, place, acted).await;
    }
}

/// Says whether it was started; else its reason to wait is remembered.
async fn start_one(
    worker: &mut Worker,
    pod: &Arc<Pod>,
    start: Start<'_>,
    place: &InSandbox<'_>,
    acted: &mut Acted,
) -> bool {
    let kubelet = worker.kubelet.clone();
    if worker.inbox.ending.is_cancelled() {
        return false;
    }
    let name = start.container.name.clone();
    let result = match back_off(&kubelet, pod, start.container, place.observed) {
        Some((left, waiting)) => {
            acted.wait = Some(acted.wait.map_or(left, |wait| wait.min(left)));
            Err(waiting)
        }
        None => {
            let started = start::start(&kubelet, pod, &start, place, &worker.inbox.ending).await;
            if started.is_err() {
                acted.wait = Some(acted.wait.map_or(START_WAIT, |wait| wait.min(START_WAIT)));
            }
            started
        }
    };
    match result {
        Ok(()) => {
            acted.did_something = true;
            acted.changed_reasons |= worker.memory.waiting.remove(&name).is_some();
            true
        }
        Err(waiting) => {
            acted.changed_reasons |= worker.memory.waiting.get(&name) != Some(&waiting);
            worker.memory.waiting.insert(name, waiting);
            false
        }
    }
}

/// A container that ended is not started again at once.
fn back_off(kubelet: &Kubelet, pod: &Pod, container: &Container, observed: &Observed) -> Option<(Duration, Waiting)> {
    let ended =
        observed.containers.iter().find(|seen| seen.name == container.name && seen.state == RunState::Exited)?;
    let resources = serde_json::to_string(&container.resources).unwrap_or_default();
    let key =
        format!("{}/{}/{}/{resources}", pod.uid(), container.name, container.image.as_deref().unwrap_or_default());
    let now = kubelet.now();
    let mut crashes = kubelet.crashes.lock();
    let Some(left) = crashes.left(&key, ended.finished_at, now) else {
        crashes.next(&key, ended.finished_at, now);
        return None;
    };
    let (name, described) = (&container.name, pod.described());
    let message = format!("Back-off restarting failed container {name} in pod {described}");
    kubelet.events.container(pod, name, EventType::Warning, "BackOff", message);
    let wait = go_duration(crashes.wait(&key));
    let message = format!("back-off {wait} restarting failed container={name} pod={described}");
    Some((left, Waiting { reason: "CrashLoopBackOff".into(), message }))
}
