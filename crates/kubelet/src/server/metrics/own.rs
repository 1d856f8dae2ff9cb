//! `/metrics`: the kubelet itself. `/metrics/probes`: what its probes found.

use std::collections::BTreeMap;

use client::Body;
use component::exposition::{Exposition, number};
use component::process;
use http::Response;

use crate::{
    cri::Error,
    kubelet::Kubelet,
    pod::{PodExt, is_terminal},
};

/// The kubelet's figures.
///
/// # Errors
/// What the runtime says.
pub async fn own(kubelet: &Kubelet) -> Result<Response<Body>, Error> {
    let mut out = Exposition::default();
    process::process(kubelet.started_at, &mut out);
    process::build_info(api::GIT_VERSION, &mut out);
    out.family("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.");
    out.sample(&[("node", &kubelet.config.node_name)], 1.0, None);
    let running = crate::pleg::running(&kubelet.runtime).await?;
    let mut pods: Vec<&str> =
        running.iter().filter_map(|own| own.labels.get(crate::labels::POD_UID).map(String::as_str)).collect();
    pods.sort_unstable();
    pods.dedup();
    out.family("kubelet_running_pods", "gauge", "[BETA] Number of pods that have a running pod sandbox");
    out.sample(&[], number(pods.len() as u64), None);
    out.family("kubelet_running_containers", "gauge", "[BETA] Number of containers currently running");
    out.sample(&[("container_state", "running")], number(running.len() as u64), None);
    let workers = kubelet.workers.pods();
    let mut phases = BTreeMap::from([("active", 0u64), ("terminal", 0)]);
    for pod in &workers {
        let ended = is_terminal(kubelet.pod_status(pod).phase.as_deref().unwrap_or_default());
        *phases.entry(if ended { "terminal" } else { "active" }).or_default() += 1;
    }
    let of_source = |is_static: bool| number(workers.iter().filter(|pod| pod.is_static() == is_static).count() as u64);
    out.family("kubelet_desired_pods", "gauge", "[ALPHA] The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.");
    out.sample(&[("static", "")], of_source(false), None);
    out.sample(&[("static", "true")], of_source(true), None);
    out.family(
        "kubelet_working_pods",
        "gauge",
        "[ALPHA] Number of pods the kubelet is actually running, broken down by lifecycle phase.",
    );
    for (phase, count) in phases {
        out.sample(&[("lifecycle", phase)], number(count), None);
    }
    Ok(out.into_response())
}

/// How often each probe found what.
pub fn probes(kubelet: &Kubelet) -> Response<Body> {
    let mut out = Exposition::default();
    out.family(
        "prober_probe_total",
        "counter",
        "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
    );
    for (of, count) in kubelet.probes.counts() {
        let labels = [
            ("container", of.container.as_str()),
            ("namespace", of.namespace.as_str()),
            ("pod", of.pod.as_str()),
            ("pod_uid", of.uid.as_str()),
            ("probe_type", of.purpose.as_str()),
            ("result", of.result),
        ];
        out.sample(&labels, number(count), None);
    }
    process::start_time(kubelet.started_at, &mut out);
    out.into_response()
}
