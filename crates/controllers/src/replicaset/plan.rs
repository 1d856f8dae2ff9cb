//! How many pods to create, or which to delete.

use std::sync::Arc;

use client::{MetaExt, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::common::order::sort_for_deletion;

/// Most pods created or deleted in one reconcile; upstream's `BurstReplicas`.
pub const BURST_MAX: usize = 500;

/// What should happen next. Empty when the number is right.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How many pods are to be created.
    pub create: usize,
    /// Names of the pods to be deleted.
    pub delete: Vec<String>,
}

/// Decides for a set that wants `replicas` pods and has the active pods `owned`; `related` are the pods of all sets of
/// the same deployment.
pub fn plan(replicas: i32, owned: &[Arc<Object<Pod>>], related: &[Arc<Object<Pod>>], now: Timestamp) -> Plan {
    let wanted = usize::try_from(replicas).unwrap_or(0);
    if owned.len() <= wanted {
        return Plan { create: (wanted - owned.len()).min(BURST_MAX), delete: Vec::new() };
    }
    let surplus = (owned.len() - wanted).min(BURST_MAX);
    let mut candidates: Vec<&Pod> = owned.iter().map(|pod| &pod.view).collect();
    if surplus < candidates.len() {
        sort_for_deletion(&mut candidates, related.iter().map(|pod| &pod.view), now);
    }
    Plan { create: 0, delete: candidates[..surplus].iter().map(|pod| pod.name().to_owned()).collect() }
}
