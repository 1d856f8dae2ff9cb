//! The conditions the kubelet owns, from the container statuses. Upstream: pkg/kubelet/status/generate.go.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};

use crate::{
    observed::Observed,
    plan::{restart, sandbox},
    pod::{PodExt, is_sidecar},
};

/// The conditions that no one else writes.
pub const OWNED: [&str; 8] = [
    "PodScheduled",
    "Ready",
    "Initialized",
    "ContainersReady",
    "PodResizeInProgress",
    "PodResizePending",
    "PodReadyToStartContainers",
    "AllContainersRestarting",
];

/// Whether the kubelet is the only writer of a condition.
pub fn is_owned(type_: &str) -> bool {
    OWNED.contains(&type_)
}

/// Fills `status.conditions`: others' first, as they are, then ours.
pub fn generate(pod: &Pod, old: &PodStatus, observed: &Observed, status: &mut PodStatus) {
    let phase = status.phase.clone().unwrap_or_default();
    let known = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions: Vec<PodCondition> =
        known.into_iter().flatten().filter(|condition| !is_owned(&condition.type_)).cloned().collect();
    let disruption = old.conditions.iter().flatten().find(|condition| condition.type_ == "DisruptionTarget");
    if let Some(disruption) = disruption {
        conditions.retain(|condition| condition.type_ != disruption.type_);
        conditions.push(disruption.clone());
    }
    let statuses: Vec<&ContainerStatus> =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()).collect();
    let mut add = |type_: &str, verdict: Verdict| conditions.push(verdict.condition(type_, pod));
    let containers_ready = containers_ready(pod, &statuses, &phase);
    add("PodReadyToStartContainers", ready_to_start(pod, observed));
    add("Initialized", initialized(pod, old, &statuses, &phase));
    add("Ready", containers_ready.clone().and(|| gates(pod)));
    add("ContainersReady", containers_ready);
    add("PodScheduled", Verdict::yes());
    if restart::all_could(pod) {
        let verdict = restarting(pod, old, observed, &phase);
        conditions
            .push(PodCondition { observed_generation: None, ..verdict.condition("AllContainersRestarting", pod) });
    }
    status.conditions = Some(conditions);
}

/// The kubelet ends the pod for the node's sake.
pub fn disrupted(pod: &Pod, message: &str, status: &mut PodStatus) {
    let verdict = Verdict { reason: "TerminationByKubelet", message: message.to_owned(), ..Verdict::yes() };
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(verdict.condition("DisruptionTarget", pod));
}

#[derive(Clone)]
struct Verdict {
    status: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn yes() -> Self {
        Verdict { status: true, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Verdict { status: false, reason, message: message.into() }
    }

    fn and(self, next: impl FnOnce() -> Verdict) -> Verdict {
        if self.status { next() } else { self }
    }

    fn condition(self, type_: &str, pod: &Pod) -> PodCondition {
        PodCondition {
            type_: type_.to_owned(),
            status: if self.status { "True" } else { "False" }.to_owned(),
            reason: Some(self.reason.to_owned()).filter(|text| !text.is_empty()),
            message: Some(self.message).filter(|text| !text.is_empty()),
            observed_generation: pod.metadata.generation.filter(|generation| *generation != 0),
            ..PodCondition::default()
        }
    }
}

fn ready_to_start(pod: &Pod, observed: &Observed) -> Verdict {
    match sandbox::change(pod, observed).needed {
        None => Verdict::yes(),
        Some(why) => Verdict::no("PodSandboxNotReady", why),
    }
}

fn containers_ready(pod: &Pod, statuses: &[&ContainerStatus], phase: &str) -> Verdict {
    let sidecars = pod.init_containers().iter().filter(|container| is_sidecar(container));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in sidecars.chain(pod.containers()) {
        match statuses.iter().find(|status| status.name == container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase {
        "Succeeded" if unknown.is_empty() => return Verdict::no("PodCompleted", ""),
        "Failed" => return Verdict::no("PodFailed", ""),
        _ => {}
    }
    let message = list("unknown", &unknown, "unready", &unready);
    if message.is_empty() { Verdict::yes() } else { Verdict::no("ContainersNotReady", message) }
}

fn gates(pod: &Pod) -> Verdict {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let unmet = gates.filter_map(|gate| {
        let gate = &gate.condition_type;
        match conditions.into_iter().flatten().find(|condition| &condition.type_ == gate) {
            None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
            Some(found) if found.status != "True" => {
                Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {}", found.status))
            }
            Some(_) => None,
        }
    });
    let message = unmet.collect::<Vec<_>>().join(", ");
    if message.is_empty() { Verdict::yes() } else { Verdict::no("ReadinessGatesNotReady", message) }
}

fn initialized(pod: &Pod, old: &PodStatus, statuses: &[&ContainerStatus], phase: &str) -> Verdict {
    let find = |name: &str| statuses.iter().find(|status| status.name == name);
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in pod.init_containers() {
        match find(&container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) => {
                let done = if is_sidecar(container) { status.started == Some(true) } else { status.ready };
                if !done {
                    incomplete.push(container.name.as_str());
                }
            }
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Verdict { reason: "PodCompleted", ..Verdict::yes() };
    }
    let started = |status: &&ContainerStatus| {
        status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    };
    if pod.containers().iter().filter_map(|container| find(&container.name)).any(started) {
        return Verdict::yes();
    }
    let message = list("unknown", &unknown, "incomplete", &incomplete);
    let before =
        old.conditions.iter().flatten().any(|condition| condition.type_ == "Initialized" && condition.status == "True");
    if message.is_empty() || before { Verdict::yes() } else { Verdict::no("ContainersNotInitialized", message) }
}

fn restarting(pod: &Pod, old: &PodStatus, observed: &Observed, phase: &str) -> Verdict {
    match phase {
        "Succeeded" => Verdict::no("PodCompleted", ""),
        "Failed" => Verdict::no("PodFailed", ""),
        _ if !restart::all_should(pod, Some(observed), old) || restart::all_gone(pod, observed) => Verdict::no("", ""),
        _ => Verdict {
            reason: "RestartAllContainersStarted",
            message: "container exited with restart policy rule".into(),
            ..Verdict::yes()
        },
    }
}

/// `containers with unknown status: [a b], containers with unready status: [c]`.
fn list(first: &str, firsts: &[&str], second: &str, seconds: &[&str]) -> String {
    let part = |word: &str, names: &[&str]| {
        (!names.is_empty()).then(|| format!("containers with {word} status: [{}]", names.join(" ")))
    };
    [part(first, firsts), part(second, seconds)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
