//! What to do next for a pod that should run: a pure function of its spec, what the runtime shows and what the probes
//! found.
//!
//! Upstream: pkg/kubelet/kuberuntime, `computePodActions`. The shell carries the actions out in the order of the
//! fields of [`Actions`] and then looks again; running it twice changes nothing.

pub mod backoff;
mod init;
pub mod resize;
pub mod restart;
pub mod sandbox;
pub mod termination;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use self::resize::{Actuated, Resize};

use crate::{
    labels,
    observed::{self, Observed, RunState},
    pod::PodExt,
};

/// What a probe has found out about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is well.
    Success,
    /// It is not.
    Failure,
    /// Not known yet.
    Unknown,
}

/// The probes' findings by container id.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Failed: restart it.
    pub liveness: HashMap<String, Outcome>,
    /// Not yet succeeded: not started.
    pub startup: HashMap<String, Outcome>,
    /// Succeeded: takes traffic.
    pub readiness: HashMap<String, Outcome>,
}

/// Why a container is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its startup probe failed; that probe's grace counts.
    StartupProbe,
    /// Its liveness probe failed; that probe's grace counts.
    LivenessProbe,
    /// Its post-start hook failed.
    PostStartHook,
    /// A container's exit restarts the whole pod.
    RestartAll,
    /// Anything else.
    Other,
}

/// A container to be stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Kill {
    /// The runtime's id.
    pub id: String,
    /// Its name in the spec.
    pub name: String,
    /// For the event.
    pub message: String,
    /// Decides the grace.
    pub cause: Cause,
}

/// A container to be removed before the pod starts anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Reset {
    /// The runtime's id.
    pub id: String,
    /// Its name in the spec.
    pub name: String,
    /// It still runs: kill it first, without grace.
    pub kill: bool,
}

/// What to do, in this order. Indices are into the lists of the spec.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Actions {
    /// Stop everything, the sandbox too.
    pub kill_pod: bool,
    /// Containers to stop, where the pod lives on.
    pub kill: Vec<Kill>,
    /// Containers to remove, the ones that caused it last.
    pub reset: Vec<Reset>,
    /// Cgroups that get other limits, where the pod lives on.
    pub resize: Resize,
    /// Make a new sandbox.
    pub create_sandbox: bool,
    /// The sandbox to use, or the one that is replaced.
    pub sandbox: Option<String>,
    /// The number of the sandbox.
    pub attempt: u32,
    /// Ephemeral containers to start.
    pub start_ephemeral: Vec<usize>,
    /// Init containers and sidecars to start.
    pub start_init: Vec<usize>,
    /// Regular containers to start.
    pub start: Vec<usize>,
}

/// The decision. `actuated`: what the cgroups were last told; without it nothing is resized.
pub fn plan(
    pod: &Pod,
    observed: &Observed,
    findings: &Findings,
    actuated: Option<&Actuated>,
    restart_all: bool,
) -> Actions {
    let change = sandbox::change(pod, observed);
    let mut actions = Actions {
        kill_pod: change.needed.is_some(),
        create_sandbox: change.needed.is_some(),
        sandbox: change.id,
        attempt: change.attempt,
        ..Actions::default()
    };
    if restart_all {
        actions.reset = restart::resets(pod, observed);
        return actions;
    }
    if actions.create_sandbox {
        plan_new_sandbox(pod, observed, &mut actions);
        return actions;
    }
    let missing = |name: &str| observed.container(name).is_none();
    let ephemeral = pod.ephemeral_containers().iter().enumerate();
    actions.start_ephemeral =
        ephemeral.filter(|(_, container)| missing(&container.name)).map(|(index, _)| index).collect();
    let look = Look { pod, observed, findings, actuated };
    let initialized = init::plan(look, &mut actions);
    if initialized && !actions.kill_pod {
        plan_regulars(look, &mut actions);
    }
    if let Some(actuated) = actuated.filter(|_| !actions.kill_pod) {
        resize::pod(pod, actuated, &mut actions);
    }
    actions
}

/// What a decision about one container depends on.
#[derive(Clone, Copy)]
struct Look<'a> {
    pod: &'a Pod,
    observed: &'a Observed,
    findings: &'a Findings,
    actuated: Option<&'a Actuated>,
}

