//! `/stats/summary`: what the node and its pods use, in the shape of k8s.io/kubelet/pkg/apis/stats/v1alpha1.

use std::{fs, path::Path};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Volume;
use serde_json::{Map, Value, json};

use crate::{
    cri::Error,
    kubelet::Kubelet,
    node::machine::Disk,
    pod::PodExt,
    stats::{self, ContainerStats, Cpu, Interface, Memory, PodStats, Summary},
};

/// The interface whose figures stand for all of a node or pod.
const USUAL_INTERFACE: &str = "eth0";

/// All of it, or CPU and memory alone.
///
/// # Errors
/// What the runtime says.
pub async fn summary(kubelet: &Kubelet, only_cpu_and_memory: bool) -> Result<Value, Error> {
    let summary = kubelet.stats().await?;
    let look = Look { kubelet, summary: &summary, brief: only_cpu_and_memory, now: kubelet.now() };
    let pods: Vec<Value> = summary.pods.iter().filter_map(|pod| look.pod(pod)).collect();
    Ok(json!({"node": look.node(), "pods": pods}))
}

struct Look<'a> {
    kubelet: &'a Kubelet,
    summary: &'a Summary,
    brief: bool,
    now: i64,
}

impl Look<'_> {
    fn node(&self) -> Value {
        let node = &self.summary.node;
        let mut out = object([
            ("nodeName", json!(self.kubelet.config.node_name)),
            ("systemContainers", json!(self.system_containers())),
            ("startTime", time(boot_nanos().unwrap_or(self.kubelet.started_at))),
            ("cpu", node.cpu.map_or(Value::Null, cpu)),
            ("memory", node.memory.map_or(Value::Null, memory)),
            ("swap", swap(self.now)),
        ]);
        if !self.brief {
            let images = node.images.map_or(Value::Null, |(disk, used)| self.disk(Some(disk), Some(used), None));
            out.extend(object([
                ("network", network(&stats::interfaces(Path::new("/proc/net/dev")), self.now)),
                ("fs", self.disk(node.disk, node.disk.map(|disk| disk.capacity - disk.available), None)),
                ("runtime", json!({"imageFs": images, "containerFs": images})),
                ("rlimit", rlimit(self.now)),
            ]));
        }
        Value::Object(out)
    }

    /// All pods together, as the node's own cgroup has them.
    fn system_containers(&self) -> Vec<Value> {
        let Some(all) = self.kubelet.stats_of_all_pods() else { return Vec::new() };
        vec![Value::Object(object([
            ("name", json!("pods")),
            ("startTime", time(self.kubelet.started_at)),
            ("cpu", all.0.map_or(Value::Null, cpu)),
            ("memory", all.1.map_or(Value::Null, memory)),
        ]))]
    }

    /// None before its start is known.
    fn pod(&self, stats: &PodStats) -> Option<Value> {
        let pod = &stats.pod;
        let started = self.kubelet.pod_status(pod).start_time?;
        let containers: Vec<Value> = stats.containers.iter().map(|own| self.container(own)).collect();
        let mut out = object([
            ("podRef", json!({"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()})),
            ("startTime", json!(started.0.to_string())),
            ("containers", json!(containers)),
            ("cpu", stats.cpu.map_or(Value::Null, cpu)),
            ("memory", stats.memory.map_or(Value::Null, memory)),
        ]);
        if !self.brief {
            let volumes = self.volumes(stats);
            let own: u64 =
                stats.containers.iter().map(|own| own.log_bytes + own.layer.map_or(0, |layer| layer.0)).sum();
            let files: u64 = stats.containers.iter().filter_map(|own| own.layer).map(|layer| layer.1).sum();
            let (bytes, inodes) = volumes
                .iter()
                .filter(|volume| volume.local)
                .fold((own, files), |sum, volume| (sum.0 + volume.usage.0, sum.1 + volume.usage.1));
            let volumes: Vec<Value> = volumes.into_iter().map(|volume| volume.shown).collect();
            out.extend(object([
                ("network", if stats.network.is_empty() { Value::Null } else { network(&stats.network, self.now) }),
                ("volume", if volumes.is_empty() { Value::Null } else { json!(volumes) }),
                ("ephemeral-storage", self.disk(self.summary.node.disk, Some(bytes), Some(inodes))),
                ("process_stats", stats.processes.map_or(Value::Null, |count| json!({"process_count": count}))),
            ]));
        }
        Some(Value::Object(out))
    }

    fn container(&self, own: &ContainerStats) -> Value {
        let mut out = object([
            ("name", json!(own.name)),
            ("startTime", time(own.started_at)),
            ("cpu", own.cpu.map_or(Value::Null, cpu)),
            ("memory", own.memory.map_or(Value::Null, memory)),
            ("swap", own.swap.map_or(Value::Null, |bytes| json!({"time": time(self.now), "swapUsageBytes": bytes}))),
        ]);
        if !self.brief {
            let images = self.summary.node.images.map(|(disk, _)| disk);
            let (bytes, inodes) = own.layer.unzip();
            out.extend(object([
                ("rootfs", self.disk(images, bytes, inodes)),
                ("logs", self.disk(self.summary.node.disk, Some(own.log_bytes), None)),
            ]));
        }
        Value::Object(out)
    }

    fn volumes(&self, stats: &PodStats) -> Vec<VolumeUse> {
        let pod = &stats.pod;
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes
            .filter(|volume| is_measured(volume))
            .filter_map(|volume| {
                let path = self.kubelet.volumes.path(pod, &volume.name)?;
                let disk = crate::node::machine::disk(&path).ok()?;
                let usage = stats::usage(&path);
                let Value::Object(mut shown) = self.disk(Some(disk), Some(usage.0), Some(usage.1)) else { return None };
                shown.insert("name".into(), json!(volume.name));
                if let Some(claim) = &volume.persistent_volume_claim {
                    shown.insert("pvcRef".into(), json!({"name": claim.claim_name, "namespace": pod.namespace()}));
                }
                let memory = |medium: Option<&str>| medium.is_some_and(|medium| !medium.is_empty());
                let local = match &volume.empty_dir {
                    Some(empty) => !memory(empty.medium.as_deref()),
                    None => volume.config_map.is_some(),
                };
                Some(VolumeUse { local, usage, shown: Value::Object(shown) })
            })
            .collect()
    }

    fn disk(&self, disk: Option<Disk>, used: Option<u64>, inodes_used: Option<u64>) -> Value {
        let Some(disk) = disk else { return Value::Null };
        Value::Object(object([
            ("time", time(self.now)),
            ("availableBytes", json!(disk.available)),
            ("capacityBytes", json!(disk.capacity)),
            ("usedBytes", json!(used)),
            ("inodesFree", json!(disk.inodes_free)),
            ("inodes", json!(disk.inodes)),
            ("inodesUsed", json!(inodes_used.unwrap_or(disk.inodes - disk.inodes_free))),
        ]))
    }
}

struct VolumeUse {
    /// On the node's disk, for the pod's life.
    local: bool,
    /// Bytes and files.
    usage: (u64, u64),
    shown: Value,
}

/// Not the node's own files, nor images.
fn is_measured(volume: &Volume) -> bool {
    volume.host_path.is_none() && volume.image.is_none()
}

/// What is null is left out.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn time(nanos: i64) -> Value {
    let at = Timestamp::from_second(nanos.div_euclid(1_000_000_000)).unwrap_or_default();
    json!(at.to_string())
}

fn cpu(cpu: Cpu) -> Value {
    json!({"time": time(cpu.time), "usageNanoCores": cpu.rate_nano_cores.unwrap_or_default(), "usageCoreNanoSeconds": cpu.total_nanos})
}

fn memory(memory: Memory) -> Value {
    let mut out = object([("time", time(memory.time)), ("availableBytes", json!(memory.available))]);
    out.extend(object([
        ("usageBytes", json!(memory.usage)),
        ("workingSetBytes", json!(memory.working_set)),
        ("rssBytes", json!(memory.rss)),
        ("pageFaults", json!(memory.page_faults)),
        ("majorPageFaults", json!(memory.major_page_faults)),
    ]));
    Value::Object(out)
}

fn network(interfaces: &[Interface], now: i64) -> Value {
    let one = |own: &Interface| {
        object([
            ("name", json!(own.name)),
            ("rxBytes", json!(own.bytes.0)),
            ("rxErrors", json!(own.errors.0)),
            ("txBytes", json!(own.bytes.1)),
            ("txErrors", json!(own.errors.1)),
        ])
    };
    let usual = interfaces.iter().find(|own| own.name == USUAL_INTERFACE).or(interfaces.first());
    let mut out = object([("time", time(now))]);
    out.extend(usual.map(one).unwrap_or_default());
    out.insert("interfaces".into(), json!(interfaces.iter().map(one).collect::<Vec<_>>()));
    Value::Object(out)
}

fn swap(now: i64) -> Value {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let get = |key: &str| crate::node::machine::meminfo_bytes(&text, key);
    let (Some(total), Some(free)) = (get("SwapTotal"), get("SwapFree")) else { return Value::Null };
    json!({"time": time(now), "swapAvailableBytes": free, "swapUsageBytes": total.saturating_sub(free)})
}

fn rlimit(now: i64) -> Value {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
    let most = [number("/proc/sys/kernel/pid_max"), number("/proc/sys/kernel/threads-max")].into_iter().flatten().min();
    // `0.00 0.01 0.05 1/345 6789`: of these 345 threads one runs.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let threads = load.split_whitespace().nth(3).and_then(|word| word.split_once('/')?.1.parse::<i64>().ok());
    Value::Object(object([("time", time(now)), ("maxpid", json!(most)), ("curproc", json!(threads))]))
}

fn boot_nanos() -> Option<i64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse::<i64>().ok()?.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_interface_stands_for_all() {
        let own = |name: &str, bytes| Interface { name: name.into(), bytes, errors: (0, 0) };
        let shown = network(&[own("lo", (1, 1)), own("eth0", (5, 7))], 0);
        assert_eq!((&shown["name"], &shown["rxBytes"], &shown["txBytes"]), (&json!("eth0"), &json!(5), &json!(7)));
        assert_eq!(shown["interfaces"].as_array().unwrap().len(), 2);
        assert_eq!(shown["time"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let shown = memory(Memory { working_set: 5, ..Memory::default() });
        assert!(shown.get("availableBytes").is_none() && shown["workingSetBytes"] == 5);
    }
}
