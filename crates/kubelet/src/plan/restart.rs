//! Restart policies: the pod's, the container's, and the container's rules by exit code.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, Pod, PodStatus};

use super::Reset;
use crate::{
    observed::{Observed, RunState},
    pod::PodExt,
};

/// The action of a rule that restarts the whole pod in place.
const RESTART_ALL: &str = "RestartAllContainers";

/// Whether a container that is not running is to be started (again).
pub fn should(pod: &Pod, container: &Container, observed: &Observed) -> bool {
    if pod.is_deleted() {
        return false;
    }
    match observed.container(&container.name) {
        None => true,
        Some(status) => match status.state {
            RunState::Running => false,
            RunState::Unknown | RunState::Created => true,
            RunState::Exited => after_exit(pod, container, status.exit_code),
        },
    }
}

/// Whether an exit with this code is followed by a start.
pub fn after_exit(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    let by_policy = |policy: &str| match policy {
        "OnFailure" => exit_code != 0,
        "Never" => false,
        _ => true,
    };
    let Some(policy) = container.restart_policy.as_deref() else { return by_policy(pod.restart_policy()) };
    let matched = matching_rule(container, exit_code).map(|rule| rule.action.as_str());
    matches!(matched, Some("Restart" | RESTART_ALL)) || by_policy(policy)
}

/// Whether the container may ever be started twice.
pub fn ever(pod: &Pod, container: &Container) -> bool {
    match container.restart_policy.as_deref() {
        None => pod.restart_policy() != "Never",
        Some(policy) => {
            let rules = container.restart_policy_rules.iter().flatten();
            rules.clone().any(|rule| rule.action == "Restart") || policy != "Never"
        }
    }
}

/// The first rule that the exit code meets.
pub fn matching_rule(container: &Container, exit_code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy_rules.iter().flatten().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let named = codes.values.iter().flatten().any(|code| *code == exit_code);
            match codes.operator.as_str() {
                "In" => named,
                "NotIn" => !named,
                _ => false,
            }
        })
    })
}

/// Whether some container's exit may restart them all.
pub fn all_could(pod: &Pod) -> bool {
    let containers = pod.init_containers().iter().chain(pod.containers());
    containers
        .flat_map(|container| container.restart_policy_rules.iter().flatten())
        .any(|rule| rule.action == RESTART_ALL)
}

/// Whether all containers are to be restarted now: it has begun, or one exited with such a rule.
pub fn all_should(pod: &Pod, observed: Option<&Observed>, status: &PodStatus) -> bool {
    let begun = status.conditions.iter().flatten();
    if begun.clone().any(|condition| condition.type_ == "AllContainersRestarting" && condition.status == "True") {
        return true;
    }
    let reported: Vec<_> =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()).collect();
    pod.init_containers().iter().chain(pod.containers()).any(|container| {
        let triggers = |code| matching_rule(container, code).is_some_and(|rule| rule.action == RESTART_ALL);
        if let Some(observed) = observed {
            match observed.container(&container.name).filter(|status| status.state == RunState::Exited) {
                None => return false,
                Some(exited) if triggers(exited.exit_code) => return true,
                Some(_) => {}
            }
        }
        let status = reported.iter().rev().find(|status| status.name == container.name);
        let terminated = status.and_then(|status| status.state.as_ref()?.terminated.as_ref());
        terminated.is_some_and(|terminated| triggers(terminated.exit_code))
    })
}

/// Nothing of the init and regular containers is left in the runtime.
pub fn all_gone(pod: &Pod, observed: &Observed) -> bool {
    pod.init_containers().iter().chain(pod.containers()).all(|container| observed.container(&container.name).is_none())
}

/// Every container to be removed for a restart of all, the ones that caused it last.
pub fn resets(pod: &Pod, observed: &Observed) -> Vec<Reset> {
    let (init_causes, init) = split(pod.init_containers(), observed);
    let (causes, others) = split(pod.containers(), observed);
    [others, init, causes, init_causes].concat()
}

fn split(containers: &[Container], observed: &Observed) -> (Vec<Reset>, Vec<Reset>) {
    let (mut causes, mut others) = (Vec::new(), Vec::new());
    for container in containers {
        for status in observed.containers.iter().filter(|status| status.name == container.name) {
            let exited = status.state == RunState::Exited;
            let reset = Reset { id: status.id.clone(), name: container.name.clone(), kill: !exited };
            let rule = matching_rule(container, status.exit_code).filter(|_| exited);
            let list = if rule.is_some_and(|rule| rule.action == RESTART_ALL) { &mut causes } else { &mut others };
            list.push(reset);
        }
    }
    (causes, others)
}
