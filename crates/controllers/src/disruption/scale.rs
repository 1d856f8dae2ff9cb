//! How many pods the controllers of some pods want together.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Client, Informer, MetaExt, Object, ReconcileError};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::common::kinds;
use crate::context::Context;

/// Where controllers of pods are looked up.
pub struct Scales {
    /// ReplicationControllers.
    pub replication_controllers: Informer<ReplicationController>,
    /// ReplicaSets.
    pub replica_sets: Informer<ReplicaSet>,
    /// Deployments.
    pub deployments: Informer<Deployment>,
    /// StatefulSets.
    pub stateful_sets: Informer<StatefulSet>,
    /// For all others.
    pub client: Client,
}

/// What controllers want, and the pods that have none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Sum of the scales.
    pub pods: i32,
    /// Names.
    pub unmanaged: Vec<String>,
}

/// A controller and the number of pods that it wants.
type Scale = (String, i32);

// === impl Scales ===

impl Scales {
    /// Over the context's informers.
    pub fn new(context: &Context, client: Client) -> Scales {
        Scales {
            replication_controllers: context.informers.kind(),
            replica_sets: context.informers.kind(),
            deployments: context.informers.kind(),
            stateful_sets: context.informers.kind(),
            client,
        }
    }

    /// Waits for the caches.
    pub async fn synced(&self) {
        tokio::join!(
            self.replication_controllers.synced(),
            self.replica_sets.synced(),
            self.deployments.synced(),
            self.stateful_sets.synced()
        );
    }

    /// The scales of all controllers of these pods, each once.
    ///
    /// # Errors
    /// If a pod's controller can't be found, or has no scale.
    pub async fn total(&self, pods: &[Arc<Object<Pod>>]) -> Result<Total, ReconcileError> {
        let mut scales: BTreeMap<String, i32> = BTreeMap::new();
        let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
        let mut total = Total::default();
        for pod in pods {
            let Some(owner) = pod.controller_ref() else {
                total.unmanaged.push(pod.name().to_owned());
                continue;
            };
            if seen.insert(&owner.uid, ()).is_some() {
                continue;
            }
            let scale = match self.cached(owner, pod.namespace()) {
                Some(scale) => Some(scale),
                None => self.asked(owner, pod.namespace()).await?,
            };
            let Some((uid, count)) = scale else {
                return Err(format!("found no controllers for pod {:?}", pod.name()).into());
            };
            scales.insert(uid, count);
        }
        total.pods = scales.values().fold(0, |sum: i32, count| sum.saturating_add(*count));
        Ok(total)
    }

    /// One of the kinds that have caches.
    fn cached(&self, owner: &OwnerReference, namespace: &str) -> Option<Scale> {
        let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        match (group, owner.kind.as_str()) {
            ("", "ReplicationController") => {
                let found = same(self.replication_controllers.find(namespace, &owner.name), &owner.uid)?;
                Some((owner.uid.clone(), found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
            }
            ("apps" | "extensions", "ReplicaSet") => self.of_set(owner, namespace),
            ("apps", "StatefulSet") => {
                let found = same(self.stateful_sets.find(namespace, &owner.name), &owner.uid)?;
                Some((owner.uid.clone(), found.spec.replicas.unwrap_or(1)))
            }
            _ => None,
        }
    }

    /// Of a set of a deployment, the deployment's: its sets share its pods.
    fn of_set(&self, owner: &OwnerReference, namespace: &str) -> Option<Scale> {
        let set = same(self.replica_sets.find(namespace, &owner.name), &owner.uid)?;
        match set.controller_ref().filter(|above| above.kind == "Deployment") {
            Some(above) => {
                let deployment = same(self.deployments.find(namespace, &above.name), &above.uid)?;
                Some((above.uid.clone(), deployment.spec.replicas.unwrap_or(1)))
            }
            None => Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))),
        }
    }

    /// Whatever kind it is, if it can be scaled.
    async fn asked(&self, owner: &OwnerReference, namespace: &str) -> Result<Option<Scale>, ReconcileError> {
        let Some(found) = kinds::find(&self.client, &owner.api_version, &owner.kind).await? else {
            return Err(format!("no matches for kind {:?} in version {:?}", owner.kind, owner.api_version).into());
        };
        if !found.has_scale {
            let said = format!("{} does not implement the scale subresource", found.resource.group_resource());
            return Err(said.into());
        }
        let api = self.client.namespaced(&found.resource, namespace);
        let scale = match api.get_subresource(&owner.name, "scale").await {
            Ok(answer) => answer.tree()?,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let replicas = scale.i64_at("spec.replicas").unwrap_or_default();
        let is_same = scale.str_at("metadata.uid") == owner.uid;
        Ok(is_same.then(|| (owner.uid.clone(), i32::try_from(replicas).unwrap_or(i32::MAX))))
    }
}

fn same<T: client::View>(found: Option<Arc<Object<T>>>, uid: &str) -> Option<Arc<Object<T>>> {
    found.filter(|found| found.uid() == uid)
}
