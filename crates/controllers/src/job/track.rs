//! Counting pods that have ended: each exactly once, although counting and letting go are two requests.
//!
//! A pod that ended is first put into the status (`uncountedTerminatedPods`, or by its index), then its finalizer goes,
//! and then it moves from there into the counters. A crash between any two of these is made good by the next
//! reconcile. Upstream: `trackJobStatusAndRemoveFinalizers`.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use client::{MetaExt, Object};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::model::{JobExt, condition, ensure_condition, is_tracked, new_condition};
use super::plan::{Counts, IndexState, Plan};
use super::policy::{self, Failure};
use crate::common::pods;

/// Most pods in the status that are not counted yet; keeps it below 20 KB.
const UNCOUNTED_MAX: usize = 500;

/// What is to be written before finalizers are removed, and whose.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracked {
    /// The status to be written first, if it differs.
    pub status: JobStatus,
    /// Pods that may then go: name and UID.
    pub release: Vec<(String, String)>,
    /// UIDs of pods that have the finalizer.
    pub tracked: HashSet<String>,
    /// The final condition, `Complete` or `Failed`, once all is counted.
    pub finished: Option<JobCondition>,
}

/// Puts what ended into the status. `counts` are those after the plan's action; `finished` says why the job is over.
pub fn track(
    job: &Job,
    pods: &[Arc<Object<Pod>>],
    plan: &Plan,
    counts: Counts,
    finished: Option<JobCondition>,
    now: Timestamp,
) -> Tracked {
    let mut status = plan.status.clone();
    status.active = Some(counts.active).filter(|count| *count != 0);
    status.ready = Some(counts.ready);
    status.terminating = Some(counts.terminating);
    let tracked: HashSet<String> = pods.iter().filter(|pod| is_tracked(pod)).map(|pod| pod.uid().to_owned()).collect();
    count_released(&mut status, &tracked);

    let mut ending = Ending { job, plan, finished: finished.as_ref(), status: &mut status, indexes: BTreeSet::new() };
    let mut ordered: Vec<&Pod> = pods.iter().map(|pod| &pod.view).filter(|pod| is_tracked(pod)).collect();
    ordered.sort_by_key(|pod| job.valid_index(pod));
    let mut release = Vec::new();
    let mut is_cut = false;
    for pod in ordered {
        if !ending.may_go(pod) {
            continue;
        }
        release.push((pod.name().to_owned(), pod.uid().to_owned()));
        ending.record(pod);
        if ending.recorded() >= UNCOUNTED_MAX {
            is_cut = true;
            break;
        }
    }
    let new_indexes = ending.indexes;
    if let Some(state) = &plan.indexes {
        write_indexes(&mut status, state, &new_indexes);
    }
    let finished = finished.map(|condition| announce(&mut status, condition, now));
    if job.status.as_ref().is_none_or(|status| status.uncounted_terminated_pods.is_none()) {
        status.uncounted_terminated_pods.get_or_insert_default();
    }
    // With pods left over, the end has to wait for the next reconcile.
    Tracked { status, release, tracked, finished: finished.filter(|_| !is_cut) }
}

/// Notes why the job is over, and gives the condition that says it finally.
fn announce(status: &mut JobStatus, reason: JobCondition, now: Timestamp) -> JobCondition {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (why, message) = (text(&reason.reason), text(&reason.message));
    match reason.type_.as_str() {
        "FailureTarget" => {
            status.conditions.get_or_insert_default().push(reason);
            new_condition("Failed", "True", &why, &message, now)
        }
        "SuccessCriteriaMet" => {
            if condition(status, "SuccessCriteriaMet").is_none() {
                status.conditions.get_or_insert_default().push(reason);
            }
            new_condition("Complete", "True", &why, &message, now)
        }
        _ => reason,
    }
}

