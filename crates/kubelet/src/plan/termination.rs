//! The end of containers: how much time each gets, and in which order sidecars go.

use k8s_openapi::api::core::v1::{Container, Pod, Probe};

use super::Cause;
use crate::pod::{PodExt, is_sidecar};

/// The least time between a stop signal and the kill.
pub const GRACE_SECONDS_MIN: i64 = 2;

/// How long a container has between being told and being killed. Upstream: `setTerminationGracePeriod`.
pub fn grace(pod: &Pod, container: &Container, cause: Cause) -> i64 {
    if let Some(seconds) = pod.metadata.deletion_grace_period_seconds {
        return seconds;
    }
    let Some(seconds) = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) else {
        return GRACE_SECONDS_MIN;
    };
    let own = |probe: &Option<Probe>| probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
    match cause {
        Cause::StartupProbe => own(&container.startup_probe),
        Cause::LivenessProbe => own(&container.liveness_probe),
        _ => None,
    }
    .unwrap_or(seconds)
}

/// Whom a container waits for before it is told to stop: a sidecar for all regular containers and the next sidecar.
pub fn prerequisites(pod: &Pod, name: &str) -> Vec<String> {
    let sidecars: Vec<&Container> = pod.init_containers().iter().filter(|container| is_sidecar(container)).collect();
    let Some(at) = sidecars.iter().position(|sidecar| sidecar.name == name) else { return Vec::new() };
    let regular = pod.containers().iter().map(|container| container.name.clone());
    regular.chain(sidecars.get(at + 1).map(|next| next.name.clone())).collect()
}
