//! One look at a pod that should run: its status, what it needs, and the next actions. Upstream: `Kubelet.SyncPod`.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use client::EventType;
use k8s_openapi::api::core::v1::{Pod, PodStatus, Secret};

use super::{Next, SyncError, Worker, act, admit, observe::observe};
use crate::{
    observed::{Observed, RunState},
    plan,
    pod::{PodExt, is_terminal},
    status::{self, Eviction},
    worker::Ending,
};

/// The first wait after volumes failed; it doubles.
const MOUNT_WAIT: Duration = Duration::from_millis(500);
/// The longest wait after volumes failed.
const MOUNT_WAIT_MAX: Duration = Duration::from_secs(122);

impl Worker {
    pub(super) async fn sync(&mut self, pod: &Arc<Pod>) -> Result<Next, SyncError> {
        let kubelet = self.kubelet.clone();
        let observed = observe(&kubelet.runtime, pod.uid()).await?;
        self.inbox.saw(&observed);
        if !self.memory.admitted {
            if let Some(rejection) = self.admit(pod, &observed) {
                self.reject(pod, rejection);
                return Ok(Next::Ended);
            }
            self.memory.admitted = true;
        }
        let pod = &kubelet.allocated(pod);
        kubelet.follow_resize(pod, &observed);
        let status = self.derive(pod, &observed, false, None);
        let phase = status.phase.clone().unwrap_or_default();
        kubelet.status.set(pod, status.clone());
        if is_terminal(&phase) {
            return Ok(Next::Ended);
        }
        let deadline = deadline_left(pod, &status, kubelet.now());
        if deadline == Some(Duration::ZERO) {
            let message = "Pod was active on the node longer than the specified deadline";
            kubelet.events.pod(pod, EventType::Normal, "DeadlineExceeded", message);
            let eviction = Eviction { reason: "DeadlineExceeded".into(), message: message.into(), disruption: false };
            self.inbox.end(Ending { grace: None, eviction: Some(eviction) });
            return Ok(Next::Ended);
        }
        if let Err(why) = kubelet.health.read().network.clone()
            && !pod.host_network()
        {
            kubelet.events.pod(pod, EventType::Warning, "NetworkNotReady", format!("network is not ready: {why}"));
            return Err(SyncError::Network(why));
        }
        self.prepare(pod).await?;
        let secrets = self.pull_secrets(pod).await;
        kubelet.probes.add(pod);
        let restart_all = status::restarts_all(pod, &observed, &status);
        let actions = plan::plan(
            pod,
            &observed,
            &kubelet.probes.findings(),
            kubelet.allocations.actuated(pod.uid()).as_ref(),
            restart_all,
        );
        let acted = act::act(self, pod, &observed, &actions, &secrets).await?;
        let restarting = if restart_all { Some(Next::Now) } else { None };
        if acted.changed_reasons && !acted.did_something {
            // What a container waits for is news for its status.
            let status = self.derive(pod, &observed, false, None);
            kubelet.status.set(pod, status);
        }
        if acted.did_something {
            return Ok(restarting.unwrap_or(Next::Now));
        }
        let waits = [acted.wait, deadline, Some(kubelet.config.sync_frequency)];
        Ok(Next::After(waits.into_iter().flatten().min().unwrap_or(kubelet.config.sync_frequency)))
    }

    /// The status that follows from what is seen.
    pub(super) fn derive(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        ended: bool,
        eviction: Option<&Eviction>,
    ) -> PodStatus {
        let pod = &self.kubelet.allocations.apply(pod);
        let addresses = observed.addresses();
        if !addresses.is_empty() {
            self.memory.addresses = addresses;
        }
        let old = self.kubelet.status.get(pod.uid()).or_else(|| pod.status.clone()).unwrap_or_default();
        status::generate(status::Input {
            pod,
            old: &old,
            observed,
            findings: &self.kubelet.probes.findings(),
            waiting: &self.memory.waiting,
            runtime: &self.kubelet.runtime_name,
            ended,
            eviction,
            host_ips: &self.kubelet.config.node_ips,
            started_at: self.kubelet.started_at,
            recursive_read_only: self.kubelet.recursive_read_only(),
            resize: &self.kubelet.allocations.conditions(pod.uid()),
        })
    }

    fn admit(&self, pod: &Pod, observed: &Observed) -> Option<Eviction> {
        // What runs has been let in before.
        let begun = observed.containers.iter().any(|container| container.state == RunState::Running)
            || pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        let kubelet = &self.kubelet;
        kubelet
            .allocations
            .admit(pod, &kubelet.active_pods(), begun, &|pod, others| kubelet.check_admission(pod, others))
    }

