//! What a job asks for, and what its pods say.

use std::collections::HashMap;

use client::MetaExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::common::pods;

/// Keeps a pod until its job has counted it.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label with a pod's completion index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation: counted failures of the index before this pod.
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: failures of the index that the policy ignored.
pub const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
/// Who manages jobs that name nobody else.
const MANAGER: &str = "kubernetes.io/job-controller";

/// Short access to a job's fields, with upstream's defaults.
pub trait JobExt {
    /// The spec, empty if there is none.
    fn spec(&self) -> &JobSpec;
    /// One of the status's conditions.
    fn condition(&self, kind: &str) -> Option<&JobCondition>;

    /// Pods at the same time.
    fn parallelism(&self) -> i32 {
        self.spec().parallelism.unwrap_or(1)
    }
    /// Each pod has an index.
    fn is_indexed(&self) -> bool {
        self.spec().completion_mode.as_deref() == Some("Indexed")
    }
    /// `spec.completions` of an indexed job.
    fn completions(&self) -> i32 {
        self.spec().completions.unwrap_or(1)
    }
    /// Failures before the job fails.
    fn backoff_limit(&self) -> i32 {
        self.spec().backoff_limit.unwrap_or(6)
    }
    /// No pods are wanted for now.
    fn is_suspended(&self) -> bool {
        self.spec().suspend.unwrap_or(false)
    }
    /// A pod is replaced only when it has ended, not when it is being deleted.
    fn replaces_only_failed(&self) -> bool {
        match self.spec().pod_replacement_policy.as_deref() {
            Some(policy) => policy == "Failed",
            None => self.spec().pod_failure_policy.is_some(),
        }
    }
    /// Another controller is to do it.
    fn is_managed_elsewhere(&self) -> bool {
        self.spec().managed_by.as_deref().is_some_and(|manager| manager != MANAGER)
    }
    /// Complete or failed.
    fn is_finished(&self) -> bool {
        ["Complete", "Failed"].iter().any(|kind| self.condition(kind).is_some_and(|one| one.status == "True"))
    }
    /// Whether a pod counts as failed.
    fn counts_as_failed(&self, pod: &Pod) -> bool {
        match pods::phase(pod) {
            "Failed" => true,
            "Succeeded" => false,
            _ => pod.is_deleting() && !self.replaces_only_failed(),
        }
    }
    /// A pod's index, if it has one that the job knows.
    fn valid_index(&self, pod: &Pod) -> Option<i32> {
        index_of(pod).filter(|index| *index < self.completions())
    }
}

impl JobExt for Job {
    fn spec(&self) -> &JobSpec {
        static EMPTY: std::sync::LazyLock<JobSpec> = std::sync::LazyLock::new(JobSpec::default);
        self.spec.as_ref().unwrap_or(&EMPTY)
    }

    fn condition(&self, kind: &str) -> Option<&JobCondition> {
        condition(self.status.as_ref()?, kind)
    }
}

/// One of a status's conditions.
pub fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// A condition that holds from now on.
pub fn new_condition(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Sets a condition; one that does not hold is not added. Whether something changed.
pub fn ensure_condition(status: &mut JobStatus, wanted: JobCondition) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|condition| condition.type_ == wanted.type_) {
        Some(known)
            if known.status == wanted.status && known.reason == wanted.reason && known.message == wanted.message =>
        {
            false
        }
        Some(known) => {
            *known = wanted;
            true
        }
        None if wanted.status == "False" => false,
        None => {
            conditions.push(wanted);
            true
        }
    }
}

/// The completion index that a pod's annotation names.
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotation(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// Whether a pod has not been counted for good.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// A count that an annotation holds.
pub fn annotated(pod: &Pod, annotation: &str) -> i32 {
    pod.annotation(annotation).and_then(|text| text.parse().ok()).filter(|count| *count >= 0).unwrap_or(0)
}

/// When a pod ended, as well as can be told: its last container, its `Ready` condition, its deletion, its creation.
pub fn finished_at(pod: &Pod) -> Timestamp {
    let ready = pods::condition(pod, "Ready").filter(|condition| condition.status == "False");
    let ready = || ready.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
    let deleted = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    containers_ended(pod).or_else(ready).or_else(deleted).or(pod.created()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn containers_ended(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let inits = pods::spec(pod).init_containers.iter().flatten();
    let sidecars: HashMap<&str, ()> = inits
        .filter(|one| one.restart_policy.as_deref() == Some("Always"))
        .map(|one| (one.name.as_str(), ()))
        .collect();
    let all = status.container_statuses.iter().flatten();
    let sidecars = status.init_container_statuses.iter().flatten().filter(|one| sidecars.contains_key(&*one.name));
    let ends: Option<Vec<Timestamp>> = all.chain(sidecars).map(container_ended).collect();
    ends?.into_iter().max()
}

fn container_ended(status: &ContainerStatus) -> Option<Timestamp> {
    Some(status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
}
