//! Deletes finished jobs when their time to live is over.
//!
//! Upstream: pkg/controller/ttlafterfinished.

use std::sync::Arc;
use std::time::Duration;

use client::{
    Client, DeleteOptions, Given, Informer, MetaExt, Object, ObjectKey, Propagation, Reconcile, ReconcileError,
    Requeue, WorkQueue,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;

use super::model::JobExt;
use crate::context::Context;

const NAME: &str = "ttl-after-finished-controller";

/// The controller.
pub struct TtlController {
    jobs: Informer<Job>,
    client: Client,
    given: Given,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let jobs = context.informers.kind::<Job>();
    let queue = WorkQueue::default();
    let finished = queue.clone();
    jobs.subscribe(move |event| {
        if ends_at(event.object()).is_some() {
            finished.add(event.object().key());
        }
    });
    let controller = TtlController { jobs: jobs.clone(), client: context.client(NAME), given: context.given.clone() };
    jobs.synced().await;
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// When a job is to go; none while it runs, or if it may stay.
pub fn ends_at(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec().ttl_seconds_after_finished.filter(|_| !job.is_deleting())?;
    let end = ["Complete", "Failed"].iter().filter_map(|kind| job.condition(kind)).find(|one| one.status == "True")?;
    end.last_transition_time.as_ref()?.0.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

/// How long that is from now; none once it is over.
fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    let left = Duration::try_from(ends_at(job)?.duration_since(now)).ok()?;
    Some(left).filter(|left| !left.is_zero())
}

impl Reconcile for TtlController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(job) = self.jobs.get(key).filter(|job| ends_at(job).is_some()) else { return Ok(Requeue::Never) };
        if let Some(left) = left(&job, self.given.now()) {
            return Ok(Requeue::After(left));
        }
        // The cache may not know yet that somebody has given it more time.
        let jobs = self.client.kind::<Job>(&key.namespace);
        let Some(answer) = jobs.get_opt(&key.name).await? else { return Ok(Requeue::Never) };
        let fresh: Object<Job> = answer.object()?;
        if fresh.uid() != job.uid() || ends_at(&fresh).is_none() {
            return Ok(Requeue::Never);
        }
        if let Some(left) = left(&fresh, self.given.now()) {
            return Ok(Requeue::After(left));
        }
        let options = DeleteOptions {
            resource_version: fresh.metadata.resource_version.clone(),
            ..DeleteOptions::of_uid(fresh.uid()).propagate(Propagation::Foreground)
        };
        match jobs.delete(&key.name, &options).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Requeue::Never),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::View;
    use rstest::rstest;

    #[rstest]
    #[case::not_finished(r#""ttlSecondsAfterFinished":5"#, "", None)]
    #[case::no_limit("", r#"{"type":"Failed","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}"#, None)]
    #[case::over(
        r#""ttlSecondsAfterFinished":5"#,
        r#"{"type":"Complete","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}"#,
        Some("2026-01-01T00:00:05Z")
    )]
    fn when_a_job_goes(#[case] spec: &str, #[case] condition: &str, #[case] expected: Option<&str>) {
        let comma = if spec.is_empty() { "" } else { "," };
        let text = format!(
            r#"{{"metadata":{{}},"spec":{{{spec}{comma}"template":{{}}}},"status":{{"conditions":[{condition}]}}}}"#
        );
        let job = Job::decode(text.as_bytes()).unwrap();
        assert_eq!(ends_at(&job), expected.map(|time| time.parse().unwrap()));
    }
}
