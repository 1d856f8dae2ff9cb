//! `/metrics`: the kubelet itself. `/metrics/probes`: what its probes found.

use std::{collections::BTreeMap, fs};

use client::Body;
use http::Response;

use super::{Exposition, answer, number};
use crate::{
    cri::Error,
    kubelet::Kubelet,
    node::status::VERSION,
    pod::{PodExt, is_terminal},
};

/// The kernel's clock ticks a second, in its files.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page, in the kernel's files.
const PAGE_BYTES: u64 = 4096;

/// The kubelet's figures.
///
/// # Errors
/// What the runtime says.
pub async fn own(kubelet: &Kubelet) -> Result<Response<Body>, Error> {
    let mut out = Exposition::default();
    process(kubelet, &mut out);
    let labels = [("git_version", VERSION), ("major", "1"), ("minor", "37"), ("platform", "linux/amd64")];
    out.family(
        "kubernetes_build_info",
        "gauge",
        "[BETA] A metric with a constant '1' value labeled by major, minor, git version and platform.",
    );
    out.sample(&labels, 1.0, None);
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
    Ok(answer(out))
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
    start_time(kubelet, &mut out);
    answer(out)
}

#[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
fn start_time(kubelet: &Kubelet, out: &mut Exposition) {
    out.family("process_start_time_seconds", "gauge", "[ALPHA] Start time of the process since unix epoch in seconds.");
    out.sample(&[], kubelet.started_at as f64 / 1e9, None);
}

/// Of the process that the kubelet is a part of.
fn process(kubelet: &Kubelet, out: &mut Exposition) {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let stat = read("stat");
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|word| word.parse().unwrap_or_default()).collect())
        .unwrap_or_default();
    // utime and stime are the 14th and 15th field of all, the third of which is the first after the name.
    let ticks: u64 = fields.iter().skip(10).take(2).sum();
    out.family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
    out.sample(&[], number(ticks) / TICKS_PER_SECOND, None);
    let pages: u64 = read("statm").split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    out.family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
    out.sample(&[], number(pages * PAGE_BYTES), None);
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    out.family("process_open_fds", "gauge", "Number of open file descriptors.");
    out.sample(&[], number(open as u64), None);
    start_time(kubelet, out);
}
