//! Whether a job is over, and if not, which pods to make or delete.
//!
//! Upstream: `syncJob` and `manageJob`. Several criteria can hold at once; their order here is upstream's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::{MetaExt, Object};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::backoff::{Record, left_of_index};
use super::indexes::Indexes;
use super::model::{
    FAILURES, IGNORED_FAILURES, JobExt, annotated, condition, finished_at, index_of, is_tracked, new_condition,
};
use super::policy::{self, Failure};
use crate::common::order::sort_for_deletion;
use crate::common::pods;

/// Most pods created or deleted in one reconcile; upstream's `MaxPodCreateDeletePerSync`.
const BURST_MAX: usize = 500;

/// What the decision depends on.
pub struct Observed<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its pods.
    pub pods: &'a [Arc<Object<Pod>>],
    /// Its failures so far.
    pub record: Record,
    /// The time.
    pub now: Timestamp,
}

/// What should happen next.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The status so far: with start time and conditions of suspension.
    pub status: JobStatus,
    /// Pods to make or delete.
    pub action: Action,
    /// Why the job is over, if it is: `SuccessCriteriaMet`, `FailureTarget` or `Failed`.
    pub finished: Option<JobCondition>,
    /// Counts before the action.
    pub counts: Counts,
    /// Indexes, of an indexed job.
    pub indexes: Option<IndexState>,
    /// The failures, to be remembered once they are in the status.
    pub record: Record,
    /// Look again after this time.
    pub again_in: Option<Duration>,
    /// An event to be told: `Suspended` or `Resumed`.
    pub event: Option<(&'static str, &'static str)>,
}

/// Pods to make or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Neither.
    None,
    /// Make these.
    Create(Vec<NewPod>),
    /// Delete these; with or without counting them.
    Delete {
        /// Their names.
        names: Vec<String>,
        /// They are not wanted any more and need not be counted.
        uncounted: bool,
    },
}

/// A pod to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewPod {
    /// Its completion index.
    pub index: Option<i32>,
    /// Failures of its index, counted and ignored, if those are limited.
    pub failures: Option<(i32, i32)>,
}

/// Numbers of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the API's fields")]
pub struct Counts {
    pub active: i32,
    pub ready: i32,
    pub terminating: i32,
    pub succeeded: i32,
    pub failed: i32,
}

/// Indexes of an indexed job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexState {
    /// Succeeded, as the status has them.
    pub before: Indexes,
    /// Succeeded, with those of pods that are not yet counted.
    pub succeeded: Indexes,
    /// Failed, if failures are limited per index.
    pub failed: Option<Indexes>,
    /// Failed pods whose counts a replacement must take over before they may go: UID by index.
    pub delayed: HashMap<i32, String>,
}

/// Decides what to do.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let Observed { job, now, .. } = *observed;
    let mut status = job.status.clone().unwrap_or_default();
    if status.start_time.is_none() && !job.is_suspended() {
        status.start_time = Some(Time(now));
    }
    let active: Vec<&Pod> = observed.pods.iter().map(|pod| &pod.view).filter(|pod| pods::is_active(pod)).collect();
    let indexes = job.is_indexed().then(|| IndexState::of(observed, &status, &active));
    let (succeeded, failed) = newly_finished(observed, &status);
    let record = observed.record.after(&succeeded, &failed);
    let counts = Counts::of(observed, &status, &active, &succeeded, &failed, indexes.as_ref());
    let finished = verdict(observed, &status, &counts, indexes.as_ref());
    let mut plan =
        Plan { status, action: Action::None, finished, counts, indexes, record, again_in: None, event: None };
    if plan.finished.is_some() {
        let names: Vec<String> = active.iter().map(|pod| pod.name().to_owned()).collect();
        if !names.is_empty() {
            plan.action = Action::Delete { names, uncounted: false };
        }
        return plan;
    }
    plan.again_in = deadline_in(job, &plan.status, now);
    if !job.is_deleting() {
        plan.manage(observed, active);
    }
    plan
}

