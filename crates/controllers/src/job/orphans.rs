//! Lets go of pods that no job counts any more: their job is gone or over, or they have no owner.

use client::informer::index;
use client::{
    Client, Event, Informer, MetaExt, ObjectKey, Patch, Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions,
};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::model::{JobExt, is_tracked};
use super::template::release_patch;
use crate::common::owners;

/// Works on pods.
pub struct Orphans {
    /// Jobs.
    pub jobs: Informer<Job>,
    /// Pods.
    pub pods: Informer<Pod>,
    /// Writes as the job controller.
    pub client: Client,
}

/// Puts pods into the queue that may have to be let go.
pub fn watch(jobs: &Informer<Job>, pods: &Informer<Pod>, queue: &WorkQueue<ObjectKey>) {
    let pods_queue = queue.clone();
    pods.subscribe(move |event| {
        let pod = event.object();
        let may_be = pod.is_deleting() || pod.controller_ref().is_none();
        if is_tracked(pod) && may_be && !matches!(event, Event::Deleted { .. }) {
            pods_queue.add(pod.key());
        }
    });
    let (pods, queue) = (pods.clone(), queue.clone());
    jobs.subscribe(move |event| {
        let job = event.object();
        if matches!(event, Event::Deleted { .. }) || job.is_finished() {
            let left = pods.indexed(index::CONTROLLER_UID, job.uid());
            left.iter().filter(|pod| is_tracked(pod)).for_each(|pod| queue.add(pod.key()));
        }
    });
}

impl Reconcile for Orphans {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(pod) = self.pods.get(key).filter(|pod| is_tracked(pod)) else { return Ok(Requeue::Never) };
        if let Some(owner) = pod.controller_ref() {
            if owner.kind != "Job" || owner.api_version != "batch/v1" {
                return Ok(Requeue::Never);
            }
            let job = owners::resolve(&self.jobs, &key.namespace, owner).and_then(|key| self.jobs.get(&key));
            if job.is_some_and(|job| job.is_managed_elsewhere() || !job.is_finished()) {
                return Ok(Requeue::Never);
            }
        }
        let pods = self.client.kind::<Pod>(&key.namespace);
        match pods.patch(&key.name, "", &Patch::Strategic(release_patch()), &WriteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Requeue::Never),
        }
    }
}
