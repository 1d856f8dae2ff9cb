//! Garbage collector: objects go when all of their owners are gone.
//!
//! Upstream: pkg/controller/garbagecollector. [`monitors`] holds the metadata of all objects, indexed by owners: there
//! is no graph beside it that could differ. [`plan`] decides. Nothing is deleted for what a cache says alone: an
//! absent owner is read from the server first.

pub mod monitors;
pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::value::Value;
use client::views::Metadata;
use client::{
    Answer, Api, Client, ClientError, DeleteOptions, MetaExt, Object, Patch, Propagation, Reconcile, ReconcileError,
    Requeue, View, WorkQueue, WriteOptions,
};
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use self::monitors::{Bones, Item, Monitors};
use self::plan::{Decision, Ending, FOREGROUND, ORPHAN, Standing, decide};
use crate::context::Context;

const NAME: &str = "generic-garbage-collector";
/// An owner of an unknown kind may become known when its kind is defined.
const UNKNOWN_KIND_RETRY: Duration = Duration::from_secs(30);

/// The controller.
pub struct GarbageCollector {
    monitors: Monitors,
    queue: WorkQueue<Item>,
    client: Client,
}

/// How the owners of an object stand.
enum Owners {
    Known(Vec<(OwnerReference, Standing)>),
    /// One is of a kind that nobody knows: nothing can be decided.
    UnknownKind,
    /// A cluster-wide object names an owner in a namespace: that will never be right.
    Invalid,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let monitors = Monitors::new(&context.informers);
    let queue = WorkQueue::default();
    monitors.watch(&queue);
    monitors.synced().await;
    let controller = GarbageCollector { monitors, queue: queue.clone(), client: context.client(NAME) };
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for GarbageCollector {
    type Key = Item;

    async fn reconcile(&self, item: &Item) -> Result<Requeue, ReconcileError> {
        let Some(cached) = self.monitors.get(item) else { return Ok(Requeue::Never) };
        match plan::ending(cached.meta()) {
            Ending::Orphaning => self.orphan(item, &cached).await?,
            Ending::Foreground => self.end_foreground(item, &cached).await?,
            Ending::Otherwise => {}
            Ending::Not => return Ok(self.collect(item, &cached).await?),
        }
        Ok(Requeue::Never)
    }
}

impl GarbageCollector {
    fn api(&self, item: &Item) -> Api {
        self.client.namespaced(self.monitors.resource(item), &item.key.namespace)
    }

    /// The item as the server has it now, if it is still the same one.
    async fn live(&self, item: &Item, uid: &str) -> Result<Option<Answer>, ClientError> {
        let answer = self.api(item).get_opt(&item.key.name).await?;
        Ok(answer.filter(|answer| answer.uid() == uid))
    }

    /// Deletes the item, or takes owners away from it, if that is due.
    async fn collect(&self, item: &Item, cached: &Object<Bones>) -> Result<Requeue, ClientError> {
        let mut owners = match self.owners(item, cached.meta().owner_references.as_deref()).await? {
            Owners::Known(owners) => owners,
            Owners::UnknownKind => return Ok(Requeue::After(UNKNOWN_KIND_RETRY)),
            Owners::Invalid => return Ok(Requeue::Never),
        };
        if owners.iter().all(|(_, standing)| *standing == Standing::Solid) {
            return Ok(self.until_observed(item, &owners));
        }
        let Some(answer) = self.live(item, cached.uid()).await? else { return Ok(Requeue::Never) };
        let live: Metadata = answer.view()?;
        if live.metadata.owner_references != cached.meta().owner_references {
            match self.owners(item, live.metadata.owner_references.as_deref()).await? {
                Owners::Known(known) => owners = known,
                Owners::UnknownKind => return Ok(Requeue::After(UNKNOWN_KIND_RETRY)),
                Owners::Invalid => return Ok(Requeue::Never),
            }
        }
        let dependents = self.monitors.dependents(cached.uid());
        match decide(&live.metadata, &owners, !dependents.is_empty()) {
            Decision::Keep => {}
            Decision::Disown(uids) => self.disown(item, &answer, &uids).await?,
            Decision::Delete(propagation) => {
                let is_cycle = dependents.iter().any(|(_, one)| plan::ending(one.meta()) == Ending::Foreground);
                if propagation == Propagation::Foreground && is_cycle {
                    return self.unblock_and_delete(item, &answer).await.map(|()| Requeue::Never);
                }
                self.delete(item, &live, propagation).await?;
            }
        }
        Ok(Requeue::Never)
    }

    /// Owners that are there but not in the cache yet may go before they get into it: look again until then.
    fn until_observed(&self, item: &Item, owners: &[(OwnerReference, Standing)]) -> Requeue {
        let is_observed = |owner: &OwnerReference| {
            let found = self.monitors.owner(&item.key.namespace, owner).and_then(|owner| self.monitors.get(&owner));
            found.is_some_and(|found| found.uid() == owner.uid)
        };
        let all = owners.iter().all(|(owner, _)| is_observed(owner));
        if all { Requeue::Never } else { Requeue::Backoff }
    }

