//! Container statuses. Upstream: `convertToAPIContainerStatuses` and the prober's `UpdatePodStatus`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, LinuxContainerUser, Pod, PodStatus, VolumeMountStatus,
};

use super::{Input, phase::RESTARTING_ALL, resources, restarts_all, time};
use crate::{
    observed::{self, RunState},
    plan::{Outcome, any_regular_created, restart},
    pod::{Kind, PodExt, as_container, is_sidecar},
};

const LOST: &str = "ContainerStatusUnknown";
/// The exit code of what was lost: killed.
const LOST_CODE: i32 = 137;
/// Containers started this long before the kubelet keep their readiness until they are probed.
const RESTART_GRACE_NANOS: i64 = 10_000_000_000;

/// Fills the three lists.
pub fn generate(input: Input<'_>, status: &mut PodStatus) {
    let ephemeral: Vec<Container> = input.pod.ephemeral_containers().iter().map(as_container).collect();
    let old = input.old;
    let some = |list: Vec<ContainerStatus>| Some(list).filter(|list| !list.is_empty());
    let builder = |kind, old| Builder { input, kind, old, all: restarts_all(input.pod, input.observed, input.old) };
    status.container_statuses =
        some(builder(Kind::Regular, &old.container_statuses).list(input.pod.containers(), true));
    status.init_container_statuses =
        some(builder(Kind::Init, &old.init_container_statuses).list(input.pod.init_containers(), false));
    status.ephemeral_container_statuses =
        some(builder(Kind::Ephemeral, &old.ephemeral_container_statuses).list(&ephemeral, true));
}

struct Builder<'a> {
    input: Input<'a>,
    kind: Kind,
    old: &'a Option<Vec<ContainerStatus>>,
    /// All containers are being restarted.
    all: bool,
}

