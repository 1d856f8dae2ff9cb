//! Ends pods before the node runs out of memory or disk, and pods that use more local storage than they may.
//!
//! Upstream: pkg/kubelet/eviction. What is short is judged every ten seconds; of all pods the one that exceeds its
//! requests most, of the least priority, goes first, and one at a time.

mod plan;

use std::{collections::HashMap, sync::Arc, time::Duration};

use client::EventType;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use plan::{Shortage, Use, is_critical};

use crate::{
    gc,
    kubelet::Kubelet,
    node::{
        machine::{self, Disk},
        pressure,
        status::Pressure,
    },
    pod::{PodExt, is_terminal},
    quantity::Quantity,
    status::Eviction,
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// A node stays under pressure this long after the last sign of it; upstream's `evictionPressureTransitionPeriod`.
const TRANSITION: Duration = Duration::from_secs(300);
/// Seconds an evicted pod gets.
const GRACE_SECONDS: i64 = 1;

/// Looks until told to stop.
pub async fn run(kubelet: Arc<Kubelet>, stop: CancellationToken) {
    let work = async {
        let mut last = [None; 3];
        loop {
            let disk = machine::disk(&kubelet.config.root_dir).ok();
            let now = pressure::now(&kubelet.config, disk);
            remember(&kubelet, now, &mut last);
            if let Err(error) = act(&kubelet, now, disk).await {
                tracing::warn!(%error, "pods could not be judged by what they use");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

/// The node's conditions follow at once when something gets short and slowly when it no longer is.
fn remember(kubelet: &Kubelet, now: Pressure, last: &mut [Option<Instant>; 3]) {
    for (short, last) in [now.memory, now.disk, now.pids].into_iter().zip(last.iter_mut()) {
        if short {
            *last = Some(Instant::now());
        }
    }
    let [memory, disk, pids] = last.map(|last| last.is_some_and(|last| last.elapsed() < TRANSITION));
    let new = Pressure { memory, disk, pids };
    let mut known = kubelet.pressure.write();
    if *known != new {
        *known = new;
        kubelet.health_changed.notify_one();
    }
}

async fn act(kubelet: &Kubelet, now: Pressure, disk: Option<Disk>) -> Result<(), crate::cri::Error> {
    let pods = kubelet.workers.pods();
    let limited = pods.iter().any(|pod| plan::has_storage_limit(pod));
    if now == Pressure::default() && !limited {
        return Ok(());
    }
    let uses = uses(kubelet, &pods).await?;
    for used in &uses {
        if let Some(message) = plan::over_limit(used) {
            evict(kubelet, &used.pod, message, false);
        }
    }
    if now.memory {
        let (available, limit) = memory_figures(kubelet);
        choose(kubelet, &uses, Shortage::Memory, limit, available);
    } else if now.disk {
        gc::remove_unused_images(kubelet).await?;
        let again = machine::disk(&kubelet.config.root_dir).ok();
        if pressure::now(&kubelet.config, again).disk {
            let available = again.or(disk).map_or(0, |disk| disk.available);
            let capacity = disk.map_or(0, |disk| disk.capacity);
            let limit = threshold(kubelet, "nodefs.available", capacity);
            choose(kubelet, &uses, Shortage::Disk, limit, Quantity::bytes(available));
        }
    }
    Ok(())
}

fn choose(kubelet: &Kubelet, uses: &[Use], shortage: Shortage, limit: Quantity, available: Quantity) {
    if let Some(used) = plan::victim(uses, shortage) {
        evict(kubelet, &used.pod, plan::message(used, shortage, limit, available), true);
    }
}

fn evict(kubelet: &Kubelet, pod: &Pod, message: String, disruption: bool) {
    tracing::info!(pod = pod.described(), message, "a pod is evicted");
    kubelet.events.pod(pod, EventType::Warning, "Evicted", message.clone());
    let eviction = Eviction { reason: "Evicted".into(), message, disruption };
    kubelet.workers.evict(pod.uid(), Some(GRACE_SECONDS), eviction);
}

fn memory_figures(kubelet: &Kubelet) -> (Quantity, Quantity) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = machine::meminfo_bytes(&text, "MemAvailable").unwrap_or_default();
    (Quantity::bytes(available), threshold(kubelet, "memory.available", kubelet.machine.memory_bytes))
}

fn threshold(kubelet: &Kubelet, signal: &str, whole: u64) -> Quantity {
    let text = kubelet.config.eviction_hard.get(signal);
    text.map_or_else(Quantity::default, |text| crate::node::status::threshold(text, Quantity::bytes(whole)))
}

/// What pods that still run use.
async fn uses(kubelet: &Kubelet, pods: &[Arc<Pod>]) -> Result<Vec<Use>, crate::cri::Error> {
    let summary = kubelet.stats().await?;
    let mut by_uid: HashMap<String, _> =
        summary.pods.into_iter().map(|stats| (stats.pod.uid().to_owned(), stats)).collect();
    let ended = |pod: &Pod| is_terminal(kubelet.pod_status(pod).phase.as_deref().unwrap_or_default());
    let running = pods.iter().filter(|pod| !pod.is_deleted() && !ended(pod));
    let uses = running.filter_map(|pod| {
        let stats = by_uid.remove(pod.uid())?;
        let volumes = plan::empty_dirs(pod).map(|(name, _)| {
            let path = kubelet.volumes.path(pod, name);
            (name.to_owned(), path.map_or(0, |path| tree_bytes(&path)))
        });
        let containers = stats.containers.iter().map(|own| {
            let storage = own.layer.map_or(0, |(bytes, _)| bytes) + own.log_bytes;
            (own.name.clone(), own.memory.map_or(0, |memory| memory.working_set), storage)
        });
        Some(Use { volumes: volumes.collect(), containers: containers.collect(), pod: pod.clone() })
    });
    Ok(uses.collect())
}

/// Bytes of all files below a directory.
fn tree_bytes(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = crate::volumes::children(path).into_iter();
    let sizes = entries.filter_map(|path| {
        let metadata = std::fs::symlink_metadata(&path).ok()?;
        Some(if metadata.is_dir() { tree_bytes(&path) } else { metadata.blocks() * 512 })
    });
    sizes.sum()
}
