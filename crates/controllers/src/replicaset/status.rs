//! The status of a set: what its pods came to.

use std::sync::Arc;

use api::value::Value;
use client::{ClientError, MetaExt, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::kind::SetKind;
use crate::common::conditions::{self, Condition};
use crate::common::selectors::contains;
use crate::common::{pods, tree};

/// Why pods could not be created or deleted.
#[derive(Debug)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// What the server said.
    pub error: ClientError,
}

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The set's tree with its new status, if that differs; and whether all ready pods are available, so that nothing will
/// change by waiting.
pub fn update<K: SetKind>(
    mut tree: Value,
    set: &K,
    owned: &[Arc<Object<Pod>>],
    terminating: Option<usize>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> (Option<Value>, bool) {
    let before = tree.get("status").clone();
    let labels = set.template_labels();
    let count = |is: &dyn Fn(&Pod) -> bool| owned.iter().filter(|pod| is(&pod.view)).count() as i64;
    let ready = count(&pods::is_ready);
    let available = count(&|pod| pods::is_available(pod, set.min_ready_seconds(), now));
    let fully_labeled = count(&|pod| contains(&pod.metadata.labels, &labels));

    tree.set("status.replicas", owned.len() as i64);
    tree::set_count(&mut tree, "status.fullyLabeledReplicas", fully_labeled);
    tree::set_count(&mut tree, "status.readyReplicas", ready);
    tree::set_count(&mut tree, "status.availableReplicas", available);
    if let Some(terminating) = terminating {
        tree.set("status.terminatingReplicas", terminating as i64);
    }
    tree::set_count(&mut tree, "status.observedGeneration", set.generation());
    let mut known = conditions::read(&tree, "status.conditions");
    match failure {
        Some(failure) if conditions::find(&known, REPLICA_FAILURE).is_none() => {
            let message = failure.error.to_string();
            conditions::set(&mut known, Condition::new(REPLICA_FAILURE, "True", failure.reason, message, now));
        }
        Some(_) => {}
        None => conditions::remove(&mut known, REPLICA_FAILURE),
    }
    conditions::write(&mut tree, "status.conditions", &known);
    let has_changed = *tree.get("status") != before;
    (has_changed.then_some(tree), set.min_ready_seconds() == 0 || ready == available)
}
