//! Probes: one task for each probe of each container; what they find wakes the pod's worker.
//!
//! One owner of the findings: [`Probes`]. When to probe and what a result means is [`state`], pure. Upstream:
//! pkg/kubelet/prober.

pub mod http;
pub mod run;
pub mod state;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus, Probe};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::state::{ProbeState, Step};
use crate::{
    events::Events,
    plan::{Findings, Outcome},
    pod::{PodExt, is_sidecar},
};

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Restart it when it fails.
    Liveness,
    /// Take it out of services while it fails.
    Readiness,
    /// The others wait until it succeeds.
    Startup,
}

/// The probes of one node.
pub struct Probes {
    runner: run::Runner,
    events: Events,
    findings: Mutex<Findings>,
    workers: Mutex<HashMap<Key, Worker>>,
    counts: Mutex<BTreeMap<Counted, u64>>,
    status: ReadStatus,
    /// Called with the pod's UID when something was found.
    changed: Box<dyn Fn(&str) + Send + Sync>,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    started_at: i64,
    stop: CancellationToken,
}

/// A result of a probe, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named after what they are")]
pub struct Counted {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub container: String,
    pub purpose: Purpose,
    /// `successful`, `failed` or `unknown`.
    pub result: &'static str,
}

/// A pod's status, by its UID.
type ReadStatus = Box<dyn Fn(&str) -> Option<PodStatus> + Send + Sync>;

type Key = (String, String, Purpose);

struct Worker {
    stop: CancellationToken,
    again: Arc<Notify>,
}

impl Purpose {
    /// As in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Liveness => "Liveness",
            Purpose::Readiness => "Readiness",
            Purpose::Startup => "Startup",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Purpose::Liveness => container.liveness_probe.as_ref(),
            Purpose::Readiness => container.readiness_probe.as_ref(),
            Purpose::Startup => container.startup_probe.as_ref(),
        }
    }

    /// What counts until the first result.
    fn initial(self) -> Outcome {
        match self {
            Purpose::Liveness => Outcome::Success,
            Purpose::Readiness => Outcome::Failure,
            Purpose::Startup => Outcome::Unknown,
        }
    }
}

const PURPOSES: [Purpose; 3] = [Purpose::Startup, Purpose::Readiness, Purpose::Liveness];

impl Probes {
    /// Reads pods' statuses through `status`, tells what it finds through `changed`; `now` is nanoseconds since 1970.
    pub fn new(
        runner: run::Runner,
        events: Events,
        status: impl Fn(&str) -> Option<PodStatus> + Send + Sync + 'static,
        changed: impl Fn(&str) + Send + Sync + 'static,
        now: impl Fn() -> i64 + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> Self {
        let started_at = now();
        Probes {
            runner,
            events,
            findings: Mutex::default(),
            workers: Mutex::default(),
            counts: Mutex::default(),
            status: Box::new(status),
            changed: Box::new(changed),
            now: Box::new(now),
            started_at,
            stop,
        }
    }

    /// What is known.
    pub fn findings(&self) -> Findings {
        self.findings.lock().clone()
    }

    /// How often each probe found what.
    pub fn counts(&self) -> Vec<(Counted, u64)> {
        self.counts.lock().iter().map(|(of, count)| (of.clone(), *count)).collect()
    }

    fn count(&self, pod: &Pod, container: &str, purpose: Purpose, result: Option<Outcome>) {
        let counted = Counted {
            namespace: pod.namespace().to_owned(),
            pod: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
            container: container.to_owned(),
            purpose,
            result: match result {
                Some(Outcome::Success) => "successful",
                Some(Outcome::Failure) => "failed",
                Some(Outcome::Unknown) | None => "unknown",
            },
        };
        *self.counts.lock().entry(counted).or_default() += 1;
    }

    /// Starts the probes of a pod that are not running yet.
    pub fn add(self: &Arc<Self>, pod: &Arc<Pod>) {
        let sidecars = pod.init_containers().iter().filter(|container| is_sidecar(container));
        for container in sidecars.chain(pod.containers()) {
            for purpose in PURPOSES {
                let Some(probe) = purpose.of(container) else { continue };
                let key = (pod.uid().to_owned(), container.name.clone(), purpose);
                let mut workers = self.workers.lock();
                if workers.contains_key(&key) {
                    continue;
                }
                let worker = Worker { stop: self.stop.child_token(), again: Arc::default() };
                let task = Task {
                    probes: self.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                    probe: probe.clone(),
                    purpose,
                    again: worker.again.clone(),
                    key: key.clone(),
                };
                tokio::spawn(worker.stop.clone().run_until_cancelled_owned(task.run()));
                workers.insert(key, worker);
            }
        }
    }

    /// A container's readiness is wanted now, not at the next turn.
    pub fn hurry(&self, uid: &str) {
        let workers = self.workers.lock();
        let own = workers.iter().filter(|((own, _, purpose), _)| own == uid && *purpose == Purpose::Readiness);
        own.for_each(|(_, worker)| worker.again.notify_one());
    }

    /// The pod is being ended: nothing of it is to be restarted.
    pub fn stop_restarts(&self, pod: &Pod) {
        self.remove_where(|(uid, _, purpose)| uid == pod.uid() && *purpose != Purpose::Readiness);
    }

    /// The pod's containers are gone.
    pub fn remove(&self, uid: &str) {
        self.remove_where(|(own, ..)| own == uid);
        self.counts.lock().retain(|of, _| of.uid != uid);
    }

    /// Containers that are gone are forgotten.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        let mut findings = self.findings.lock();
        let findings = &mut *findings;
        for map in [&mut findings.liveness, &mut findings.readiness, &mut findings.startup] {
            map.retain(|id, _| exists(id));
        }
    }

