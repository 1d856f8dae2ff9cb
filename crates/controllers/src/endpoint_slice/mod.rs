//! EndpointSlices: the pods behind every service with a selector.
//!
//! Upstream: pkg/controller/endpointslice and k8s.io/endpointslice. [`endpoint`] makes an endpoint of a pod; [`plan`]
//! distributes endpoints over slices.

pub mod endpoint;
pub mod plan;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::value::{Map, Value};
use client::{
    Client, ClientError, DeleteOptions, Event, EventRecorder, EventType, Informer, MetaExt, Object, ObjectKey,
    Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use smol_str::SmolStr;

use self::plan::{Draft, Group, Plan, plan, ports_key};
use crate::common::claim::Owner;
use crate::common::read_back::ReadBack;
use crate::common::{pods, services};
use crate::context::Context;

const NAME: &str = "endpointslice-controller";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Labels of slices that are not their service's.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Index of slices by the service they belong to.
const BY_SERVICE: &str = "service";
/// Longest name of an object.
const NAME_BYTES_MAX: usize = 253;

/// The last revision written of each slice: changes by others are to be undone, our own are known.
type Written = Arc<Mutex<HashMap<ObjectKey, u64>>>;

/// The controller.
pub struct EndpointSliceController {
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    client: Client,
    recorder: EventRecorder,
    read_back: ReadBack<EndpointSlice>,
    written: Written,
}

/// What a reconcile found out about pods.
struct Desired {
    groups: Vec<Group>,
    /// Pods whose node is not known (yet).
    homeless: Vec<String>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let informers = &context.informers;
    let (services, pods) = (informers.kind::<Service>(), informers.kind::<Pod>());
    let (nodes, slices) = (informers.kind::<Node>(), informers.kind::<EndpointSlice>());
    let (queue, written) = (WorkQueue::default(), Written::default());
    slices.add_index(BY_SERVICE, by_service);
    services::watch(&services, &pods, &queue);
    watch_slices(&slices, &queue, &written);
    let controller = EndpointSliceController {
        services: services.clone(),
        pods: pods.clone(),
        nodes: nodes.clone(),
        read_back: ReadBack::new(&slices),
        slices: slices.clone(),
        client: context.client(NAME),
        recorder: context.recorder(NAME),
        written,
    };
    tokio::join!(services.synced(), pods.synced(), nodes.synced(), slices.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// Our slices by the key of their service.
fn by_service(slice: &EndpointSlice) -> Vec<SmolStr> {
    let service = slice.label(SERVICE_NAME).filter(|_| slice.label(MANAGED_BY) == Some(MANAGER));
    service.map(|name| SmolStr::from(ObjectKey::new(slice.namespace(), name).to_string())).into_iter().collect()
}

fn watch_slices(slices: &Informer<EndpointSlice>, queue: &WorkQueue<ObjectKey>, written: &Written) {
    let (queue, written) = (queue.clone(), written.clone());
    let enqueue = move |slice: &EndpointSlice| {
        if let Some(name) = slice.label(SERVICE_NAME).filter(|_| slice.label(MANAGED_BY) == Some(MANAGER)) {
            queue.add(ObjectKey::new(slice.namespace(), name));
        }
    };
    slices.subscribe(move |event| {
        let slice = event.object();
        let last = match event {
            Event::Deleted { .. } => written.lock().remove(&slice.key()).and(None),
            _ => written.lock().get(&slice.key()).copied(),
        };
        if last.is_some_and(|last| slice.revision <= last) {
            return;
        }
        if let Event::Updated { old, .. } = event {
            enqueue(old);
        }
        enqueue(slice);
    });
}

impl Reconcile for EndpointSliceController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.read_back.wait(key).await;
        let Some(service) = self.services.get(key).filter(|service| services::has_endpoints(service)) else {
            return Ok(Requeue::Never);
        };
        let slices = self.slices.indexed(BY_SERVICE, &key.to_string());
        let slices: Vec<_> = slices.into_iter().filter(|slice| !slice.is_deleting()).collect();
        let families = families(&service);
        let (kept, stale): (Vec<_>, Vec<_>) =
            slices.into_iter().partition(|slice| families.contains(&slice.address_type.as_str()));
        let pods = services::selected(&self.pods, &service);
        let mut outcome = Ok(());
        let labels = labels(&service);
        for family in families {
            let mine: Vec<_> = kept.iter().filter(|slice| slice.address_type == family).cloned().collect();
            let desired = self.desired(&service, &pods, family == "IPv6");
            let plan = plan(&service.view, &labels, &mine, desired.groups);
            outcome = self.act(key, &service, family, &labels, plan).await.map_err(ReconcileError::from).and(outcome);
            if let Some(pod) = desired.homeless.first() {
                outcome =
                    outcome.and(Err(format!("skipping Pod {pod} for Service {key}: its Node is not found").into()));
            }
        }
        for slice in stale {
            self.delete(key, slice.name()).await?;
        }
        if let Err(error) = &outcome {
            let said = format!("Error updating Endpoint Slices for Service {key}: {error}");
            self.recorder.event(&service.view, EventType::Warning, "FailedToUpdateEndpointSlices", said);
        }
        outcome.map(|()| Requeue::Never)
    }
}

impl EndpointSliceController {
    /// The endpoints that the service should have, by their ports.
    fn desired(&self, service: &Service, pods: &[Arc<Object<Pod>>], is_v6: bool) -> Desired {
        let publishes_all = services::spec(service).publish_not_ready_addresses == Some(true);
        let (mut groups, mut homeless): (Vec<Group>, _) = (Vec::new(), Vec::new());
        for pod in pods.iter().filter(|pod| services::is_reachable(pod)) {
            let node = self.nodes.get(&ObjectKey::cluster(pods::node_name(pod)));
            let ports = endpoint::ports(pod, service);
            let group_key = ports_key(&ports);
            let at = groups.iter().position(|group| ports_key(&group.ports) == group_key).unwrap_or_else(|| {
                groups.push(Group { ports, endpoints: Vec::new() });
                groups.len() - 1
            });
            if node.is_none() && !publishes_all {
                homeless.push(pod.name().to_owned());
                continue;
            }
            groups[at].endpoints.extend(endpoint::endpoint(
                pod,
                node.as_deref().map(|node| &node.view),
                service,
                is_v6,
            ));
        }
        Desired { groups, homeless }
    }

    async fn act(
        &self,
        key: &ObjectKey,
        service: &Object<Service>,
        family: &str,
        labels: &BTreeMap<String, String>,
        plan: Plan,
    ) -> Result<(), ClientError> {
        let api = self.client.kind::<EndpointSlice>(&key.namespace);
        // Not for a service that goes: the garbage collector is taking its slices away.
        for draft in plan.create.iter().filter(|_| !service.is_deleting()) {
            let tree = fresh(service, family, labels, draft)?;
            match api.create_tree(tree, &WriteOptions::default()).await {
                Ok(answer) => self.wrote(key, &answer.name(), answer.revision()),
                // Nothing can be created there any more.
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        for draft in &plan.update {
            let Some(stored) = &draft.stored else { continue };
            let (endpoints, ports) = (json::to_tree(&draft.endpoints)?, json::to_tree(&draft.ports)?);
            let tree = stored.edit(|tree| {
                tree.set("metadata.labels", label_map(labels));
                tree.set("endpoints", endpoints);
                tree.set("ports", ports);
            })?;
            let answer = api.update(tree, &WriteOptions::default()).await?;
            self.wrote(key, stored.name(), answer.revision());
        }
        for name in &plan.delete {
            self.delete(key, name).await?;
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, name: &str) -> Result<(), ClientError> {
        let api = self.client.kind::<EndpointSlice>(&key.namespace);
        match api.delete(name, &DeleteOptions::default()).await {
            Ok(answer) => self.read_back.wrote(key, answer.revision()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wrote(&self, key: &ObjectKey, slice: &str, revision: u64) {
        self.written.lock().insert(ObjectKey::new(key.namespace.clone(), slice), revision);
        self.read_back.wrote(key, revision);
    }
}

/// The address types that a service has endpoints of.
fn families(service: &Service) -> Vec<&'static str> {
    let spec = services::spec(service);
    let mut types: Vec<&str> = Vec::new();
    for family in spec.ip_families.iter().flatten() {
        types.push(if family == "IPv6" { "IPv6" } else { "IPv4" });
    }
    if !types.is_empty() {
        return types;
    }
    match spec.cluster_ip.as_deref().unwrap_or_default() {
        "" | "None" => vec!["IPv4", "IPv6"],
        ip if ip.contains(':') => vec!["IPv6"],
        _ => vec!["IPv4"],
    }
}

/// What labels the service's slices carry: the service's own, and those that say whose they are.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if services::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn label_map(labels: &BTreeMap<String, String>) -> Map {
    labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// A new slice.
fn fresh(
    service: &Object<Service>,
    family: &str,
    labels: &BTreeMap<String, String>,
    draft: &Draft,
) -> Result<Value, ClientError> {
    let mut tree = Value::object();
    let prefix = format!("{}-", service.name());
    tree.set("metadata.generateName", if prefix.len() > NAME_BYTES_MAX { service.name() } else { &prefix });
    tree.set("metadata.namespace", service.namespace());
    tree.set("metadata.labels", label_map(labels));
    tree.set("metadata.ownerReferences", Value::Array(vec![Owner::of(&service.view).reference()]));
    tree.set("addressType", family);
    tree.set("endpoints", json::to_tree(&draft.endpoints)?);
    tree.set("ports", json::to_tree(&draft.ports)?);
    Ok(tree)
}

#[cfg(test)]
mod tests;
