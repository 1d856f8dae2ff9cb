//! DaemonSet controller: one pod on every node where one belongs.
//!
//! Upstream: pkg/controller/daemon. [`plan`] decides; pods are bound to their node by the scheduler, through an
//! affinity that [`template`] gives them; versions of the template are ControllerRevisions.

pub mod plan;
pub mod template;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::int_or_string::IntOrString;
use api::value::Value;
use bytes::Bytes;
use client::informer::index;
use client::{
    Client, ClientError, Event, EventRecorder, EventType, Given, Informer, MetaExt, Object, ObjectKey, Patch,
    Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString as TypedIntOrString;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::plan::{Counts, Observed, Plan, Strategy, fit, plan};
use crate::common::claim::{Owner, claim};
use crate::common::pod_control::{PodControl, bytes_from_template};
use crate::common::read_back::ReadBack;
use crate::common::revisions::{self, Histories, REVISION_HASH};
use crate::common::selectors::{selector, selects};
use crate::common::{owners, tree};
use crate::context::Context;

const NAME: &str = "daemon-set-controller";
/// The annotation of old API versions that numbers templates.
const GENERATION: &str = "deprecated.daemonset.template.generation";
/// Most pods created or deleted in one reconcile; upstream's `BurstReplicas`.
const BURST_MAX: usize = 250;
/// Waits before a failed pod of a node is made anew.
const FAILED_FIRST: Duration = Duration::from_secs(1);
const FAILED_MAX: Duration = Duration::from_secs(15 * 60);

/// The controller.
pub struct DaemonSetController {
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    client: Client,
    control: PodControl,
    recorder: EventRecorder,
    given: Given,
    wrote_set: ReadBack<DaemonSet>,
    wrote_pods: ReadBack<Pod>,
    wrote_revisions: ReadBack<ControllerRevision>,
    /// Per set and node: when a failed pod was last deleted, and the wait after that.
    failures: Mutex<HashMap<(String, String), (Instant, Duration)>>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let informers = &context.informers;
    let (sets, pods) = (informers.kind::<DaemonSet>(), informers.kind::<Pod>());
    let (nodes, revisions) = (informers.kind::<Node>(), informers.kind::<ControllerRevision>());
    let queue = WorkQueue::default();
    pods.add_index(index::CONTROLLER_UID, index::controller_uid);
    pods.add_index(index::ORPHANS, index::orphan_namespace);
    revisions.add_index(index::CONTROLLER_UID, index::controller_uid);
    revisions.add_index(index::ORPHANS, index::orphan_namespace);
    owners::watch_owners(&sets, &queue);
    owners::watch_dependents(&pods, &sets, &queue, |set: &DaemonSet, pod: &Pod| {
        selects(&selector(&set.spec.selector), &pod.metadata.labels)
    });
    owners::watch_history(&revisions, &sets, &queue, |set: &DaemonSet, revision: &ControllerRevision| {
        selects(&selector(&set.spec.selector), &revision.metadata.labels)
    });
    watch_nodes(&nodes, &sets, &queue);
    let client = context.client(NAME);
    let recorder = context.recorder(NAME);
    let controller = DaemonSetController {
        control: PodControl::new(client.clone(), recorder.clone()),
        client,
        recorder,
        given: context.given.clone(),
        wrote_set: ReadBack::new(&sets),
        wrote_pods: ReadBack::new(&pods),
        wrote_revisions: ReadBack::new(&revisions),
        failures: Mutex::default(),
        sets: sets.clone(),
        pods: pods.clone(),
        nodes: nodes.clone(),
        revisions: revisions.clone(),
    };
    tokio::join!(sets.synced(), pods.synced(), nodes.synced(), revisions.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// A node that comes, goes, or changes its labels or taints concerns the sets to which it now is something else.
fn watch_nodes(nodes: &Informer<Node>, sets: &Informer<DaemonSet>, queue: &WorkQueue<ObjectKey>) {
    let (sets, queue) = (sets.clone(), queue.clone());
    nodes.subscribe(move |event| {
        if let Event::Updated { old, new } = event
            && old.metadata.labels == new.metadata.labels
            && taints(old) == taints(new)
        {
            return;
        }
        for set in sets.list() {
            let spec = daemon_spec(&set);
            let tolerations = spec.tolerations.clone().unwrap_or_default();
            let fits = |node: &Node| fit(&spec, &tolerations, node);
            let concerns = match event {
                Event::Added(node) => fits(node).should_run,
                Event::Updated { old, new } => fits(old) != fits(new),
                Event::Deleted { .. } => true,
            };
            if concerns {
                queue.add(set.key());
            }
        }
    });
}

fn taints(node: &Node) -> Option<&Vec<k8s_openapi::api::core::v1::Taint>> {
    node.spec.as_ref()?.taints.as_ref()
}

/// The template's spec with the tolerations of daemon pods.
fn daemon_spec(set: &Object<DaemonSet>) -> PodSpec {
    let with_tolerations = || {
        let mut tree = json::parse(&set.bytes)?.at("spec.template").clone();
        template::add_tolerations(&mut tree);
        let tolerations = json::from_tree(tree.at("spec.tolerations"))?;
        Ok::<_, ClientError>(PodSpec { tolerations, ..set.spec.template.spec.clone().unwrap_or_default() })
    };
    // The bytes were read when the object was cached.
    with_tolerations().unwrap_or_default()
}

impl Reconcile for DaemonSetController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote_set.wait(key).await;
        self.wrote_pods.wait(key).await;
        self.wrote_revisions.wait(key).await;
        let Some(set) = self.sets.get(key).filter(|set| !set.is_deleting()) else { return Ok(Requeue::Never) };
        let selector = selector(&set.spec.selector);
        if selector.is_empty() {
            const SAID: &str = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.event(&set.view, EventType::Warning, "SelectingAll", SAID);
            return Ok(Requeue::Never);
        }
        let owner = Owner::of(&set.view);
        let tree = json::parse(&set.bytes)?;
        let template = tree.at("spec.template");
        let pods = self.claim_pods(key, &set, &owner, &selector).await?;
        let (hash, histories) = self.sync_history(key, &set, &owner, &tree, &pods).await?;
        let observed = self.observe(&set, template, hash, pods)?;
        let plan = plan(&observed, self.given.now());
        let again_in = plan.again_in;
        let outcome = self.act(key, &set, &owner, template.clone(), &observed, plan).await;
        if outcome.is_ok() {
            self.clean_up(key, &set, &histories, &observed).await?;
        }
        let again = self.finish(key, &set, tree, observed.counts(self.given.now())).await?;
        outcome?;
        let again = [again, again_in].into_iter().flatten().min();
        Ok(again.map_or(Requeue::Never, Requeue::After))
    }
}

impl DaemonSetController {
    async fn claim_pods(
        &self,
        key: &ObjectKey,
        set: &Object<DaemonSet>,
        owner: &Owner,
        selector: &api::selector::LabelSelector,
    ) -> Result<Vec<Arc<Object<Pod>>>, ClientError> {
        let candidates: Vec<_> = self.pods.with(|cache| {
            let owned = cache.indexed(index::CONTROLLER_UID, set.uid());
            owned.chain(cache.indexed(index::ORPHANS, &key.namespace)).cloned().collect()
        });
        let claims = claim(owner, selector, candidates);
        let sets = self.client.kind::<DaemonSet>(&key.namespace);
        let (pods, revision) = claims.settle(owner, &sets, &self.client.kind::<Pod>(&key.namespace), None).await?;
        self.wrote_pods.wrote(key, revision);
        Ok(pods)
    }

    /// Makes sure that the current template has a revision, and gives its hash.
    async fn sync_history(
        &self,
        key: &ObjectKey,
        set: &Object<DaemonSet>,
        owner: &Owner,
        tree: &Value,
        pods: &[Arc<Object<Pod>>],
    ) -> Result<(String, Histories), ReconcileError> {
        let api = self.client.kind::<ControllerRevision>(&key.namespace);
        let candidates: Vec<_> = self.revisions.with(|cache| {
            let owned = cache.indexed(index::CONTROLLER_UID, set.uid());
            owned.chain(cache.indexed(index::ORPHANS, &key.namespace)).cloned().collect()
        });
        let claims = claim(owner, &selector(&set.spec.selector), candidates);
        let sets = self.client.kind::<DaemonSet>(&key.namespace);
        let (known, revision) = claims.settle(owner, &sets, &api, None).await?;
        self.wrote_revisions.wrote(key, revision);
        let template = tree.at("spec.template");
        let histories = revisions::sort_out(&known, &revisions::saved(template))?;
        let Some((name, number)) = &histories.current else {
            let hash = self.create_revision(key, set, owner, tree, histories.number).await?;
            return Ok((hash, histories));
        };
        let Some(current) = known.iter().find(|one| one.name() == name) else {
            return Err(ClientError::Request(format!("controller revision {name} is gone")).into());
        };
        if revisions::number_of(&current.view) != *number {
            self.wrote_revisions.wrote(key, revisions::renumber(&api, current, *number).await?);
        }
        let hash = current.label(REVISION_HASH).unwrap_or(name).to_owned();
        if !histories.duplicates.is_empty() {
            self.merge_duplicates(key, &histories.duplicates, &hash, pods).await?;
        }
        Ok((hash, histories))
    }

    async fn create_revision(
        &self,
        key: &ObjectKey,
        set: &Object<DaemonSet>,
        owner: &Owner,
        tree: &Value,
        number: i64,
    ) -> Result<String, ReconcileError> {
        let api = self.client.kind::<ControllerRevision>(&key.namespace);
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let annotations = tree.at("metadata.annotations");
        let template = tree.at("spec.template");
        match revisions::create(&api, owner, REVISION_HASH, template, annotations, collisions, number).await {
            Ok((_, hash, revision)) => {
                self.wrote_revisions.wrote(key, revision);
                Ok(hash)
            }
            Err(error) if error.is_already_exists() => {
                // Another template has this hash: the next try counts one collision more.
                let tree = set.edit(|tree| tree.set("status.collisionCount", collisions.unwrap_or(0) + 1))?;
                let sets = self.client.kind::<DaemonSet>(&key.namespace);
                let answer = sets.update_status(tree, &WriteOptions::default()).await?;
                self.wrote_set.wrote(key, answer.revision());
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Several revisions of the same template become one: pods get its label, the others go.
    async fn merge_duplicates(
        &self,
        key: &ObjectKey,
        duplicates: &[String],
        hash: &str,
        pods: &[Arc<Object<Pod>>],
    ) -> Result<(), ClientError> {
        let api = self.client.kind::<Pod>(&key.namespace);
        for pod in pods.iter().filter(|pod| pod.label(REVISION_HASH) != Some(hash)) {
            // Only those of the duplicates: others are of old templates.
            if !duplicates.iter().any(|name| pod.label(REVISION_HASH).is_some_and(|hash| name.ends_with(hash))) {
                continue;
            }
            let mut patch = Value::object();
            patch.at_or_insert("metadata.labels").make_object().insert(REVISION_HASH, hash);
            let answer = api.patch(pod.name(), "", &Patch::Merge(patch), &WriteOptions::default()).await?;
            self.wrote_pods.wrote(key, answer.revision());
        }
        let revisions = self.client.kind::<ControllerRevision>(&key.namespace);
        for name in duplicates {
            self.wrote_revisions.wrote(key, revisions::delete(&revisions, name).await?);
        }
        Ok(())
    }

    fn observe(
        &self,
        set: &Object<DaemonSet>,
        template: &Value,
        hash: String,
        pods: Vec<Arc<Object<Pod>>>,
    ) -> Result<Observed, ClientError> {
        let spec = daemon_spec(set);
        let tolerations = spec.tolerations.clone().unwrap_or_default();
        let mut nodes = self.nodes.list();
        nodes.sort_by(|a, b| a.name().cmp(b.name()));
        let desired = nodes.iter().filter(|node| fit(&spec, &tolerations, node).should_run).count();
        let now = Instant::now();
        let failures = self.failures.lock();
        let left = failures.iter().filter(|((uid, _), _)| uid == set.uid());
        let left = left.map(|((_, node), (at, wait))| (node.clone(), (*at + *wait).saturating_duration_since(now)));
        debug_assert!(!template.is_null());
        Ok(Observed {
            spec,
            tolerations,
            min_ready_seconds: set.spec.min_ready_seconds.unwrap_or(0),
            strategy: strategy(set, desired),
            hash,
            generation: generation(set).map(|number| number.to_string()),
            nodes,
            pods,
            backoff: left.filter(|(_, left)| !left.is_zero()).collect(),
        })
    }

    async fn act(
        &self,
        key: &ObjectKey,
        set: &Object<DaemonSet>,
        owner: &Owner,
        mut template: Value,
        observed: &Observed,
        plan: Plan,
    ) -> Result<(), ReconcileError> {
        for (pod, node) in &plan.failed {
            let said = format!("Found failed daemon pod {}/{pod} on node {node}, will try to kill it", key.namespace);
            self.recorder.event(&set.view, EventType::Warning, "FailedDaemonPod", said);
            self.note_failure(set.uid(), node);
        }
        for (pod, node) in &plan.succeeded {
            let said =
                format!("Found succeeded daemon pod {}/{pod} on node {node}, will try to delete it", key.namespace);
            self.recorder.event(&set.view, EventType::Normal, "SucceededDaemonPod", said);
        }
        template::add_tolerations(&mut template);
        template::add_labels(&mut template, &observed.hash, observed.generation.as_deref());
        let body = |at: usize| -> Bytes {
            let mut template = template.clone();
            template::bind_to(&mut template, &plan.create_on[at]);
            bytes_from_template(owner, &template)
        };
        let count = plan.create_on.len().min(BURST_MAX);
        let created = self.control.create_slowly(&set.view, &key.namespace, count, body).await;
        self.wrote_pods.wrote(key, created.revision);
        let delete = &plan.delete[..plan.delete.len().min(BURST_MAX)];
        let deleted = self.control.delete_all(&set.view, &key.namespace, delete).await;
        self.wrote_pods.wrote(key, deleted.revision);
        let failed = created.error.filter(|error| !error.is_namespace_terminating()).or(deleted.error);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The next failed pod of this node waits twice as long; after a long time without one it begins anew.
    fn note_failure(&self, uid: &str, node: &str) {
        let now = Instant::now();
        let mut failures = self.failures.lock();
        failures.retain(|_, (at, _)| now.duration_since(*at) < 2 * FAILED_MAX);
        let entry = failures.entry((uid.to_owned(), node.to_owned()));
        entry.and_modify(|(at, wait)| (*at, *wait) = (now, (*wait * 2).min(FAILED_MAX))).or_insert((now, FAILED_FIRST));
    }

    /// Old revisions beyond the limit go, if no pod is of them.
    async fn clean_up(
        &self,
        key: &ObjectKey,
        set: &Object<DaemonSet>,
        histories: &Histories,
        observed: &Observed,
    ) -> Result<(), ClientError> {
        let limit = usize::try_from(set.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let surplus = histories.old.len().saturating_sub(limit);
        let api = self.client.kind::<ControllerRevision>(&key.namespace);
        let known = |name: &String| self.revisions.find(&key.namespace, name);
        let is_live = |name: &String| {
            let hash = known(name).and_then(|one| one.label(REVISION_HASH).map(str::to_owned));
            hash.is_some_and(|hash| observed.pods.iter().any(|pod| pod.label(REVISION_HASH) == Some(&hash)))
        };
        for name in histories.old.iter().filter(|name| !is_live(name)).take(surplus) {
            self.wrote_revisions.wrote(key, revisions::delete(&api, name).await?);
        }
        Ok(())
    }

    /// Writes the status if it changed; says when to look again for pods that become available by waiting.
    async fn finish(
        &self,
        key: &ObjectKey,
        set: &Object<DaemonSet>,
        mut tree: Value,
        counts: Counts,
    ) -> Result<Option<Duration>, ClientError> {
        let before = tree.get("status").clone();
        tree.set("status.currentNumberScheduled", counts.current);
        tree.set("status.numberMisscheduled", counts.misscheduled);
        tree.set("status.desiredNumberScheduled", counts.desired);
        tree.set("status.numberReady", counts.ready);
        tree::set_count(&mut tree, "status.observedGeneration", set.generation());
        tree::set_count(&mut tree, "status.updatedNumberScheduled", counts.updated);
        tree::set_count(&mut tree, "status.numberAvailable", counts.available);
        tree::set_count(&mut tree, "status.numberUnavailable", counts.desired - counts.available);
        if *tree.get("status") != before {
            let sets = self.client.kind::<DaemonSet>(&key.namespace);
            let answer = sets.update_status(tree, &WriteOptions::default()).await?;
            self.wrote_set.wrote(key, answer.revision());
        }
        let min_ready = u64::try_from(set.spec.min_ready_seconds.unwrap_or(0)).unwrap_or(0);
        Ok((min_ready > 0 && counts.ready != counts.available).then(|| Duration::from_secs(min_ready)))
    }
}

fn generation(set: &DaemonSet) -> Option<i64> {
    set.annotation(GENERATION)?.parse().ok()
}

/// The update strategy in numbers, for so many nodes.
fn strategy(set: &DaemonSet, desired: usize) -> Strategy {
    let Some(strategy) = &set.spec.update_strategy else { return Strategy::OnDelete };
    if strategy.type_.as_deref() != Some("RollingUpdate") {
        return Strategy::OnDelete;
    }
    let rolling = strategy.rolling_update.as_ref();
    let scaled = |value: Option<&TypedIntOrString>, absent: i32| {
        let value = match value {
            Some(TypedIntOrString::Int(number)) => IntOrString::Int(*number),
            Some(TypedIntOrString::String(text)) => IntOrString::String(text.clone()),
            None => IntOrString::Int(absent),
        };
        let total = i64::try_from(desired).unwrap_or(i64::MAX);
        value.scaled(total, true).ok().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
    };
    let max_surge = scaled(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
    let max_unavailable = scaled(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 0);
    // If both come to nothing, one pod may be missing, or nothing could move.
    let max_unavailable = if max_surge == 0 { max_unavailable.max(1) } else { max_unavailable };
    Strategy::Rolling { max_surge, max_unavailable }
}

#[cfg(test)]
mod tests;
