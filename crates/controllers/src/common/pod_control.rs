//! Making and deleting pods on behalf of a controller's object, with the events that upstream records.

use api::value::{Map, Value};
use bytes::Bytes;
use client::{
    Answer, Client, ClientError, DeleteOptions, EventRecorder, EventType, Kind, WriteOptions, json, resources,
};
use futures::future::join_all;

use super::claim::Owner;

/// The first batch of a slow start; each following one is twice as large.
const SLOW_START_FIRST: usize = 1;

/// Creates and deletes pods, telling about it.
#[derive(Clone)]
pub struct PodControl {
    client: Client,
    recorder: EventRecorder,
}

/// What a batch of requests came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many succeeded.
    pub done: usize,
    /// The last revision written.
    pub revision: u64,
    /// The first failure.
    pub error: Option<ClientError>,
}

// === impl PodControl ===

impl PodControl {
    /// Acts through `client` and tells through `recorder`.
    pub fn new(client: Client, recorder: EventRecorder) -> PodControl {
        PodControl { client, recorder }
    }

    /// Creates one pod.
    ///
    /// # Errors
    /// What the server says; a terminating namespace is no news and makes no event.
    pub async fn create<K: Kind>(&self, owner: &K, namespace: &str, pod: Bytes) -> Result<Answer, ClientError> {
        match self.client.namespaced(&resources::PODS, namespace).create(pod, &WriteOptions::default()).await {
            Ok(answer) => {
                let said = format!("Created pod: {}", answer.name());
                self.recorder.event(owner, EventType::Normal, "SuccessfulCreate", said);
                Ok(answer)
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    self.recorder.event(owner, EventType::Warning, "FailedCreate", format!("Error creating: {error}"));
                }
                Err(error)
            }
        }
    }

    /// Creates pods in batches of 1, 2, 4 … at once, until one fails: many that can't be created (quota) cost few
    /// requests. `pods` gives the body of the n-th.
    pub async fn create_slowly<K: Kind>(
        &self,
        owner: &K,
        namespace: &str,
        count: usize,
        pods: impl Fn(usize) -> Bytes,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let (mut next, mut batch) = (0, SLOW_START_FIRST);
        while next < count && outcome.error.is_none() {
            let end = count.min(next + batch);
            let answers = join_all((next..end).map(|at| self.create(owner, namespace, pods(at)))).await;
            answers.into_iter().for_each(|answer| outcome.take(answer));
            (next, batch) = (end, 2 * batch);
        }
        outcome
    }

    /// Deletes one pod. One that is gone already is deleted.
    ///
    /// # Errors
    /// What the server says.
    pub async fn delete<K: Kind>(&self, owner: &K, namespace: &str, name: &str) -> Result<u64, ClientError> {
        let pods = self.client.namespaced(&resources::PODS, namespace);
        match pods.delete(name, &DeleteOptions::default()).await {
            Ok(answer) => {
                self.recorder.event(owner, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(answer.revision())
            }
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => {
                self.recorder.event(owner, EventType::Warning, "FailedDelete", format!("Error deleting: {error}"));
                Err(error)
            }
        }
    }

    /// Deletes pods, all at once.
    pub async fn delete_all<K: Kind>(&self, owner: &K, namespace: &str, names: &[String]) -> Outcome {
        let mut outcome = Outcome::default();
        let answers = join_all(names.iter().map(|name| self.delete(owner, namespace, name))).await;
        for answer in answers {
            match answer {
                Ok(revision) => {
                    outcome.done += 1;
                    outcome.revision = outcome.revision.max(revision);
                }
                Err(error) => drop(outcome.error.get_or_insert(error)),
            }
        }
        outcome
    }
}

// === impl Outcome ===

impl Outcome {
    fn take(&mut self, answer: Result<Answer, ClientError>) {
        match answer {
            Ok(answer) => {
                self.done += 1;
                self.revision = self.revision.max(answer.revision());
            }
            Err(error) => drop(self.error.get_or_insert(error)),
        }
    }
}

/// The pod that a template describes, owned by `owner`: labels, annotations, finalizers and spec, fields unknown to
/// this program included. Named `{owner}-` and what the server adds.
pub fn from_template(owner: &Owner, template: &Value) -> Value {
    let mut metadata = Map::new();
    metadata.insert("generateName", pod_prefix(&owner.name));
    for key in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.at("metadata").field(key) {
            metadata.insert(key, value.clone());
        }
    }
    metadata.insert("ownerReferences", Value::Array(vec![owner.reference()]));
    let mut pod = Map::new();
    pod.insert("kind", "Pod");
    pod.insert("apiVersion", "v1");
    pod.insert("metadata", metadata);
    pod.insert("spec", template.get("spec").clone());
    Value::Object(pod)
}

/// The same as bytes.
pub fn bytes_from_template(owner: &Owner, template: &Value) -> Bytes {
    json::write(&from_template(owner, template))
}

/// The owner's name with a dash, if a pod may be named so; else just the name (upstream's `getPodsPrefix`).
pub fn pod_prefix(owner: &str) -> String {
    let prefix = format!("{owner}-");
    // Upstream checks the prefix with a letter in place of its dash.
    if api::names::dns1123_subdomain(&format!("{owner}a")).is_empty() { prefix } else { owner.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_what_its_template_says_and_this_program_does_not_know() {
        let template = json::parse(
            br#"{"metadata":{"labels":{"a":"b"},"name":"ignored"},"spec":{"containers":[{"name":"c","newField":1}]}}"#,
        );
        let owner = Owner {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: "web".into(),
            uid: "u".into(),
            is_deleting: false,
        };
        let pod = from_template(&owner, &template.unwrap());
        assert_eq!(pod.str_at("metadata.generateName"), "web-");
        assert_eq!(pod.str_at("metadata.labels.a"), "b");
        assert_eq!(pod.str_at("metadata.name"), "");
        assert_eq!(pod.array_at("spec.containers")[0].i64_at("newField"), Some(1));
        assert_eq!(pod.array_at("metadata.ownerReferences"), [owner.reference()]);
    }
}
