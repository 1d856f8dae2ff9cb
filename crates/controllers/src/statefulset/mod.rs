//! StatefulSet controller: pods with names, places and claims of their own.
//!
//! Upstream: pkg/controller/statefulset. [`plan`] decides the next step; [`template`] makes pods and claims; versions
//! of the template are ControllerRevisions, and a pod's label names the one it is of.

pub mod plan;
pub mod template;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::int_or_string::IntOrString;
use api::value::Value;
use client::informer::index;
use client::{
    Client, ClientError, DeleteOptions, EventRecorder, EventType, Given, Informer, MetaExt, Object, ObjectKey,
    Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString as TypedIntOrString;

use self::plan::{Counts, Observed, Plan, Strategy, ordinal, plan, revision};
use self::template::Retention;
use crate::common::claim::{Owner, claim};
use crate::common::read_back::ReadBack;
use crate::common::revisions::{self, Histories};
use crate::common::selectors::{selector, selects};
use crate::common::{owners, pods, tree};
use crate::context::Context;

const NAME: &str = "statefulset-controller";

/// The controller.
pub struct StatefulSetController {
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    client: Client,
    recorder: EventRecorder,
    given: Given,
    wrote_set: ReadBack<StatefulSet>,
    wrote_pods: ReadBack<Pod>,
    wrote_claims: ReadBack<PersistentVolumeClaim>,
    wrote_revisions: ReadBack<ControllerRevision>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let informers = &context.informers;
    let (sets, pods) = (informers.kind::<StatefulSet>(), informers.kind::<Pod>());
    let (claims, revisions) = (informers.kind::<PersistentVolumeClaim>(), informers.kind::<ControllerRevision>());
    let queue = WorkQueue::default();
    pods.add_index(index::CONTROLLER_UID, index::controller_uid);
    pods.add_index(index::ORPHANS, index::orphan_namespace);
    revisions.add_index(index::CONTROLLER_UID, index::controller_uid);
    revisions.add_index(index::ORPHANS, index::orphan_namespace);
    owners::watch_owners(&sets, &queue);
    owners::watch_dependents(&pods, &sets, &queue, |set: &StatefulSet, pod: &Pod| {
        ordinal(set.name(), pod.name()).is_some() && selects(&selector_of(set), &pod.metadata.labels)
    });
    let client = context.client(NAME);
    let controller = StatefulSetController {
        recorder: context.recorder(NAME),
        client,
        given: context.given.clone(),
        wrote_set: ReadBack::new(&sets),
        wrote_pods: ReadBack::new(&pods),
        wrote_claims: ReadBack::new(&claims),
        wrote_revisions: ReadBack::new(&revisions),
        sets: sets.clone(),
        pods: pods.clone(),
        claims: claims.clone(),
        revisions: revisions.clone(),
    };
    tokio::join!(sets.synced(), pods.synced(), claims.synced(), revisions.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

fn selector_of(set: &StatefulSet) -> api::selector::LabelSelector {
    selector(&set.spec.selector)
}

impl Reconcile for StatefulSetController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote_set.wait(key).await;
        self.wrote_pods.wait(key).await;
        self.wrote_claims.wait(key).await;
        self.wrote_revisions.wait(key).await;
        let Some(set) = self.sets.get(key) else { return Ok(Requeue::Never) };
        let owner = Owner::of(&set.view);
        let tree = json::parse(&set.bytes)?;
        let pods = self.claim_pods(key, &set, &owner).await?;
        let known = self.claim_revisions(key, &set, &owner).await?;
        let histories = revisions::sort_out(&known, &revisions::saved(tree.at("spec.template")))?;
        let update = self.sync_revision(key, &set, &owner, &tree, &known, &histories).await?;
        let before = set.status.as_ref().and_then(|status| status.current_revision.clone()).unwrap_or_default();
        let current = if known.iter().any(|one| one.name() == before) { before } else { update.clone() };
        let observed = observe(&set, current, update, pods);
        let step = plan(&observed, self.given.now());
        let acted = self.act(key, &set, &owner, &tree, &known, &observed, step).await;
        let again = self.finish(key, &set, tree, &observed).await?;
        acted?;
        self.clean_up(key, &set, &known, &observed).await?;
        Ok(again)
    }
}

fn observe(set: &StatefulSet, current: String, update: String, pods: Vec<Arc<Object<Pod>>>) -> Observed {
    let spec = &set.spec;
    let replicas = spec.replicas.unwrap_or(1);
    let strategy = spec.update_strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let strategy = match strategy.and_then(|strategy| strategy.type_.as_deref()) {
        Some("OnDelete") => Strategy::OnDelete,
        _ => Strategy::Rolling {
            partition: rolling.map(|rolling| rolling.partition.unwrap_or(0)),
            max_unavailable: max_unavailable(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), replicas),
        },
    };
    let claims = spec.volume_claim_templates.iter().flatten().map(|claim| claim.name().to_owned());
    Observed {
        name: set.name().to_owned(),
        is_deleting: set.is_deleting(),
        replicas,
        start: spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0),
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        is_parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
        strategy,
        current,
        update,
        current_replicas: set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(0),
        claims: claims.collect(),
        pods,
    }
}

