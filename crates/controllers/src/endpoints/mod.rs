//! Endpoints: the older, single-object form of a service's endpoints.
//!
//! Upstream: pkg/controller/endpoint. [`plan`] makes subsets of pods.

pub mod plan;

use std::sync::Arc;

use api::value::{Map, Value};
use client::{
    Client, ClientError, DeleteOptions, Event, EventRecorder, EventType, Informer, MetaExt, Object, ObjectKey,
    Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints, Pod, Service};

use crate::common::read_back::ReadBack;
use crate::common::services;
use crate::context::Context;

const NAME: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", NAME);
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Locks of old leader elections: objects without a service that are nobody's leftovers.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// The controller.
pub struct EndpointsController {
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    client: Client,
    recorder: EventRecorder,
    wrote: ReadBack<Endpoints>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let informers = &context.informers;
    let (services, pods, endpoints) = (informers.kind(), informers.kind(), informers.kind::<Endpoints>());
    let queue = WorkQueue::default();
    services::watch(&services, &pods, &queue);
    endpoints.subscribe({
        let queue = queue.clone();
        move |event| {
            if let Event::Deleted { object, .. } = event {
                queue.add(object.key());
            }
        }
    });
    let controller = EndpointsController {
        services: services.clone(),
        pods: pods.clone(),
        wrote: ReadBack::new(&endpoints),
        endpoints: endpoints.clone(),
        client: context.client(NAME),
        recorder: context.recorder(NAME),
    };
    tokio::join!(services.synced(), pods.synced(), endpoints.synced());
    // What is left over from services deleted while nobody looked. Later ones without a service are somebody's own.
    endpoints.list().iter().for_each(|left_over| queue.add(left_over.key()));
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for EndpointsController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote.wait(key).await;
        let api = self.client.kind::<Endpoints>(&key.namespace);
        let Some(service) = self.services.get(key) else {
            if self.endpoints.get(key).is_some_and(|there| there.annotation(LEADER).is_none()) {
                match api.delete(&key.name, &DeleteOptions::default()).await {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
            return Ok(Requeue::Never);
        };
        if !services::has_endpoints(&service) {
            return Ok(Requeue::Never);
        }
        let pods = services::selected(&self.pods, &service);
        let subsets = plan::subsets(&service, pods.iter().map(|pod| &pod.view));
        let there = self.endpoints.get(key);
        let Some(tree) = tree(&service, there.as_deref(), subsets)? else { return Ok(Requeue::Never) };
        let written = match there {
            None => api.create_tree(tree, &WriteOptions::default()).await,
            Some(_) => api.update(tree, &WriteOptions::default()).await,
        };
        match written {
            Ok(answer) => self.wrote.wrote(key, answer.revision()),
            Err(error) if error.is_namespace_terminating() => {}
            Err(error) => {
                let said = format!("Failed to update endpoint {key}: {error}");
                self.recorder.event(&service.view, EventType::Warning, "FailedToUpdateEndpoint", said);
                return Err(error.into());
            }
        }
        Ok(Requeue::Never)
    }
}

/// The object as it should be, if it isn't.
fn tree(
    service: &Service,
    there: Option<&Object<Endpoints>>,
    mut subsets: Vec<EndpointSubset>,
) -> Result<Option<Value>, ClientError> {
    let is_cut = plan::truncate(&mut subsets);
    let labels = labels(service);
    if let Some(there) = there {
        let is_same = plan::repack(there.subsets.as_deref().unwrap_or_default()) == plan::repack(&subsets)
            && there
                .metadata
                .labels
                .iter()
                .flatten()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .eq(labels.clone())
            && there.annotation(OVER_CAPACITY) == is_cut.then_some("truncated");
        if is_same {
            return Ok(None);
        }
    }
    let mut tree = match there {
        Some(there) => json::parse(&there.bytes)?,
        None => {
            let mut tree = Value::object();
            tree.set("metadata.name", service.name());
            tree.set("metadata.namespace", service.namespace());
            tree
        }
    };
    tree.set("metadata.labels", labels.into_iter().collect::<Map>());
    if is_cut {
        tree.at_or_insert("metadata.annotations").make_object().insert(OVER_CAPACITY, "truncated");
    } else if let Some(annotations) = tree.at_mut("metadata.annotations").and_then(Value::as_object_mut) {
        annotations.remove(OVER_CAPACITY);
    }
    crate::common::tree::set_list(&mut tree, "subsets", &subsets)?;
    Ok(Some(tree))
}

/// The labels of a service's Endpoints, sorted.
fn labels(service: &Service) -> std::collections::BTreeMap<&str, &str> {
    let own = service.metadata.labels.iter().flatten();
    let mut labels: std::collections::BTreeMap<&str, &str> =
        own.map(|(key, value)| (key.as_str(), value.as_str())).collect();
    labels.remove(HEADLESS);
    if services::is_headless(service) {
        labels.insert(HEADLESS, "");
    }
    labels.insert(MANAGED_BY.0, MANAGED_BY.1);
    labels
}

#[cfg(test)]
mod tests;
