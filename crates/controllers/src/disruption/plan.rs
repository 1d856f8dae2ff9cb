//! What a budget's status should say, from its pods and their controllers' scales.

use std::collections::BTreeMap;
use std::time::Duration;

use api::int_or_string::IntOrString;
use client::{MetaExt, Object};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr;
use std::sync::Arc;

use crate::common::pods;

/// An evicted pod that is not on its way out by then was not evicted after all; upstream's `DeletionTimeout`.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
/// A pod that was to be disrupted and still runs by then is no longer marked; upstream's `stalePodDisruptionTimeout`.
const STALE_DISRUPTION: SignedDuration = SignedDuration::from_mins(2);
/// The budget's only condition.
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// How many pods there should be, and how many of them healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// All pods that the budget is about.
    pub pods: i32,
    /// Those that must be healthy.
    pub healthy: i32,
}

/// Pods that were evicted and are still there.
#[derive(Debug, Default, PartialEq)]
pub struct Disrupted {
    /// Those whose deletion is still expected, and when they were evicted.
    pub pods: BTreeMap<String, Time>,
    /// Those whose deletion never came.
    pub not_deleted: Vec<String>,
    /// When the first of the expected deletions is overdue.
    pub recheck: Option<Duration>,
}

/// Whether the number of pods depends on what their controllers want (otherwise those that are there count).
pub fn needs_scale(spec: &PodDisruptionBudgetSpec) -> bool {
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(intstr::IntOrString::String(_)))
}

/// What the budget asks for. `count` is the scale where [`needs_scale`], else the number of pods.
///
/// # Errors
/// For a percentage that is none.
pub fn expected(spec: &PodDisruptionBudgetSpec, count: i32) -> Result<Expected, String> {
    let scaled = |amount: &intstr::IntOrString| -> Result<i32, String> {
        let amount = match amount {
            intstr::IntOrString::Int(number) => return Ok(*number),
            intstr::IntOrString::String(text) => IntOrString::String(text.clone()),
        };
        Ok(i32::try_from(amount.scaled(count.into(), true)?).unwrap_or(i32::MAX))
    };
    let healthy = match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => count.saturating_sub(scaled(most)?).max(0),
        (None, Some(least)) => scaled(least)?,
        (None, None) => return Ok(Expected::default()),
    };
    Ok(Expected { pods: count, healthy })
}

/// What became of the pods that were evicted.
pub fn disrupted(budget: &PodDisruptionBudget, all: &[Arc<Object<Pod>>], now: Timestamp) -> Disrupted {
    let mut outcome = Disrupted::default();
    let Some(known) = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref()) else { return outcome };
    for pod in all.iter().filter(|pod| !pod.is_deleting()) {
        let Some(at) = known.get(pod.name()) else { continue };
        let left = DELETION_TIMEOUT - now.duration_since(at.0);
        match Duration::try_from(left) {
            Ok(left) => {
                outcome.recheck = Some(outcome.recheck.map_or(left, |first| first.min(left)));
                outcome.pods.insert(pod.name().to_owned(), at.clone());
            }
            Err(_) => outcome.not_deleted.push(pod.name().to_owned()),
        }
    }
    outcome
}

/// Pods that serve and are not about to go.
pub fn healthy(all: &[Arc<Object<Pod>>], disrupted: &Disrupted) -> i32 {
    let counts =
        |pod: &&Arc<Object<Pod>>| !pod.is_deleting() && !disrupted.pods.contains_key(pod.name()) && pods::is_ready(pod);
    i32::try_from(all.iter().filter(counts).count()).unwrap_or(i32::MAX)
}

/// The new status, if it differs from the present one.
pub fn status(
    budget: &PodDisruptionBudget,
    healthy: i32,
    expected: Expected,
    disrupted: &Disrupted,
    now: Timestamp,
) -> Option<PodDisruptionBudgetStatus> {
    let known = budget.status.clone().unwrap_or_default();
    let allowed = if expected.pods <= 0 { 0 } else { healthy.saturating_sub(expected.healthy).max(0) };
    let is_same = known.current_healthy == Some(healthy)
        && known.desired_healthy == Some(expected.healthy)
        && known.expected_pods == Some(expected.pods)
        && known.disruptions_allowed == Some(allowed)
        && known.disrupted_pods.clone().unwrap_or_default() == disrupted.pods
        && known.observed_generation.unwrap_or_default() == budget.generation()
        && condition_is_right(known.conditions.as_deref().unwrap_or_default(), allowed);
    if is_same {
        return None;
    }
    let (state, reason) = verdict(allowed);
    let observed_generation = Some(budget.generation()).filter(|generation| *generation != 0);
    let conditions = with_condition(known.conditions, state, reason, "", observed_generation, now);
    Some(PodDisruptionBudgetStatus {
        conditions: Some(conditions),
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        expected_pods: Some(expected.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted.pods.clone()).filter(|pods| !pods.is_empty()),
        observed_generation,
    })
}

/// The status of a budget that could not be worked out: nothing may be disrupted.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let known = budget.status.clone().unwrap_or_default();
    let generation = known.observed_generation.filter(|generation| *generation != 0);
    let conditions = with_condition(known.conditions, "False", "SyncFailed", why, generation, now);
    PodDisruptionBudgetStatus {
        conditions: Some(conditions),
        current_healthy: Some(known.current_healthy.unwrap_or_default()),
        desired_healthy: Some(known.desired_healthy.unwrap_or_default()),
        expected_pods: Some(known.expected_pods.unwrap_or_default()),
        disruptions_allowed: Some(0),
        disrupted_pods: known.disrupted_pods,
        observed_generation: known.observed_generation,
    }
}

fn verdict(allowed: i32) -> (&'static str, &'static str) {
    if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") }
}

fn condition_is_right(conditions: &[Condition], allowed: i32) -> bool {
    let (state, reason) = verdict(allowed);
    let known = conditions.iter().find(|one| one.type_ == DISRUPTION_ALLOWED);
    known.is_some_and(|known| known.status == state && known.reason == reason)
}

/// Upstream's `SetStatusCondition`: the time is that of the last change of the status.
fn with_condition(
    conditions: Option<Vec<Condition>>,
    state: &str,
    reason: &str,
    message: &str,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = conditions.unwrap_or_default();
    let condition = Condition {
        type_: DISRUPTION_ALLOWED.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(now),
        observed_generation,
    };
    match conditions.iter_mut().find(|one| one.type_ == DISRUPTION_ALLOWED) {
        Some(known) => {
            let since = if known.status == state { known.last_transition_time.clone() } else { Time(now) };
            *known = Condition { last_transition_time: since, ..condition };
        }
        None => conditions.push(condition),
    }
    conditions
}

/// When a pod that was to be disrupted and was not is no longer to be marked as such; none if it is not marked.
pub fn stale_after(pod: &Pod, now: Timestamp) -> Option<Duration> {
    if pod.is_deleting() || pods::is_finished(pod) {
        return None;
    }
    let marked = pods::condition(pod, "DisruptionTarget")?;
    if marked.status != "True" || marked.reason.as_deref() == Some("TerminationByKubelet") {
        return None;
    }
    let since = marked.last_transition_time.as_ref().map_or(now, |time| time.0);
    Some(Duration::try_from(STALE_DISRUPTION - now.duration_since(since)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;
