//! `/metrics/resource`: CPU and memory of the node, pods and containers. Upstream:
//! pkg/kubelet/metrics/collectors/resource_metrics.go.

use client::Body;
use http::Response;

use crate::{
    kubelet::Kubelet,
    pod::PodExt,
    stats::{ContainerStats, PodStats, Summary},
};
use component::exposition::{Exposition, number, seconds};

/// The answer; where the runtime can't be asked, one that says so.
pub async fn resource(kubelet: &Kubelet) -> Response<Body> {
    let mut out = Exposition::default();
    let failed = match kubelet.stats().await {
        Ok(summary) => {
            write(&summary, &mut out);
            false
        }
        Err(error) => {
            tracing::warn!(%error, "kubelet server: no figures of containers");
            true
        }
    };
    const RESULT: &str = "1 if there was an error while getting container metrics, 0 otherwise";
    for (name, help) in [
        ("resource_scrape_error", format!("[STABLE] {RESULT}")),
        ("scrape_error", format!("[ALPHA] (Deprecated since 1.29.0) {RESULT}")),
    ] {
        out.family(name, "gauge", &help).sample(&[], f64::from(u8::from(failed)), None);
    }
    out.into_response()
}

type OfContainer = fn(&ContainerStats) -> Option<(f64, Option<i64>)>;
type OfPod = fn(&PodStats) -> Option<(f64, Option<i64>)>;

const CONTAINERS: [(&str, &str, &str, OfContainer); 4] = [
    (
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        |own| own.cpu.map(|cpu| (seconds(cpu.total_nanos), Some(cpu.time))),
    ),
    ("container_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the container in bytes", |own| {
        own.memory.map(|memory| (number(memory.working_set), Some(memory.time)))
    }),
    (
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
        |own| u64::try_from(own.started_at).ok().filter(|at| *at > 0).map(|at| (seconds(at), None)),
    ),
    (
        "container_swap_usage_bytes",
        "gauge",
        "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
        |own| own.swap.map(|swap| (number(swap), own.memory.map(|memory| memory.time))),
    ),
];

const PODS: [(&str, &str, &str, OfPod); 2] = [
    (
        "pod_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        |pod| pod.cpu.map(|cpu| (seconds(cpu.total_nanos), Some(cpu.time))),
    ),
    ("pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes", |pod| {
        pod.memory.map(|memory| (number(memory.working_set), Some(memory.time)))
    }),
];

fn write(summary: &Summary, out: &mut Exposition) {
    for (name, kind, help, of) in CONTAINERS {
        out.family(name, kind, help);
        for (pod, own) in summary.pods.iter().flat_map(|pod| pod.containers.iter().map(move |own| (pod, own))) {
            if let Some((value, time)) = of(own) {
                let labels =
                    [("container", own.name.as_str()), ("namespace", pod.pod.namespace()), ("pod", pod.pod.name())];
                out.sample(&labels, value, time);
            }
        }
    }
    if let Some(cpu) = summary.node.cpu {
        let help = "[STABLE] Cumulative cpu time consumed by the node in core-seconds";
        out.family("node_cpu_usage_seconds_total", "counter", help);
        out.sample(&[], seconds(cpu.total_nanos), Some(cpu.time));
    }
    if let Some(memory) = summary.node.memory {
        let help = "[STABLE] Current working set of the node in bytes";
        out.family("node_memory_working_set_bytes", "gauge", help);
        out.sample(&[], number(memory.working_set), Some(memory.time));
    }
    for (name, kind, help, of) in PODS {
        out.family(name, kind, help);
        for pod in &summary.pods {
            if let Some((value, time)) = of(pod) {
                out.sample(&[("namespace", pod.pod.namespace()), ("pod", pod.pod.name())], value, time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::stats::{Cpu, Memory, NodeStats};

    #[test]
    fn figures_carry_their_labels_and_times() {
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}})).unwrap();
        let cpu = Cpu { time: 5_000_000_000, total_nanos: 1_500_000_000, rate_nano_cores: None };
        let memory = Memory { time: 5_000_000_000, working_set: 4096, ..Memory::default() };
        let own = ContainerStats {
            name: "c".into(),
            started_at: 2_000_000_000,
            cpu: Some(cpu),
            memory: Some(memory),
            ..ContainerStats::default()
        };
        let pod = PodStats {
            pod: Arc::new(pod),
            cpu: Some(cpu),
            memory: Some(memory),
            network: Vec::new(),
            processes: None,
            containers: vec![own],
        };
        let mut out = Exposition::default();
        write(&Summary { node: NodeStats::default(), pods: vec![pod] }, &mut out);
        let text = out.finish();
        for line in [
            "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 5000",
            "container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 4096 5000",
            "container_start_time_seconds{container=\"c\",namespace=\"n\",pod=\"p\"} 2",
            "pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 4096 5000",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
    }
}
