//! Ends containers: hooks first, the stop signal, the kill when their time is over; sidecars after the others.
//! Upstream: `killContainer` and `killPodWithSyncResult`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use client::EventType;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Lifecycle, Pod};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    cri::{self, v1},
    kubelet::Kubelet,
    labels, lifecycle,
    observed::{self, Observed},
    plan::{Cause, termination},
    pod::PodExt,
};

/// Who has ended, by name: what sidecars wait for.
type Ended = HashMap<String, CancellationToken>;

/// Ends one container. `grace` overrides what the pod says.
///
/// # Errors
/// Where the runtime does not.
pub async fn container(
    kubelet: &Kubelet,
    pod: &Arc<Pod>,
    seen: (&str, &str),
    message: &str,
    cause: Cause,
    grace: Option<i64>,
) -> Result<(), cri::Error> {
    one(kubelet, pod, seen, message, cause, grace, &Ended::new()).await
}

async fn one(
    kubelet: &Kubelet,
    pod: &Arc<Pod>,
    (id, name): (&str, &str),
    message: &str,
    cause: Cause,
    grace: Option<i64>,
    ended: &Ended,
) -> Result<(), cri::Error> {
    let spec = match pod.find_container(name) {
        Some((_, spec)) => spec,
        None => restore(kubelet, id, name).await?,
    };
    let stopping = format!("Stopping container {name}");
    let message = if message.is_empty() { &stopping } else { message };
    kubelet.events.container(pod, name, EventType::Normal, "Killing", message);
    let mut left = grace.unwrap_or_else(|| termination::grace(pod, &spec, cause));
    let hook = spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()).filter(|_| left > 0);
    if let Some(hook) = hook {
        let began = Instant::now();
        let ip = kubelet.status.get(pod.uid()).and_then(|status| status.pod_ip).unwrap_or_default();
        let target = lifecycle::Target { pod, container: &spec, id, ip: &ip };
        let run = lifecycle::run(&kubelet.runtime, hook, target, &kubelet.events);
        match timeout(seconds(left), run).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::info!(pod = pod.described(), container = name, error, "a preStop hook failed");
                kubelet.events.container(pod, name, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
            }
            Err(_) => {
                tracing::info!(pod = pod.described(), container = name, "a preStop hook took all the time there was")
            }
        }
        left -= i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
    }
    if left > 0 && !ended.is_empty() {
        let began = Instant::now();
        let others = termination::prerequisites(pod, name);
        let waits = others.iter().filter_map(|other| ended.get(other)).map(|other| other.cancelled());
        // Whoever has not ended by then is not waited for.
        let _ = timeout(seconds(left), join_all(waits)).await;
        left -= i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
    }
    let answer = kubelet.runtime.stop_container(id, left.max(termination::GRACE_SECONDS_MIN)).await;
    if let Some(own) = ended.get(name) {
        own.cancel();
    }
    answer
}

fn seconds(grace: i64) -> Duration {
    Duration::from_secs(u64::try_from(grace).unwrap_or_default())
}

/// The spec of a container whose pod does not have it any more, as its annotations tell.
async fn restore(kubelet: &Kubelet, id: &str, name: &str) -> Result<Container, cri::Error> {
    let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    let status = kubelet.runtime.container_status(request).await?.status.unwrap_or_default();
    let notes = labels::notes(&status.annotations);
    let lifecycle = notes.pre_stop.map(|hook| Lifecycle { pre_stop: Some(hook), ..Lifecycle::default() });
    Ok(Container { name: name.to_owned(), lifecycle, ..Container::default() })
}

/// Ends all containers that run, each in its time, then the sandboxes.
///
/// # Errors
/// The first that could not be ended.
pub async fn pod(kubelet: &Kubelet, pod: &Arc<Pod>, observed: &Observed, grace: Option<i64>) -> Result<(), cri::Error> {
    let running: Vec<&observed::Container> = observed.running().collect();
    let ended: Ended = running.iter().map(|seen| (seen.name.clone(), CancellationToken::new())).collect();
    let kills = running.iter().map(|seen| one(kubelet, pod, (&seen.id, &seen.name), "", Cause::Other, grace, &ended));
    let results = join_all(kills).await;
    for sandbox in &observed.sandboxes {
        kubelet.runtime.stop_pod_sandbox(&sandbox.id).await?;
    }
    results.into_iter().collect()
}
