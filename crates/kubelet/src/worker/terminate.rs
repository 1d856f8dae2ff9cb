//! The end of a pod: its containers stopped, then everything of it on the node taken away. Upstream:
//! `SyncTerminatingPod` and `SyncTerminatedPod`.

use std::{sync::Arc, time::Duration};

use client::EventType;
use k8s_openapi::api::core::v1::Pod;

use super::{ERROR_WAIT, Phase, Wanted, Worker, kill, observe::observe};
use crate::{cri::v1, observed::Observed, pod::PodExt};

/// What is still in use is tried again after this.
const CLEAN_WAIT: Duration = Duration::from_millis(100);
/// Dead links and directories of a pod that is gone are tried so often.
const REMOVE_TRIES: usize = 10;

impl Worker {
    /// Stops what runs. A shorter grace, if it comes meanwhile, begins anew.
    pub(super) async fn terminate(&mut self, wanted: &Wanted) -> Duration {
        let grace = wanted.ending.as_ref().and_then(|ending| ending.grace);
        let inbox = self.inbox.clone();
        tokio::select! {
            result = self.stop(wanted, grace) => match result {
                Ok(()) => {
                    self.phase = Phase::Terminated;
                    Duration::ZERO
                }
                Err(error) => {
                    let pod = &wanted.pod;
                    let message = format!("error killing pod: {error}");
                    self.kubelet.events.pod(pod, EventType::Warning, "FailedKillPod", message);
                    tracing::warn!(pod = pod.described(), error, "a pod could not be ended");
                    ERROR_WAIT
                }
            },
            () = shorter(&inbox, grace) => Duration::ZERO,
        }
    }

    async fn stop(&mut self, wanted: &Wanted, grace: Option<i64>) -> Result<(), String> {
        let kubelet = self.kubelet.clone();
        let pod = &wanted.pod;
        let eviction = wanted.ending.as_ref().and_then(|ending| ending.eviction.clone());
        let observed = observe(&kubelet.runtime, pod.uid()).await.map_err(|error| error.to_string())?;
        let status = self.derive(pod, &observed, false, eviction.as_ref());
        if !wanted.removed {
            kubelet.status.set(pod, status);
        }
        kubelet.probes.stop_restarts(pod);
        kill::pod(&kubelet, pod, &observed, grace).await.map_err(|error| error.to_string())?;
        kubelet.probes.remove(pod.uid());
        let mut after = observe(&kubelet.runtime, pod.uid()).await.map_err(|error| error.to_string())?;
        let running: Vec<&str> = after.running().map(|container| container.id.as_str()).collect();
        if !running.is_empty() {
            return Err(format!("detected running containers after a successful KillPod, CRI violation: {running:?}"));
        }
        self.inbox.saw(&after);
        self.settle(wanted, &mut after);
        Ok(())
    }

    /// The status of a pod that has ended.
    fn settle(&mut self, wanted: &Wanted, observed: &mut Observed) {
        let eviction = wanted.ending.as_ref().and_then(|ending| ending.eviction.clone());
        let status = self.derive(&wanted.pod, observed, true, eviction.as_ref());
        if !wanted.removed {
            self.kubelet.status.set(&wanted.pod, status);
        }
    }

    /// Takes volumes and the cgroup away; then the API server may forget the pod.
    pub(super) async fn clean(&mut self, wanted: &Wanted) -> Duration {
        let kubelet = self.kubelet.clone();
        let pod = &wanted.pod;
        let mut result = kubelet.volumes.unmount(pod.uid());
        if let (Ok(()), Some(cgroups)) = (&result, &kubelet.cgroups) {
            result = cgroups.remove(&cgroups.pod_path(pod));
        }
        if let Err(error) = result {
            tracing::debug!(pod = pod.described(), %error, "something of a pod is still in use");
            return CLEAN_WAIT;
        }
        kubelet.images.forget_pod(pod.uid());
        kubelet.user_namespaces.release(pod.uid());
        if !wanted.removed {
            kubelet.status.terminate(pod);
        }
        kubelet.reconsider_resizes(None);
        self.phase = Phase::Done;
        Duration::from_millis(1)
    }

    /// The pod is gone from the API server: containers, sandboxes, logs and directories go too.
    pub(super) async fn remove_rest(&self, uid: &str) {
        let kubelet = &self.kubelet;
        let pod: Arc<Pod> = self.inbox.wanted().pod;
        kubelet.probes.remove(uid);
        kubelet.crashes.lock().retain(|key| !key.starts_with(uid));
        for _ in 0..REMOVE_TRIES {
            match remove_from_runtime(kubelet, uid).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(uid, %error, "a dead pod could not be removed from the runtime");
                    tokio::time::sleep(CLEAN_WAIT).await;
                }
            }
        }
        let logs = kubelet.config.pod_log_dir(pod.namespace(), pod.name(), uid);
        if let Err(error) = std::fs::remove_dir_all(&logs)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(logs = %logs.display(), %error, "logs could not be removed");
        }
        kubelet.allocations.forget(uid);
        kubelet.user_namespaces.release(uid);
        kubelet.reconsider_resizes(None);
        crate::logs::remove_dead_links(&kubelet.config.container_logs_dir);
        if let Err(error) = kubelet.volumes.remove_pod_dir(uid) {
            tracing::warn!(uid, %error, "a pod's directory could not be removed");
        }
    }
}

/// Removes all containers and sandboxes of a pod that is over.
///
/// # Errors
/// What the runtime says.
pub(crate) async fn remove_from_runtime(kubelet: &crate::kubelet::Kubelet, uid: &str) -> Result<(), crate::cri::Error> {
    let (sandboxes, containers) = kubelet.runtime.list_labelled(&crate::labels::selector(uid)).await?;
    for container in containers {
        kubelet.runtime.remove_container(v1::RemoveContainerRequest { container_id: container.id }).await?;
    }
    for sandbox in sandboxes {
        kubelet.runtime.stop_pod_sandbox(&sandbox.id).await?;
        kubelet.runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.id }).await?;
    }
    Ok(())
}

/// Returns when the pod is to end faster than was asked for before.
async fn shorter(inbox: &super::Inbox, before: Option<i64>) {
    loop {
        inbox.news.notified().await;
        let now = inbox.wanted().ending.and_then(|ending| ending.grace);
        let is_shorter = match (now, before) {
            (Some(now), Some(before)) => now < before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_shorter {
            return;
        }
    }
}
