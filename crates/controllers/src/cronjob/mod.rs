//! CronJob controller: starts jobs at the times of a schedule.
//!
//! Upstream: pkg/controller/cronjob. [`schedule`] knows the times, [`plan`] decides; this file observes and acts.

pub mod plan;
pub mod schedule;

use std::sync::Arc;

use api::value::{Map, Value};
use client::informer::index;
use client::{
    Api, Client, ClientError, DeleteOptions, Event, EventRecorder, EventType, Given, Informer, MetaExt, Object,
    ObjectKey, Propagation, Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};

use self::plan::{Observed, Plan, Said, job_name, next_look, plan};
use self::schedule::{Timetable, zone};
use crate::common::claim::Owner;
use crate::common::read_back::ReadBack;
use crate::common::{owners, tree};
use crate::context::Context;

const NAME: &str = "cronjob-controller";
/// The annotation with the time for which a job was started.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The controller.
pub struct CronJobController {
    crons: Informer<CronJob>,
    jobs: Informer<Job>,
    client: Client,
    recorder: EventRecorder,
    given: Given,
    wrote_cron: ReadBack<CronJob>,
    wrote_jobs: ReadBack<Job>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (crons, jobs) = (context.informers.kind::<CronJob>(), context.informers.kind::<Job>());
    let queue = WorkQueue::default();
    jobs.add_index(index::CONTROLLER_UID, index::controller_uid);
    watch_crons(&crons, &queue, context.given.clone());
    owners::watch_dependents(&jobs, &crons, &queue, |_: &CronJob, _: &Job| false);
    let client = context.client(NAME);
    let controller = CronJobController {
        recorder: context.recorder(NAME),
        client,
        given: context.given.clone(),
        wrote_cron: ReadBack::new(&crons),
        wrote_jobs: ReadBack::new(&jobs),
        crons: crons.clone(),
        jobs: jobs.clone(),
    };
    tokio::join!(crons.synced(), jobs.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// A changed schedule is first looked at when its next time comes: times that it would have had don't count as missed.
fn watch_crons(crons: &Informer<CronJob>, queue: &WorkQueue<ObjectKey>, given: Given) {
    let queue = queue.clone();
    crons.subscribe(move |event| {
        let cron = event.object();
        let times = |cron: &CronJob| (cron.spec.schedule.clone(), cron.spec.time_zone.clone());
        let next = match event {
            Event::Updated { old, new } if times(old) != times(new) => {
                timetable(new).ok().and_then(|timetable| next_look(new, &timetable, given.now()))
            }
            _ => None,
        };
        match next {
            Some(wait) => queue.add_after(cron.key(), wait),
            None => queue.add(cron.key()),
        }
    });
}

/// A cron job's times; or what is wrong with them.
fn timetable(cron: &CronJob) -> Result<Timetable, Said> {
    let spec = &cron.spec;
    let zone = match &spec.time_zone {
        Some(name) => Some(zone(name).map_err(|error| {
            (EventType::Warning, "UnknownTimeZone", format!("invalid timeZone: {name:?}: {error}"))
        })?),
        None => None,
    };
    Timetable::new(&spec.schedule, zone).map_err(|error| {
        let said = format!("unparseable schedule: {:?} : {error}", spec.schedule);
        (EventType::Warning, "UnparseableSchedule", said)
    })
}

impl Reconcile for CronJobController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote_cron.wait(key).await;
        self.wrote_jobs.wait(key).await;
        let Some(cron) = self.crons.get(key) else { return Ok(Requeue::Never) };
        let jobs = self.jobs.indexed(index::CONTROLLER_UID, cron.uid());
        let timetable = timetable(&cron);
        let plan = plan(&Observed { cron: &cron, jobs: &jobs, timetable: timetable.clone(), now: self.given.now() });
        for (kind, reason, message) in &plan.said {
            self.recorder.event(&cron.view, *kind, reason, message.as_str());
        }
        for name in plan.forget.iter().chain(&plan.replace) {
            self.delete(key, &cron, name).await?;
        }
        let tree = json::parse(&cron.bytes)?;
        let started = match (plan.start, &timetable) {
            (Some(time), Ok(timetable)) => self.start(key, &cron, &tree, timetable, time).await?,
            _ => None,
        };
        self.finish(key, tree, &plan, started).await?;
        Ok(plan.again_in.map_or(Requeue::Never, Requeue::After))
    }
}

