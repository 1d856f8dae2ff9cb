//! Job controller: runs pods until enough of them have succeeded, or too many have failed.
//!
//! Upstream: pkg/controller/job. [`plan`] decides which pods to make or delete and whether the job is over, [`track`]
//! counts the ones that ended, each once; this file observes and acts. [`orphans`] and [`ttl`] clean up after them.

pub mod backoff;
pub mod indexes;
pub mod model;
pub mod orphans;
pub mod plan;
pub mod policy;
pub mod template;
pub mod track;
pub mod ttl;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::value::Value;
use bytes::Bytes;
use client::informer::index;
use client::{
    Api, Client, ClientError, EventRecorder, EventType, Given, Informer, MetaExt, Object, ObjectKey, Patch, Reconcile,
    ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use futures::future::join_all;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use self::backoff::Record;
use self::model::{JobExt, TRACKING};
use self::orphans::Orphans;
use self::plan::{Action, Counts, Observed, Plan, is_complete, plan};
use self::track::{Tracked, count_released, finish, track};
use crate::common::claim::{Owner, claim};
use crate::common::pod_control::PodControl;
use crate::common::read_back::ReadBack;
use crate::common::selectors::{selector, selects};
use crate::common::{owners, pods};
use crate::context::Context;

const NAME: &str = "job-controller";
/// Pods of a job often end together: one reconcile serves all that end within this time. Upstream waits a second.
const BATCH: Duration = Duration::from_millis(100);

/// The controller.
pub struct JobController {
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    client: Client,
    control: PodControl,
    recorder: EventRecorder,
    given: Given,
    wrote_job: ReadBack<Job>,
    wrote_pods: ReadBack<Pod>,
    records: Mutex<HashMap<ObjectKey, Record>>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (jobs, pods) = (context.informers.kind::<Job>(), context.informers.kind::<Pod>());
    let queue = WorkQueue::default();
    pods.add_index(index::CONTROLLER_UID, index::controller_uid);
    pods.add_index(index::ORPHANS, index::orphan_namespace);
    owners::watch_owners(&jobs, &queue);
    let orphan_queue = WorkQueue::default();
    orphans::watch(&jobs, &pods, &orphan_queue);
    owners::watch_dependents_batched(&pods, &jobs, &queue, BATCH, |job: &Job, pod: &Pod| {
        job.spec().selector.as_ref().is_some_and(|one| selects(&selector(one), &pod.metadata.labels))
    });
    let client = context.client(NAME);
    let recorder = context.recorder(NAME);
    let controller = JobController {
        control: PodControl::new(client.clone(), recorder.clone()),
        client: client.clone(),
        recorder,
        given: context.given.clone(),
        wrote_job: ReadBack::new(&jobs),
        wrote_pods: ReadBack::new(&pods),
        records: Mutex::default(),
        jobs: jobs.clone(),
        pods: pods.clone(),
    };
    tokio::join!(jobs.synced(), pods.synced());
    let orphans = Arc::new(Orphans { jobs, pods, client });
    tokio::join!(
        client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop.clone()),
        client::queue::run(NAME, orphans, orphan_queue, 1, context.stop)
    );
}

impl Reconcile for JobController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote_job.wait(key).await;
        self.wrote_pods.wait(key).await;
        let job = self.jobs.get(key).filter(|job| !job.is_managed_elsewhere());
        let Some(job) = job.filter(|job| !job.is_finished()) else {
            self.records.lock().remove(key);
            return Ok(Requeue::Never);
        };
        if !matches!(job.spec().completion_mode.as_deref(), None | Some("" | "NonIndexed" | "Indexed")) {
            const SAID: &str = "Skipped Job sync because completion mode is unknown";
            self.recorder.event(&job.view, EventType::Warning, "UnknownCompletionMode", SAID);
            return Ok(Requeue::Never);
        }
        let owner = Owner::of(&job.view);
        let pods = self.claim_pods(key, &job, &owner).await?;
        let record = self.records.lock().get(key).copied().unwrap_or_default();
        let now = self.given.now();
        let plan = plan(&Observed { job: &job, pods: &pods, record, now });
        if let Some((reason, message)) = plan.event {
            self.recorder.event(&job.view, EventType::Normal, reason, message);
        }
        let (counts, error) = self.act(key, &job, &owner, &pods, &plan).await?;
        let finished = outcome(&job, &plan, counts, now);
        let tracked = track(&job, &pods, &plan, counts, finished, now);
        self.settle(key, &job, tracked, plan.record).await?;
        match error {
            Some(error) => Err(error.into()),
            None => Ok(plan.again_in.map_or(Requeue::Never, Requeue::After)),
        }
    }
}

