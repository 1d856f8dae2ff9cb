//! Notices what happens to containers by itself: the runtime's events where it has them, else a look each second.
//!
//! What the kubelet does itself it looks at itself, so only ends and starts by others count here. A look is two cheap
//! lists: the containers that run and the sandboxes that are ready. Upstream: pkg/kubelet/pleg.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    cri::{Error, Runtime, v1},
    kubelet::Kubelet,
    labels,
};

/// Between two looks.
const RELIST_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks beside events, which can be lost.
const RELIST_INTERVAL_WITH_EVENTS: Duration = Duration::from_secs(60);

/// What runs on the node, as last seen.
#[derive(Default)]
pub struct Snapshot {
    running: Mutex<Arc<Vec<v1::Container>>>,
}

/// Ids of what runs, by pod.
type Alive = HashMap<String, BTreeSet<String>>;

impl Snapshot {
    /// The containers that ran at the last look.
    pub fn running(&self) -> Arc<Vec<v1::Container>> {
        self.running.lock().clone()
    }
}

/// Looks until told to stop; wakes the workers of pods of which something ended or started.
pub async fn run(kubelet: Arc<Kubelet>, stop: CancellationToken) {
    let work = async {
        let mut events = kubelet.runtime.container_events().await.ok();
        let mut next = Instant::now();
        loop {
            if Instant::now() >= next {
                look_and_wake(&kubelet).await;
                next = Instant::now() + if events.is_some() { RELIST_INTERVAL_WITH_EVENTS } else { RELIST_INTERVAL };
            }
            let Some(stream) = &mut events else {
                tokio::time::sleep_until(next).await;
                continue;
            };
            match tokio::time::timeout_at(next, stream.message()).await {
                Ok(Ok(Some(event))) => {
                    let metadata = event.pod_sandbox_status.and_then(|status| status.metadata);
                    kubelet.workers.wake(&metadata.map(|metadata| metadata.uid).unwrap_or_default());
                }
                // The runtime has none, or has ended them.
                Ok(_) => {
                    events = None;
                    next = Instant::now() + RELIST_INTERVAL;
                }
                Err(_) => {}
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn look_and_wake(kubelet: &Kubelet) {
    match look(&kubelet.runtime).await {
        Ok((alive, running)) => {
            *kubelet.snapshot.running.lock() = Arc::new(running);
            kubelet.workers.wake_surprised(&alive);
        }
        Err(error) => tracing::debug!(%error, "what runs could not be listed"),
    }
}

/// What runs now.
///
/// # Errors
/// What the runtime says.
pub async fn running(runtime: &Runtime) -> Result<Vec<v1::Container>, Error> {
    let running = v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning as i32 };
    let filter = v1::ContainerFilter { state: Some(running), ..v1::ContainerFilter::default() };
    Ok(runtime.list_containers(v1::ListContainersRequest { filter: Some(filter) }).await?.containers)
}

async fn look(runtime: &Runtime) -> Result<(Alive, Vec<v1::Container>), Error> {
    let ready = v1::PodSandboxStateValue { state: v1::PodSandboxState::SandboxReady as i32 };
    let sandboxes = v1::PodSandboxFilter { state: Some(ready), ..v1::PodSandboxFilter::default() };
    let (containers, sandboxes) = tokio::try_join!(
        running(runtime),
        runtime.list_pod_sandbox(v1::ListPodSandboxRequest { filter: Some(sandboxes) }),
    )?;
    let mut alive = Alive::new();
    for container in &containers {
        let uid = container.labels.get(labels::POD_UID).cloned().unwrap_or_default();
        alive.entry(uid).or_default().insert(container.id.clone());
    }
    for sandbox in sandboxes.items {
        let uid = sandbox.metadata.map(|metadata| metadata.uid).unwrap_or_default();
        alive.entry(uid).or_default().insert(sandbox.id);
    }
    Ok((alive, containers))
}
