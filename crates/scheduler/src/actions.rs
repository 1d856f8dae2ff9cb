//! Decisions carried out through the API: bindings, conditions, evictions, events.

use crate::core::Core;
use crate::diagnosis::Diagnosis;
use crate::model::pod::{Condition, Pod};
use crate::queue::QueuedPod;
use client::time::Given;
use client::{Client, ClientError, DeleteOptions, EventRecorder, EventType, MetaExt, Patch, WriteOptions, resources};
use k8s_openapi::api::core::v1::ObjectReference;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The longest event message the API takes, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Carries decisions out.
#[derive(Clone)]
pub struct Actions {
    /// The scheduler's client.
    pub client: Client,
    /// Tells users.
    pub events: EventRecorder,
    /// Time.
    pub given: Given,
    /// Where outcomes go.
    pub core: Arc<Mutex<Core>>,
    /// Wakes the loop.
    pub changed: Arc<Notify>,
}

// === impl Actions ===

impl Actions {
    /// Binds a pod, and tells whether it was.
    pub async fn bind(self, queued: QueuedPod, node: String) {
        let pod = queued.pod.clone();
        match self.try_bind(&pod, &node).await {
            Ok(()) => {
                self.core.lock().bound(pod.uid());
                let message = format!("Successfully assigned {} to {node}", pod.full_name());
                self.events.event_about(reference(&pod), EventType::Normal, "Scheduled", message);
            }
            Err(error) => {
                tracing::info!(%error, pod = %pod.full_name(), node, "pod could not be bound");
                let gone = error.is_not_found();
                self.core.lock().not_bound(queued, gone, Instant::now());
                if !gone {
                    let message = format!("binding rejected: {error}");
                    self.say_failed(&pod, &message);
                    self.set_condition(&pod, "SchedulerError", &message, None).await;
                }
            }
        }
        self.changed.notify_one();
    }

    async fn try_bind(&self, pod: &Pod, node: &str) -> Result<(), ClientError> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()},
            "target": {"kind": "Node", "name": node},
        });
        let pods = self.client.namespaced(&resources::PODS, pod.namespace());
        pods.create_subresource(pod.name(), "binding", binding.to_string(), &WriteOptions::default()).await.map(|_| ())
    }

    /// Tells why a pod has no node, and makes room for it where that was decided.
    pub async fn explain(self, pod: Arc<Pod>, diagnosis: Diagnosis, nominate: Option<String>, victims: Vec<Arc<Pod>>) {
        let message = diagnosis.message();
        tracing::debug!(pod = %pod.full_name(), message, "no node");
        self.say_failed(&pod, &message);
        self.set_condition(&pod, "Unschedulable", &message, nominate.as_deref()).await;
        if let Some(node) = nominate.filter(|_| !victims.is_empty()) {
            self.make_room(&pod, &node, victims).await;
        }
    }

    /// Tells that a pod is not scheduled as it is being deleted.
    pub fn skip(&self, pod: &Pod) {
        self.say_failed(pod, &format!("skip schedule deleting pod: {}", pod.full_name()));
    }

    fn say_failed(&self, pod: &Pod, message: &str) {
        self.events.event_about(reference(pod), EventType::Warning, "FailedScheduling", truncate(message));
    }

    /// Writes the condition PodScheduled and the node that the pod waits for, where they differ from what is stored.
    async fn set_condition(&self, pod: &Pod, reason: &str, message: &str, nominate: Option<&str>) {
        let now = self.given.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let Some(patch) = status_patch(pod, reason, message, nominate, &now) else { return };
        if let Err(error) = self.patch_status(pod, patch).await
            && !error.is_not_found()
        {
            tracing::warn!(%error, pod = %pod.full_name(), "pod condition not written");
        }
    }

    async fn patch_status(&self, pod: &Pod, patch: Json) -> Result<(), ClientError> {
        let patch = Patch::Strategic(client::json::to_tree(&patch)?);
        let pods = self.client.namespaced(&resources::PODS, pod.namespace());
        pods.patch(pod.name(), "status", &patch, &WriteOptions::default()).await.map(|_| ())
    }

    /// Ends the victims; pods that waited for the node and matter less wait for it no more.
    async fn make_room(&self, pod: &Pod, node: &str, victims: Vec<Arc<Pod>>) {
        let outranked = self.core.lock().outranked(node, pod.priority);
        for other in outranked {
            self.core.lock().state.withdraw_nomination(other.uid());
            let cleared = self.patch_status(&other, json!({"status": {"nominatedNodeName": null}})).await;
            if let Err(error) = cleared {
                tracing::warn!(%error, pod = %other.full_name(), "nominated node not cleared");
            }
        }
        for victim in victims.iter().filter(|victim| !victim.terminating) {
            if let Err(error) = self.end(victim, pod, node).await {
                tracing::warn!(%error, victim = %victim.full_name(), "victim could not be ended");
                self.core.lock().retry(pod.uid());
                self.changed.notify_one();
                return;
            }
        }
    }

    async fn end(&self, victim: &Pod, pod: &Pod, node: &str) -> Result<(), ClientError> {
        let now = self.given.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": format!("{}: preempting to accommodate a higher priority pod", pod.scheduler),
            "lastTransitionTime": now,
            "observedGeneration": victim.meta.generation,
        });
        let gone = |result: Result<(), ClientError>| match result {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        };
        gone(self.patch_status(victim, json!({"status": {"conditions": [condition]}})).await)?;
        let options = DeleteOptions { uid: Some(victim.uid().to_string()), ..DeleteOptions::default() };
        let pods = self.client.namespaced(&resources::PODS, victim.namespace());
        gone(pods.delete(victim.name(), &options).await.map(|_| ()))?;
        let message = format!("Preempted by pod {} on node {node}", pod.uid());
        self.events.event_about(reference(victim), EventType::Normal, "Preempted", message);
        Ok(())
    }
}