/// Whether the job can be declared over now.
fn outcome(job: &Job, plan: &Plan, counts: Counts, now: jiff::Timestamp) -> Option<JobCondition> {
    match &plan.finished {
        // Pods that could not be deleted still run.
        Some(_) if counts.active > 0 => None,
        Some(finished) => Some(finished.clone()),
        None if is_complete(job, counts.succeeded, counts.active) => {
            let message = "Reached expected number of succeeded pods";
            Some(model::new_condition("SuccessCriteriaMet", "True", "CompletionsReached", message, now))
        }
        None => None,
    }
}

impl JobController {
    fn api(&self, key: &ObjectKey) -> Api {
        self.client.kind::<Job>(&key.namespace)
    }

    async fn claim_pods(
        &self,
        key: &ObjectKey,
        job: &Object<Job>,
        owner: &Owner,
    ) -> Result<Vec<Arc<Object<Pod>>>, ClientError> {
        let Some(typed) = &job.spec().selector else { return Ok(Vec::new()) };
        let candidates: Vec<_> = self.pods.with(|cache| {
            let owned = cache.indexed(index::CONTROLLER_UID, job.uid());
            owned.chain(cache.indexed(index::ORPHANS, &key.namespace)).cloned().collect()
        });
        let claims = claim(owner, &selector(typed), candidates);
        let pods = self.client.kind::<Pod>(&key.namespace);
        let (owned, revision) = claims.settle(owner, &self.api(key), &pods, Some(TRACKING)).await?;
        self.wrote_pods.wrote(key, revision);
        Ok(owned)
    }

    /// Makes or deletes pods. Gives the counts after that, and the first failure.
    async fn act(
        &self,
        key: &ObjectKey,
        job: &Object<Job>,
        owner: &Owner,
        pods: &[Arc<Object<Pod>>],
        plan: &Plan,
    ) -> Result<(Counts, Option<ClientError>), ReconcileError> {
        let mut counts = plan.counts;
        let (outcome, created) = match &plan.action {
            Action::None => return Ok((counts, None)),
            Action::Create(new) => {
                let tree = json::parse(&job.bytes)?;
                let template = tree.at("spec.template");
                let body = |at: usize| -> Bytes { json::write(&template::pod(owner, template, new[at])) };
                (self.control.create_slowly(&job.view, &key.namespace, new.len(), body).await, true)
            }
            Action::Delete { names, uncounted } => {
                if *uncounted {
                    // What is not wanted any more is not to be counted either.
                    self.release(key, names).await.map_err(|(_, error)| error)?;
                }
                let is_ready = |name: &String| pods.iter().any(|pod| pod.name() == name && pods::is_ready(pod));
                let ready = names.iter().filter(|name| is_ready(name)).count();
                let outcome = self.control.delete_all(&job.view, &key.namespace, names).await;
                if outcome.error.is_none() {
                    counts.ready -= i32::try_from(ready).unwrap_or(0);
                }
                (outcome, false)
            }
        };
        self.wrote_pods.wrote(key, outcome.revision);
        let done = i32::try_from(outcome.done).unwrap_or(i32::MAX);
        if created {
            counts.active += done;
        } else {
            counts.active -= done;
            counts.terminating += done;
            counts.ready = counts.ready.min(counts.active);
        }
        Ok((counts, outcome.error.filter(|error| !error.is_namespace_terminating())))
    }