impl Builder<'_> {
    fn list(&self, containers: &[Container], sorted: bool) -> Vec<ContainerStatus> {
        let mut list: Vec<_> = containers.iter().map(|container| self.status(container)).collect();
        if sorted {
            list.sort_by(|a, b| a.name.cmp(&b.name));
        }
        list
    }

    fn old(&self, name: &str) -> Option<&ContainerStatus> {
        self.old.iter().flatten().find(|status| status.name == name)
    }

    fn status(&self, container: &Container) -> ContainerStatus {
        let old = self.old(&container.name);
        let mut seen = self.input.observed.containers.iter().filter(|seen| seen.name == container.name);
        let (newest, before) = (seen.next(), seen.next());
        let mut status = match newest {
            None => self.missing(container, old),
            Some(newest) => {
                let mut status = self.convert(container, newest, old);
                if let Some(before) = before {
                    status.last_state = self.convert(container, before, old).state;
                }
                status
            }
        };
        self.wait(container, newest, &mut status);
        status
    }

    /// Before the container is made, and after the runtime has lost it.
    fn missing(&self, container: &Container, old: Option<&ContainerStatus>) -> ContainerStatus {
        let waiting = if self.input.pod.init_containers().is_empty() { "ContainerCreating" } else { "PodInitializing" };
        let mut status = ContainerStatus {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            state: Some(waiting_state(waiting, "")),
            volume_mounts: self.mounts(container),
            ..ContainerStatus::default()
        };
        let Some(old) = old else { return status };
        let old_state = old.state.clone().unwrap_or_default();
        if old_state.terminated.is_some() {
            status = old.clone();
        } else {
            status.restart_count = old.restart_count;
            status.last_state.clone_from(&old.last_state);
        }
        if self.all && old_state.waiting.is_none() {
            let message = "The container is removed because RestartAllContainers in place";
            status.state = Some(waiting_state(RESTARTING_ALL, message));
            status.last_state = Some(lost(RESTARTING_ALL, message));
            status.restart_count = old.restart_count + 1;
        } else if old_state.running.is_some() && terminated(&status.last_state).is_none() {
            let message =
                "The container could not be located when the pod was deleted.  The container used to be Running";
            status.last_state = Some(lost(LOST, message));
            if !self.input.pod.is_deleted() {
                status.restart_count += 1;
            }
        }
        status
    }

    fn convert(
        &self,
        container: &Container,
        seen: &observed::Container,
        old: Option<&ContainerStatus>,
    ) -> ContainerStatus {
        let id = format!("{}://{}", self.input.runtime, seen.id);
        let mut status = ContainerStatus {
            name: container.name.clone(),
            restart_count: seen.restart_count,
            image: seen.image.clone(),
            image_id: seen.image_ref.clone(),
            container_id: Some(id.clone()),
            volume_mounts: self.mounts(container),
            resources: Some(resources::of_container(container, seen)),
            allocated_resources: container.resources.as_ref().and_then(|resources| resources.requests.clone()),
            user: seen.user.as_ref().map(user),
            stop_signal: seen.stop_signal.clone(),
            ..ContainerStatus::default()
        };
        if let Some(old) = old {
            status.volume_mounts.clone_from(&old.volume_mounts);
            status.restart_count = status.restart_count.max(old.restart_count);
            let replaced = old.container_id != status.container_id;
            let last = terminated(&old.state).filter(|_| replaced).or_else(|| terminated(&old.last_state));
            status.last_state =
                last.map(|last| ContainerState { terminated: Some(last.clone()), ..Default::default() });
            if seen.state == RunState::Running && !replaced {
                status.started = old.started;
            }
        }
        status.state = Some(match seen.state {
            RunState::Running => {
                if let Some(old) = old.filter(|old| terminated(&old.state).is_some())
                    && old.restart_count >= seen.restart_count
                    && old.container_id != status.container_id
                {
                    status.restart_count = old.restart_count + 1;
                }
                ContainerState {
                    running: Some(ContainerStateRunning { started_at: time(seen.started_at) }),
                    ..Default::default()
                }
            }
            RunState::Exited => exited(seen, id),
            RunState::Unknown
                if old.is_some_and(|old| old.state.as_ref().is_some_and(|state| state.running.is_some())) =>
            {
                status.restart_count = old.map_or(0, |old| old.restart_count) + 1;
                let reason = if self.all { RESTARTING_ALL } else { LOST };
                lost(reason, "The container could not be located when the pod was terminated")
            }
            RunState::Created | RunState::Unknown => waiting_state("", ""),
        });
        status
    }

    /// What failed to start, or is to start next, waits and says why.
    fn wait(&self, container: &Container, newest: Option<&observed::Container>, status: &mut ContainerStatus) {
        let Input { pod, observed, .. } = self.input;
        if self.kind == Kind::Init {
            if newest.is_some_and(|newest| newest.state == RunState::Exited && newest.exit_code == 0) {
                return;
            }
            let waiting = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
            if newest.is_none() && waiting && !is_sidecar(container) && any_regular_created(pod, observed) {
                let message = "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally";
                let done = ContainerStateTerminated {
                    reason: Some("Completed".into()),
                    message: Some(message.into()),
                    ..Default::default()
                };
                status.state = Some(ContainerState { terminated: Some(done), ..Default::default() });
                return;
            }
        }
        if !restart::should(pod, container, observed) {
            return;
        }
        if let Some(reason) = self.input.waiting.get(&container.name) {
            if terminated(&status.state).is_some() {
                status.last_state = status.state.take();
            }
            status.state = Some(waiting_state(&reason.reason, &reason.message));
        }
    }

    fn mounts(&self, container: &Container) -> Option<Vec<VolumeMountStatus>> {
        let mounts = container.volume_mounts.as_ref()?.iter().map(|mount| {
            let read_only = mount.read_only.unwrap_or_default();
            let wanted = mount.recursive_read_only.as_deref().unwrap_or("Disabled");
            let recursive = wanted == "Enabled" || (wanted == "IfPossible" && self.input.recursive_read_only);
            VolumeMountStatus {
                name: mount.name.clone(),
                mount_path: mount.mount_path.clone(),
                read_only: Some(read_only).filter(|read_only| *read_only),
                recursive_read_only: read_only.then(|| if recursive { "Enabled" } else { "Disabled" }.to_owned()),
                ..VolumeMountStatus::default()
            }
        });
        Some(mounts.collect::<Vec<_>>()).filter(|mounts| !mounts.is_empty())
    }
}

