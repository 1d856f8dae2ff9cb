//! Pods that were to be disrupted, are marked as such, and still run: the mark is taken back.

use std::sync::Arc;

use api::value::{Map, Value};
use client::{
    Client, ClientError, Event, Given, Informer, MetaExt, ObjectKey, Reconcile, ReconcileError, Requeue, WorkQueue,
    WriteOptions,
};
use k8s_openapi::api::core::v1::Pod;

use super::plan::stale_after;
use crate::common::tree;
use crate::context::Context;

const NAME: &str = "disruption-controller-stale-pods";

struct StaleMarks {
    pods: Informer<Pod>,
    client: Client,
    given: Given,
}

/// Runs beside the controller, as it.
pub(super) async fn run(context: Context, client: Client) {
    let pods = context.informers.kind::<Pod>();
    let queue = WorkQueue::default();
    let (given, marked) = (context.given.clone(), queue.clone());
    pods.subscribe(move |event| {
        if !matches!(event, Event::Deleted { .. })
            && let Some(left) = stale_after(event.object(), given.now())
        {
            marked.add_after(event.object().key(), left);
        }
    });
    let controller = StaleMarks { pods, client, given: context.given.clone() };
    client::queue::run(NAME, Arc::new(controller), queue, 1, context.stop).await;
}

impl Reconcile for StaleMarks {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(pod) = self.pods.get(key) else { return Ok(Requeue::Never) };
        let now = self.given.now();
        match stale_after(&pod, now) {
            None => Ok(Requeue::Never),
            Some(left) if !left.is_zero() => Ok(Requeue::After(left)),
            Some(_) => {
                let tree = pod.edit(|tree| unmark(tree, &crate::common::tree::time(now)))?;
                let written =
                    self.client.kind::<Pod>(pod.namespace()).update_status(tree, &WriteOptions::default()).await;
                match written {
                    Err(error) if !ClientError::is_not_found(&error) => Err(error.into()),
                    _ => Ok(Requeue::Never),
                }
            }
        }
    }
}

/// The condition is false from now on, without a reason.
fn unmark(pod: &mut Value, now: &str) {
    let Some(conditions) = pod.at_mut("status.conditions").and_then(Value::as_array_mut) else { return };
    for condition in conditions.iter_mut().filter(|one| one.str_at("type") == "DisruptionTarget") {
        let generation = condition.i64_at("observedGeneration");
        let mut fresh = Value::Object(Map::from_iter([("type", "DisruptionTarget"), ("status", "False")]));
        fresh.set("lastTransitionTime", now);
        tree::set_option(&mut fresh, "observedGeneration", generation);
        *condition = fresh;
    }
}