/// At least one, of so many replicas.
fn max_unavailable(value: Option<&TypedIntOrString>, replicas: i32) -> usize {
    let value = match value {
        Some(TypedIntOrString::Int(number)) => IntOrString::Int(*number),
        Some(TypedIntOrString::String(text)) => IntOrString::String(text.clone()),
        None => IntOrString::Int(1),
    };
    value.scaled(replicas.into(), false).ok().and_then(|number| usize::try_from(number).ok()).unwrap_or(1).max(1)
}

impl StatefulSetController {
    async fn claim_pods(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        owner: &Owner,
    ) -> Result<Vec<Arc<Object<Pod>>>, ClientError> {
        let candidates: Vec<_> = self.pods.with(|cache| {
            let owned = cache.indexed(index::CONTROLLER_UID, set.uid());
            let orphans = cache.indexed(index::ORPHANS, &key.namespace);
            let named = orphans.filter(|pod| ordinal(&key.name, pod.name()).is_some());
            owned.chain(named).cloned().collect()
        });
        let claims = claim(owner, &selector_of(set), candidates);
        let sets = self.client.kind::<StatefulSet>(&key.namespace);
        let (pods, revision) = claims.settle(owner, &sets, &self.client.kind::<Pod>(&key.namespace), None).await?;
        self.wrote_pods.wrote(key, revision);
        Ok(pods)
    }

    async fn claim_revisions(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        owner: &Owner,
    ) -> Result<Vec<Arc<Object<ControllerRevision>>>, ClientError> {
        let candidates: Vec<_> = self.revisions.with(|cache| {
            let owned = cache.indexed(index::CONTROLLER_UID, set.uid());
            owned.chain(cache.indexed(index::ORPHANS, &key.namespace)).cloned().collect()
        });
        let claims = claim(owner, &selector_of(set), candidates);
        let sets = self.client.kind::<StatefulSet>(&key.namespace);
        let api = self.client.kind::<ControllerRevision>(&key.namespace);
        let (known, revision) = claims.settle(owner, &sets, &api, None).await?;
        self.wrote_revisions.wrote(key, revision);
        Ok(known)
    }

