//! Namespaces: one that is deleted is emptied first, pods before everything else.
//!
//! Upstream: pkg/controller/namespace. [`plan`] keeps account of what is left.

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::value::Value;
use client::{
    Client, ClientError, DeleteOptions, Event, Given, Informer, ListParams, MetaExt, ObjectKey, Propagation, Reconcile,
    ReconcileError, Requeue, Resource, View, WorkQueue, WriteOptions, resources, views::Metadata,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, Pod};

use self::plan::{Findings, Remaining};
use crate::common::pods;
use crate::common::resources::{Deletable, deletable};
use crate::context::Context;

const NAME: &str = "namespace-controller";
/// The finalizer that this controller takes away.
const FINALIZER: &str = "kubernetes";
/// Requests that were let into the namespace just before its deletion are stored within this.
const GRACE: Duration = Duration::from_millis(200);

/// The controller.
pub struct NamespaceController {
    client: Client,
    given: Given,
    resources: Vec<Deletable>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (namespaces, pods) = (context.informers.kind::<Namespace>(), context.informers.kind::<Pod>());
    let queue = WorkQueue::default();
    watch(&namespaces, &pods, &queue);
    let mut resources = deletable();
    resources.retain(|one| one.resource.namespaced);
    resources.sort_by_key(|one| one.resource != resources::PODS);
    let controller = NamespaceController { client: context.client(NAME), given: context.given.clone(), resources };
    namespaces.synced().await;
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

fn watch(namespaces: &Informer<Namespace>, pods: &Informer<Pod>, queue: &WorkQueue<ObjectKey>) {
    namespaces.subscribe({
        let queue = queue.clone();
        move |event| {
            let namespace = event.object();
            if namespace.is_deleting() && !matches!(event, Event::Deleted { .. }) {
                queue.add_after(namespace.key(), GRACE);
            }
        }
    });
    // What takes longest ends: look again at once.
    let (namespaces, queue) = (namespaces.clone(), queue.clone());
    pods.subscribe(move |event| {
        if let Event::Deleted { object, .. } = event {
            let key = ObjectKey::cluster(object.namespace());
            if namespaces.get(&key).is_some_and(|namespace| namespace.is_deleting()) {
                queue.add(key);
            }
        }
    });
}

impl Reconcile for NamespaceController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let api = self.client.kind::<Namespace>("");
        let Some(answer) = api.get_opt(&key.name).await? else { return Ok(Requeue::Never) };
        let mut tree = answer.tree()?;
        let Ok(deleted_at) = tree.str_at("metadata.deletionTimestamp").parse() else { return Ok(Requeue::Never) };
        if tree.str_at("status.phase") != "Terminating" {
            tree.set("status.phase", "Terminating");
            tree = api.update_status(tree, &WriteOptions::default()).await?.tree()?;
        }
        if tree.array_at("spec.finalizers").is_empty() {
            return Ok(Requeue::Never);
        }
        let findings = self.empty(&key.name, self.given.now().duration_since(deleted_at)).await;
        if findings.tell(&mut tree, self.given.now()) {
            match api.update_status(tree.clone(), &WriteOptions::default()).await {
                Ok(answer) => tree = answer.tree()?,
                Err(error) if error.is_not_found() => return Ok(Requeue::Never),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(error) = findings.error() {
            return Err(error.into());
        }
        if !findings.is_empty() {
            let seconds = u64::try_from(findings.estimate / 2 + 1).unwrap_or(1);
            return Ok(Requeue::After(Duration::from_secs(seconds)));
        }
        self.finalize(tree).await?;
        Ok(Requeue::Never)
    }
}

impl NamespaceController {
    /// Deletes what is in the namespace. Other resources have to wait for pods: these may need them to end well.
    async fn empty(&self, namespace: &str, deleted_for: SignedDuration) -> Findings {
        let mut findings = Findings::default();
        for deletable in &self.resources {
            match self.delete_all(deletable, namespace, deleted_for).await {
                Ok((remaining, estimate)) => findings.remain(&deletable.resource, namespace, remaining, estimate),
                Err(error) => findings.failed(error.to_string()),
            }
            let pods_remain = deletable.resource == resources::PODS && !findings.is_empty();
            if pods_remain {
                break;
            }
        }
        findings
    }

    /// Deletes all objects of one resource. Gives what is left, and how many seconds that may take to end by itself.
    async fn delete_all(
        &self,
        deletable: &Deletable,
        namespace: &str,
        deleted_for: SignedDuration,
    ) -> Result<(Remaining, i64), ClientError> {
        let api = self.client.namespaced(&deletable.resource, namespace);
        let there = self.list(&deletable.resource, namespace).await?;
        if there.is_empty() {
            return Ok((Remaining::default(), 0));
        }
        let estimate =
            grace(&deletable.resource, &there).filter(|seconds| deleted_for.as_secs() < *seconds).unwrap_or(0);
        let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        if deletable.has_collection {
            api.delete_collection(&options, &ListParams::default()).await?;
        } else {
            for object in &there {
                match api.delete(Metadata::decode(object)?.name(), &options).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
        let mut remaining = Remaining::default();
        for object in self.list(&deletable.resource, namespace).await? {
            remaining.objects += 1;
            for finalizer in Metadata::decode(&object)?.metadata.finalizers.into_iter().flatten() {
                *remaining.finalizers.entry(finalizer).or_default() += 1;
            }
        }
        Ok((remaining, estimate))
    }

    async fn list(&self, resource: &Resource, namespace: &str) -> Result<Vec<bytes::Bytes>, ClientError> {
        let all = self.client.namespaced(resource, namespace).list_all(&ListParams::default()).await;
        match all {
            // Not served (any more): nothing of it can be there.
            Err(error) if error.is_not_found() || error.code() == Some(405) => Ok(Vec::new()),
            other => Ok(other?.items),
        }
    }

    /// Lets the namespace go.
    async fn finalize(&self, mut tree: Value) -> Result<(), ClientError> {
        let mut finalizers = tree.array_at("spec.finalizers").to_vec();
        finalizers.retain(|one| one.as_str() != Some(FINALIZER));
        if finalizers.is_empty() {
            tree.remove("spec.finalizers");
        } else {
            tree.set("spec.finalizers", finalizers);
        }
        let api = self.client.kind::<Namespace>("");
        match api.update_subresource(tree, "finalize", &WriteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// The longest that any of these pods may take to end; none for other resources.
fn grace(resource: &Resource, objects: &[bytes::Bytes]) -> Option<i64> {
    if *resource != resources::PODS {
        return None;
    }
    let pods = objects.iter().filter_map(|bytes| Pod::decode(bytes).ok());
    pods.filter(|pod| !pods::is_finished(pod)).filter_map(|pod| pods::spec(&pod).termination_grace_period_seconds).max()
}