    fn reject(&self, pod: &Arc<Pod>, rejection: Eviction) {
        self.kubelet.events.pod(pod, EventType::Warning, &rejection.reason, rejection.message.clone());
        let mut status = pod.status.clone().unwrap_or_default();
        status.qos_class = Some(crate::qos::class(pod).as_str().into());
        status.phase = Some("Failed".into());
        status.reason = Some(rejection.reason.clone());
        status.message = Some(format!("Pod was rejected: {}", rejection.message));
        status.observed_generation = pod.metadata.generation;
        self.kubelet.status.set(pod, status);
        self.inbox.end(Ending::default());
    }

    /// Cgroup, directories, volumes.
    async fn prepare(&mut self, pod: &Arc<Pod>) -> Result<(), SyncError> {
        let kubelet = self.kubelet.clone();
        if let Some(cgroups) = &kubelet.cgroups
            && !cgroups.exists(pod)
        {
            cgroups.update_classes(kubelet.active_pods().iter().map(|pod| kubelet.allocations.apply(pod)));
            if let Err(error) = cgroups.ensure(pod) {
                let message = format!("unable to ensure pod container exists: {error}");
                kubelet.events.pod(pod, EventType::Warning, "FailedCreatePodContainer", message);
                return Err(SyncError::Other(format!(
                    "failed to ensure that the pod: {} cgroups exist and are correctly applied: {error}",
                    pod.uid()
                )));
            }
        }
        let directory = kubelet.config.pod_dir(pod.uid());
        for path in [directory.clone(), directory.join("volumes"), directory.join("plugins")] {
            let made =
                fs::create_dir_all(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o750)));
            if let Err(error) = made {
                let message = format!("error making pod data directories: {error}");
                kubelet.events.pod(pod, EventType::Warning, "Failed", message.clone());
                return Err(SyncError::Other(message));
            }
        }
        let mount = kubelet.volumes.mount(pod, kubelet.facts(&self.memory.addresses), kubelet.given.now());
        match self.inbox.ending.run_until_cancelled(mount).await {
            // It has to end: no more of this.
            None => Err(SyncError::Volumes(Duration::from_millis(1))),
            Some(Ok(())) => {
                self.memory.mount_failures = 0;
                Ok(())
            }
            Some(Err(errors)) => {
                for error in errors {
                    let message = format!("MountVolume.SetUp failed for volume {:?} : {}", error.volume, error.message);
                    kubelet.events.pod(pod, EventType::Warning, "FailedMount", message);
                }
                let wait = MOUNT_WAIT * 2u32.saturating_pow(self.memory.mount_failures.min(8));
                self.memory.mount_failures += 1;
                Err(SyncError::Volumes(wait.min(MOUNT_WAIT_MAX)))
            }
        }
    }

    /// The pod's pull secrets, as far as they are there.
    async fn pull_secrets(&self, pod: &Pod) -> Vec<Arc<Secret>> {
        let mut secrets = Vec::new();
        let names = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        for name in names.map(|reference| reference.name.as_str()).filter(|name| !name.is_empty()) {
            match self.kubelet.volumes.objects().secret(pod.namespace(), name).await {
                Ok(secret) => secrets.push(secret),
                Err(error) => tracing::debug!(pod = pod.described(), secret = name, %error, "no such pull secret"),
            }
        }
        secrets
    }
}

impl crate::kubelet::Kubelet {
    /// The pods that have not ended.
    pub(crate) fn active_pods(&self) -> Vec<Arc<Pod>> {
        let mut pods = self.workers.pods();
        pods.retain(|pod| {
            let status = self.status.get(pod.uid());
            !is_terminal(status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or(pod.phase()))
        });
        pods
    }

    /// Why a pod may not run beside these; none where it may.
    pub(crate) fn check_admission(&self, pod: &Pod, others: &[&Pod]) -> Option<Eviction> {
        let object = self.nodes.find("", &self.config.node_name);
        let node = admit::NodeState {
            node: object.as_ref().map(|node| &node.view),
            allocatable: &self.allocatable,
            unsafe_sysctls: &self.config.allowed_unsafe_sysctls,
            pressure: *self.pressure.read(),
        };
        admit::check(pod, others, node)
    }
}

/// How long the pod may still be active; none without a deadline.
fn deadline_left(pod: &Pod, status: &PodStatus, now: i64) -> Option<Duration> {
    let allowed = pod.spec.as_ref()?.active_deadline_seconds?;
    let known = status.start_time.as_ref().or(pod.status.as_ref()?.start_time.as_ref())?;
    let started = i64::try_from(known.0.as_nanosecond()).ok()?;
    let left = started.saturating_add(allowed.saturating_mul(1_000_000_000)).saturating_sub(now);
    Some(Duration::from_nanos(u64::try_from(left).unwrap_or_default()))
}
