//! What pods and the node use: for `/stats/summary` and `/metrics/resource`. Upstream: pkg/kubelet/stats.
//!
//! Containers' figures are the runtime's, pods' those of their cgroups, the node's the kernel's. Nothing is sampled in
//! the background: whoever asks pays.

mod cgroup;

use std::{collections::HashMap, path::Path, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::{
    cri::{Error, v1},
    kubelet::Kubelet,
    labels,
    node::machine::{self, Disk},
    pod::PodExt,
};

/// CPU in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// When it was read; nanoseconds since 1970.
    pub time: i64,
    /// Core-nanoseconds since the beginning.
    pub total_nanos: u64,
    /// Nano-cores since the last reading, where there was one.
    pub rate_nano_cores: Option<u64>,
}

/// Memory in use, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// When it was read; nanoseconds since 1970.
    pub time: i64,
    /// All of it, caches too.
    pub usage: u64,
    /// What can't be given back at once.
    pub working_set: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// Left up to the limit, where there is one.
    pub available: Option<u64>,
    /// Page faults since the beginning.
    pub page_faults: u64,
    /// Those that read from disk.
    pub major_page_faults: u64,
}

/// A network interface's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// Bytes received and sent.
    pub bytes: (u64, u64),
    /// Errors receiving and sending.
    pub errors: (u64, u64),
}

/// A container's use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerStats {
    /// Its name in the spec.
    pub name: String,
    /// The runtime's id.
    pub id: String,
    /// Its image.
    pub image: String,
    /// When it started; nanoseconds since 1970.
    pub started_at: i64,
    /// CPU.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Bytes and files of its writable layer.
    pub layer: Option<(u64, u64)>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Bytes of its logs.
    pub log_bytes: u64,
}

/// A pod's use.
#[derive(Debug, Clone)]
pub struct PodStats {
    /// The pod.
    pub pod: Arc<Pod>,
    /// All of it together.
    pub cpu: Option<Cpu>,
    /// All of it together.
    pub memory: Option<Memory>,
    /// Its interfaces, the first one its usual one.
    pub network: Vec<Interface>,
    /// Processes in it.
    pub processes: Option<u64>,
    /// Its containers that run.
    pub containers: Vec<ContainerStats>,
}

/// The node's use.
#[derive(Debug, Clone, Default)]
pub struct NodeStats {
    /// CPU of everything.
    pub cpu: Option<Cpu>,
    /// Memory of everything.
    pub memory: Option<Memory>,
    /// The disk of the kubelet's directory.
    pub disk: Option<Disk>,
    /// The disk of images, and the bytes they use.
    pub images: Option<(Disk, u64)>,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The node.
    pub node: NodeStats,
    /// Pods that run.
    pub pods: Vec<PodStats>,
}

/// The last readings of CPU, from which rates follow.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<String, Cpu>>);

impl Rates {
    /// Remembers a reading and gives it with its rate.
    fn with_rate(&self, key: &str, mut cpu: Cpu) -> Cpu {
        let mut known = self.0.lock();
        if let Some(before) = known.get(key) {
            cpu.rate_nano_cores = rate(*before, cpu).or(before.rate_nano_cores);
        }
        known.insert(key.to_owned(), cpu);
        cpu
    }

    fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.0.lock().retain(|key, _| keep(key));
    }
}

/// Nano-cores between two readings.
fn rate(before: Cpu, now: Cpu) -> Option<u64> {
    let nanos = u64::try_from(now.time - before.time).ok().filter(|nanos| *nanos > 0)?;
    let used = now.total_nanos.checked_sub(before.total_nanos)?;
    u64::try_from(u128::from(used) * 1_000_000_000 / u128::from(nanos)).ok()
}