    fn remove_where(&self, is: impl Fn(&Key) -> bool) {
        self.workers.lock().retain(|key, worker| {
            let gone = is(key);
            if gone {
                worker.stop.cancel();
            }
            !gone
        });
    }

    fn found(&self, uid: &str, purpose: Purpose, container_id: &str, outcome: Option<Outcome>) {
        let changed = {
            let mut findings = self.findings.lock();
            let map = match purpose {
                Purpose::Liveness => &mut findings.liveness,
                Purpose::Readiness => &mut findings.readiness,
                Purpose::Startup => &mut findings.startup,
            };
            match outcome {
                Some(outcome) => map.insert(container_id.to_owned(), outcome) != Some(outcome),
                None => map.remove(container_id).is_some(),
            }
        };
        if changed {
            (self.changed)(uid);
        }
    }
}

struct Task {
    probes: Arc<Probes>,
    pod: Arc<Pod>,
    container: Container,
    probe: Probe,
    purpose: Purpose,
    again: Arc<Notify>,
    key: Key,
}

impl Task {
    async fn run(self) {
        let period = Duration::from_secs(u64::try_from(self.probe.period_seconds.unwrap_or(10)).unwrap_or(10).max(1));
        // After a start of the kubelet all probes would run at once.
        let age = Duration::from_nanos(u64::try_from((self.probes.now)() - self.probes.started_at).unwrap_or_default());
        if age < period && self.probes.started_at > self.container_started() {
            tokio::time::sleep(period.mul_f64(rand::random::<f64>())).await;
        }
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut state = ProbeState::default();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.again.notified() => ticks.reset(),
            }
            if !self.turn(&mut state).await {
                break;
            }
        }
        if !state.container_id.is_empty() {
            self.probes.found(self.pod.uid(), self.purpose, &state.container_id, None);
        }
        self.probes.workers.lock().remove(&self.key);
    }

    /// When its container started, as far as known; the far future where it has not.
    fn container_started(&self) -> i64 {
        let status = (self.probes.status)(self.pod.uid());
        let found = status.as_ref().and_then(|status| state::container(status, &self.container.name)).cloned();
        let running = found.and_then(|found| found.state?.running?.started_at);
        running.map_or(i64::MAX, |at| i64::try_from(at.0.as_nanosecond()).unwrap_or(i64::MAX))
    }

    /// One turn; false to end.
    async fn turn(&self, state: &mut ProbeState) -> bool {
        let Some(status) = (self.probes.status)(self.pod.uid()) else { return true };
        let context = state::Context {
            pod: &self.pod,
            container: &self.container,
            probe: &self.probe,
            purpose: self.purpose,
            initial: self.purpose.initial(),
            started_at: self.probes.started_at,
            now: (self.probes.now)(),
        };
        let before = state.container_id.clone();
        let (step, found) = state.step(&context, &status);
        if before != state.container_id && !before.is_empty() {
            self.probes.found(self.pod.uid(), self.purpose, &before, None);
        }
        if let Some(outcome) = found {
            self.probes.found(self.pod.uid(), self.purpose, &state.container_id, Some(outcome));
        }
        match step {
            Step::Wait => true,
            Step::End => false,
            Step::Probe => {
                let ip = status.pod_ip.clone().unwrap_or_default();
                let target =
                    run::Target { pod: &self.pod, container: &self.container, id: &state.container_id, ip: &ip };
                let result = self.probes.runner.probe(&self.probe, target, &self.probes.events, self.purpose).await;
                self.probes.count(&self.pod, &self.container.name, self.purpose, result);
                if let Some(outcome) = result.and_then(|outcome| state.record(outcome, &context)) {
                    self.probes.found(self.pod.uid(), self.purpose, &state.container_id, Some(outcome));
                }
                true
            }
        }
    }
}