/// The change to a pod's status; none where it says all that already.
fn status_patch(pod: &Pod, reason: &str, message: &str, nominate: Option<&str>, now: &str) -> Option<Json> {
    let stored = pod.scheduled_condition.clone().unwrap_or_default();
    let wanted = Condition {
        status: "False".to_string(),
        reason: reason.to_string(),
        message: message.to_string(),
        last_transition_time: match stored.status == "False" && !stored.last_transition_time.is_empty() {
            true => stored.last_transition_time.clone(),
            false => now.to_string(),
        },
    };
    let nominated = nominate.filter(|node| *node != pod.nominated_node);
    if wanted == stored && nominated.is_none() {
        return None;
    }
    let mut status = json!({});
    if wanted != stored {
        status["conditions"] = json!([{
            "type": "PodScheduled",
            "status": wanted.status,
            "reason": wanted.reason,
            "message": wanted.message,
            "lastProbeTime": null,
            "lastTransitionTime": wanted.last_transition_time,
            "observedGeneration": pod.meta.generation,
        }]);
    }
    if let Some(node) = nominated {
        status["nominatedNodeName"] = if node.is_empty() { Json::Null } else { node.into() };
    }
    Some(json!({"status": status}))
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_string()),
        kind: Some("Pod".to_string()),
        namespace: Some(pod.namespace().to_string()),
        name: Some(pod.name().to_string()),
        uid: Some(pod.uid().to_string()),
        resource_version: pod.meta.resource_version.clone(),
        field_path: None,
    }
}

fn truncate(message: &str) -> String {
    const SUFFIX: &str = " ...";
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_string();
    }
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX - SUFFIX.len());
    format!("{}{SUFFIX}", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_once() {
        let mut pod = Pod::default();
        let patch = status_patch(&pod, "Unschedulable", "why", Some(""), "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert!(patch["status"].get("nominatedNodeName").is_none(), "it had none");
        pod.scheduled_condition = Some(Condition {
            status: "False".to_string(),
            reason: "Unschedulable".to_string(),
            message: "why".to_string(),
            last_transition_time: "2026-01-01T00:00:00Z".to_string(),
        });
        assert_eq!(status_patch(&pod, "Unschedulable", "why", None, "2026-02-02T00:00:00Z"), None);
        let patch = status_patch(&pod, "Unschedulable", "other", Some("n1"), "2026-02-02T00:00:00Z").unwrap();
        assert_eq!(
            patch["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z",
            "still not scheduled"
        );
        assert_eq!(patch["status"]["nominatedNodeName"], "n1");
    }

    #[test]
    fn long_messages_are_cut_as_upstream_cuts_them() {
        let message = truncate(&"ä".repeat(2_000));
        assert!(message.len() <= MESSAGE_BYTES_MAX && message.ends_with(" ..."));
    }
}
