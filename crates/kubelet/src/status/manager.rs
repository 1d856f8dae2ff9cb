//! The one writer of pod statuses: keeps the newest of each pod and brings it to the API server, and ends a deleted
//! pod there when all of it is gone.
//!
//! Upstream: pkg/kubelet/status/status_manager.go. Unlike it nothing is read before a write: the newest of the cache
//! and the answer of the last write is what the patch starts from.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use client::{Client, DeleteOptions, Informer, Object, Patch, WriteOptions};
use futures::stream::{FuturesUnordered, StreamExt};
use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{conditions::OWNED, containers::lost, patch, time};
use crate::{
    plan::restart,
    pod::{PodExt, is_sidecar, is_terminal},
};

/// Statuses being written at a time.
const WRITES_MAX: usize = 8;
/// A write that failed is tried again after this; upstream's `syncPeriod`.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Last words of all containers of a pod together, in bytes.
const MESSAGES_BYTES_MAX: usize = 12 << 10;

/// Takes statuses. Shared by all.
pub struct StatusManager {
    client: Client,
    pods: Informer<Pod>,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    entries: Mutex<HashMap<String, Entry>>,
    changed: Notify,
}

struct Entry {
    pod: Arc<Pod>,
    status: PodStatus,
    version: u64,
    written: u64,
    /// Nothing of the pod is left on the node.
    finished: bool,
    /// The server's pod as the last write answered it.
    answered: Option<Arc<Object<Pod>>>,
}

impl StatusManager {
    /// A manager that writes once it [runs](Self::run). `now` gives nanoseconds since 1970.
    pub fn new(client: Client, pods: Informer<Pod>, now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let entries = Mutex::default();
        StatusManager { client, pods, now: Box::new(now), entries, changed: Notify::new() }
    }

    /// The newest status of a pod.
    pub fn get(&self, uid: &str) -> Option<PodStatus> {
        self.entries.lock().get(uid).map(|entry| entry.status.clone())
    }

    /// Takes a status; says whether it is another than before.
    pub fn set(&self, pod: &Arc<Pod>, status: PodStatus) -> bool {
        self.update(pod, status, false)
    }

    /// Nothing of the pod is left on this node: what has no end gets one, and a deleted pod is ended on the server.
    pub fn terminate(&self, pod: &Arc<Pod>) {
        let mut status = self.get(pod.uid()).or_else(|| pod.status.clone()).unwrap_or_default();
        end(pod, &mut status);
        self.update(pod, status, true);
    }

    /// The pod is gone from the server.
    pub fn forget(&self, uid: &str) {
        self.entries.lock().remove(uid);
    }

    /// Where the status goes has changed (a mirror pod came): it is written again.
    pub fn refresh(&self, uid: &str) {
        if let Some(entry) = self.entries.lock().get_mut(uid) {
            entry.written = entry.version.saturating_sub(1);
            self.changed.notify_one();
        }
    }

    /// The server's pod changed: whatever it says that we don't is written over, and a deletion may be due.
    pub fn reconcile(&self, pod: &Arc<Pod>) {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(pod.uid()) else { return };
        entry.pod = pod.clone();
        if entry.written == entry.version {
            let server = pod.status.clone().unwrap_or_default();
            let due = pod.is_deleted() && entry.finished && is_terminal(pod.phase());
            if due || patch::between(pod.uid(), &server, &patch::merge(&server, &entry.status)).is_some() {
                entry.written = entry.version - 1;
                self.changed.notify_one();
            }
        }
    }

    fn update(&self, pod: &Arc<Pod>, mut status: PodStatus, finished: bool) -> bool {
        let now = (self.now)();
        let mut entries = self.entries.lock();
        let known = entries.get(pod.uid());
        let old = known.map(|entry| &entry.status).or(pod.status.as_ref());
        let empty = PodStatus::default();
        let old = old.unwrap_or(&empty);
        if let Err(why) = check_transition(pod, old, &status) {
            tracing::error!(pod = pod.described(), why, "a pod's status is not taken");
            return false;
        }
        transition_times(&mut status, old, now);
        status.start_time = old.start_time.clone().or(status.start_time).or_else(|| time(now));
        if status.volume_health.is_none() {
            status.volume_health.clone_from(&old.volume_health);
        }
        status.observed_generation = status.observed_generation.max(old.observed_generation);
        normalize(pod, &mut status);
        let same = known.is_some_and(|entry| entry.status == status && entry.finished == finished);
        if same {
            return false;
        }
        let entry = entries.entry(pod.uid().to_owned()).or_insert_with(|| Entry {
            pod: pod.clone(),
            status: PodStatus::default(),
            version: 0,
            written: 0,
            finished: false,
            answered: None,
        });
        entry.pod = pod.clone();
        entry.status = status;
        entry.version += 1;
        entry.finished |= finished;
        self.changed.notify_one();
        true
    }