/// Whether the job is complete, with so many pods still active.
pub fn is_complete(job: &Job, succeeded: i32, active: i32) -> bool {
    match job.spec().completions {
        // Any success is one; the other pods may finish.
        None => succeeded > 0 && active == 0,
        Some(completions) => succeeded >= completions && active == 0,
    }
}

// === impl Counts ===

impl Counts {
    fn of(
        observed: &Observed<'_>,
        status: &JobStatus,
        active: &[&Pod],
        succeeded: &[&Pod],
        failed: &[&Pod],
        indexes: Option<&IndexState>,
    ) -> Counts {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let counted = failed.iter().filter(|pod| policy::failure(observed.job, pod) != Failure::Ignored).count();
        let terminating = observed.pods.iter().filter(|pod| pods::is_terminating(pod)).count();
        Counts {
            active: number(active.len()),
            ready: number(active.iter().filter(|pod| pods::is_ready(pod)).count()),
            terminating: number(terminating),
            succeeded: match indexes {
                Some(indexes) => indexes.succeeded.total(),
                None => {
                    status.succeeded.unwrap_or(0)
                        + number(succeeded.len() + uncounted.succeeded.iter().flatten().count())
                }
            },
            failed: status.failed.unwrap_or(0) + number(counted + uncounted.failed.iter().flatten().count()),
        }
    }
}

/// Pods that have ended and are not in the status in any way yet.
fn newly_finished<'a>(observed: &Observed<'a>, status: &JobStatus) -> (Vec<&'a Pod>, Vec<&'a Pod>) {
    let job = observed.job;
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let is_in = |list: &Option<Vec<String>>, pod: &Pod| list.iter().flatten().any(|uid| uid == pod.uid());
    let tracked = observed.pods.iter().map(|pod| &pod.view).filter(|pod| is_tracked(pod));
    let valid = tracked.filter(|pod| !job.is_indexed() || job.valid_index(pod).is_some());
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    for pod in valid {
        if pods::phase(pod) == "Succeeded" && !is_in(&uncounted.succeeded, pod) {
            succeeded.push(pod);
        }
        if job.counts_as_failed(pod) && !is_in(&uncounted.failed, pod) {
            failed.push(pod);
        }
    }
    (succeeded, failed)
}

// === impl IndexState ===

impl IndexState {
    fn of(observed: &Observed<'_>, status: &JobStatus, active: &[&Pod]) -> IndexState {
        let job = observed.job;
        let completions = job.completions();
        let before = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
        let tracked = || observed.pods.iter().map(|pod| &pod.view).filter(|pod| is_tracked(pod));
        let done = tracked().filter(|pod| pods::phase(pod) == "Succeeded");
        let succeeded = before.with(&done.filter_map(|pod| job.valid_index(pod)).collect());
        let failed = job.spec().backoff_limit_per_index.map(|limit| {
            let known = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
            let fails = tracked().filter(|pod| fails_index(job, pod, limit));
            known.with(&fails.filter_map(|pod| job.valid_index(pod)).collect())
        });
        let mut state = IndexState { before, succeeded, failed, delayed: HashMap::new() };
        if state.failed.is_some() {
            let running: BTreeSet<i32> = active.iter().filter_map(|pod| index_of(pod)).collect();
            state.delayed = state.delayed(job, tracked(), &running);
        }
        state
    }

    /// Of each index that is neither done nor running, the last failed pod.
    fn delayed<'a>(
        &self,
        job: &Job,
        tracked: impl Iterator<Item = &'a Pod>,
        running: &BTreeSet<i32>,
    ) -> HashMap<i32, String> {
        let mut last: HashMap<i32, &Pod> = HashMap::new();
        let order = |pod: &Pod| (annotated(pod, FAILURES) + annotated(pod, IGNORED_FAILURES), finished_at(pod));
        for pod in tracked.filter(|pod| job.counts_as_failed(pod)) {
            let Some(index) = job.valid_index(pod) else { continue };
            let is_over = self.succeeded.has(index) || self.failed.as_ref().is_some_and(|failed| failed.has(index));
            if is_over || running.contains(&index) {
                continue;
            }
            let known = last.entry(index).or_insert(pod);
            if order(known) <= order(pod) {
                *known = pod;
            }
        }
        last.into_iter().map(|(index, pod)| (index, pod.uid().to_owned())).collect()
    }
}

