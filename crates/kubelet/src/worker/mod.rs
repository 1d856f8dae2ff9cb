//! Pod workers: one task a pod, which alone acts on it. Upstream: pkg/kubelet/pod_workers.go.
//!
//! A pod goes through three phases and never back: it is *synced* until it has to end; *terminating* until nothing of
//! it runs; *terminated* until nothing of it is left on the node but what its logs need. What is wanted of it can
//! change at any time ([`Inbox`]); the worker looks again then, when the runtime or a probe has news, and when a wait
//! of its own is over.

pub mod act;
pub mod admit;
pub mod kill;
pub mod observe;
mod predicates;
mod resize;
pub mod start;
mod sync;
mod terminate;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use self::terminate::remove_from_runtime;
use crate::{
    kubelet::Kubelet,
    observed::Observed,
    plan::termination,
    pod::{PodExt, is_terminal},
    status::Eviction,
};

/// After an error a pod is looked at again in this time, and up to half of it later; upstream's `backOffPeriod`.
const ERROR_WAIT: Duration = Duration::from_secs(10);
/// While the network is not ready it is asked again after this.
const NETWORK_WAIT: Duration = Duration::from_secs(1);
/// Waits differ by up to this share, so that not all pods are looked at together.
const JITTER: f64 = 0.5;

/// All workers of a node.
#[derive(Default)]
pub struct Workers {
    known: Mutex<HashMap<String, Arc<Inbox>>>,
}

/// What is wanted of a pod, and who wakes its worker.
pub struct Inbox {
    wanted: Mutex<Wanted>,
    news: Notify,
    /// Ids of what ran when its worker last looked; none before that.
    seen: Mutex<Option<BTreeSet<String>>>,
    /// Cancelled when the pod has to end: what it waits for to start is given up.
    pub(crate) ending: CancellationToken,
}

#[derive(Clone)]
struct Wanted {
    pod: Arc<Pod>,
    ending: Option<Ending>,
    /// The API server (or the source) does not have it any more.
    removed: bool,
}

/// The pod has to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Seconds its containers get, where not the pod says.
    pub grace: Option<i64>,
    /// What its status is to say.
    pub eviction: Option<Eviction>,
}

/// Where a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Syncing,
    Terminating,
    Terminated,
    /// Nothing is left to do but to wait for the pod's removal.
    Done,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once: something was done.
    Now,
    /// After this, or with news.
    After(Duration),
    /// The pod has run to its end.
    Ended,
}

impl Workers {
    /// A pod is there or has changed.
    pub fn update(&self, kubelet: &Arc<Kubelet>, pod: Arc<Pod>) {
        let mut known = self.known.lock();
        if let Some(inbox) = known.get(pod.uid()) {
            inbox.update(pod);
            return;
        }
        let inbox = Arc::new(Inbox::new(pod.clone()));
        known.insert(pod.uid().to_owned(), inbox.clone());
        drop(known);
        let worker = Worker::new(kubelet.clone(), inbox);
        tokio::spawn(kubelet.stop.clone().run_until_cancelled_owned(worker.run()));
    }

    /// A pod is not there any more.
    pub fn remove(&self, uid: &str) {
        if let Some(inbox) = self.known.lock().get(uid) {
            inbox.remove();
        }
    }

    /// A pod is to be ended for a reason of the node's.
    pub fn evict(&self, uid: &str, grace: Option<i64>, eviction: Eviction) {
        if let Some(inbox) = self.known.lock().get(uid) {
            inbox.end(Ending { grace, eviction: Some(eviction) });
        }
    }

    /// The runtime or a probe has news of a pod.
    pub fn wake(&self, uid: &str) {
        if let Some(inbox) = self.known.lock().get(uid) {
            inbox.news.notify_one();
        }
    }

    /// Wakes the workers that have not seen what runs now: something ended or started by itself. What a worker saw
    /// last is compared, not the look before: a container that ends at once may never be in one.
    pub fn wake_surprised(&self, running: &HashMap<String, BTreeSet<String>>) {
        let nothing = BTreeSet::new();
        for (uid, inbox) in self.known.lock().iter() {
            let now = running.get(uid).unwrap_or(&nothing);
            if inbox.seen.lock().as_ref().is_some_and(|seen| seen != now) {
                inbox.news.notify_one();
            }
        }
    }

    /// Whether a pod has a worker.
    pub fn contains(&self, uid: &str) -> bool {
        self.known.lock().contains_key(uid)
    }

    /// The pods that have workers, as they were last wanted.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.known.lock().values().map(|inbox| inbox.wanted.lock().pod.clone()).collect()
    }

    /// The pod with this UID, as it was last wanted.
    pub fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        self.known.lock().get(uid).map(|inbox| inbox.wanted.lock().pod.clone())
    }

    fn forget(&self, uid: &str) {
        self.known.lock().remove(uid);
    }
}