impl Look<'_> {
    /// A running container gets the amounts it is allocated; false where it restarts for them.
    fn resize(&self, container: &Container, seen: &observed::Container, actions: &mut Actions) -> bool {
        self.actuated.is_none_or(|actuated| resize::container(self.pod, container, seen, actuated, actions))
    }
}

fn plan_regulars(look: Look<'_>, actions: &mut Actions) {
    let containers = look.pod.containers().iter().enumerate();
    let kept = containers.filter(|(index, container)| plan_regular(look, container, *index, actions)).count();
    if kept == 0 && actions.start.is_empty() {
        actions.kill_pod = true;
        // A sidecar alone must not keep the pod alive.
        actions.start_init.clear();
    }
}

/// Everything starts anew, unless the pod has already run to its end.
fn plan_new_sandbox(pod: &Pod, observed: &Observed, actions: &mut Actions) {
    if pod.restart_policy() == "Never" && actions.attempt != 0 && !observed.containers.is_empty() {
        actions.create_sandbox = false;
        return;
    }
    let done = |container: &Container| {
        let policy = container.restart_policy.as_deref().unwrap_or(pod.restart_policy());
        policy == "OnFailure" && succeeded(observed, &container.name)
    };
    let start: Vec<usize> = (0..pod.containers().len()).filter(|index| !done(&pod.containers()[*index])).collect();
    if start.is_empty() && any_regular_created(pod, observed) {
        actions.create_sandbox = false;
    } else if pod.init_containers().is_empty() {
        actions.start = start;
    } else {
        actions.start_init = vec![0];
    }
}

/// Says whether the container is kept as it runs.
fn plan_regular(look: Look<'_>, container: &Container, index: usize, actions: &mut Actions) -> bool {
    let Look { pod, observed, findings, .. } = look;
    let name = &container.name;
    let Some(status) = observed.container(name).filter(|status| status.state == RunState::Running) else {
        if restart::should(pod, container, observed) {
            actions.start.push(index);
            if let Some(unknown) = observed.container(name).filter(|status| status.state == RunState::Unknown) {
                let message =
                    format!("Container is in {:?} state, try killing it before restart", unknown.state.as_str());
                actions.kill.push(kill(&unknown.id, name, message, Cause::Other));
            }
        }
        return false;
    };
    let mut restart = match container.restart_policy.as_deref() {
        Some(policy) => policy != "Never",
        None => pod.restart_policy() != "Never",
    };
    let failed = |found: &HashMap<String, Outcome>| found.get(&status.id) == Some(&Outcome::Failure);
    let (message, cause) = if labels::hash(container) != status.hash {
        restart = true;
        (format!("Container {name} definition changed"), Cause::Other)
    } else if failed(&findings.liveness) {
        (format!("Container {name} failed liveness probe"), Cause::LivenessProbe)
    } else if failed(&findings.startup) {
        (format!("Container {name} failed startup probe"), Cause::StartupProbe)
    } else {
        let keeps = look.resize(container, status, actions);
        if !keeps {
            actions.start.push(index);
        }
        return keeps;
    };
    let message = if restart { format!("{message}, will be restarted") } else { message };
    if restart {
        actions.start.push(index);
    }
    actions.kill.push(kill(&status.id, name, message, cause));
    false
}

fn kill(id: &str, name: &str, message: String, cause: Cause) -> Kill {
    Kill { id: id.to_owned(), name: name.to_owned(), message, cause }
}

fn succeeded(observed: &Observed, name: &str) -> bool {
    observed.container(name).is_some_and(|status| status.state == RunState::Exited && status.exit_code == 0)
}

/// A regular container was made, so the init containers are done.
pub fn any_regular_created(pod: &Pod, observed: &Observed) -> bool {
    pod.containers()
        .iter()
        .filter_map(|container| observed.container(&container.name))
        .any(|status| status.state != RunState::Unknown)
}

/// A regular container was made in the current sandbox.
pub fn any_regular_active(pod: &Pod, observed: &Observed) -> bool {
    pod.containers().iter().any(|container| observed.active(&container.name).is_some())
}
