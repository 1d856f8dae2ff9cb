//! Deployment controller: rolls out a pod template through ReplicaSets, one for each version of the template.
//!
//! Upstream: pkg/controller/deployment. [`model`] is what the decision is about, [`plan`] makes it ([`rolling`],
//! [`scale`], [`status`] are its parts); this file observes and acts.

pub mod model;
pub mod plan;
mod rolling;
mod scale;
mod status;

use std::sync::Arc;

use api::value::Value;
use client::informer::index;
use client::{
    Api, Client, ClientError, DeleteOptions, Event, EventRecorder, EventType, Given, Informer, MetaExt, Object,
    ObjectKey, Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use self::model::{NOT_COPIED, REVISION, ROLLBACK_TO, Set, Status, TEMPLATE_HASH, Wish};
use self::plan::{Observed, Plan, Rollback, Update, plan};
use crate::common::claim::{Owner, claim};
use crate::common::history::{sort, template_hash};
use crate::common::read_back::ReadBack;
use crate::common::selectors::{selector, selects};
use crate::common::{owners, pods};
use crate::context::Context;

const NAME: &str = "deployment-controller";

/// The controller.
pub struct DeploymentController {
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    client: Client,
    recorder: EventRecorder,
    given: Given,
    wrote_deployment: ReadBack<Deployment>,
    wrote_sets: ReadBack<ReplicaSet>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let informers = &context.informers;
    let deployments = informers.kind::<Deployment>();
    let (sets, pods) = (informers.kind::<ReplicaSet>(), informers.kind::<Pod>());
    let queue = WorkQueue::default();
    sets.add_index(index::CONTROLLER_UID, index::controller_uid);
    sets.add_index(index::ORPHANS, index::orphan_namespace);
    pods.add_index(index::CONTROLLER_UID, index::controller_uid);
    owners::watch_owners(&deployments, &queue);
    owners::watch_dependents(&sets, &deployments, &queue, |deployment: &Deployment, set: &ReplicaSet| {
        let selector = selector(&deployment.spec.selector);
        !selector.is_empty() && selects(&selector, &set.metadata.labels)
    });
    watch_last_pods(&pods, &sets, &deployments, &queue);
    let client = context.client(NAME);
    let controller = DeploymentController {
        recorder: context.recorder(NAME),
        client,
        given: context.given.clone(),
        wrote_deployment: ReadBack::new(&deployments),
        wrote_sets: ReadBack::new(&sets),
        deployments: deployments.clone(),
        sets: sets.clone(),
        pods: pods.clone(),
    };
    deployments.synced().await;
    sets.synced().await;
    pods.synced().await;
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// A recreation goes on when the last old pod is gone, which no set tells about.
fn watch_last_pods(
    pods: &Informer<Pod>,
    sets: &Informer<ReplicaSet>,
    deployments: &Informer<Deployment>,
    queue: &WorkQueue<ObjectKey>,
) {
    let (sets, deployments, queue) = (sets.clone(), deployments.clone(), queue.clone());
    pods.subscribe(move |event| {
        let pod = event.object();
        let has_ended = matches!(event, Event::Deleted { .. }) || pods::is_finished(pod);
        let set =
            pod.controller_ref().filter(|_| has_ended).and_then(|set| owners::resolve(&sets, pod.namespace(), set));
        let Some(set) = set.and_then(|key| sets.get(&key)) else { return };
        let deployment = set.controller_ref().and_then(|one| owners::resolve(&deployments, pod.namespace(), one));
        let Some(deployment) = deployment.and_then(|key| deployments.get(&key)) else { return };
        let strategy = deployment.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        if strategy == Some("Recreate") {
            queue.add(deployment.key());
        }
    });
}

impl Reconcile for DeploymentController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote_deployment.wait(key).await;
        self.wrote_sets.wait(key).await;
        let Some(deployment) = self.deployments.get(key) else { return Ok(Requeue::Never) };
        let tree = json::parse(&deployment.bytes)?;
        if selector(&deployment.spec.selector).is_empty() {
            return self.refuse(key, &deployment, tree).await;
        }
        let sets = self.claim_sets(key, &deployment).await?;
        let observed = observe(&deployment, &tree, &sets, |uid| self.pods.indexed(index::CONTROLLER_UID, uid))?;
        let plan = plan(&observed, self.given.now());
        self.act(key, &deployment, tree, &sets, &observed.wish, plan).await
    }
}

