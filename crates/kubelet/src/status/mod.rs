//! A pod's status, derived: a pure function of the spec, what the runtime shows, what the probes found and the status
//! before.
//!
//! Upstream: pkg/kubelet/kubelet_pods.go `generateAPIPodStatus` and pkg/kubelet/status.

pub mod conditions;
pub mod containers;
pub mod manager;
pub mod patch;
pub mod phase;
pub mod resources;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{HostIP, Pod, PodCondition, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    observed::Observed,
    plan::{Findings, any_regular_active, restart},
    pod::{PodExt, is_terminal},
    qos,
};

/// Why a container does not start: its reason and message while waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// `ErrImagePull`, `CrashLoopBackOff`, …
    pub reason: String,
    /// In words.
    pub message: String,
}

/// Why a pod is ended before its time: `Evicted`, `DeadlineExceeded`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// `status.reason`.
    pub reason: String,
    /// `status.message`.
    pub message: String,
    /// It is the node's doing: the condition `DisruptionTarget` tells.
    pub disruption: bool,
}

/// What a status depends on.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The pod, with the API's status.
    pub pod: &'a Pod,
    /// The status we gave last, or the API's.
    pub old: &'a PodStatus,
    /// What the runtime shows.
    pub observed: &'a Observed,
    /// What the probes found.
    pub findings: &'a Findings,
    /// Why containers do not start, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// The runtime's name, the scheme of container ids.
    pub runtime: &'a str,
    /// The pod has ended: its containers will not start again.
    pub ended: bool,
    /// It is to be ended, whatever it does.
    pub eviction: Option<&'a Eviction>,
    /// The node's addresses, the first one first.
    pub host_ips: &'a [String],
    /// When this kubelet started, nanoseconds since 1970: older containers keep their readiness until probed.
    pub started_at: i64,
    /// The runtime can make mounts read-only with all below them.
    pub recursive_read_only: bool,
    /// How a resize of it goes.
    pub resize: &'a [PodCondition],
}

/// The status as it should be, without times of transition.
pub fn generate(input: Input<'_>) -> PodStatus {
    let Input { pod, old, observed, .. } = input;
    let mut status = PodStatus { qos_class: Some(qos::class(pod).as_str().into()), ..PodStatus::default() };
    addresses(input, &mut status);
    containers::generate(input, &mut status);
    let initialized = any_regular_active(pod, observed);
    let phase = phase::of(pod, &status, input.ended, initialized);
    settle_phase(input, phase, &mut status);
    containers::apply_probes(input, &mut status);
    let was_running = old.phase.as_deref() == Some("Running");
    status.resources = Some(resources::effective(pod, was_running));
    status.allocated_resources = Some(resources::wire_requests(pod)).filter(|list| !list.is_empty());
    conditions::generate(pod, old, observed, &mut status);
    if !is_terminal(status.phase.as_deref().unwrap_or_default()) {
        status.conditions.get_or_insert_default().extend_from_slice(input.resize);
    }
    if let Some(eviction) = input.eviction.filter(|eviction| eviction.disruption) {
        conditions::disrupted(pod, &eviction.message, &mut status);
    }
    // The dead keep what others have written of them.
    status.resource_claim_statuses.clone_from(&old.resource_claim_statuses);
    status.nominated_node_name = pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
    status.observed_generation = pod.metadata.generation.filter(|generation| *generation != 0);
    status
}

/// Three-way: a terminal phase once reached stays, the reason goes with its phase.
fn settle_phase(input: Input<'_>, phase: &str, status: &mut PodStatus) {
    let api = input.pod.phase();
    let old = input.old.phase.as_deref().unwrap_or_default();
    let mut phase = phase;
    if !is_terminal(phase) {
        phase = [old, api].into_iter().find(|phase| is_terminal(phase)).unwrap_or(phase);
    }
    if phase == old {
        let known = input.pod.status.as_ref();
        let text =
            |own: &Option<String>, api: Option<&String>| own.as_ref().or(api).filter(|text| !text.is_empty()).cloned();
        status.reason = text(&input.old.reason, known.and_then(|status| status.reason.as_ref()));
        status.message = text(&input.old.message, known.and_then(|status| status.message.as_ref()));
    }
    if let Some(eviction) = input.eviction {
        phase = "Failed";
        status.reason = Some(eviction.reason.clone());
        status.message = Some(eviction.message.clone());
    }
    if is_terminal(api) {
        phase = api;
    }
    status.phase = Some(phase.to_owned());
}

fn addresses(input: Input<'_>, status: &mut PodStatus) {
    let ips = sorted_ips(&input.observed.addresses(), input.host_ips);
    let mut ips: Vec<String> = if ips.is_empty() { kept_ips(input) } else { ips };
    if let Some(first) = input.host_ips.first() {
        status.host_ip = Some(first.clone());
        status.host_ips = Some(input.host_ips.iter().take(2).map(|ip| HostIP { ip: ip.clone() }).collect());
        if input.pod.host_network() && ips.is_empty() {
            ips = input.host_ips.iter().take(2).cloned().collect();
        }
    }
    status.pod_ip = ips.first().cloned();
    status.pod_ips =
        Some(ips).filter(|ips| !ips.is_empty()).map(|ips| ips.into_iter().map(|ip| PodIP { ip }).collect());
}

/// A pod that has ended keeps its addresses in its status.
fn kept_ips(input: Input<'_>) -> Vec<String> {
    let over = is_terminal(input.old.phase.as_deref().unwrap_or_default());
    let keep = input.ended || over || input.pod.host_network();
    let old = input.old.pod_ips.iter().flatten().filter(|_| keep);
    old.map(|address| address.ip.clone()).collect()
}

/// One address of the node's family, then one of the other.
pub fn sorted_ips(ips: &[String], host_ips: &[String]) -> Vec<String> {
    let v6_first = host_ips.first().is_some_and(|ip| ip.contains(':'));
    let find = |v6: bool| ips.iter().find(|ip| ip.contains(':') == v6).cloned();
    [find(v6_first), find(!v6_first)].into_iter().flatten().collect()
}

/// Nanoseconds since 1970 as the API writes them: whole seconds.
pub fn time(nanos: i64) -> Option<Time> {
    let seconds = nanos.div_euclid(1_000_000_000);
    k8s_openapi::jiff::Timestamp::from_second(seconds).ok().map(Time)
}

/// Whether all containers of the pod are to start anew.
pub fn restarts_all(pod: &Pod, observed: &Observed, old: &PodStatus) -> bool {
    restart::all_could(pod) && restart::all_should(pod, Some(observed), old)
}