    /// Writes until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut writing = FuturesUnordered::new();
        let mut busy: HashSet<String> = HashSet::new();
        let mut wait: HashSet<String> = HashSet::new();
        let mut retry = tokio::time::interval(RETRY_AFTER);
        loop {
            for uid in self.due(&busy, &wait) {
                if writing.len() >= WRITES_MAX {
                    break;
                }
                busy.insert(uid.clone());
                let this = self.clone();
                writing.push(async move {
                    let ok = this.write(&uid).await;
                    (uid, ok)
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                _ = retry.tick(), if !wait.is_empty() => wait.clear(),
                Some((uid, ok)) = writing.next() => {
                    busy.remove(&uid);
                    if !ok {
                        wait.insert(uid);
                    }
                }
            }
        }
    }

    fn due(&self, busy: &HashSet<String>, wait: &HashSet<String>) -> Vec<String> {
        let entries = self.entries.lock();
        let due = entries
            .iter()
            .filter(|(uid, entry)| entry.written < entry.version && !busy.contains(*uid) && !wait.contains(*uid));
        due.map(|(uid, _)| uid.clone()).collect()
    }

    /// Brings one pod's status to the server; false to try again later.
    async fn write(&self, uid: &str) -> bool {
        let Some((pod, ours, version, finished, answered)) = self.entries.lock().get(uid).map(|entry| {
            (entry.pod.clone(), entry.status.clone(), entry.version, entry.finished, entry.answered.clone())
        }) else {
            return true;
        };
        let Some(mut server) = self.server_pod(&pod, answered) else {
            // A static pod whose mirror is not there yet is written when it comes.
            self.wrote(uid, version, None);
            return true;
        };
        let status = server.view.status.clone().unwrap_or_default();
        let api = self.client.kind::<Pod>(pod.namespace());
        if let Some(body) = patch::between(server.view.uid(), &status, &patch::merge(&status, &ours)) {
            let body = match client::json::parse(body.to_string().as_bytes()) {
                Ok(body) => Patch::Strategic(body),
                Err(error) => {
                    tracing::error!(pod = pod.described(), %error, "a status could not be written down");
                    return true;
                }
            };
            match api.patch(pod.name(), "status", &body, &WriteOptions::default()).await {
                Ok(answer) => match answer.object::<Pod>() {
                    Ok(object) => server = Arc::new(object),
                    Err(error) => tracing::warn!(pod = pod.described(), %error, "a patched pod could not be read"),
                },
                Err(error) if error.is_not_found() || error.is_conflict() => {
                    tracing::debug!(pod = pod.described(), %error, "the pod is gone, its status is not written");
                    self.wrote(uid, version, None);
                    return true;
                }
                Err(error) => {
                    tracing::warn!(pod = pod.described(), %error, "failed to write a pod's status");
                    return false;
                }
            }
        }
        self.wrote(uid, version, Some(server.clone()));
        let over = finished && is_terminal(server.view.phase());
        if !over || !server.view.is_deleted() || server.view.is_mirror() {
            return true;
        }
        match api.delete(pod.name(), &DeleteOptions::of_uid(uid).grace(0)).await {
            Ok(_) => self.forget(uid),
            Err(error) if error.is_not_found() || error.is_conflict() => self.forget(uid),
            Err(error) => {
                tracing::warn!(pod = pod.described(), %error, "failed to end a pod on the server");
                if let Some(entry) = self.entries.lock().get_mut(uid) {
                    entry.written = 0;
                }
                return false;
            }
        }
        true
    }

    fn wrote(&self, uid: &str, version: u64, answered: Option<Arc<Object<Pod>>>) {
        if let Some(entry) = self.entries.lock().get_mut(uid) {
            entry.written = version;
            if answered.is_some() {
                entry.answered = answered;
            }
        }
    }

    /// The server's pod, as new as we know it; for a static pod its mirror.
    fn server_pod(&self, pod: &Pod, answered: Option<Arc<Object<Pod>>>) -> Option<Arc<Object<Pod>>> {
        let cached = self.pods.find(pod.namespace(), pod.name());
        let fits = |object: &Arc<Object<Pod>>| {
            if pod.is_static() { object.view.is_mirror() } else { object.view.uid() == pod.uid() }
        };
        [cached, answered].into_iter().flatten().filter(fits).max_by_key(|object| object.revision)
    }
}

/// What has no end when all of the pod is gone gets one. Upstream: `TerminatePod`.
fn end(pod: &Pod, status: &mut PodStatus) {
    const MESSAGE: &str = "The container could not be located when the pod was terminated";
    let is_terminated =
        |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    let finish = |status: &mut ContainerStatus| status.state = Some(lost("ContainerStatusUnknown", MESSAGE));
    if initialized(pod) {
        for status in status.container_statuses.iter_mut().flatten().filter(|status| !is_terminated(status)) {
            finish(status);
        }
    }
    let init = status.init_container_statuses.get_or_insert_default();
    let begun = |status: &ContainerStatus| {
        let waiting = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
        let ended = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
        !waiting || ended
    };
    let count = init.iter().rposition(begun).map_or(init.len().min(1), |last| last + 1);
    for status in init[..count].iter_mut().filter(|status| !is_terminated(status)) {
        finish(status);
    }
    if status.init_container_statuses.as_ref().is_some_and(Vec::is_empty) {
        status.init_container_statuses = None;
    }
    if !pod.is_static() && !is_terminal(status.phase.as_deref().unwrap_or_default()) {
        status.phase = Some("Failed".into());
    }
}

/// As far as the server was told. Upstream: `hasPodInitialized`.
fn initialized(pod: &Pod) -> bool {
    let Some(last) = pod.init_containers().last() else { return true };
    let Some(status) = &pod.status else { return false };
    let ended = |state: &Option<ContainerState>| state.as_ref().and_then(|state| state.terminated.clone());
    let mut statuses = status.container_statuses.iter().flatten();
    if statuses.any(|status| {
        ended(&status.last_state).is_some() || status.state.as_ref().is_none_or(|state| state.waiting.is_none())
    }) {
        return true;
    }
    let found = status.init_container_statuses.iter().flatten().find(|status| status.name == last.name);
    found.is_some_and(|status| {
        if is_sidecar(last) {
            status.started == Some(true) && status.state.as_ref().is_some_and(|state| state.running.is_some())
        } else {
            [&status.last_state, &status.state]
                .into_iter()
                .any(|state| ended(state).is_some_and(|exit| exit.exit_code == 0))
        }
    })
}

/// A container that ended for good does not come back.
fn check_transition(pod: &Pod, old: &PodStatus, new: &PodStatus) -> Result<(), String> {
    if pod.restart_policy() == "Always" || restart::all_could(pod) {
        return Ok(());
    }
    let find = |list: &Option<Vec<ContainerStatus>>, name: &str| {
        list.iter().flatten().find(|status| status.name == name).cloned()
    };
    let ended = |status: ContainerStatus| status.state.and_then(|state| state.terminated);
    let check = |containers: &[k8s_openapi::api::core::v1::Container], old: &_, new: &_, kind: &str| {
        for container in containers.iter().filter(|container| !is_sidecar(container)) {
            let name = &container.name;
            let Some(exit) = find(old, name).and_then(ended) else { continue };
            if restart::after_exit(pod, container, exit.exit_code) {
                continue;
            }
            if find(new, name).is_some_and(|status| ended(status).is_none()) {
                return Err(format!("terminated {kind} {name} attempted illegal transition to non-terminated state"));
            }
        }
        Ok(())
    };
    check(pod.containers(), &old.container_statuses, &new.container_statuses, "container")?;
    check(pod.init_containers(), &old.init_container_statuses, &new.init_container_statuses, "init container")
}

fn transition_times(status: &mut PodStatus, old: &PodStatus, now: i64) {
    for condition in status.conditions.iter_mut().flatten() {
        let has_own = condition.type_.starts_with("PodResize");
        if has_own || (!OWNED.contains(&condition.type_.as_str()) && condition.type_ != "DisruptionTarget") {
            continue;
        }
        let before = old.conditions.iter().flatten().find(|before| before.type_ == condition.type_);
        let unchanged = before.filter(|before| before.status == condition.status);
        condition.last_transition_time =
            unchanged.map_or_else(|| time(now), |before| before.last_transition_time.clone());
    }
}

/// As it comes back from the server: whole seconds, last words cut to their share.
fn normalize(pod: &Pod, status: &mut PodStatus) {
    let count = pod.containers().len() + pod.init_containers().len() + pod.ephemeral_containers().len();
    let share = MESSAGES_BYTES_MAX / count.max(1);
    let whole = |at: &mut Option<Time>| {
        if let Some(at) = at {
            *at = time(i64::try_from(at.0.as_nanosecond()).unwrap_or_default()).unwrap_or_else(|| at.clone());
        }
    };
    whole(&mut status.start_time);
    let state = |state: &mut Option<ContainerState>| {
        let Some(state) = state else { return };
        if let Some(running) = &mut state.running {
            whole(&mut running.started_at);
        }
        if let Some(terminated) = &mut state.terminated {
            whole(&mut terminated.started_at);
            whole(&mut terminated.finished_at);
            if let Some(message) = terminated.message.as_mut().filter(|message| message.len() > share) {
                let mut end = share;
                while !message.is_char_boundary(end) {
                    end -= 1;
                }
                message.truncate(end);
            }
        }
    };
    for list in
        [&mut status.container_statuses, &mut status.init_container_statuses, &mut status.ephemeral_container_statuses]
    {
        for status in list.iter_mut().flatten() {
            state(&mut status.state);
            state(&mut status.last_state);
        }
    }
}
