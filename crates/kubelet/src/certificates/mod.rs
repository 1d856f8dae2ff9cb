//! Certificates of pods, which their projected volumes ask for: keys are made here, requests are made as the node,
//! and signers answer. Upstream: pkg/kubelet/podcertificate.
//!
//! Nothing of this outlives the kubelet: after a restart all are asked for again.

mod api;
mod key;
mod state;

use std::{collections::HashMap, fmt, sync::Arc};

use client::{
    EventType, Requeue, WorkQueue,
    queue::{self, Reconcile, ReconcileError},
    time::Given,
};
use futures::future::BoxFuture;
use k8s_openapi::api::{
    certificates::v1::PodCertificateRequest,
    core::v1::{Pod, PodCertificateProjection},
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::api::ApiSigners;
use self::state::{Pending, State, Todo};
use crate::{events::Events, pod::PodExt};

/// Requests made at the same time.
const WORKERS: usize = 2;

/// A private key and its certificates, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The key.
    pub key: String,
    /// The certificates, the pod's first.
    pub chain: String,
}

/// Who passes requests on to signers.
pub trait Signers: Send + Sync + 'static {
    /// Makes a request for a pod.
    fn ask<'a>(
        &'a self,
        pod: &'a Pod,
        source: &'a PodCertificateProjection,
        proof: Vec<u8>,
    ) -> BoxFuture<'a, Result<PodCertificateRequest, String>>;
    /// A request that was made, as far as it is known.
    fn find(&self, namespace: &str, name: &str) -> Option<PodCertificateRequest>;
}

/// Which certificate: of a pod's UID, a volume, and a source of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    uid: String,
    volume: String,
    index: usize,
}

struct Record {
    pod: Arc<Pod>,
    source: PodCertificateProjection,
    state: State,
}

/// The certificates of this node's pods.
pub struct PodCertificates {
    signers: Arc<dyn Signers>,
    events: Events,
    given: Given,
    /// Wakes a pod's worker.
    wake: Box<dyn Fn(&str) + Send + Sync>,
    known: Mutex<HashMap<Key, Record>>,
    queue: WorkQueue<Key>,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}", self.uid, self.volume, self.index)
    }
}

impl PodCertificates {
    /// None yet.
    pub fn new(
        signers: Arc<dyn Signers>,
        events: Events,
        given: Given,
        wake: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let (known, queue) = (Mutex::default(), WorkQueue::default());
        PodCertificates { signers, events, given, wake: Box::new(wake), known, queue }
    }

    /// Asks for certificates and renews them until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let queue = self.queue.clone();
        queue::run("podcertificate", self, queue, WORKERS, stop).await;
    }

    /// The key and certificates of a source of a pod's volume. If it was never asked for, it is now.
    ///
    /// # Errors
    /// Why there are none; the pod's worker is woken when that changes.
    pub fn bundle(
        &self,
        pod: &Pod,
        volume: &str,
        index: usize,
        source: &PodCertificateProjection,
    ) -> Result<Bundle, String> {
        let key = Key { uid: pod.uid().to_owned(), volume: volume.to_owned(), index };
        let mut known = self.known.lock();
        let record = known.entry(key.clone()).or_insert_with(|| {
            self.queue.add(key);
            Record { pod: Arc::new(pod.clone()), source: source.clone(), state: State::default() }
        });
        record.state.bundle()
    }

    /// A request has changed.
    pub fn seen(&self, request: &PodCertificateRequest) {
        let known = self.known.lock();
        known.keys().filter(|key| key.uid == request.spec.pod_uid).for_each(|key| self.queue.add(key.clone()));
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.known.lock().retain(|key, _| key.uid != uid);
    }

    /// What is to be done for a certificate; none if nobody wants it any more.
    fn step(&self, key: &Key) -> Option<(Arc<Pod>, PodCertificateProjection, Todo)> {
        let mut known = self.known.lock();
        let record = known.get_mut(key)?;
        let pending = record.state.pending().map(|pending| pending.request.clone());
        let request = pending.and_then(|name| self.signers.find(record.pod.namespace(), &name));
        let before = record.state.bundle();
        let (todo, warnings) = record.state.step(self.given.now(), request.as_ref(), self.jitter());
        for (reason, message) in warnings {
            self.events.pod(&record.pod, EventType::Warning, reason, message);
        }
        if record.state.bundle() != before {
            (self.wake)(&key.uid);
        }
        Some((record.pod.clone(), record.source.clone(), todo))
    }

    async fn ask(&self, key: &Key, pod: &Pod, source: &PodCertificateProjection) -> Result<(), ReconcileError> {
        let kind = source.key_type.clone();
        let pair = tokio::task::spawn_blocking(move || key::generate(&kind)).await??;
        let request = self.signers.ask(pod, source, pair.proof).await?;
        let created = request.metadata.creation_timestamp.map_or_else(|| self.given.now(), |time| time.0);
        let name = request.metadata.name.unwrap_or_default();
        if let Some(record) = self.known.lock().get_mut(key) {
            record.state.asked(Pending::new(pair.key, name, created, self.jitter()));
        }
        // Its news may have come before this was known.
        self.queue.add(key.clone());
        Ok(())
    }

    fn jitter(&self) -> jiff::SignedDuration {
        state::jitter(self.given.chance.fraction())
    }
}

impl Reconcile for PodCertificates {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Requeue, ReconcileError> {
        let Some((pod, source, todo)) = self.step(key) else { return Ok(Requeue::Never) };
        match todo {
            Todo::Ask => self.ask(key, &pod, &source).await.map(|()| Requeue::Never),
            Todo::Wait(None) => Ok(Requeue::Never),
            Todo::Wait(Some(until)) => {
                let left = until.duration_since(self.given.now());
                // Just after it: what is to happen then is looked for once it is over.
                let left = std::time::Duration::try_from(left).unwrap_or_default();
                Ok(Requeue::After(left + std::time::Duration::from_millis(1)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
