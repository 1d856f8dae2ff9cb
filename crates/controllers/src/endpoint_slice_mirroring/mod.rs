//! EndpointSlice mirroring: who writes Endpoints for a service without a selector gets slices for them.
//!
//! Upstream: pkg/controller/endpointslicemirroring.

pub mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::value::{Map, Value};
use client::{
    Client, ClientError, DeleteOptions, Event, EventRecorder, EventType, Informer, MetaExt, Object, ObjectKey,
    Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use smol_str::SmolStr;

use self::plan::{ADDRESSES_MAX, Mirrored, mirror};
use crate::common::claim::Owner;
use crate::common::read_back::ReadBack;
use crate::common::{owners, services};
use crate::context::Context;
use crate::endpoint_slice::endpoint;
use crate::endpoint_slice::plan::ports_key;

const NAME: &str = "endpointslicemirroring-controller";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that are about the Endpoints object alone.
const OWN_ANNOTATIONS: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];
/// Index of slices by the Endpoints that they mirror.
const MIRRORED: &str = "mirrored";

/// The controller. Its keys are Endpoints.
pub struct Mirroring {
    endpoints: Informer<Endpoints>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    client: Client,
    recorder: EventRecorder,
    wrote: ReadBack<EndpointSlice>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let informers = &context.informers;
    let (endpoints, services) = (informers.kind::<Endpoints>(), informers.kind::<Service>());
    let slices = informers.kind::<EndpointSlice>();
    let queue = WorkQueue::default();
    slices.add_index(MIRRORED, mirrored);
    owners::watch_owners(&endpoints, &queue);
    services.subscribe({
        let queue = queue.clone();
        move |event| match event {
            Event::Updated { old, new } if services::has_endpoints(old) == services::has_endpoints(new) => {}
            _ => queue.add(event.object().key()),
        }
    });
    slices.subscribe({
        let queue = queue.clone();
        move |event| {
            let name = event.object().label(SERVICE_NAME).filter(|_| !mirrored(event.object()).is_empty());
            name.into_iter().for_each(|name| queue.add(ObjectKey::new(event.object().namespace(), name)));
        }
    });
    let controller = Mirroring {
        endpoints: endpoints.clone(),
        services: services.clone(),
        wrote: ReadBack::new(&slices),
        slices: slices.clone(),
        client: context.client(NAME),
        recorder: context.recorder(NAME),
    };
    tokio::join!(endpoints.synced(), services.synced(), slices.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

fn mirrored(slice: &EndpointSlice) -> Vec<SmolStr> {
    let name = slice.label(SERVICE_NAME).filter(|_| slice.label(MANAGED_BY) == Some(MANAGER));
    name.map(|name| SmolStr::from(ObjectKey::new(slice.namespace(), name).to_string())).into_iter().collect()
}

fn should_mirror(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let has_no_selector = |service: &Service| services::spec(service).selector.as_ref().is_none_or(BTreeMap::is_empty);
    endpoints.label(SKIP) != Some("true")
        && endpoints.annotation(LEADER).is_none()
        && !endpoints.is_deleting()
        && service.is_some_and(has_no_selector)
}

impl Reconcile for Mirroring {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote.wait(key).await;
        let mut there = self.slices.indexed(MIRRORED, &key.to_string());
        there.sort_by(|a, b| a.name().cmp(b.name()));
        let service = self.services.get(key);
        let endpoints = self.endpoints.get(key);
        let wanted = endpoints.filter(|one| should_mirror(one, service.as_deref().map(|service| &service.view)));
        if let Some(endpoints) = wanted {
            let mirror = mirror(&endpoints);
            if mirror.invalid > 0 {
                let said = format!("Skipped {} invalid IP addresses when mirroring to EndpointSlices", mirror.invalid);
                self.recorder.event(&endpoints.view, EventType::Warning, "InvalidIPAddress", said);
            }
            if mirror.skipped > 0 {
                let said = format!(
                    "A max of {ADDRESSES_MAX} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped",
                    mirror.skipped + mirror.invalid
                );
                self.recorder.event(&endpoints.view, EventType::Warning, "TooManyAddressesToMirror", said);
            }
            for wanted in mirror.slices {
                let ports = ports_key(&wanted.ports);
                let fits = |slice: &Arc<Object<EndpointSlice>>| {
                    slice.address_type == wanted.family
                        && ports_key(slice.ports.as_deref().unwrap_or_default()) == ports
                };
                let stored = there.iter().position(fits).map(|at| there.remove(at));
                self.write(key, &endpoints, &wanted, stored).await?;
            }
        }
        let api = self.client.kind::<EndpointSlice>(&key.namespace);
        for slice in there.iter().filter(|slice| !slice.is_deleting()) {
            match api.delete(slice.name(), &DeleteOptions::default()).await {
                Ok(answer) => self.wrote.wrote(key, answer.revision()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Requeue::Never)
    }
}

impl Mirroring {
    /// Creates or updates a slice, if it differs.
    async fn write(
        &self,
        key: &ObjectKey,
        endpoints: &Object<Endpoints>,
        wanted: &Mirrored,
        stored: Option<Arc<Object<EndpointSlice>>>,
    ) -> Result<(), ClientError> {
        let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
        labels.insert(SERVICE_NAME.to_owned(), endpoints.name().to_owned());
        labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|name, _| !OWN_ANNOTATIONS.contains(&name.as_str()));
        let same = |slice: &EndpointSlice| {
            let there = slice.endpoints.as_deref().unwrap_or_default();
            let is_same = |(a, b)| endpoint::identity(a) == endpoint::identity(b) && endpoint::is_same(a, b);
            slice.metadata.labels.as_ref() == Some(&labels)
                && slice.metadata.annotations.clone().unwrap_or_default() == annotations
                && slice.controller_uid() == Some(endpoints.uid())
                && there.len() == wanted.endpoints.len()
                && there.iter().zip(&wanted.endpoints).all(is_same)
        };
        if stored.as_ref().is_some_and(|slice| same(slice)) {
            return Ok(());
        }
        let (list, ports) = (json::to_tree(&wanted.endpoints)?, json::to_tree(&wanted.ports)?);
        let map = |of: &BTreeMap<String, String>| -> Map {
            of.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
        };
        let fill = |tree: &mut Value| {
            tree.set("metadata.labels", map(&labels));
            if annotations.is_empty() {
                tree.remove("metadata.annotations");
            } else {
                tree.set("metadata.annotations", map(&annotations));
            }
            tree.set("metadata.ownerReferences", Value::Array(vec![Owner::of(&endpoints.view).reference()]));
            tree.set("endpoints", list);
            tree.set("ports", ports);
        };
        let api = self.client.kind::<EndpointSlice>(&key.namespace);
        let written = match stored {
            Some(stored) => api.update(stored.edit(fill)?, &WriteOptions::default()).await,
            None => {
                let mut tree = Value::object();
                tree.set("metadata.generateName", format!("{}-", endpoints.name()));
                tree.set("addressType", wanted.family);
                fill(&mut tree);
                api.create_tree(tree, &WriteOptions::default()).await
            }
        };
        match written {
            Ok(answer) => self.wrote.wrote(key, answer.revision()),
            Err(error) if error.is_namespace_terminating() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
