//! In-place resize: what of a running pod's containers and of the pod itself differs from what it is allocated.
//! Upstream: `computePodResizeAction`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};

use super::{Actions, Cause, kill};
use crate::{
    observed::{self, Observed, RunState},
    pod::PodExt,
    quantity::list,
};

/// CPU in thousandths and memory in bytes, of requests and limits; zero is not said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "named after what they are")]
pub struct Amounts {
    pub cpu_request: i64,
    pub cpu_limit: i64,
    pub memory_request: i64,
    pub memory_limit: i64,
}

/// What a pod's cgroups were last told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actuated {
    /// By container.
    pub containers: BTreeMap<String, Amounts>,
    /// The pod's own `spec.resources`.
    pub pod: Amounts,
}

/// A running container that gets other amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The runtime's id.
    pub id: String,
    /// Its name in the spec.
    pub name: String,
    /// What it was told.
    pub from: Amounts,
    /// What it is to be told.
    pub to: Amounts,
}

/// What to resize: memory first, then CPU; in each those that shrink first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resize {
    /// Containers whose memory changes.
    pub memory: Vec<Update>,
    /// Containers whose CPU changes.
    pub cpu: Vec<Update>,
    /// The pod's cgroup changes whatever its running containers do.
    pub pod: bool,
}

impl Amounts {
    /// Of a container; what it has no limit of, its pod may limit.
    pub fn of(pod: &Pod, container: &Container) -> Amounts {
        let own = Amounts::from(container.resources.as_ref());
        let of_pod = Amounts::of_pod(pod);
        let or = |own: i64, of_pod: i64| if own == 0 { of_pod } else { own };
        Amounts {
            cpu_limit: or(own.cpu_limit, of_pod.cpu_limit),
            memory_limit: or(own.memory_limit, of_pod.memory_limit),
            ..own
        }
    }

    /// Of the pod's own resources.
    pub fn of_pod(pod: &Pod) -> Amounts {
        Amounts::from(pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()))
    }
}

impl From<Option<&ResourceRequirements>> for Amounts {
    fn from(resources: Option<&ResourceRequirements>) -> Self {
        let requests = list(resources.and_then(|own| own.requests.as_ref()));
        let limits = list(resources.and_then(|own| own.limits.as_ref()));
        Amounts {
            cpu_request: requests.get("cpu").map_or(0, |cpu| cpu.milli_value()),
            cpu_limit: limits.get("cpu").map_or(0, |cpu| cpu.milli_value()),
            memory_request: requests.get("memory").map_or(0, |memory| memory.value()),
            memory_limit: limits.get("memory").map_or(0, |memory| memory.value()),
        }
    }
}

impl Actuated {
    /// All of it as the pod is allocated: before anything of it has started.
    pub fn of(pod: &Pod) -> Actuated {
        let containers = pod.init_containers().iter().chain(pod.containers());
        Actuated {
            containers: containers.map(|container| (container.name.clone(), Amounts::of(pod, container))).collect(),
            pod: Amounts::of_pod(pod),
        }
    }

    fn container(&self, name: &str) -> Amounts {
        self.containers.get(name).copied().unwrap_or_default()
    }
}

impl Resize {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        *self == Resize::default()
    }
}

/// Adds what a running container needs; false where it has to restart for it, which [`Actions`] then says too.
pub fn container(
    pod: &Pod,
    own: &Container,
    seen: &observed::Container,
    actuated: &Actuated,
    actions: &mut Actions,
) -> bool {
    let (from, to) = (actuated.container(&own.name), Amounts::of(pod, own));
    if seen.state != RunState::Running || from == to {
        return true;
    }
    let memory = changed((from.memory_limit, to.memory_limit), (from.memory_request, to.memory_request));
    let cpu = changed((from.cpu_limit, to.cpu_limit), (from.cpu_request, to.cpu_request));
    if (memory.is_some() && restarts(own, "memory")) || (cpu.is_some() && restarts(own, "cpu")) {
        let message = format!("Container {} resize requires restart", own.name);
        actions.kill.push(kill(&seen.id, &own.name, message, Cause::Other));
        actions.resize.pod = true;
        return false;
    }
    let update = || Update { id: seen.id.clone(), name: own.name.clone(), from, to };
    for (grows, list) in [(memory, &mut actions.resize.memory), (cpu, &mut actions.resize.cpu)] {
        match grows {
            None => {}
            Some(true) => list.push(update()),
            Some(false) => list.insert(0, update()),
        }
    }
    true
}