/// What the plan is made from.
fn observe(
    deployment: &Deployment,
    tree: &Value,
    sets: &[Arc<Object<ReplicaSet>>],
    pods_of: impl Fn(&str) -> Vec<Arc<Object<Pod>>>,
) -> Result<Observed, ClientError> {
    let template = canonical(tree.at("spec.template"));
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let wish = Wish::of(deployment, template_hash(tree.at("spec.template"), collisions));
    let mut seen = Vec::with_capacity(sets.len());
    for set in sets {
        let is_current = canonical(json::parse(&set.bytes)?.at("spec.template")) == template;
        seen.push(Set::of(set, is_current));
    }
    // Of several with the current template, the oldest is it.
    let current = seen.iter().filter(|set| set.is_current).min_by(|a, b| a.age().cmp(&b.age()));
    let current = current.map(|set| set.uid.clone());
    seen.iter_mut().for_each(|set| set.is_current = Some(&set.uid) == current.as_ref());
    let old = seen.iter().filter(|set| !set.is_current);
    let old_pods_run =
        !wish.is_rolling && old.map(|set| pods_of(&set.uid)).any(|pods| pods.iter().any(|pod| !pods::is_finished(pod)));
    Ok(Observed { wish, sets: seen, old_pods_run })
}

/// A template for comparison: without the label that tells sets apart, fields in one order.
fn canonical(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.at_mut("metadata.labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    sort(&mut template);
    template
}

impl DeploymentController {
    fn sets_of(&self, key: &ObjectKey) -> Api {
        self.client.kind::<ReplicaSet>(&key.namespace)
    }

    /// The deployment's sets, after adopting and releasing.
    async fn claim_sets(
        &self,
        key: &ObjectKey,
        deployment: &Object<Deployment>,
    ) -> Result<Vec<Arc<Object<ReplicaSet>>>, ClientError> {
        let candidates: Vec<_> = self.sets.with(|cache| {
            let owned = cache.indexed(index::CONTROLLER_UID, deployment.uid());
            owned.chain(cache.indexed(index::ORPHANS, &key.namespace)).cloned().collect()
        });
        let owner = Owner::of(&deployment.view);
        let claims = claim(&owner, &selector(&deployment.spec.selector), candidates);
        let deployments = self.client.kind::<Deployment>(&key.namespace);
        let (sets, revision) = claims.settle(&owner, &deployments, &self.sets_of(key), None).await?;
        self.wrote_sets.wrote(key, revision);
        Ok(sets)
    }

    /// A deployment that selects everything does nothing but say so.
    async fn refuse(
        &self,
        key: &ObjectKey,
        deployment: &Object<Deployment>,
        mut tree: Value,
    ) -> Result<Requeue, ReconcileError> {
        const SAID: &str = "This deployment is selecting all pods. A non-empty selector is required.";
        self.recorder.event(&deployment.view, EventType::Warning, "SelectingAll", SAID);
        let observed = deployment.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        if observed < deployment.generation() {
            tree.set("status.observedGeneration", deployment.generation());
            self.write_status(key, tree).await?;
        }
        Ok(Requeue::Never)
    }

    async fn act(
        &self,
        key: &ObjectKey,
        deployment: &Object<Deployment>,
        tree: Value,
        sets: &[Arc<Object<ReplicaSet>>],
        wish: &Wish,
        plan: Plan,
    ) -> Result<Requeue, ReconcileError> {
        if let Some(new) = &plan.create {
            self.create_set(key, deployment, &tree, wish, new).await?;
        }
        for update in &plan.update {
            self.update_set(key, deployment, sets, update).await?;
        }
        for name in &plan.delete {
            match self.sets_of(key).delete(name, &DeleteOptions::default()).await {
                Ok(answer) => self.wrote_sets.wrote(key, answer.revision()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(rollback) = plan.rollback {
            return self.roll_back(key, deployment, tree, sets, rollback).await;
        }
        if plan.status.is_some() || plan.revision.is_some() {
            self.finish(key, tree, plan.status.as_ref(), plan.revision).await?;
        }
        Ok(plan.check_progress_in.map_or(Requeue::Never, Requeue::After))
    }

    async fn finish(
        &self,
        key: &ObjectKey,
        mut tree: Value,
        status: Option<&Status>,
        revision: Option<String>,
    ) -> Result<(), ClientError> {
        if let Some(status) = status {
            status::write(&mut tree, status);
        }
        if let Some(revision) = revision {
            annotations(&mut tree).insert(REVISION, revision);
        }
        self.write_status(key, tree).await
    }

    async fn write_status(&self, key: &ObjectKey, tree: Value) -> Result<(), ClientError> {
        let answer =
            self.client.kind::<Deployment>(&key.namespace).update_status(tree, &WriteOptions::default()).await?;
        self.wrote_deployment.wrote(key, answer.revision());
        Ok(())
    }

    async fn create_set(
        &self,
        key: &ObjectKey,
        deployment: &Object<Deployment>,
        tree: &Value,
        wish: &Wish,
        new: &Set,
    ) -> Result<(), ReconcileError> {
        let body = set_body(&Owner::of(&deployment.view), tree, new, &wish.template_hash);
        match self.sets_of(key).create_tree(body, &WriteOptions::default()).await {
            Ok(answer) => {
                self.wrote_sets.wrote(key, answer.revision());
                if new.replicas > 0 {
                    let said = format!("Scaled up replica set {} from 0 to {}", new.name, new.replicas);
                    self.recorder.event(&deployment.view, EventType::Normal, "ScalingReplicaSet", said);
                }
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                self.resolve_collision(key, deployment, tree, wish, new, error).await
            }
            Err(error) if error.is_namespace_terminating() => Err(error.into()),
            Err(error) => {
                let said = format!("Failed to create new replica set \"{}\": {error}", new.name);
                if wish.progress_deadline.is_some() {
                    let mut status = wish.status.clone();
                    status.set(model::Condition::new(
                        status::PROGRESSING,
                        "False",
                        "ReplicaSetCreateError",
                        said.as_str(),
                        self.given.now(),
                    ));
                    // The creation's error is the one to be reported, whatever becomes of this.
                    if let Err(error) = self.finish(key, tree.clone(), Some(&status), None).await {
                        tracing::debug!(%key, %error, "can't report that a set could not be created");
                    }
                }
                self.recorder.event(&deployment.view, EventType::Warning, "ReplicaSetCreateError", said);
                Err(error.into())
            }
        }
    }

    /// The name is taken: by ourselves, a moment ago, or by a set of another template, whose hash is the same.
    async fn resolve_collision(
        &self,
        key: &ObjectKey,
        deployment: &Object<Deployment>,
        tree: &Value,
        wish: &Wish,
        new: &Set,
        error: ClientError,
    ) -> Result<(), ReconcileError> {
        let there: Object<ReplicaSet> = self.sets_of(key).get(&new.name).await?.object()?;
        let is_ours = there.controller_uid() == Some(deployment.uid());
        let template = canonical(json::parse(&there.bytes)?.at("spec.template"));
        if is_ours && template == canonical(tree.at("spec.template")) {
            self.wrote_sets.wrote(key, there.revision);
            return Ok(());
        }
        let mut status = wish.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.finish(key, tree.clone(), Some(&status), None).await?;
        Err(error.into())
    }

    async fn update_set(
        &self,
        key: &ObjectKey,
        deployment: &Object<Deployment>,
        sets: &[Arc<Object<ReplicaSet>>],
        Update { from, to }: &Update,
    ) -> Result<(), ReconcileError> {
        let Some(set) = sets.iter().find(|set| set.uid() == to.uid) else { return Ok(()) };
        let tree = set.edit(|tree| {
            tree.set("spec.replicas", to.replicas);
            if from.min_ready_seconds != to.min_ready_seconds {
                tree.set("spec.minReadySeconds", to.min_ready_seconds);
            }
            let there = annotations(tree);
            for (name, value) in &to.annotations {
                there.insert(name.as_str(), value.as_str());
            }
        })?;
        let answer = self.sets_of(key).update(tree, &WriteOptions::default()).await?;
        self.wrote_sets.wrote(key, answer.revision());
        if from.replicas != to.replicas {
            let way = if from.replicas < to.replicas { "up" } else { "down" };
            let said = format!("Scaled {way} replica set {} from {} to {}", to.name, from.replicas, to.replicas);
            self.recorder.event(&deployment.view, EventType::Normal, "ScalingReplicaSet", said);
        }
        Ok(())
    }

    /// Takes over an old set's template, or says why not; either way nobody asks for it any more.
    async fn roll_back(
        &self,
        key: &ObjectKey,
        deployment: &Object<Deployment>,
        mut tree: Value,
        sets: &[Arc<Object<ReplicaSet>>],
        rollback: Rollback,
    ) -> Result<Requeue, ReconcileError> {
        let (kind, reason, said) = match rollback {
            Rollback::To { uid, revision } => {
                if let Some(set) = sets.iter().find(|set| set.uid() == uid) {
                    take_template(&mut tree, &json::parse(&set.bytes)?);
                }
                let said = format!("Rolled back deployment \"{}\" to revision {revision}", deployment.name());
                (EventType::Normal, "DeploymentRollback", said)
            }
            Rollback::Refused(reason, said) => (EventType::Warning, reason, said),
        };
        annotations(&mut tree).remove(ROLLBACK_TO);
        let answer = self.client.kind::<Deployment>(&key.namespace).update(tree, &WriteOptions::default()).await?;
        self.wrote_deployment.wrote(key, answer.revision());
        self.recorder.event(&deployment.view, kind, reason, said);
        Ok(Requeue::Never)
    }
}

/// The annotations of an object for writing: their names have dots and slashes, so no path reaches them.
fn annotations(tree: &mut Value) -> &mut api::value::Map {
    tree.at_or_insert("metadata.annotations").make_object()
}

/// A new set: the deployment's template and selector, both with the hash.
fn set_body(owner: &Owner, deployment: &Value, new: &Set, hash: &str) -> Value {
    let mut template = deployment.at("spec.template").clone();
    template.set("metadata.labels.pod-template-hash", hash);
    let mut selector = deployment.at("spec.selector").clone();
    selector.set("matchLabels.pod-template-hash", hash);
    let mut body = Value::object();
    body.set("metadata.name", new.name.as_str());
    body.set("metadata.namespace", deployment.str_at("metadata.namespace"));
    body.set("metadata.labels", template.at("metadata.labels").clone());
    let annotations = annotations(&mut body);
    for (name, value) in &new.annotations {
        annotations.insert(name.as_str(), value.as_str());
    }
    body.set("metadata.ownerReferences", Value::Array(vec![owner.reference()]));
    body.set("spec.replicas", new.replicas);
    if new.min_ready_seconds != 0 {
        body.set("spec.minReadySeconds", new.min_ready_seconds);
    }
    body.set("spec.selector", selector);
    body.set("spec.template", template);
    body
}

/// Puts a set's template and annotations into its deployment.
fn take_template(deployment: &mut Value, set: &Value) {
    let mut template = set.at("spec.template").clone();
    if let Some(labels) = template.at_mut("metadata.labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    deployment.set("spec.template", template);
    let there = annotations(deployment);
    there.retain(|name, _| NOT_COPIED.contains(&name.as_str()));
    let taken = set.at("metadata.annotations").as_object().into_iter().flat_map(|map| map.iter());
    for (name, value) in taken.filter(|(name, _)| !NOT_COPIED.contains(&name.as_str())) {
        there.insert(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests;
