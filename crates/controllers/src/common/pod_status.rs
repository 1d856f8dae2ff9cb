//! Changes of pods' statuses that controllers make in a kubelet's place.

use api::value::{Map, Value};
use client::{Api, ClientError, MetaExt, Patch, WriteOptions};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{pods, tree};

/// Patches the pod's status: the phase (unless empty), and one condition. A pod that is gone needs none.
///
/// # Errors
/// What the server says.
pub async fn patch(api: &Api, pod: &Pod, phase: &str, condition: Option<Value>) -> Result<(), ClientError> {
    let mut patch = Value::object();
    patch.set("metadata.uid", pod.uid());
    if !phase.is_empty() {
        patch.set("status.phase", phase);
    }
    if let Some(condition) = condition {
        patch.set("status.conditions", vec![condition]);
    }
    match api.patch(pod.name(), "status", &Patch::Strategic(patch), &WriteOptions::default()).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// A condition with a new status; the time of its last change stays if the status does.
pub fn condition(pod: &Pod, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    let known = pods::condition(pod, kind).filter(|known| known.status == status);
    let since = known.and_then(|known| known.last_transition_time.as_ref()).map_or(now, |time| time.0);
    let mut condition = Map::from_iter([("type", kind), ("status", status)]);
    condition.insert("lastTransitionTime", tree::time(since));
    if !reason.is_empty() {
        condition.insert("reason", reason);
        condition.insert("message", message);
    }
    Value::Object(condition)
}

/// The condition that says that the pod is ended from outside.
pub fn disruption(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Value {
    condition(pod, "DisruptionTarget", "True", reason, message, now)
}
