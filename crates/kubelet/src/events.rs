//! Events about pods, their containers and the node.

use std::sync::Arc;

use client::{EventRecorder, EventType, events::reference};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use parking_lot::Mutex;

use crate::pod::{Kind, PodExt};

/// One as a test sees it: type, reason, message, whom it is about.
pub type Recorded = (EventType, String, String, ObjectReference);

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub struct Events(Sink);

#[derive(Clone)]
enum Sink {
    Api(EventRecorder),
    Memory(Arc<Mutex<Vec<Recorded>>>),
}

impl Events {
    /// To the API server.
    pub fn new(recorder: EventRecorder) -> Self {
        Events(Sink::Api(recorder))
    }

    /// Kept, for tests.
    pub fn kept() -> (Self, Arc<Mutex<Vec<Recorded>>>) {
        let kept = Arc::<Mutex<Vec<Recorded>>>::default();
        (Events(Sink::Memory(kept.clone())), kept)
    }

    /// About a pod.
    pub fn pod(&self, pod: &Pod, kind: EventType, reason: &str, message: impl Into<String>) {
        self.send(reference(pod), kind, reason, message.into());
    }

    /// About a container of a pod.
    pub fn container(&self, pod: &Pod, name: &str, kind: EventType, reason: &str, message: impl Into<String>) {
        let list = match pod.find_container(name).map(|(kind, _)| kind) {
            Some(Kind::Init) => "initContainers",
            Some(Kind::Ephemeral) => "ephemeralContainers",
            _ => "containers",
        };
        let about = ObjectReference { field_path: Some(format!("spec.{list}{{{name}}}")), ..reference(pod) };
        self.send(about, kind, reason, message.into());
    }

    /// About the node. Its events carry its name as UID, as upstream's do.
    pub fn node(&self, name: &str, kind: EventType, reason: &str, message: impl Into<String>) {
        let node = Node::default();
        let name = Some(name.to_owned());
        let about = ObjectReference { name: name.clone(), uid: name, ..reference(&node) };
        self.send(about, kind, reason, message.into());
    }

    fn send(&self, about: ObjectReference, kind: EventType, reason: &str, message: String) {
        match &self.0 {
            Sink::Api(recorder) => recorder.event_about(about, kind, reason, message),
            Sink::Memory(kept) => kept.lock().push((kind, reason.to_owned(), message, about)),
        }
    }
}
