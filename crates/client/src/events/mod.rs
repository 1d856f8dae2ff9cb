//! Events: what controllers and the kubelet tell users about objects (`kubectl describe`).
//!
//! [`EventRecorder`] takes them without ever waiting; a task behind it [correlates](correlator) them as client-go
//! does (similar ones become one, the same one again counts up, a flood is cut) and writes them.

pub mod correlator;

use std::sync::Arc;

use api::value::Value;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::correlator::{Correlated, Correlator};
use crate::client::Client;
use crate::error::ClientError;
use crate::params::{Patch, WriteOptions};
use crate::resource::resources;
use crate::time::Given;
use crate::views::{Kind, MetaExt};

/// Events that wait to be written; more are dropped (client-go's `maxQueuedEvents`).
const QUEUED_MAX: usize = 1000;
/// Tries to write one event while the server can't be reached, and the wait between them (client-go's values).
const TRIES_MAX: u32 = 12;
const TRY_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(10);

/// Takes events. Cheap to clone; clones share the correlation.
#[derive(Clone)]
pub struct EventRecorder {
    sender: mpsc::Sender<Event>,
    component: Arc<str>,
    host: Arc<str>,
    given: Given,
}

/// Whether something went as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// For the record.
    Normal,
    /// Somebody may have to act.
    Warning,
}

// === impl EventRecorder ===

impl EventRecorder {
    /// A recorder that writes as `component` (on `host`, if it belongs to one) until `stop`.
    pub fn new(client: Client, component: &str, host: &str, given: Given, stop: CancellationToken) -> EventRecorder {
        let (sender, receiver) = mpsc::channel(QUEUED_MAX);
        let writer = Writer { client, correlator: Correlator::new(), given: given.clone() };
        tokio::spawn(stop.run_until_cancelled_owned(writer.run(receiver)));
        EventRecorder { sender, component: component.into(), host: host.into(), given }
    }

    /// Records an event about an object. Never waits; drops it if too many wait to be written.
    pub fn event<K: Kind>(&self, object: &K, kind: EventType, reason: &str, message: impl Into<String>) {
        self.event_about(reference(object), kind, reason, message);
    }

    /// Records an event about whatever the reference names (a container of a pod through `fieldPath`).
    pub fn event_about(&self, about: ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let event = self.make(about, kind, reason, message.into());
        if self.sender.try_send(event).is_err() {
            tracing::warn!(reason, "too many events wait to be written, one is dropped");
        }
    }

    fn make(&self, about: ObjectReference, kind: EventType, reason: &str, message: String) -> Event {
        let now = self.given.now();
        let namespace = about.namespace.clone().filter(|namespace| !namespace.is_empty());
        Event {
            metadata: ObjectMeta {
                name: Some(event_name(about.name.as_deref().unwrap_or_default(), now)),
                namespace: Some(namespace.unwrap_or_else(|| "default".to_owned())),
                ..ObjectMeta::default()
            },
            involved_object: about,
            reason: Some(reason.to_owned()),
            message: Some(message),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            type_: Some(kind.as_str().to_owned()),
            source: Some(EventSource {
                component: Some(self.component.to_string()),
                host: Some(self.host.to_string()).filter(|host| !host.is_empty()),
            }),
            reporting_component: Some(self.component.to_string()),
            reporting_instance: Some(self.host.to_string()).filter(|host| !host.is_empty()),
            ..Event::default()
        }
    }
}

/// Object name and the time in nanoseconds, hexadecimal: unique enough, and a retry finds its own.
fn event_name(object: &str, now: jiff::Timestamp) -> String {
    format!("{object}.{:x}", now.as_nanosecond())
}

// === impl EventType ===

impl EventType {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// A reference to an object, for events.
pub fn reference<K: Kind>(object: &K) -> ObjectReference {
    let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ObjectReference {
        api_version: Some(K::RESOURCE.api_version()),
        kind: Some(K::RESOURCE.kind.into_owned()),
        namespace: filled(object.namespace()),
        name: filled(object.name()),
        uid: filled(object.uid()),
        resource_version: object.meta().resource_version.clone(),
        field_path: None,
    }
}

/// The task that writes events.
struct Writer {
    client: Client,
    correlator: Correlator,
    given: Given,
}

// === impl Writer ===

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Event>) {
        while let Some(event) = receiver.recv().await {
            let Some(correlated) = self.correlator.correlate(event, self.given.now()) else { continue };
            self.record(correlated).await;
        }
    }

    /// Tries until the server has answered; what it refuses is not tried again.
    async fn record(&mut self, correlated: Correlated) {
        for attempt in 0..TRIES_MAX {
            match self.write(&correlated).await {
                Ok(written) => return self.correlator.written(&correlated, written),
                Err(error) if matches!(error, ClientError::Transport { .. } | ClientError::Timeout { .. }) => {
                    tracing::debug!(%error, "can't write an event (may retry)");
                    let wait = if attempt == 0 {
                        TRY_AGAIN_AFTER.mul_f64(self.given.chance.fraction())
                    } else {
                        TRY_AGAIN_AFTER
                    };
                    tokio::time::sleep(wait).await;
                }
                Err(error) if error.is_already_exists() || error.is_namespace_terminating() => {
                    return tracing::debug!(%error, "server rejected event");
                }
                Err(error) => return tracing::warn!(%error, "server rejected event (will not retry)"),
            }
        }
        tracing::warn!("can't write an event, retry limit exceeded");
    }

    /// Gives the written event's name.
    async fn write(&self, correlated: &Correlated) -> Result<String, ClientError> {
        let event = &correlated.event;
        let events = self.client.namespaced(&resources::EVENTS, event.namespace());
        let options = WriteOptions::default();
        if correlated.is_repeated {
            match events.patch(event.name(), "", &count_patch(event), &options).await {
                Err(error) if error.is_not_found() => {}
                answer => return answer.map(|_| event.name().to_owned()),
            }
        }
        events.create(event.encode(), &options).await.map(|answer| answer.name())
    }
}

/// What changes when an event happens again.
fn count_patch(event: &Event) -> Patch {
    let mut patch = Value::object();
    patch.set("count", event.count.unwrap_or(1));
    patch.set("message", event.message.as_deref().unwrap_or_default());
    if let Some(Time(last)) = event.last_timestamp {
        patch.set("lastTimestamp", last.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    Patch::Strategic(patch)
}

#[cfg(test)]
mod tests;
