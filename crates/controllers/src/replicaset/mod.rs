//! ReplicaSet and ReplicationController: keep `spec.replicas` pods that match the selector.
//!
//! Upstream: pkg/controller/replicaset, pkg/controller/replication. One piece of code for both: [`kind`] says where
//! they differ. [`plan`] decides; slow start limits the damage of a template that can't start.

pub mod kind;
pub mod plan;
pub mod status;

use std::sync::Arc;

use api::selector::LabelSelector;
use client::informer::index;
use client::{
    Api, Client, Given, Informer, MetaExt, Object, ObjectKey, Reconcile, ReconcileError, Requeue, WorkQueue,
    WriteOptions, json,
};
use k8s_openapi::api::core::v1::Pod;

use self::kind::SetKind;
use self::plan::{Plan, plan};
use self::status::Failure;
use crate::common::claim::{Owner, claim};
use crate::common::pod_control::{self, PodControl};
use crate::common::read_back::ReadBack;
use crate::common::selectors::selects;
use crate::common::{owners, pods};
use crate::context::Context;

/// The controller of one of the kinds.
pub struct ReplicaSetController<K> {
    sets: Informer<K>,
    pods: Informer<Pod>,
    client: Client,
    control: PodControl,
    given: Given,
    wrote_set: ReadBack<K>,
    wrote_pods: ReadBack<Pod>,
}

/// Starts the controller of one of the kinds.
pub async fn run<K: SetKind>(context: Context, workers: usize) {
    let (sets, pods) = (context.informers.kind::<K>(), context.informers.kind::<Pod>());
    let queue = WorkQueue::default();
    pods.add_index(index::CONTROLLER_UID, index::controller_uid);
    pods.add_index(index::ORPHANS, index::orphan_namespace);
    sets.add_index(index::CONTROLLER_UID, index::controller_uid);
    owners::watch_owners(&sets, &queue);
    owners::watch_dependents(&pods, &sets, &queue, |set: &K, pod: &Pod| selects(&set.selector(), &pod.metadata.labels));
    let client = context.client(K::CONTROLLER);
    let controller = ReplicaSetController {
        control: PodControl::new(client.clone(), context.recorder(K::CONTROLLER)),
        client,
        given: context.given.clone(),
        wrote_set: ReadBack::new(&sets),
        wrote_pods: ReadBack::new(&pods),
        sets: sets.clone(),
        pods: pods.clone(),
    };
    sets.synced().await;
    pods.synced().await;
    client::queue::run(K::CONTROLLER, Arc::new(controller), queue, workers, context.stop).await;
}

impl<K: SetKind> Reconcile for ReplicaSetController<K> {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote_set.wait(key).await;
        self.wrote_pods.wait(key).await;
        let Some(set) = self.sets.get(key) else { return Ok(Requeue::Never) };
        let owner = Owner::of(&set.view);
        let selector = set.selector();
        let candidates = self.candidates(&set);
        let active = candidates.iter().filter(|pod| pods::is_active(pod)).cloned();
        let claims = claim(&owner, &selector, active);
        let sets = self.api(&set);
        let objects = self.client.kind::<Pod>(&key.namespace);
        let (owned, revision) = claims.settle(&owner, &sets, &objects, None).await?;
        self.wrote_pods.wrote(key, revision);
        let is_owned = |pod: &Arc<Object<Pod>>| pod.controller_uid() == Some(&owner.uid);
        let terminating = candidates.iter().filter(|pod| pods::is_terminating(pod) && is_owned(pod));
        let terminating = terminating.filter(|pod| selects(&selector, &pod.metadata.labels)).count();

        let failure = match owner.is_deleting {
            true => None,
            false => {
                self.act(key, &set, &owner, plan(set.replicas(), &owned, &self.related(&set), self.given.now())).await?
            }
        };
        self.finish(key, &set, &owned, terminating, failure).await
    }
}

impl<K: SetKind> ReplicaSetController<K> {
    fn api(&self, set: &K) -> Api {
        self.client.kind::<K>(set.namespace())
    }

    /// Pods of the set, and those without a controller in its namespace.
    fn candidates(&self, set: &K) -> Vec<Arc<Object<Pod>>> {
        self.pods.with(|cache| {
            let owned = cache.indexed(index::CONTROLLER_UID, set.uid());
            owned.chain(cache.indexed(index::ORPHANS, set.namespace())).cloned().collect()
        })
    }

    /// Pods of all sets that have the same controller as this one: those of one deployment.
    fn related(&self, set: &K) -> Vec<Arc<Object<Pod>>> {
        let Some(controller) = set.controller_uid() else { return Vec::new() };
        let siblings = self.sets.indexed(index::CONTROLLER_UID, controller);
        siblings.iter().flat_map(|sibling| self.pods.indexed(index::CONTROLLER_UID, sibling.uid())).collect()
    }

    /// Creates and deletes pods. What goes wrong becomes part of the status.
    async fn act(
        &self,
        key: &ObjectKey,
        set: &Object<K>,
        owner: &Owner,
        plan: Plan,
    ) -> Result<Option<Failure>, ReconcileError> {
        if plan.create > 0 {
            let pod = pod_control::bytes_from_template(owner, json::parse(&set.bytes)?.at("spec.template"));
            let outcome = self.control.create_slowly(&set.view, &key.namespace, plan.create, |_| pod.clone()).await;
            self.wrote_pods.wrote(key, outcome.revision);
            // In a namespace that is being deleted, no creation can succeed: nothing to be done about it.
            let error = outcome.error.filter(|error| !error.is_namespace_terminating());
            return Ok(error.map(|error| Failure { reason: "FailedCreate", error }));
        }
        let outcome = self.control.delete_all(&set.view, &key.namespace, &plan.delete).await;
        self.wrote_pods.wrote(key, outcome.revision);
        Ok(outcome.error.map(|error| Failure { reason: "FailedDelete", error }))
    }

    /// Writes the status, if it changed.
    async fn finish(
        &self,
        key: &ObjectKey,
        set: &Object<K>,
        owned: &[Arc<Object<Pod>>],
        terminating: usize,
        failure: Option<Failure>,
    ) -> Result<Requeue, ReconcileError> {
        let now = self.given.now();
        let terminating = K::REPORTS_TERMINATING.then_some(terminating);
        let tree = json::parse(&set.bytes)?;
        let (changed, is_settled) = status::update(tree, &set.view, owned, terminating, failure.as_ref(), now);
        if let Some(tree) = changed {
            let answer = self.api(set).update_status(tree, &WriteOptions::default()).await?;
            self.wrote_set.wrote(key, answer.revision());
        }
        if let Some(failure) = failure {
            return Err(failure.error.into());
        }
        if is_settled {
            return Ok(Requeue::Never);
        }
        let next = pods::next_availability(owned.iter().map(|pod| &pod.view), set.min_ready_seconds(), now);
        let fallback = std::time::Duration::from_secs(set.min_ready_seconds().unsigned_abs().into());
        Ok(Requeue::After(next.unwrap_or(fallback)))
    }
}

/// Whether a set's selector is one that can own anything.
pub(crate) fn usable(selector: LabelSelector) -> LabelSelector {
    if selector.is_empty() { LabelSelector::nothing() } else { selector }
}

#[cfg(test)]
mod tests;