impl Inbox {
    fn new(pod: Arc<Pod>) -> Self {
        let inbox = Inbox {
            wanted: Mutex::new(Wanted { pod: pod.clone(), ending: None, removed: false }),
            news: Notify::new(),
            seen: Mutex::default(),
            ending: CancellationToken::new(),
        };
        inbox.update(pod);
        inbox
    }

    fn update(&self, pod: Arc<Pod>) {
        let ends = pod.is_deleted() || is_terminal(pod.phase());
        let grace = pod.metadata.deletion_grace_period_seconds;
        {
            let mut wanted = self.wanted.lock();
            wanted.pod = pod;
            if ends {
                let ending = wanted.ending.get_or_insert_default();
                // A second deletion can only shorten it.
                ending.grace = match (ending.grace, grace) {
                    (Some(had), Some(now)) => Some(had.min(now)),
                    (had, now) => had.or(now),
                };
            }
        }
        if ends {
            self.ending.cancel();
        }
        self.news.notify_one();
    }

    fn end(&self, ending: Ending) {
        self.wanted.lock().ending.get_or_insert(ending);
        self.ending.cancel();
        self.news.notify_one();
    }

    fn remove(&self) {
        {
            let mut wanted = self.wanted.lock();
            wanted.removed = true;
            // Forced out of the API server: nobody waits for it.
            let of_pod = wanted.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
            let ending = wanted.ending.get_or_insert_default();
            ending.grace.get_or_insert(of_pod.unwrap_or(termination::GRACE_SECONDS_MIN));
        }
        self.ending.cancel();
        self.news.notify_one();
    }

    /// The worker has looked.
    pub(crate) fn saw(&self, observed: &Observed) {
        let sandboxes = observed.sandboxes.iter().filter(|sandbox| sandbox.ready).map(|sandbox| sandbox.id.clone());
        let running = observed.running().map(|container| container.id.clone());
        *self.seen.lock() = Some(sandboxes.chain(running).collect());
    }

    fn wanted(&self) -> Wanted {
        self.wanted.lock().clone()
    }
}

/// The task of one pod.
pub(crate) struct Worker {
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) memory: Memory,
    phase: Phase,
}

/// What a worker remembers between two looks.
#[derive(Default)]
pub(crate) struct Memory {
    /// Why containers do not start.
    pub waiting: std::collections::BTreeMap<String, crate::status::Waiting>,
    /// The pod was let in.
    pub admitted: bool,
    /// Volumes failed so often in a row.
    pub mount_failures: u32,
    /// Addresses before the sandbox was stopped.
    pub addresses: Vec<String>,
}

impl Worker {
    fn new(kubelet: Arc<Kubelet>, inbox: Arc<Inbox>) -> Self {
        Worker { kubelet, inbox, memory: Memory::default(), phase: Phase::Syncing }
    }

    async fn run(mut self) {
        let uid = self.inbox.wanted().pod.uid().to_owned();
        let mut wait = Duration::ZERO;
        loop {
            if !wait.is_zero() {
                let inbox = self.inbox.clone();
                tokio::select! {
                    () = inbox.news.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
            let wanted = self.inbox.wanted();
            if self.phase == Phase::Syncing && wanted.ending.is_some() {
                self.phase = Phase::Terminating;
            }
            wait = match self.phase {
                Phase::Syncing => self.look(&wanted).await,
                Phase::Terminating => self.terminate(&wanted).await,
                Phase::Terminated => self.clean(&wanted).await,
                Phase::Done if wanted.removed => break,
                Phase::Done => self.kubelet.config.sync_frequency * 60,
            };
        }
        self.remove_rest(&uid).await;
        self.kubelet.status.forget(&uid);
        self.kubelet.workers.forget(&uid);
        tracing::debug!(uid, "a pod is gone");
    }

    async fn look(&mut self, wanted: &Wanted) -> Duration {
        match self.sync(&wanted.pod).await {
            Ok(Next::Now) => Duration::ZERO,
            Ok(Next::After(wait)) => self.jitter(wait),
            Ok(Next::Ended) => {
                self.phase = Phase::Terminating;
                Duration::ZERO
            }
            Err(error) => {
                tracing::debug!(pod = wanted.pod.described(), %error, "a pod could not be synced");
                self.jitter(error.wait())
            }
        }
    }

    fn jitter(&self, wait: Duration) -> Duration {
        self.kubelet.given.chance.jitter(wait, JITTER)
    }
}

/// Why a pod could not be synced; its status or an event tells the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    /// The runtime does not do what it is told.
    #[error("{0}")]
    Runtime(#[from] crate::cri::Error),
    /// The network is not ready.
    #[error("network is not ready: {0}")]
    Network(String),
    /// Volumes are not; the wait until the next try.
    #[error("volumes are not ready")]
    Volumes(Duration),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl SyncError {
    fn wait(&self) -> Duration {
        match self {
            SyncError::Network(_) => NETWORK_WAIT,
            SyncError::Volumes(wait) => *wait,
            _ => ERROR_WAIT,
        }
    }
}
