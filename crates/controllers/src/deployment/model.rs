//! A deployment and its ReplicaSets as the plan sees and changes them.

use std::collections::BTreeMap;

use api::int_or_string::IntOrString;
use client::{MetaExt, Object};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString as TypedIntOrString;

/// A set's place in the rollout sequence; on the deployment, that of its newest set.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions that a set had before, joined by commas.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The deployment's replicas when the set was last scaled: tells scaling from rolling out.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same plus the surge: the base for proportional scaling.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Where `rollbackTo` of old API versions is kept.
pub const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
/// What `kubectl apply` remembers.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The label that tells the pods of one set from those of another.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// Annotations that are not copied between a deployment and its sets.
pub const NOT_COPIED: [&str; 6] =
    [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, ROLLBACK_TO];

/// Annotations by name.
pub type Annotations = BTreeMap<String, String>;

/// What the deployment asks for, and its status so far.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The deployment's name.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.annotations`.
    pub annotations: Annotations,
    /// Being deleted.
    pub is_deleting: bool,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// `spec.paused`.
    pub is_paused: bool,
    /// Whether pods of different sets may live side by side.
    pub is_rolling: bool,
    /// Pods beyond `replicas` while rolling.
    pub max_surge: i32,
    /// Pods that may be missing while rolling.
    pub max_unavailable: i32,
    /// Seconds without progress until the rollout counts as failed; none: never.
    pub progress_deadline: Option<i32>,
    /// Old sets to be kept; none: all.
    pub history_limit: Option<i32>,
    /// The hash of the template, as of the collisions so far.
    pub template_hash: String,
    /// The status as it is.
    pub status: Status,
}

/// A ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its UID; empty for one that is to be created.
    pub uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Being deleted.
    pub is_deleting: bool,
    /// `metadata.annotations`.
    pub annotations: Annotations,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// Its template is the deployment's.
    pub is_current: bool,
    /// Its own controller has seen its last change.
    pub is_observed: bool,
    /// `status.observedGeneration` is set: its controller has seen it at all.
    pub is_known: bool,
    /// `status.replicas`.
    pub actual: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// `status.terminatingReplicas`.
    pub terminating: Option<i32>,
    /// Its `ReplicaFailure` condition.
    pub failure: Option<Condition>,
}

/// A deployment's status.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the API's fields")]
pub struct Status {
    pub observed_generation: i64,
    pub replicas: i32,
    pub updated: i32,
    pub ready: i32,
    pub available: i32,
    pub unavailable: i32,
    pub terminating: Option<i32>,
    pub collision_count: Option<i32>,
    pub conditions: Vec<Condition>,
}

/// A deployment's condition.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the API's fields")]
pub struct Condition {
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub updated: Option<Timestamp>,
    pub transitioned: Option<Timestamp>,
}

// === impl Wish ===

impl Wish {
    /// Of a deployment whose template hashes to `template_hash`.
    pub fn of(deployment: &Deployment, template_hash: String) -> Wish {
        let spec = &deployment.spec;
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.as_ref();
        let is_rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate");
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let (max_surge, max_unavailable) = match is_rolling {
            true => fence_posts(
                rolling.and_then(|rolling| rolling.max_surge.as_ref()),
                rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
                replicas,
            ),
            false => (0, 0),
        };
        Wish {
            name: deployment.name().to_owned(),
            generation: deployment.generation(),
            annotations: deployment.metadata.annotations.clone().unwrap_or_default(),
            is_deleting: deployment.is_deleting(),
            replicas,
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            is_paused: spec.paused.unwrap_or(false),
            is_rolling,
            max_surge,
            max_unavailable,
            progress_deadline: spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX),
            history_limit: spec.revision_history_limit.filter(|limit| *limit != i32::MAX),
            template_hash,
            status: deployment.status.as_ref().map(Status::of).unwrap_or_default(),
        }
    }

    /// The revision that somebody asks to go back to; 0 is the one before.
    pub fn rollback_to(&self) -> Option<i64> {
        self.annotations.get(ROLLBACK_TO)?.parse().ok()
    }
}