fn exited(seen: &observed::Container, id: String) -> ContainerState {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let terminated = ContainerStateTerminated {
        exit_code: seen.exit_code,
        reason: some(&seen.reason),
        message: some(&seen.message),
        started_at: time(seen.started_at),
        finished_at: time(seen.finished_at),
        container_id: Some(id),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..Default::default() }
}

fn terminated(state: &Option<ContainerState>) -> Option<&ContainerStateTerminated> {
    state.as_ref()?.terminated.as_ref()
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let waiting = ContainerStateWaiting { reason: some(reason), message: some(message) };
    ContainerState { waiting: Some(waiting), ..Default::default() }
}

/// A container that vanished.
pub fn lost(reason: &str, message: &str) -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: LOST_CODE,
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..Default::default()
    };
    ContainerState { terminated: Some(terminated), ..Default::default() }
}

fn user(user: &crate::cri::v1::LinuxContainerUser) -> ContainerUser {
    let groups = Some(user.supplemental_groups.clone()).filter(|groups| !groups.is_empty());
    ContainerUser { linux: Some(LinuxContainerUser { uid: user.uid, gid: user.gid, supplemental_groups: groups }) }
}

/// `started` and `ready`, from the probes.
pub fn apply_probes(input: Input<'_>, status: &mut PodStatus) {
    let by_name = |containers: &[Container]| -> BTreeMap<String, Container> {
        containers.iter().map(|container| (container.name.clone(), container.clone())).collect()
    };
    let probes = Probes { input, was_ready: is_ready(input.pod) };
    let regular = by_name(input.pod.containers());
    for status in status.container_statuses.iter_mut().flatten() {
        if let Some(container) = regular.get(&status.name) {
            probes.apply(container, status);
        }
    }
    let init = by_name(input.pod.init_containers());
    for status in status.init_container_statuses.iter_mut().flatten() {
        let Some(container) = init.get(&status.name) else { continue };
        probes.apply(container, status);
        if !is_sidecar(container) {
            status.ready = terminated(&status.state).is_some_and(|exit| exit.exit_code == 0);
        }
    }
}

struct Probes<'a> {
    input: Input<'a>,
    was_ready: bool,
}

impl Probes<'_> {
    fn apply(&self, container: &Container, status: &mut ContainerStatus) {
        let running = status.state.as_ref().and_then(|state| state.running.as_ref());
        let id = status.container_id.as_deref().and_then(|id| id.split_once("://")).map_or("", |(_, id)| id);
        let findings = self.input.findings;
        let started = running.is_some()
            && match findings.startup.get(id) {
                Some(outcome) => *outcome == Outcome::Success,
                None => container.startup_probe.is_none() || status.started == Some(true),
            };
        let ready = started
            && match findings.readiness.get(id) {
                Some(outcome) => *outcome == Outcome::Success,
                // Not probed yet: whoever was ready before the kubelet started stays so.
                None => container.readiness_probe.is_none() || (self.was_ready && self.is_older(id)),
            };
        status.started = Some(started);
        status.ready = ready;
    }

    fn is_older(&self, id: &str) -> bool {
        let seen = self.input.observed.containers.iter().find(|seen| seen.id == id);
        seen.is_some_and(|seen| seen.started_at < self.input.started_at - RESTART_GRACE_NANOS)
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.clone().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
