//! A pod's phase from its containers' states. Upstream: `getPhase`.

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodStatus};

use crate::{
    plan::restart,
    pod::{PodExt, is_sidecar},
};

/// The reason of a container that was removed to start all of them anew.
pub const RESTARTING_ALL: &str = "RestartingAllContainers";

#[derive(Default)]
struct Counts {
    pending_init: usize,
    pending_sidecars: usize,
    failed_init: usize,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
}

/// `Pending`, `Running`, `Succeeded` or `Failed`. `initialized`: a regular container was made in this sandbox.
pub fn of(pod: &Pod, status: &PodStatus, ended: bool, initialized: bool) -> &'static str {
    let statuses: Vec<&ContainerStatus> =
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten()).collect();
    let find = |name: &str| statuses.iter().find(|status| status.name == name).copied();
    let mut counts = Counts::default();
    for container in pod.init_containers() {
        match is_sidecar(container) {
            true => counts.sidecar(find(&container.name)),
            false => counts.init(pod, container, find(&container.name)),
        }
    }
    for container in pod.containers() {
        counts.regular(pod, container, find(&container.name));
    }
    counts.phase(pod, ended, initialized)
}

impl Counts {
    fn init(&mut self, pod: &Pod, container: &Container, status: Option<&ContainerStatus>) {
        let exit = match status.and_then(|status| status.state.as_ref()) {
            Some(ContainerState { terminated: Some(exit), .. }) => Some(exit),
            Some(ContainerState { waiting: Some(_), .. }) => {
                let last = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
                if last.is_none() {
                    self.pending_init += 1;
                }
                last
            }
            _ => {
                self.pending_init += 1;
                None
            }
        };
        if let Some(exit) = exit.filter(|exit| exit.exit_code != 0) {
            let again = exit.reason.as_deref() == Some(RESTARTING_ALL);
            if !again && !restart::after_exit(pod, container, exit.exit_code) {
                self.failed_init += 1;
            }
        }
    }

    fn sidecar(&mut self, status: Option<&ContainerStatus>) {
        let Some(status) = status else {
            self.unknown += 1;
            return;
        };
        match status.state.as_ref() {
            Some(ContainerState { running: Some(_), .. }) => {
                if status.started != Some(true) {
                    self.pending_sidecars += 1;
                }
                self.running += 1;
            }
            Some(ContainerState { terminated: Some(_), .. }) => {}
            Some(ContainerState { waiting: Some(_), .. }) => {
                if status.last_state.as_ref().and_then(|state| state.terminated.as_ref()).is_none() {
                    self.pending_sidecars += 1;
                    self.waiting += 1;
                }
            }
            _ => {
                self.pending_sidecars += 1;
                self.unknown += 1;
            }
        }
    }

    fn regular(&mut self, pod: &Pod, container: &Container, status: Option<&ContainerStatus>) {
        let exit = match status.and_then(|status| status.state.as_ref()) {
            Some(ContainerState { running: Some(_), .. }) => {
                self.running += 1;
                return;
            }
            Some(ContainerState { terminated: Some(exit), .. }) => {
                if exit.exit_code == 0 {
                    self.succeeded += 1;
                }
                exit
            }
            Some(ContainerState { waiting: Some(_), .. }) => {
                match status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref()) {
                    Some(exit) => exit,
                    None => {
                        self.waiting += 1;
                        return;
                    }
                }
            }
            _ => {
                self.unknown += 1;
                return;
            }
        };
        self.stopped += 1;
        let again = exit.reason.as_deref() == Some(RESTARTING_ALL);
        if !again && !restart::after_exit(pod, container, exit.exit_code) {
            self.stopped_for_good += 1;
        }
    }

    fn phase(&self, pod: &Pod, ended: bool, initialized: bool) -> &'static str {
        let outcome = if self.stopped == self.succeeded { "Succeeded" } else { "Failed" };
        if self.failed_init > 0 {
            return "Failed";
        }
        if self.pending_init > 0 || (self.pending_sidecars > 0 && !initialized) || self.waiting > 0 {
            return "Pending";
        }
        if self.unknown > 0 {
            return "Pending";
        }
        if self.running > 0 {
            return "Running";
        }
        if self.stopped == 0 {
            return "Pending";
        }
        if ended && !pod.is_static() {
            return outcome;
        }
        if self.stopped != self.stopped_for_good { "Running" } else { outcome }
    }
}
