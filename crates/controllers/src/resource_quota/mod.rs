//! ResourceQuota: what is used of each quota, counted anew when something goes or changes.
//!
//! Upstream: pkg/controller/resourcequota. The API server charges what is created in the same transaction; so what is
//! listed here holds all that was charged before, and a charge meanwhile makes the status's update a conflict.

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::quota::{Amounts, Evaluator, amounts};
use api::value::Value;
use client::informer::index;
use client::{
    Client, ClientError, Event, Given, Informer, Kind, ListParams, MetaExt, Object, ObjectKey, Reconcile,
    ReconcileError, Requeue, Resource, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};

use crate::common::read_back::ReadBack;
use crate::common::resources::deletable;
use crate::context::Context;
use crate::garbage_collector::monitors::Monitors;

const NAME: &str = "resourcequota-controller";
/// `--resource-quota-sync-period`: what changes by time alone (pods that should have ended).
const RESYNC: Duration = Duration::from_secs(300);

/// The controller.
pub struct QuotaController {
    quotas: Informer<ResourceQuota>,
    client: Client,
    given: Given,
    countable: Vec<Resource>,
    wrote: ReadBack<ResourceQuota>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let quotas = context.informers.kind::<ResourceQuota>();
    let queue = WorkQueue::default();
    quotas.add_index(index::NAMESPACE, index::namespace);
    watch_quotas(&quotas, &queue);
    let replenish = Replenish { quotas: quotas.clone(), queue: queue.clone() };
    let monitors = Monitors::new(&context.informers);
    let on_deletion = replenish.clone();
    monitors.on_deletions(move |resource, namespace| on_deletion.after(&resource.group, &resource.plural, namespace));
    let given = context.given.clone();
    replenish.watch::<Pod>(&context, move |old, new| plan::pod_matters(old, new, given.now()));
    replenish.watch::<Service>(&context, plan::service_matters);
    replenish.watch::<PersistentVolumeClaim>(&context, plan::claim_matters);
    let namespaced = deletable().into_iter().map(|one| one.resource).filter(|resource| resource.namespaced);
    let controller = QuotaController {
        wrote: ReadBack::new(&quotas),
        quotas: quotas.clone(),
        client: context.client(NAME),
        given: context.given.clone(),
        countable: namespaced.collect(),
    };
    quotas.synced().await;
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// A quota is counted when it comes, and when its limits change.
fn watch_quotas(quotas: &Informer<ResourceQuota>, queue: &WorkQueue<ObjectKey>) {
    let queue = queue.clone();
    let hard = |quota: &ResourceQuota| quota.spec.as_ref().and_then(|spec| spec.hard.clone());
    quotas.subscribe(move |event| match event {
        Event::Updated { old, new } if hard(old) == hard(new) => {}
        event => queue.add(event.object().key()),
    });
}

/// Who puts quotas into the queue when something is given back.
#[derive(Clone)]
struct Replenish {
    quotas: Informer<ResourceQuota>,
    queue: WorkQueue<ObjectKey>,
}

// === impl Replenish ===

impl Replenish {
    /// Quotas of the namespace that count objects of this resource.
    fn after(&self, group: &str, plural: &str, namespace: &str) {
        let Some(evaluator) = Evaluator::of(group, plural) else { return };
        let counts = |quota: &ResourceQuota| {
            let hard = quota.status.as_ref().and_then(|status| status.hard.as_ref());
            hard.into_iter().flatten().any(|(name, _)| evaluator.counts(name))
        };
        self.quotas.with(|cache| {
            let concerned = cache.indexed(index::NAMESPACE, namespace).filter(|quota| counts(quota));
            concerned.for_each(|quota| self.queue.add(quota.key()));
        });
    }