fn fails_index(job: &Job, pod: &Pod, limit: i32) -> bool {
    job.counts_as_failed(pod)
        && match policy::failure(job, pod) {
            Failure::FailsIndex => true,
            Failure::Ignored => false,
            _ => annotated(pod, FAILURES) >= limit,
        }
}

/// Why the job is over, if it is.
fn verdict(
    observed: &Observed<'_>,
    status: &JobStatus,
    counts: &Counts,
    indexes: Option<&IndexState>,
) -> Option<JobCondition> {
    let Observed { job, pods, now, .. } = *observed;
    let holds = |kind: &str| condition(status, kind).filter(|condition| condition.status == "True");
    if let Some(met) = holds("SuccessCriteriaMet") {
        return Some(met.clone());
    }
    if let Some(target) = holds("FailureTarget") {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        return Some(new_condition("Failed", "True", &text(&target.reason), &text(&target.message), now));
    }
    let fails = |reason: &str, message: &str| Some(new_condition("FailureTarget", "True", reason, message, now));
    let by_policy =
        pods.iter().filter(|pod| job.counts_as_failed(pod)).find_map(|pod| match policy::failure(job, pod) {
            Failure::FailsJob(message) => Some(message),
            _ => None,
        });
    if let Some(message) = by_policy {
        return fails("PodFailurePolicy", &message);
    }
    if counts.failed > job.backoff_limit() || restarts_exceed(job, pods) {
        return fails("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if deadline(job, status).is_some_and(|deadline| deadline <= now) {
        return fails("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let indexes = indexes?;
    if let Some(failed) = &indexes.failed {
        if job.spec().max_failed_indexes.is_some_and(|max| failed.total() > max) {
            return fails(
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
            );
        }
        if failed.total() > 0 && failed.total() + indexes.succeeded.total() >= job.completions() {
            return fails("FailedIndexes", "Job has failed indexes");
        }
    }
    let message = policy::success(job, &indexes.succeeded)?;
    Some(new_condition("SuccessCriteriaMet", "True", "SuccessPolicy", &message, now))
}

/// Containers that restart in their pods count too.
fn restarts_exceed(job: &Job, pods: &[Arc<Object<Pod>>]) -> bool {
    let policy = job.spec().template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let running = pods.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
    let restarts: i32 = running
        .filter_map(|pod| pod.status.as_ref())
        .flat_map(|status| {
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
        })
        .map(|container| container.restart_count)
        .sum();
    match job.backoff_limit() {
        0 => restarts > 0,
        limit => restarts >= limit,
    }
}

fn deadline(job: &Job, status: &JobStatus) -> Option<Timestamp> {
    let seconds = job.spec().active_deadline_seconds.filter(|_| !job.is_suspended())?;
    status.start_time.as_ref()?.0.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn deadline_in(job: &Job, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    Duration::try_from(deadline(job, status)?.duration_since(now)).ok()
}

// === impl Plan ===

impl Plan {
    /// Brings the number of pods to what is wanted.
    fn manage(&mut self, observed: &Observed<'_>, active: Vec<&Pod>) {
        let Observed { job, now, .. } = *observed;
        self.note_suspension(job, now);
        let there = self.counts.active;
        if job.is_suspended() {
            if there > 0 {
                let names = active.iter().map(|pod| pod.name().to_owned()).collect();
                self.action = Action::Delete { names, uncounted: true };
            }
            return;
        }
        let wanted = match job.spec().completions {
            None if self.counts.succeeded > 0 => there,
            None => job.parallelism(),
            Some(completions) => (completions - self.counts.succeeded).min(job.parallelism()).max(0),
        };
        let surplus = usize::try_from(there - wanted).unwrap_or(0);
        let mut delete = unwanted(job, active, surplus, now);
        delete.truncate(BURST_MAX);
        if !delete.is_empty() {
            self.action = Action::Delete { names: delete, uncounted: true };
            return;
        }
        let dying = if job.replaces_only_failed() { self.counts.terminating } else { 0 };
        let missing = usize::try_from(wanted - dying - there).unwrap_or(0).min(BURST_MAX);
        if missing > 0 {
            self.create(observed, missing);
        }
    }

    fn create(&mut self, observed: &Observed<'_>, missing: usize) {
        let Observed { job, now, .. } = *observed;
        let limits_index = job.spec().backoff_limit_per_index.is_some();
        let wait = if limits_index { Duration::ZERO } else { self.record.left(now) };
        if !wait.is_zero() {
            self.look_again_in(wait);
            return;
        }
        let Some(state) = &self.indexes else {
            self.action = Action::Create(vec![NewPod::default(); missing]);
            return;
        };
        let pods = observed.pods.iter().map(|pod| &pod.view);
        let busy = pods.filter(|pod| pods::is_active(pod) || (job.replaces_only_failed() && pods::is_terminating(pod)));
        let mut taken = state.succeeded.with(&busy.filter_map(index_of).collect());
        if let Some(failed) = &state.failed {
            taken = taken.union(failed);
        }
        let by_uid = |uid: &String| observed.pods.iter().map(|pod| &pod.view).find(|pod| pod.uid() == uid);
        let (mut create, mut waits) = (Vec::new(), Vec::new());
        for index in taken.missing(missing, job.completions()) {
            let last = state.delayed.get(&index).and_then(by_uid);
            let wait = if limits_index { left_of_index(last, now) } else { Duration::ZERO };
            match wait.is_zero() {
                true => {
                    let failures = limits_index.then(|| failures_after(job, last));
                    create.push(NewPod { index: Some(index), failures });
                }
                false => waits.push(wait),
            }
        }
        if !create.is_empty() {
            self.action = Action::Create(create);
        } else if let Some(wait) = waits.into_iter().min() {
            self.look_again_in(wait);
        }
    }

    fn look_again_in(&mut self, wait: Duration) {
        self.again_in = Some(self.again_in.map_or(wait, |known| known.min(wait)));
    }

    /// Whether the job is suspended, as a condition. A job that goes on starts anew: its deadline counts from then.
    fn note_suspension(&mut self, job: &Job, now: Timestamp) {
        if is_complete(job, self.counts.succeeded, self.counts.active) {
            return;
        }
        let (status, reason, message) = match job.is_suspended() {
            true => ("True", "JobSuspended", "Job suspended"),
            false => ("False", "JobResumed", "Job resumed"),
        };
        if !super::model::ensure_condition(&mut self.status, new_condition("Suspended", status, reason, message, now)) {
            return;
        }
        self.status.start_time = (!job.is_suspended()).then_some(Time(now));
        self.event = Some(if job.is_suspended() { ("Suspended", message) } else { ("Resumed", message) });
    }
}

/// The failure counts of the pod that replaces `last`.
fn failures_after(job: &Job, last: Option<&Pod>) -> (i32, i32) {
    let Some(last) = last else { return (0, 0) };
    let (counted, ignored) = (annotated(last, FAILURES), annotated(last, IGNORED_FAILURES));
    match policy::failure(job, last) {
        Failure::Ignored => (counted, ignored + 1),
        _ => (counted + 1, ignored),
    }
}

/// At least `surplus` pods that are not wanted: of an indexed job first those whose index is none or has another pod.
fn unwanted(job: &Job, active: Vec<&Pod>, surplus: usize, now: Timestamp) -> Vec<String> {
    let mut delete: Vec<String> = Vec::new();
    let mut left = active;
    sort_for_deletion(&mut left, [], now);
    if job.is_indexed() {
        let mut seen = BTreeSet::new();
        // The last in the order of deletion is the one that stays.
        let keep: Vec<bool> =
            left.iter().rev().map(|pod| job.valid_index(pod).is_some_and(|index| seen.insert(index))).collect();
        let mut keep = keep.into_iter().rev();
        left.retain(|pod| {
            let stays = keep.next().unwrap_or(true);
            if !stays {
                delete.push(pod.name().to_owned());
            }
            stays
        });
    }
    let more = surplus.saturating_sub(delete.len());
    delete.extend(left.iter().take(more).map(|pod| pod.name().to_owned()));
    delete
}
