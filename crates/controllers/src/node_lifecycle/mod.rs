//! Node lifecycle: taints follow the conditions of nodes.
//!
//! Upstream: pkg/controller/nodelifecycle. [`plan`] decides what a node's taints should be. Nothing is looked at
//! periodically: every decision follows an event.

pub mod plan;

use std::sync::Arc;

use client::{
    Client, Event, EventRecorder, EventType, Given, Informer, Object, ObjectKey, Patch, Reconcile, ReconcileError,
    Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::Node;

use crate::common::read_back::ReadBack;
use crate::context::Context;

const NAME: &str = "node-controller";

/// The controller.
pub struct NodeLifecycle {
    nodes: Informer<Node>,
    client: Client,
    given: Given,
    wrote: ReadBack<Node>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let nodes = context.informers.kind::<Node>();
    let queue = WorkQueue::default();
    watch_nodes(&nodes, &queue, context.recorder(NAME));
    let controller = NodeLifecycle {
        client: context.client(NAME),
        given: context.given.clone(),
        wrote: ReadBack::new(&nodes),
        nodes: nodes.clone(),
    };
    nodes.synced().await;
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// A node that becomes ready, or stops being it, may change what holds for all others.
fn watch_nodes(nodes: &Informer<Node>, queue: &WorkQueue<ObjectKey>, recorder: EventRecorder) {
    let (nodes, queue, all) = (nodes.clone(), queue.clone(), nodes.clone());
    let ready = |node: &Object<Node>| plan::condition(node, "Ready").map(str::to_owned);
    nodes.subscribe(move |event| {
        let node = event.object();
        let changes_others = match event {
            Event::Added(_) => {
                let said = format!("Node {0} event: Registered Node {0} in Controller", node.key());
                recorder.event(&node.view, EventType::Normal, "RegisteredNode", said);
                ready(node).as_deref() == Some("True")
            }
            Event::Updated { old, new } => ready(old) != ready(new),
            Event::Deleted { .. } => {
                let said = format!("Node {0} event: Removing Node {0} from Controller", node.key());
                recorder.event(&node.view, EventType::Normal, "RemovingNode", said);
                true
            }
        };
        queue.add(node.key());
        if changes_others {
            all.with(|cache| cache.iter().for_each(|node| queue.add(node.key())));
        }
    });
}

impl Reconcile for NodeLifecycle {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote.wait(key).await;
        let Some(node) = self.nodes.get(key) else { return Ok(Requeue::Never) };
        let may_evict = self.nodes.with(|cache| plan::may_evict(cache.iter().map(|node| &node.view)));
        let Some(patch) = plan::patch(&node.view, &json::parse(&node.bytes)?, may_evict, self.given.now()) else {
            return Ok(Requeue::Never);
        };
        let api = self.client.kind::<Node>("");
        match api.patch(&key.name, "", &Patch::Merge(patch), &WriteOptions::default()).await {
            Ok(answer) => self.wrote.wrote(key, answer.revision()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Requeue::Never)
    }
}