impl CronJobController {
    fn jobs_of(&self, key: &ObjectKey) -> Api {
        self.client.kind::<Job>(&key.namespace)
    }

    async fn delete(&self, key: &ObjectKey, cron: &Object<CronJob>, name: &str) -> Result<(), ClientError> {
        let options = DeleteOptions::default().propagate(Propagation::Background);
        match self.jobs_of(key).delete(name, &options).await {
            Ok(answer) => {
                self.wrote_jobs.wrote(key, answer.revision());
                let said = format!("Deleted job {name}");
                self.recorder.event(&cron.view, EventType::Normal, "SuccessfulDelete", said);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let said = format!("Deleted job: {error}");
                self.recorder.event(&cron.view, EventType::Warning, "FailedDelete", said);
                Err(error)
            }
        }
    }

    /// Makes the job of a time. None if somebody else made one of that name.
    async fn start(
        &self,
        key: &ObjectKey,
        cron: &Object<CronJob>,
        tree: &Value,
        timetable: &Timetable,
        time: Timestamp,
    ) -> Result<Option<(Object<Job>, Timestamp)>, ReconcileError> {
        let body = job_body(&Owner::of(&cron.view), tree, timetable, time);
        match self.jobs_of(key).create_tree(body, &WriteOptions::default()).await {
            Ok(answer) => {
                let job: Object<Job> = answer.object()?;
                self.wrote_jobs.wrote(key, job.revision);
                let said = format!("Created job {}", job.name());
                self.recorder.event(&cron.view, EventType::Normal, "SuccessfulCreate", said);
                Ok(Some((job, time)))
            }
            Err(error) if error.is_already_exists() => {
                // Made by ourselves before the status was written, or by somebody else, who then minds it.
                let job: Object<Job> = self.jobs_of(key).get(&job_name(&key.name, time)).await?.object()?;
                Ok((job.controller_uid() == Some(cron.uid())).then_some((job, time)))
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let said = format!("Error creating job: {error}");
                    self.recorder.event(&cron.view, EventType::Warning, "FailedCreate", said);
                }
                Err(error.into())
            }
        }
    }

    /// Writes the status, if it changed.
    async fn finish(
        &self,
        key: &ObjectKey,
        mut tree: Value,
        plan: &Plan,
        started: Option<(Object<Job>, Timestamp)>,
    ) -> Result<(), ClientError> {
        let before = tree.get("status").clone();
        let known = tree.array_at("status.active").iter();
        let mut active: Vec<Value> =
            known.filter(|one| plan.active.iter().any(|uid| uid == one.str_at("uid"))).cloned().collect();
        if let Some((job, time)) = started {
            active.push(reference(&job));
            tree.set("status.lastScheduleTime", tree::time(time));
        }
        tree::set_option(&mut tree, "status.active", Some(active).filter(|active| !active.is_empty()));
        if let Some(time) = plan.last_success {
            tree.set("status.lastSuccessfulTime", tree::time(time));
        }
        if *tree.get("status") != before {
            let crons = self.client.kind::<CronJob>(&key.namespace);
            let answer = crons.update_status(tree, &WriteOptions::default()).await?;
            self.wrote_cron.wrote(key, answer.revision());
        }
        Ok(())
    }
}

/// The job of a time: the template's labels, annotations and spec.
fn job_body(owner: &Owner, cron: &Value, timetable: &Timetable, time: Timestamp) -> Value {
    let template = cron.at("spec.jobTemplate");
    let mut annotations = template.at("metadata.annotations").as_object().cloned().unwrap_or_default();
    annotations.insert(SCHEDULED, timetable.local(time));
    let mut metadata = Map::new();
    metadata.insert("name", job_name(&owner.name, time));
    if let Some(labels) = template.at("metadata").field("labels") {
        metadata.insert("labels", labels.clone());
    }
    metadata.insert("annotations", annotations);
    metadata.insert("ownerReferences", Value::Array(vec![owner.reference()]));
    let mut body = Map::new();
    body.insert("metadata", metadata);
    body.insert("spec", template.get("spec").clone());
    Value::Object(body)
}

fn reference(job: &Object<Job>) -> Value {
    let mut reference = Map::new();
    reference.insert("kind", "Job");
    reference.insert("namespace", job.namespace());
    reference.insert("name", job.name());
    reference.insert("uid", job.uid());
    reference.insert("apiVersion", "batch/v1");
    reference.insert("resourceVersion", job.revision.to_string());
    Value::Object(reference)
}

#[cfg(test)]
mod tests;
