//! `/metrics/cadvisor`: those of cAdvisor's families that dashboards and autoscalers ask for.

use client::Body;
use http::Response;

use crate::{
    cri::Error,
    kubelet::Kubelet,
    pod::PodExt,
    stats::{ContainerStats, Interface, PodStats},
};
use component::exposition::{Exposition, number, seconds};

type OfInterface = fn(&Interface) -> u64;
type Of = fn(&Row<'_>) -> Option<(f64, Option<i64>)>;

/// A container, or a pod as a whole.
struct Row<'a> {
    pod: &'a PodStats,
    own: Option<&'a ContainerStats>,
    cgroup: String,
}

const FAMILIES: [(&str, &str, &str, Of); 6] = [
    (
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |row| row.memory().map(|memory| (number(memory.usage), Some(memory.time))),
    ),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |row| {
        row.memory().map(|memory| (number(memory.working_set), Some(memory.time)))
    }),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", |row| {
        row.memory().map(|memory| (number(memory.rss), Some(memory.time)))
    }),
    (
        "container_fs_usage_bytes",
        "gauge",
        "Number of bytes that are consumed by the container on this filesystem.",
        |row| row.own.and_then(|own| own.layer).map(|(bytes, _)| (number(bytes), None)),
    ),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", |row| {
        let at = u64::try_from(row.own?.started_at).ok().filter(|at| *at > 0)?;
        Some((seconds(at), None))
    }),
    ("container_processes", "gauge", "Number of processes running inside the container.", |row| {
        if row.own.is_some() { None } else { row.pod.processes.map(|count| (number(count), None)) }
    }),
];

/// The answer.
///
/// # Errors
/// What the runtime says.
pub async fn cadvisor(kubelet: &Kubelet) -> Result<Response<Body>, Error> {
    let summary = kubelet.stats().await?;
    let mut rows = Vec::new();
    for pod in &summary.pods {
        let cgroup = kubelet.cgroups.as_ref().map(|cgroups| cgroups.pod_path(&pod.pod)).unwrap_or_default();
        rows.extend(pod.containers.iter().map(|own| Row {
            pod,
            own: Some(own),
            cgroup: format!("{cgroup}/{}", own.id),
        }));
        rows.push(Row { pod, own: None, cgroup });
    }
    let mut out = Exposition::default();
    out.family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.");
    for row in &rows {
        if let Some(cpu) = row.own.map_or(row.pod.cpu, |own| own.cpu) {
            let labels = row.labels();
            let labels: Vec<_> = labels.iter().copied().chain([("cpu", "total")]).collect();
            out.sample(&labels, seconds(cpu.total_nanos), Some(cpu.time));
        }
    }
    for (name, kind, help, of) in FAMILIES {
        out.family(name, kind, help);
        for row in &rows {
            if let Some((value, time)) = of(row) {
                out.sample(&row.labels(), value, time);
            }
        }
    }
    networks(&summary.pods, &mut out);
    out.family("machine_cpu_cores", "gauge", "Number of logical CPU cores.");
    out.sample(&[], f64::from(kubelet.machine.cpus), None);
    out.family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
    out.sample(&[], number(kubelet.machine.memory_bytes), None);
    Ok(out.into_response())
}

fn networks(pods: &[PodStats], out: &mut Exposition) {
    let families: [(&str, &str, OfInterface); 2] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", |own| own.bytes.0),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |own| own.bytes.1),
    ];
    for (name, help, of) in families {
        out.family(name, "counter", help);
        for pod in pods {
            for own in &pod.network {
                let labels =
                    [("interface", own.name.as_str()), ("namespace", pod.pod.namespace()), ("pod", pod.pod.name())];
                out.sample(&labels, number(of(own)), None);
            }
        }
    }
}

impl Row<'_> {
    fn memory(&self) -> Option<crate::stats::Memory> {
        self.own.map_or(self.pod.memory, |own| own.memory)
    }

    fn labels(&self) -> [(&str, &str); 6] {
        let own = |of: fn(&ContainerStats) -> &str| self.own.map_or("", of);
        [
            ("container", own(|own| &own.name)),
            ("id", &self.cgroup),
            ("image", own(|own| &own.image)),
            ("name", own(|own| &own.id)),
            ("namespace", self.pod.pod.namespace()),
            ("pod", self.pod.pod.name()),
        ]
    }
}