    /// Changes of objects that matter; most do not, in namespaces without quotas none.
    fn watch<K: Kind>(&self, context: &Context, matters: impl Fn(&Value, &Value) -> bool + Send + Sync + 'static) {
        let replenish = self.clone();
        context.informers.kind::<K>().subscribe(move |event| {
            let Event::Updated { old, new } = event else { return };
            if replenish.quotas.with(|cache| cache.indexed(index::NAMESPACE, new.namespace()).next().is_none()) {
                return;
            }
            if let (Ok(before), Ok(after)) = (json::parse(&old.bytes), json::parse(&new.bytes))
                && matters(&before, &after)
            {
                replenish.after(&K::RESOURCE.group, &K::RESOURCE.plural, new.namespace());
            }
        });
    }
}

impl Reconcile for QuotaController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote.wait(key).await;
        let Some(quota) = self.quotas.get(key) else { return Ok(Requeue::Never) };
        let tree = json::parse(&quota.bytes)?;
        let counted = self.count(key, &tree).await;
        // What could be counted is written, whatever else failed.
        let known = counted.as_ref().unwrap_or_else(|(some, _)| some);
        if let Some(status) = plan::status(&tree, known) {
            self.write(key, &quota, status).await?;
        }
        match counted {
            Ok(_) => Ok(Requeue::After(RESYNC)),
            Err((_, error)) => Err(error.into()),
        }
    }
}

impl QuotaController {
    /// What is used of what the quota limits; with an error, what could be counted nevertheless.
    async fn count(&self, key: &ObjectKey, quota: &Value) -> Result<Amounts, (Amounts, ClientError)> {
        let hard = Amounts::read(quota.at("spec.hard"));
        let mut counted = Amounts::default();
        let mut failed = None;
        for resource in self.countable.iter().cloned().chain(self.custom(&hard).await) {
            let Some(evaluator) = Evaluator::of(&resource.group, &resource.plural) else { continue };
            if !hard.names().any(|name| evaluator.counts(name)) {
                continue;
            }
            match self.usage(key, quota, &resource, &evaluator).await {
                Ok(usage) => counted.add(&usage),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            None => Ok(counted),
            Some(error) => Err((counted, error)),
        }
    }

    async fn usage(
        &self,
        key: &ObjectKey,
        quota: &Value,
        resource: &Resource,
        evaluator: &Evaluator,
    ) -> Result<Amounts, ClientError> {
        let api = self.client.namespaced(resource, &key.namespace);
        let now = self.given.now();
        if let Evaluator::Number(_) = evaluator {
            let page = api.list(&ListParams { limit: Some(1), ..ListParams::default() }).await?;
            let number = match (page.remaining, page.continue_token.is_empty()) {
                (Some(remaining), _) => remaining + i64::try_from(page.items.len()).unwrap_or_default(),
                (None, true) => i64::try_from(page.items.len()).unwrap_or_default(),
                (None, false) => {
                    i64::try_from(api.list_all(&ListParams::default()).await?.items.len()).unwrap_or(i64::MAX)
                }
            };
            let one = plan::usage(quota, evaluator, &[Value::object()], now);
            let count = |name: &str| one.get(name).is_some_and(|one| !one.is_zero());
            let total = one.names().map(|name| (name.clone(), amounts::count(if count(name) { number } else { 0 })));
            return Ok(total.collect());
        }
        let list = api.list_all(&ListParams::default()).await?;
        let objects: Result<Vec<Value>, ClientError> = list.items.iter().map(|item| json::parse(item)).collect();
        Ok(plan::usage(quota, evaluator, &objects?, now))
    }

    /// Resources of custom kinds that the quota counts.
    async fn custom(&self, hard: &Amounts) -> Vec<Resource> {
        let mut found = Vec::new();
        for name in hard.names() {
            let Some((plural, group)) = name.strip_prefix("count/").and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            if self.countable.iter().any(|one| one.group == group && one.plural == plural) {
                continue;
            }
            // A group that is not there has no objects.
            let Ok(answer) = self.client.get(&format!("/apis/{group}")).await else { continue };
            let Ok(tree) = json::parse(&answer) else { continue };
            found.push(Resource {
                group: group.to_owned().into(),
                version: tree.str_at("preferredVersion.version").to_owned().into(),
                plural: plural.to_owned().into(),
                kind: String::new().into(),
                namespaced: true,
            });
        }
        found
    }

    async fn write(&self, key: &ObjectKey, quota: &Object<ResourceQuota>, status: Value) -> Result<(), ClientError> {
        let tree = quota.edit(|tree| tree.set("status", status))?;
        let api = self.client.kind::<ResourceQuota>(&key.namespace);
        let answer = api.update_status(tree, &WriteOptions::default()).await?;
        self.wrote.wrote(key, answer.revision());
        Ok(())
    }
}
