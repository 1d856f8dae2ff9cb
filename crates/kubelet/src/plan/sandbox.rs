//! Whether a pod needs another sandbox.

use k8s_openapi::api::core::v1::Pod;

use crate::{observed::Observed, pod::PodExt};

/// The verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Why a new one is needed, in the words of the condition `PodReadyToStartContainers`.
    pub needed: Option<&'static str>,
    /// The number of the one to use or to make.
    pub attempt: u32,
    /// The newest one, where it is to be used or replaced.
    pub id: Option<String>,
}

/// Looks at the newest sandbox. Upstream: `runtimeutil.PodSandboxChanged`.
pub fn change(pod: &Pod, observed: &Observed) -> Change {
    let Some(newest) = observed.sandboxes.first() else {
        return Change { needed: Some("no pod sandbox exists"), attempt: 0, id: None };
    };
    let replace = |why| Change { needed: Some(why), attempt: newest.attempt + 1, id: Some(newest.id.clone()) };
    if observed.sandboxes.iter().filter(|sandbox| sandbox.ready).count() > 1 {
        return replace("multiple pod sandboxes are ready and need to be reconciled");
    }
    if !newest.ready {
        return replace("pod sandbox is not ready");
    }
    if newest.host_network != pod.host_network() {
        let why = "network namespace mode changed and sandbox needs to be recreated";
        return Change { id: None, ..replace(why) };
    }
    if !pod.host_network() && newest.addresses.as_ref().is_some_and(Vec::is_empty) {
        return replace("pod sandbox has no IP address");
    }
    Change { needed: None, attempt: newest.attempt, id: Some(newest.id.clone()) }
}