/// Surge and unavailability as numbers. They must not both be zero, or nothing could move.
///
/// Upstream: `ResolveFenceposts` and `MaxUnavailable`.
fn fence_posts(surge: Option<&TypedIntOrString>, unavailable: Option<&TypedIntOrString>, replicas: i32) -> (i32, i32) {
    let scaled = |value: Option<&TypedIntOrString>, round_up| {
        let value = match value {
            Some(TypedIntOrString::Int(number)) => IntOrString::Int(*number),
            Some(TypedIntOrString::String(text)) => IntOrString::String(text.clone()),
            None => IntOrString::Int(0),
        };
        value.scaled(replicas.into(), round_up).ok().and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
    };
    let (surge, unavailable) = (scaled(surge, true), scaled(unavailable, false));
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (surge, if replicas == 0 { 0 } else { unavailable.min(replicas) })
}

// === impl Set ===

impl Set {
    /// Of a ReplicaSet whose template `is_current` or not.
    pub fn of(set: &Object<ReplicaSet>, is_current: bool) -> Set {
        let status = set.status.clone().unwrap_or_default();
        let failure =
            status.conditions.iter().flatten().find(|condition| condition.type_.as_deref() == Some("ReplicaFailure"));
        let observed = status.observed_generation.unwrap_or(0);
        Set {
            name: set.name().to_owned(),
            uid: set.uid().to_owned(),
            created: set.created(),
            is_deleting: set.is_deleting(),
            annotations: set.metadata.annotations.clone().unwrap_or_default(),
            replicas: set.spec.replicas.unwrap_or(1),
            min_ready_seconds: set.spec.min_ready_seconds.unwrap_or(0),
            is_current,
            is_observed: observed >= set.generation(),
            is_known: observed != 0,
            actual: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: status.terminating_replicas,
            failure: failure.map(|condition| Condition {
                kind: condition.type_.clone().unwrap_or_default(),
                status: condition.status.clone().unwrap_or_default(),
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
                updated: condition.last_transition_time.as_ref().map(|time| time.0),
                transitioned: condition.last_transition_time.as_ref().map(|time| time.0),
            }),
        }
    }

    /// Its place in the rollout sequence; 0 before it has one or if it can't be read.
    pub fn revision(&self) -> i64 {
        self.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// A number that an annotation holds.
    pub fn annotated(&self, annotation: &str) -> Option<i32> {
        self.annotations.get(annotation)?.parse().ok().filter(|number| *number >= 0)
    }

    /// The order of age: creation, then name.
    pub fn age(&self) -> (Option<Timestamp>, &str) {
        (self.created, &self.name)
    }
}

// === impl Status ===

impl Status {
    fn of(status: &DeploymentStatus) -> Status {
        let conditions = status.conditions.iter().flatten().map(|condition| Condition {
            kind: condition.type_.clone().unwrap_or_default(),
            status: condition.status.clone().unwrap_or_default(),
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
            updated: condition.last_update_time.as_ref().map(|time| time.0),
            transitioned: condition.last_transition_time.as_ref().map(|time| time.0),
        });
        Status {
            observed_generation: status.observed_generation.unwrap_or(0),
            replicas: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            unavailable: status.unavailable_replicas.unwrap_or(0),
            terminating: status.terminating_replicas,
            collision_count: status.collision_count,
            conditions: conditions.collect(),
        }
    }

    /// The condition of a type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Sets a condition, unless it is there with the same status and reason; the transition time moves only with the
    /// status.
    pub fn set(&mut self, mut condition: Condition) {
        if let Some(known) = self.condition(&condition.kind)
            && known.status == condition.status
        {
            if known.reason == condition.reason {
                return;
            }
            condition.transitioned = known.transitioned;
        }
        self.unset(&condition.kind);
        self.conditions.push(condition);
    }

    /// Removes the condition of a type.
    pub fn unset(&mut self, kind: &str) {
        self.conditions.retain(|condition| condition.kind != kind);
    }
}

// === impl Condition ===

impl Condition {
    /// A condition that holds from now on.
    pub fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>, now: Timestamp) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
            updated: Some(now),
            transitioned: Some(now),
        }
    }
}