    /// Status first, then finalizers, then counters, then the end.
    async fn settle(
        &self,
        key: &ObjectKey,
        job: &Object<Job>,
        tracked: Tracked,
        record: Record,
    ) -> Result<(), ReconcileError> {
        let Tracked { mut status, release, tracked: mut holding, finished } = tracked;
        let mut tree = json::parse(&job.bytes)?;
        if job.status.as_ref() != Some(&status) {
            tree = self.write_status(key, tree, &status).await?;
        }
        self.records.lock().insert(key.clone(), record);
        let names: Vec<String> = release.iter().map(|(name, _)| name.clone()).collect();
        let released = self.release(key, &names).await;
        let failed = match &released {
            Ok(()) => &Vec::new(),
            Err((failed, _)) => failed,
        };
        for (_, uid) in release.iter().filter(|(name, _)| !failed.contains(name)) {
            holding.remove(uid);
        }
        let mut is_changed = count_released(&mut status, &holding);
        let is_finished = released.is_ok() && finished.as_ref().is_some_and(|finished| finish(&mut status, finished));
        is_changed |= is_finished;
        if is_changed {
            self.write_status(key, tree, &status).await?;
        }
        if let Some(finished) = finished.filter(|_| is_finished) {
            self.tell_end(job, &status, &finished);
        }
        released.map_err(|(_, error)| error.into())
    }

    /// Takes the finalizer from pods. On failure, those that still have it.
    async fn release(&self, key: &ObjectKey, names: &[String]) -> Result<(), (Vec<String>, ClientError)> {
        let pods = self.client.kind::<Pod>(&key.namespace);
        let patch = Patch::Strategic(template::release_patch());
        let options = WriteOptions::default();
        let answers = join_all(names.iter().map(|name| pods.patch(name, "", &patch, &options))).await;
        let (mut failed, mut first) = (Vec::new(), None);
        for (name, answer) in names.iter().zip(answers) {
            match answer {
                Ok(answer) => self.wrote_pods.wrote(key, answer.revision()),
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    failed.push(name.clone());
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(()), |error| Err((failed, error)))
    }

    async fn write_status(&self, key: &ObjectKey, mut tree: Value, status: &JobStatus) -> Result<Value, ClientError> {
        put_status(&mut tree, json::to_tree(status)?);
        let answer = self.api(key).update_status(tree, &WriteOptions::default()).await?;
        self.wrote_job.wrote(key, answer.revision());
        answer.tree()
    }

    fn tell_end(&self, job: &Object<Job>, status: &JobStatus, finished: &JobCondition) {
        if finished.type_ == "Complete" {
            if job.spec().completions.is_some_and(|wanted| status.succeeded.unwrap_or(0) > wanted) {
                const SAID: &str = "Too many succeeded pods running after completion count reached";
                self.recorder.event(&job.view, EventType::Warning, "TooManySucceededPods", SAID);
            }
            self.recorder.event(&job.view, EventType::Normal, "Completed", "Job completed");
        } else {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (reason, message) = (text(&finished.reason), text(&finished.message));
            self.recorder.event(&job.view, EventType::Warning, &reason, message);
        }
    }
}

/// The fields of a job's status that this controller writes.
const STATUS_FIELDS: [&str; 11] = [
    "conditions",
    "startTime",
    "completionTime",
    "active",
    "succeeded",
    "failed",
    "terminating",
    "completedIndexes",
    "failedIndexes",
    "uncountedTerminatedPods",
    "ready",
];

/// Puts a status into a job's tree, leaving fields alone that this program does not know.
fn put_status(tree: &mut Value, status: Value) {
    let there = tree.at_or_insert("status").make_object();
    for field in STATUS_FIELDS {
        match status.field(field) {
            Some(value) => drop(there.insert(field, value.clone())),
            None => drop(there.remove(field)),
        }
    }
}

#[cfg(test)]
mod tests;