    async fn owners(&self, item: &Item, references: Option<&[OwnerReference]>) -> Result<Owners, ClientError> {
        let mut owners = Vec::new();
        for reference in references.unwrap_or_default() {
            let Some(owner) = self.monitors.owner(&item.key.namespace, reference) else {
                let is_cluster_wide = item.key.namespace.is_empty();
                let known = is_cluster_wide && self.monitors.owner("any", reference).is_some();
                return Ok(if known { Owners::Invalid } else { Owners::UnknownKind });
            };
            let cached = self.monitors.get(&owner).filter(|cached| cached.uid() == reference.uid);
            let standing = match cached {
                Some(cached) => standing(plan::ending(cached.meta())),
                None => match self.live(&owner, &reference.uid).await? {
                    Some(answer) => standing(plan::ending(answer.view::<Metadata>()?.meta())),
                    None => Standing::Dangling,
                },
            };
            owners.push((reference.clone(), standing));
        }
        Ok(Owners::Known(owners))
    }

    async fn delete(&self, item: &Item, live: &Metadata, propagation: Propagation) -> Result<(), ClientError> {
        let api = self.api(item);
        let only_this = DeleteOptions::of_uid(live.uid()).propagate(propagation);
        let unchanged = DeleteOptions { resource_version: live.metadata.resource_version.clone(), ..only_this.clone() };
        let answer = match api.delete(&item.key.name, &unchanged).await {
            Err(error) if error.is_conflict() => {
                let Some(now) = self.live(item, live.uid()).await? else { return Ok(()) };
                if now.view::<Metadata>()?.metadata.owner_references != live.metadata.owner_references {
                    return Err(error);
                }
                // Something else changes it all the time: that must not save it.
                api.delete(&item.key.name, &only_this).await
            }
            answer => answer,
        };
        match answer {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes owners away from an object.
    async fn disown(&self, item: &Item, live: &Answer, uids: &[String]) -> Result<(), ClientError> {
        let tree = live.tree()?;
        let mut owners = tree.array_at("metadata.ownerReferences").to_vec();
        owners.retain(|owner| !uids.iter().any(|uid| uid == owner.str_at("uid")));
        self.patch(item, &tree, "metadata.ownerReferences", owners).await
    }

    /// Objects that wait for each other would wait forever: this one no longer holds up its owners.
    async fn unblock_and_delete(&self, item: &Item, live: &Answer) -> Result<(), ClientError> {
        let tree = live.tree()?;
        let mut owners = tree.array_at("metadata.ownerReferences").to_vec();
        owners.iter_mut().for_each(|owner| owner.set("blockOwnerDeletion", false));
        self.patch(item, &tree, "metadata.ownerReferences", owners).await?;
        match self.live(item, tree.str_at("metadata.uid")).await? {
            Some(now) => self.delete(item, &now.view()?, Propagation::Foreground).await,
            None => Ok(()),
        }
    }

    /// Dependents lose this owner, then it goes.
    async fn orphan(&self, item: &Item, owner: &Object<Bones>) -> Result<(), ClientError> {
        let uids = [owner.uid().to_owned()];
        let uids = &uids;
        let outcomes =
            join_all(self.monitors.dependents(owner.uid()).into_iter().map(|(dependent, cached)| async move {
                match self.live(&dependent, cached.uid()).await? {
                    Some(live) => self.disown(&dependent, &live, uids).await,
                    None => Ok(()),
                }
            }));
        outcomes.await.into_iter().collect::<Result<(), ClientError>>()?;
        self.remove_finalizer(item, owner.uid(), ORPHAN).await
    }

    /// The owner goes once nothing blocks it any more.
    async fn end_foreground(&self, item: &Item, owner: &Object<Bones>) -> Result<(), ClientError> {
        let dependents = self.monitors.dependents(owner.uid());
        let blocking: Vec<_> =
            dependents.into_iter().filter(|(_, one)| plan::blocks(one.meta(), owner.uid())).collect();
        if blocking.is_empty() {
            return self.remove_finalizer(item, owner.uid(), FOREGROUND).await;
        }
        for (dependent, cached) in blocking {
            if plan::ending(cached.meta()) == Ending::Not {
                self.queue.add(dependent);
            }
        }
        Ok(())
    }

    async fn remove_finalizer(&self, item: &Item, uid: &str, finalizer: &str) -> Result<(), ClientError> {
        let Some(live) = self.live(item, uid).await? else { return Ok(()) };
        let tree = live.tree()?;
        let mut finalizers = tree.array_at("metadata.finalizers").to_vec();
        finalizers.retain(|one| one.as_str() != Some(finalizer));
        self.patch(item, &tree, "metadata.finalizers", finalizers).await
    }

    /// Replaces a list of an object's metadata, if the object is still as it was and the list differs.
    async fn patch(&self, item: &Item, live: &Value, path: &str, list: Vec<Value>) -> Result<(), ClientError> {
        if live.array_at(path) == list.as_slice() {
            return Ok(());
        }
        let mut patch = Value::object();
        patch.set("metadata.uid", live.str_at("metadata.uid"));
        patch.set("metadata.resourceVersion", live.str_at("metadata.resourceVersion"));
        patch.set(path, if list.is_empty() { Value::Null } else { Value::Array(list) });
        match self.api(item).patch(&item.key.name, "", &Patch::Merge(patch), &WriteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn standing(ending: Ending) -> Standing {
    if ending == Ending::Foreground { Standing::Waiting } else { Standing::Solid }
}