impl Kubelet {
    /// What pods and the node use now.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn stats(&self) -> Result<Summary, Error> {
        let containers = self.runtime.list_container_stats(v1::ListContainerStatsRequest::default()).await?.stats;
        let sandboxes = self.runtime.list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest::default()).await;
        // Older runtimes don't have them: pods then show no network.
        let sandboxes = sandboxes.map(|answer| answer.stats).unwrap_or_default();
        let mut by_pod: HashMap<String, Vec<ContainerStats>> = HashMap::new();
        // Not what was last seen: beside a runtime's events that may be a minute old.
        let running = crate::pleg::running(&self.runtime).await?;
        for stats in containers {
            let Some(attributes) = &stats.attributes else { continue };
            let uid = attributes.labels.get(labels::POD_UID).cloned().unwrap_or_default();
            let Some(listed) = running.iter().find(|listed| listed.id == attributes.id) else { continue };
            by_pod.entry(uid).or_default().push(self.container_stats(&stats, listed));
        }
        let pods = self.workers.pods().into_iter().filter_map(|pod| {
            let mut containers = by_pod.remove(pod.uid())?;
            containers.sort_by(|a, b| a.name.cmp(&b.name));
            let network = sandboxes.iter().find(|stats| {
                stats
                    .attributes
                    .as_ref()
                    .and_then(|own| own.labels.get(labels::POD_UID))
                    .is_some_and(|uid| uid == pod.uid())
            });
            Some(self.pod_stats(pod, containers, network))
        });
        let pods: Vec<PodStats> = pods.collect();
        let known = |key: &str| {
            key == "node"
                || key == ALL_PODS
                || pods.iter().any(|pod| key == pod.pod.uid() || pod.containers.iter().any(|own| key == own.id))
        };
        self.rates.retain(known);
        Ok(Summary { node: self.node_stats().await, pods })
    }

    fn container_stats(&self, stats: &v1::ContainerStats, listed: &v1::Container) -> ContainerStats {
        let id = listed.id.clone();
        let value = |value: &Option<v1::UInt64Value>| value.map_or(0, |value| value.value);
        let label = |key: &str| listed.labels.get(key).map_or("", String::as_str);
        let cpu = stats.cpu.as_ref().map(|cpu| {
            let reading =
                Cpu { time: cpu.timestamp, total_nanos: value(&cpu.usage_core_nano_seconds), rate_nano_cores: None };
            self.rates.with_rate(&id, reading)
        });
        let memory = stats.memory.as_ref().map(|memory| Memory {
            time: memory.timestamp,
            usage: value(&memory.usage_bytes),
            working_set: value(&memory.working_set_bytes),
            rss: value(&memory.rss_bytes),
            // Nothing left is how some runtimes say that there is no limit.
            available: memory.available_bytes.map(|bytes| bytes.value).filter(|bytes| *bytes > 0),
            page_faults: value(&memory.page_faults),
            major_page_faults: value(&memory.major_page_faults),
        });
        let logs =
            self.config.pod_log_dir(label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID));
        let name = label(labels::CONTAINER_NAME).to_owned();
        ContainerStats {
            log_bytes: directory_bytes(&logs.join(&name)),
            name,
            image: listed.image.as_ref().map(|image| image.image.clone()).unwrap_or_default(),
            swap: stats.swap.as_ref().and_then(|swap| swap.swap_usage_bytes.map(|bytes| bytes.value)),
            started_at: listed.created_at,
            cpu,
            memory,
            layer: stats.writable_layer.as_ref().map(|layer| (value(&layer.used_bytes), value(&layer.inodes_used))),
            id,
        }
    }

    fn pod_stats(
        &self,
        pod: Arc<Pod>,
        containers: Vec<ContainerStats>,
        sandbox: Option<&v1::PodSandboxStats>,
    ) -> PodStats {
        let now = self.now();
        let own = self.cgroups.as_ref().map(|cgroups| cgroup::read(cgroups, &cgroups.pod_path(&pod), now));
        let own = own.unwrap_or_default();
        let network = sandbox.and_then(|stats| stats.linux.as_ref()?.network.as_ref());
        let interfaces =
            network.map(|network| network.default_interface.iter().chain(&network.interfaces).map(interface).collect());
        PodStats {
            cpu: own.cpu.map(|cpu| self.rates.with_rate(pod.uid(), cpu)),
            memory: own.memory,
            network: interfaces.unwrap_or_else(|| self.pod_interfaces(&pod)),
            processes: own.processes,
            containers,
            pod,
        }
    }

    /// Older runtimes don't tell: any process of a pod sees its interfaces.
    fn pod_interfaces(&self, pod: &Pod) -> Vec<Interface> {
        let Some(cgroups) = self.cgroups.as_ref().filter(|_| !pod.host_network()) else { return Vec::new() };
        let process = cgroups.any_process(&cgroups.pod_path(pod));
        process.map(|pid| interfaces(Path::new(&format!("/proc/{pid}/net/dev")))).unwrap_or_default()
    }

    /// CPU and memory of all pods together, where they have a cgroup.
    pub fn stats_of_all_pods(&self) -> Option<(Option<Cpu>, Option<Memory>)> {
        let cgroups = self.cgroups.as_ref()?;
        let all = cgroup::read(cgroups, cgroups.base(), self.now());
        Some((all.cpu.map(|cpu| self.rates.with_rate(ALL_PODS, cpu)), all.memory))
    }

    async fn node_stats(&self) -> NodeStats {
        let now = self.now();
        let images = self.runtime.image_fs_info(v1::ImageFsInfoRequest {}).await.ok();
        let images = images.and_then(|info| info.image_filesystems.into_iter().next()).and_then(|usage| {
            let disk = machine::disk(Path::new(&usage.fs_id?.mountpoint)).ok()?;
            Some((disk, usage.used_bytes.map_or(0, |bytes| bytes.value)))
        });
        NodeStats {
            cpu: cgroup::node_cpu(now).map(|cpu| self.rates.with_rate("node", cpu)),
            memory: cgroup::node_memory(now),
            disk: machine::disk(&self.config.root_dir).ok(),
            images,
        }
    }
}