    /// Makes sure that the template has a revision, and gives its name.
    async fn sync_revision(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        owner: &Owner,
        tree: &Value,
        known: &[Arc<Object<ControllerRevision>>],
        histories: &Histories,
    ) -> Result<String, ReconcileError> {
        let api = self.client.kind::<ControllerRevision>(&key.namespace);
        if let Some((name, number)) = &histories.current {
            let current = known.iter().find(|one| one.name() == name);
            if let Some(current) = current.filter(|current| revisions::number_of(current) != *number) {
                self.wrote_revisions.wrote(key, revisions::renumber(&api, current, *number).await?);
            }
            return Ok(name.clone());
        }
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let (template, annotations) = (tree.at("spec.template"), tree.at("metadata.annotations"));
        let label = revisions::NAMED_HASH;
        match revisions::create(&api, owner, label, template, annotations, collisions, histories.number).await {
            Ok((name, _, revision)) => {
                self.wrote_revisions.wrote(key, revision);
                Ok(name)
            }
            Err(error) if error.is_already_exists() => {
                // Another template has this hash: the next try counts one collision more.
                let tree = set.edit(|tree| tree.set("status.collisionCount", collisions.unwrap_or(0) + 1))?;
                let sets = self.client.kind::<StatefulSet>(&key.namespace);
                let answer = sets.update_status(tree, &WriteOptions::default()).await?;
                self.wrote_set.wrote(key, answer.revision());
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "everything that was observed")]
    async fn act(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        owner: &Owner,
        tree: &Value,
        known: &[Arc<Object<ControllerRevision>>],
        observed: &Observed,
        step: Plan,
    ) -> Result<(), ReconcileError> {
        for (ordinal, revision) in &step.create {
            self.create(key, set, owner, tree, known, observed, *ordinal, revision).await?;
        }
        for ordinal in &step.claims {
            self.create_claims(key, set, tree, *ordinal).await?;
        }
        for name in &step.repair {
            self.repair(key, set, tree, observed, name).await?;
        }
        if !observed.is_deleting {
            self.keep_retention(key, set, observed).await?;
        }
        for name in &step.delete {
            self.delete(key, set, name).await?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "everything that was observed")]
    async fn create(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        owner: &Owner,
        tree: &Value,
        known: &[Arc<Object<ControllerRevision>>],
        observed: &Observed,
        ordinal: i32,
        revision: &str,
    ) -> Result<(), ReconcileError> {
        let template = match known.iter().find(|one| one.name() == revision && revision != observed.update) {
            Some(old) => template::template_of(&json::parse(&old.bytes)?),
            None => tree.at("spec.template").clone(),
        };
        let name = format!("{}-{ordinal}", key.name);
        let about = template::about(&name, &set.view);
        let made = async {
            self.create_claims(key, set, tree, ordinal).await?;
            let pod = template::pod(owner, tree, &template, ordinal, revision);
            self.client.kind::<Pod>(&key.namespace).create_tree(pod, &WriteOptions::default()).await
        };
        match made.await {
            Ok(answer) => {
                self.wrote_pods.wrote(key, answer.revision());
                let said = format!("Create {about} successful");
                self.recorder.event(&set.view, EventType::Normal, "SuccessfulCreate", said);
                Ok(())
            }
            Err(error) => {
                if !error.is_already_exists() {
                    let said = format!("Create {about} failed error: {error}");
                    self.recorder.event(&set.view, EventType::Warning, "FailedCreate", said);
                }
                Err(error.into())
            }
        }
    }

    async fn create_claims(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        tree: &Value,
        ordinal: i32,
    ) -> Result<(), ClientError> {
        let about = template::about(&format!("{}-{ordinal}", key.name), &set.view);
        for (name, claim) in template::claims(tree, &key.name, ordinal) {
            if let Some(there) = self.claims.find(&key.namespace, &name) {
                if there.is_deleting() {
                    let said = format!("pvc {name} is being deleted");
                    return Err(ClientError::Request(said));
                }
                continue;
            }
            let api = self.client.kind::<PersistentVolumeClaim>(&key.namespace);
            match api.create_tree(claim, &WriteOptions::default()).await {
                Ok(answer) => {
                    self.wrote_claims.wrote(key, answer.revision());
                    let said = format!("Create Claim {name} {about} success");
                    self.recorder.event(&set.view, EventType::Normal, "SuccessfulCreate", said);
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    let about = about.replacen("Pod", "for Pod", 1);
                    let said = format!("Create Claim {name} {about} failed error: {error}");
                    self.recorder.event(&set.view, EventType::Warning, "FailedCreate", said);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn repair(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        tree: &Value,
        observed: &Observed,
        name: &str,
    ) -> Result<(), ClientError> {
        let Some(pod) = observed.pods.iter().find(|pod| pod.name() == name) else { return Ok(()) };
        let Some(ordinal) = ordinal(&key.name, name) else { return Ok(()) };
        self.create_claims(key, set, tree, ordinal).await?;
        let changed = pod.edit(|pod| template::give_identity(pod, &key.name, ordinal, tree))?;
        let about = template::about(name, &set.view);
        match self.client.kind::<Pod>(&key.namespace).update(changed, &WriteOptions::default()).await {
            Ok(answer) => {
                self.wrote_pods.wrote(key, answer.revision());
                let said = format!("Update {about} successful");
                self.recorder.event(&set.view, EventType::Normal, "SuccessfulUpdate", said);
                Ok(())
            }
            Err(error) => {
                let said = format!("Update {about} failed error: {error}");
                self.recorder.event(&set.view, EventType::Warning, "FailedUpdate", said);
                Err(error)
            }
        }
    }

    /// Claims get the owners that the retention policy wants.
    async fn keep_retention(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        observed: &Observed,
    ) -> Result<(), ClientError> {
        let retention = Retention::of(set);
        for pod in &observed.pods {
            let Some(ordinal) = ordinal(&key.name, pod.name()) else { continue };
            let is_condemned = !(observed.start..observed.start + observed.replicas).contains(&ordinal);
            for template in &observed.claims {
                let name = plan::claim_name(template, &key.name, ordinal);
                let Some(claim) = self.claims.find(&key.namespace, &name) else { continue };
                let mut tree = json::parse(&claim.bytes)?;
                let Some(owners) = retention.owners(&tree, set, pod, is_condemned) else { continue };
                tree.set("metadata.ownerReferences", Value::Array(owners));
                let api = self.client.kind::<PersistentVolumeClaim>(&key.namespace);
                let answer = api.update(tree, &WriteOptions::default()).await?;
                self.wrote_claims.wrote(key, answer.revision());
            }
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, set: &Object<StatefulSet>, name: &str) -> Result<(), ReconcileError> {
        let about = template::about(name, &set.view);
        match self.client.kind::<Pod>(&key.namespace).delete(name, &DeleteOptions::default()).await {
            Ok(answer) => {
                self.wrote_pods.wrote(key, answer.revision());
                let said = format!("Delete {about} successful");
                self.recorder.event(&set.view, EventType::Normal, "SuccessfulDelete", said);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let said = format!("Delete {about} failed error: {error}");
                self.recorder.event(&set.view, EventType::Warning, "FailedDelete", said);
                Err(error.into())
            }
        }
    }

    /// Writes the status, if it changed.
    async fn finish(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        mut tree: Value,
        observed: &Observed,
    ) -> Result<Requeue, ClientError> {
        let now = self.given.now();
        let Counts { replicas, ready, available, mut current, updated } = observed.counts(now);
        let mut current_revision = &observed.current;
        let wanted = observed.replicas;
        if updated == wanted && ready == wanted && replicas == wanted {
            (current, current_revision) = (updated, &observed.update);
        }
        let before = tree.get("status").clone();
        tree::set_count(&mut tree, "status.observedGeneration", set.generation());
        tree.set("status.replicas", replicas);
        tree::set_count(&mut tree, "status.readyReplicas", ready.into());
        tree::set_count(&mut tree, "status.currentReplicas", current.into());
        tree::set_count(&mut tree, "status.updatedReplicas", updated.into());
        tree.set("status.currentRevision", current_revision.as_str());
        tree.set("status.updateRevision", observed.update.as_str());
        if tree.at("status.collisionCount").is_null() {
            tree.set("status.collisionCount", 0i64);
        }
        tree.set("status.availableReplicas", available);
        if *tree.get("status") != before {
            let sets = self.client.kind::<StatefulSet>(&key.namespace);
            let answer = sets.update_status(tree, &WriteOptions::default()).await?;
            self.wrote_set.wrote(key, answer.revision());
        }
        if ready == available {
            return Ok(Requeue::Never);
        }
        let next = pods::next_availability(observed.pods.iter().map(|pod| &pod.view), observed.min_ready_seconds, now);
        let fallback = Duration::from_secs(observed.min_ready_seconds.unsigned_abs().into());
        Ok(Requeue::After(next.unwrap_or(fallback)))
    }

    /// Old revisions beyond the limit go, those of the lowest numbers first, if no pod is of them.
    async fn clean_up(
        &self,
        key: &ObjectKey,
        set: &Object<StatefulSet>,
        known: &[Arc<Object<ControllerRevision>>],
        observed: &Observed,
    ) -> Result<(), ClientError> {
        let Ok(limit) = usize::try_from(set.spec.revision_history_limit.unwrap_or(10)) else {
            return Ok(());
        };
        let mut live: HashMap<&str, ()> = observed.pods.iter().map(|pod| (revision(pod), ())).collect();
        live.insert(&observed.current, ());
        live.insert(&observed.update, ());
        let mut dead: Vec<_> = known.iter().filter(|one| !live.contains_key(one.name())).collect();
        dead.sort_by_key(|one| revisions::number_of(one));
        let surplus = dead.len().saturating_sub(limit);
        let api = self.client.kind::<ControllerRevision>(&key.namespace);
        for one in dead.into_iter().take(surplus) {
            self.wrote_revisions.wrote(key, revisions::delete(&api, one.name()).await?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