/// The pod's own part, after its containers': `spec.resources` changed, or a container starts with others than before.
pub fn pod(pod: &Pod, actuated: &Actuated, actions: &mut Actions) {
    let starts = actions.start_init.iter().filter_map(|index| pod.init_containers().get(*index));
    let mut starts = starts.chain(actions.start.iter().filter_map(|index| pod.containers().get(*index)));
    let resized = starts.any(|own| Amounts::of(pod, own) != actuated.container(&own.name));
    actions.resize.pod |= resized || Amounts::of_pod(pod) != actuated.pod;
}

/// Whether what runs has other amounts than it is allocated. Upstream: `IsPodResizeInProgress`.
pub fn in_progress(pod: &Pod, observed: &Observed, actuated: &Actuated) -> bool {
    let sidecars = pod.init_containers().iter().filter(|container| crate::pod::is_sidecar(container));
    let differs = |own: &Container| {
        observed.container(&own.name).is_some_and(|seen| seen.state == RunState::Running)
            && Amounts::of(pod, own) != actuated.container(&own.name)
    };
    sidecars.chain(pod.containers()).any(differs)
        || (pod.spec.as_ref().is_some_and(|spec| spec.resources.is_some()) && Amounts::of_pod(pod) != actuated.pod)
}

/// Whether a resource grows, where it changes: the limit decides, without one that changes the request.
fn changed(limit: (i64, i64), request: (i64, i64)) -> Option<bool> {
    let (from, to) = if limit.0 != limit.1 { limit } else { request };
    (from != to).then_some(to > from)
}

fn restarts(container: &Container, resource: &str) -> bool {
    let mut policies = container.resize_policy.iter().flatten();
    policies.any(|policy| policy.resource_name == resource && policy.restart_policy == "RestartContainer")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        observed::Sandbox,
        plan::{Findings, plan},
    };

    fn pod_of(containers: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": {"containers": containers}})).unwrap()
    }

    fn own(name: &str, cpu: &str, policy: &str) -> Value {
        json!({"name": name, "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}},
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}]})
    }

    fn running(pod: &Pod) -> Observed {
        let containers = pod.containers().iter().map(|container| observed::Container {
            id: format!("id-{}", container.name),
            name: container.name.clone(),
            sandbox: "s".into(),
            state: RunState::Running,
            hash: crate::labels::hash(container),
            ..observed::Container::default()
        });
        let sandbox = Sandbox { id: "s".into(), ready: true, ..Sandbox::default() };
        Observed { sandboxes: vec![sandbox], containers: containers.collect() }
    }

    fn decide(before: &Pod, after: &Pod) -> Actions {
        plan(after, &running(after), &Findings::default(), Some(&Actuated::of(before)), false)
    }

    #[test]
    fn what_shrinks_goes_first() {
        let before = pod_of(json!([own("a", "100m", "NotRequired"), own("b", "200m", "NotRequired")]));
        let after = pod_of(json!([own("a", "200m", "NotRequired"), own("b", "100m", "NotRequired")]));
        let actions = decide(&before, &after);
        let names: Vec<_> = actions.resize.cpu.iter().map(|update| update.name.as_str()).collect();
        assert_eq!((names, actions.resize.memory.len(), actions.kill.len()), (vec!["b", "a"], 0, 0));
        assert_eq!(actions.resize.cpu[0].to.cpu_request, 100);
    }

    #[test]
    fn a_policy_can_ask_for_a_restart() {
        let before = pod_of(json!([own("a", "100m", "RestartContainer"), own("b", "1", "NotRequired")]));
        let after = pod_of(json!([own("a", "200m", "RestartContainer"), own("b", "1", "NotRequired")]));
        let actions = decide(&before, &after);
        assert_eq!(actions.kill[0].message, "Container a resize requires restart");
        assert_eq!((actions.start, actions.resize), (vec![0], Resize { pod: true, ..Resize::default() }));
    }

    #[rstest]
    #[case("100m", "0.1", false)]
    #[case("100m", "101m", true)]
    fn equal_amounts_are_no_change(#[case] from: &str, #[case] to: &str, #[case] expected: bool) {
        let before = pod_of(json!([own("a", from, "NotRequired")]));
        let after = pod_of(json!([own("a", to, "NotRequired")]));
        assert_eq!(!decide(&before, &after).resize.is_empty(), expected);
        assert_eq!(in_progress(&after, &running(&after), &Actuated::of(&before)), expected);
    }

    #[test]
    fn a_pods_limit_counts_for_containers_without_one() {
        let mut pod = pod_of(json!([own("a", "100m", "NotRequired")]));
        pod.spec.as_mut().unwrap().resources =
            serde_json::from_value(json!({"limits": {"cpu": "500m", "memory": "2Mi"}})).unwrap();
        let amounts = Amounts::of(&pod, &pod.containers()[0]);
        assert_eq!((amounts.cpu_limit, amounts.memory_limit, amounts.memory_request), (500, 2 << 20, 1 << 20));
    }
}
