//! The status of a deployment: numbers from its sets, and whether the rollout moves.

use std::time::Duration;

use api::value::{Map, Value};
use jiff::{SignedDuration, Timestamp};

use super::model::{Condition, Set, Status, Wish};
use super::plan::Work;
use crate::common::tree;

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// While a deployment is paused its progress is unknown, so that the deadline does not strike when it goes on.
pub(super) fn note_pause(work: &mut Work<'_>) {
    let reason = work.status.condition(PROGRESSING).map(|condition| condition.reason.as_str());
    if work.wish.progress_deadline.is_none() || reason == Some(TIMED_OUT) {
        return;
    }
    let condition = match (work.wish.is_paused, reason == Some(PAUSED)) {
        (true, false) => Condition::new(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", work.now),
        (false, true) => Condition::new(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", work.now),
        _ => return,
    };
    work.status.set(condition);
}

/// Numbers and availability.
pub(super) fn sync(work: &mut Work<'_>) {
    let wish = work.wish;
    let sum = |of: &dyn Fn(&Set) -> i32| work.all().map(of).sum::<i32>();
    let available = sum(&|set| set.available);
    let mut status = Status {
        observed_generation: wish.generation,
        replicas: sum(&|set| set.actual),
        updated: work.new.as_ref().map_or(0, |new| new.actual),
        ready: sum(&|set| set.ready),
        available,
        unavailable: (sum(&|set| set.replicas) - available).max(0),
        terminating: terminating(work),
        collision_count: work.status.collision_count,
        conditions: work.status.conditions.clone(),
    };
    let is_available = available >= wish.replicas - wish.max_unavailable;
    status.set(if is_available {
        let message = "Deployment has minimum availability.";
        Condition::new(AVAILABLE, "True", "MinimumReplicasAvailable", message, work.now)
    } else {
        let message = "Deployment does not have minimum availability.";
        Condition::new(AVAILABLE, "False", "MinimumReplicasUnavailable", message, work.now)
    });
    work.status = status;
}

/// The sum, if all sets that their controller knows report theirs.
fn terminating(work: &Work<'_>) -> Option<i32> {
    let known = work.all().filter(|set| set.is_known || set.terminating.is_some());
    known.map(|set| set.terminating).sum()
}

/// Numbers, availability, progress and failures, during a rollout.
pub(super) fn sync_rollout(work: &mut Work<'_>) {
    let wish = work.wish;
    sync(work);
    if wish.progress_deadline.is_none() {
        work.status.unset(PROGRESSING);
    }
    let current = work.status.condition(PROGRESSING).cloned();
    let was_complete = current.as_ref().is_some_and(|condition| condition.reason == COMPLETE);
    let is_over = work.status.replicas == work.status.updated && was_complete;
    if wish.progress_deadline.is_some() && !is_over {
        note_progress(work, current);
    }
    let failure = work.new.iter().chain(&work.old).find_map(|set| set.failure.clone());
    match failure {
        Some(failure) => work.status.set(failure),
        None => work.status.unset(REPLICA_FAILURE),
    }
}

fn note_progress(work: &mut Work<'_>, current: Option<Condition>) {
    let subject = match &work.new {
        Some(new) => format!("ReplicaSet \"{}\"", new.name),
        None => format!("Deployment \"{}\"", work.wish.name),
    };
    if is_complete(work.wish, &work.status) {
        let message = format!("{subject} has successfully progressed.");
        work.status.set(Condition::new(PROGRESSING, "True", COMPLETE, message, work.now));
    } else if has_progressed(&work.wish.status, &work.status) {
        let message = format!("{subject} is progressing.");
        let mut condition = Condition::new(PROGRESSING, "True", "ReplicaSetUpdated", message, work.now);
        // Progress moves the update time even where nothing else of the condition changes.
        if let Some(current) = current.filter(|current| current.status == "True") {
            condition.transitioned = current.transitioned;
        }
        work.status.unset(PROGRESSING);
        work.status.conditions.push(condition);
    } else if has_timed_out(work.wish, &work.status, work.now) {
        let message = format!("{subject} has timed out progressing.");
        work.status.set(Condition::new(PROGRESSING, "False", TIMED_OUT, message, work.now));
    }
}

/// All pods are of the current template and available, and no others are left.
pub(super) fn is_complete(wish: &Wish, status: &Status) -> bool {
    status.updated == wish.replicas
        && status.replicas == wish.replicas
        && status.available == wish.replicas
        && status.observed_generation >= wish.generation
}

/// More current, ready or available pods than before, or fewer old ones.
fn has_progressed(before: &Status, now: &Status) -> bool {
    now.updated > before.updated
        || now.replicas - now.updated < before.replicas - before.updated
        || now.ready > before.ready
        || now.available > before.available
}

fn has_timed_out(wish: &Wish, status: &Status, now: Timestamp) -> bool {
    match status.condition(PROGRESSING) {
        None => false,
        Some(condition) if condition.reason == COMPLETE => false,
        Some(condition) if condition.reason == TIMED_OUT => true,
        Some(condition) => deadline(wish, condition).is_some_and(|deadline| deadline < now),
    }
}

fn deadline(wish: &Wish, condition: &Condition) -> Option<Timestamp> {
    let seconds = SignedDuration::from_secs(wish.progress_deadline?.into());
    condition.updated?.checked_add(seconds).ok()
}

/// When to look whether the deadline has passed; one second later, for skewed clocks.
pub(super) fn next_check(wish: &Wish, status: &Status, now: Timestamp) -> Option<Duration> {
    let condition = status.condition(PROGRESSING)?;
    if is_complete(wish, status) || condition.reason == TIMED_OUT || condition.reason == COMPLETE || wish.is_paused {
        return None;
    }
    let left = Duration::try_from(deadline(wish, condition)?.duration_since(now)).unwrap_or_default();
    Some(left + Duration::from_secs(1))
}

/// Puts the status into the deployment's tree, leaving alone what it does not know.
pub(super) fn write(deployment: &mut Value, status: &Status) {
    let mut count = |name: &str, count: i64| tree::set_count(deployment, &format!("status.{name}"), count);
    count("observedGeneration", status.observed_generation);
    count("replicas", status.replicas.into());
    count("updatedReplicas", status.updated.into());
    count("readyReplicas", status.ready.into());
    count("availableReplicas", status.available.into());
    count("unavailableReplicas", status.unavailable.into());
    tree::set_option(deployment, "status.terminatingReplicas", status.terminating);
    tree::set_option(deployment, "status.collisionCount", status.collision_count);
    let conditions: Vec<Value> = status.conditions.iter().map(Condition::to_value).collect();
    tree::set_option(
        deployment,
        "status.conditions",
        Some(Value::Array(conditions)).filter(|_| !status.conditions.is_empty()),
    );
}

impl Condition {
    fn to_value(&self) -> Value {
        let mut value = Map::new();
        value.insert("type", self.kind.as_str());
        value.insert("status", self.status.as_str());
        for (key, time) in [("lastUpdateTime", self.updated), ("lastTransitionTime", self.transitioned)] {
            if let Some(time) = time {
                value.insert(key, tree::time(time));
            }
        }
        for (key, text) in [("reason", &self.reason), ("message", &self.message)] {
            if !text.is_empty() {
                value.insert(key, text.as_str());
            }
        }
        Value::Object(value)
    }
}