fn interface(usage: &v1::NetworkInterfaceUsage) -> Interface {
    let value = |value: &Option<v1::UInt64Value>| value.map_or(0, |value| value.value);
    Interface {
        name: usage.name.clone(),
        bytes: (value(&usage.rx_bytes), value(&usage.tx_bytes)),
        errors: (value(&usage.rx_errors), value(&usage.tx_errors)),
    }
}

/// The rate of all pods together is remembered by this.
const ALL_PODS: &str = "pods";

/// The interfaces that a file like `/proc/net/dev` tells of, without the loopback.
pub fn interfaces(file: &Path) -> Vec<Interface> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(interface_line).filter(|own| own.name != "lo").collect()
}

fn interface_line(line: &str) -> Option<Interface> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let get = |at: usize| numbers.get(at).copied();
    Some(Interface {
        name: name.trim().to_owned(),
        // Received: bytes packets errors drop fifo frame compressed multicast; then the same sent.
        bytes: (get(0)?, get(8)?),
        errors: (get(2)?, get(10)?),
    })
}

/// Bytes and number of the files below a directory.
pub fn usage(path: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let entries = crate::volumes::children(path).into_iter();
    entries.fold((0, 1), |sum, path| {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { return sum };
        let below = if metadata.is_dir() { usage(&path) } else { (metadata.blocks() * 512, 1) };
        (sum.0 + below.0, sum.1 + below.1)
    })
}

fn directory_bytes(directory: &Path) -> u64 {
    let files = crate::volumes::children(directory).into_iter();
    files.filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read() {
        let line = "  eth0: 100 2 3 0 0 0 0 0 200 5 6 0 0 0 0 0";
        let expected = Interface { name: "eth0".into(), bytes: (100, 200), errors: (3, 6) };
        assert_eq!(interface_line(line), Some(expected));
        assert_eq!(interface_line("Inter-|   Receive"), None);
    }

    #[test]
    fn rates_follow_from_two_readings() {
        let rates = Rates::default();
        let reading =
            |seconds: i64, total_nanos| Cpu { time: seconds * 1_000_000_000, total_nanos, rate_nano_cores: None };
        assert_eq!(rates.with_rate("a", reading(1, 100)).rate_nano_cores, None);
        assert_eq!(rates.with_rate("a", reading(3, 1_000_000_100)).rate_nano_cores, Some(500_000_000));
        // The same reading twice keeps the rate.
        assert_eq!(rates.with_rate("a", reading(3, 1_000_000_100)).rate_nano_cores, Some(500_000_000));
        rates.retain(|_| false);
        assert_eq!(rates.with_rate("a", reading(4, 5)).rate_nano_cores, None);
    }
}