/// Moves pods that were let go from the uncounted into the counters. Whether there were any.
pub fn count_released(status: &mut JobStatus, tracked: &HashSet<String>) -> bool {
    let Some(uncounted) = &mut status.uncounted_terminated_pods else { return false };
    let mut moved = false;
    for (list, counter) in
        [(&mut uncounted.succeeded, &mut status.succeeded), (&mut uncounted.failed, &mut status.failed)]
    {
        let Some(uids) = list else { continue };
        let before = uids.len();
        uids.retain(|uid| tracked.contains(uid));
        let gone = i32::try_from(before - uids.len()).unwrap_or(i32::MAX);
        if gone > 0 {
            *counter = Some(counter.unwrap_or(0) + gone);
            moved = true;
        }
        if uids.is_empty() {
            *list = None;
        }
    }
    moved
}

/// Declares the job finished, if all its pods are counted and gone. Whether it is.
pub fn finish(status: &mut JobStatus, finished: &JobCondition) -> bool {
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let left = uncounted.succeeded.iter().flatten().count() + uncounted.failed.iter().flatten().count();
    if left > 0 || status.terminating.unwrap_or(0) > 0 {
        return false;
    }
    ensure_condition(status, finished.clone());
    if finished.type_ == "Complete" {
        status.completion_time = finished.last_transition_time.clone();
    }
    true
}

/// Recording of pods that have ended.
struct Ending<'a> {
    job: &'a Job,
    plan: &'a Plan,
    finished: Option<&'a JobCondition>,
    status: &'a mut JobStatus,
    /// Indexes that succeeded and are not in the status yet.
    indexes: BTreeSet<i32>,
}

impl Ending<'_> {
    /// Whether the pod's finalizer may be removed once it is recorded.
    fn may_go(&self, pod: &Pod) -> bool {
        if self.job.is_deleting() || self.finished.is_some() || pods::phase(pod) == "Succeeded" {
            return true;
        }
        let waits_for_replacement = || {
            let state = self.plan.indexes.as_ref().filter(|state| state.failed.is_some());
            let index = self.job.valid_index(pod);
            state.zip(index).and_then(|(state, index)| state.delayed.get(&index)).is_some_and(|uid| uid == pod.uid())
        };
        self.job.counts_as_failed(pod) && !waits_for_replacement()
    }

    fn record(&mut self, pod: &Pod) {
        let is_failed_before = self.uncounted(|lists| &lists.failed).contains(&pod.uid().to_owned());
        let index = self.job.valid_index(pod);
        let is_success_end = self.finished.is_some_and(|one| one.type_ == "SuccessCriteriaMet");
        if pods::phase(pod) == "Succeeded" && !is_failed_before {
            match &self.plan.indexes {
                Some(state) => self.indexes.extend(index.filter(|index| !state.before.has(*index))),
                None => self.add(pod, |lists| &mut lists.succeeded),
            }
        } else if self.job.counts_as_failed(pod) || (self.finished.is_some() && !is_success_end) {
            // When a job has failed, whatever still runs has failed too.
            let is_known = !self.job.is_indexed() || index.is_some();
            if is_known && policy::failure(self.job, pod) != Failure::Ignored {
                self.add(pod, |lists| &mut lists.failed);
            }
        }
    }

    fn uncounted(&self, list: impl Fn(&UncountedTerminatedPods) -> &Option<Vec<String>>) -> Vec<String> {
        let lists = self.status.uncounted_terminated_pods.as_ref();
        lists.and_then(|lists| list(lists).clone()).unwrap_or_default()
    }

    fn add(&mut self, pod: &Pod, list: impl Fn(&mut UncountedTerminatedPods) -> &mut Option<Vec<String>>) {
        let lists = self.status.uncounted_terminated_pods.get_or_insert_default();
        let uids = list(lists).get_or_insert_default();
        if !uids.iter().any(|uid| uid == pod.uid()) {
            uids.push(pod.uid().to_owned());
        }
    }

    fn recorded(&self) -> usize {
        self.indexes.len()
            + self.uncounted(|lists| &lists.succeeded).len()
            + self.uncounted(|lists| &lists.failed).len()
    }
}

fn write_indexes(status: &mut JobStatus, state: &IndexState, new: &BTreeSet<i32>) {
    // Only what is recorded in this round: pods cut off come later.
    let known = state.before.with(new);
    status.succeeded = Some(known.total()).filter(|total| *total != 0);
    let text = known.to_string();
    status.completed_indexes = Some(text).filter(|text| !text.is_empty());
    status.failed_indexes = state.failed.as_ref().map(ToString::to_string);
}
