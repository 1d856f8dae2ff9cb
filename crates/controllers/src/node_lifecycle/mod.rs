//! Node lifecycle: silent nodes become unknown, and taints follow the conditions of nodes.
//!
//! Upstream: pkg/controller/nodelifecycle. [`plan`] decides what a node's taints should be, [`health`] keeps the last
//! signs of life. Nothing is looked at periodically: a node is, when something happens to it, and when its time is up.

pub mod health;
pub mod plan;

use std::sync::Arc;

use api::value::Value;
use client::informer::index;
use client::{
    Client, ClientError, Event, EventRecorder, EventType, Given, Informer, Kind, MetaExt, Object, ObjectKey, Patch,
    Reconcile, ReconcileError, Requeue, Selection, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};

use self::health::Pulse;

use crate::common::read_back::ReadBack;
use crate::common::{pod_status, pods};
use crate::context::Context;

const NAME: &str = "node-controller";
/// Where kubelets' leases are.
const LEASES: &str = "kube-node-lease";

/// The controller.
pub struct NodeLifecycle {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    leases: Informer<Lease>,
    client: Client,
    recorder: EventRecorder,
    given: Given,
    wrote: ReadBack<Node>,
    pulse: Arc<Pulse>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (nodes, pods) = (context.informers.kind::<Node>(), context.informers.kind::<Pod>());
    let of_nodes = Selection { namespace: LEASES.to_owned(), keep_bytes: false, ..Selection::default() };
    let leases = context.informers.view::<Lease>(&Lease::RESOURCE, of_nodes);
    let (queue, pulse) = (WorkQueue::default(), Arc::new(Pulse::default()));
    pods.add_index(index::NODE_NAME, index::node_name);
    watch_nodes(&nodes, &queue, context.recorder(NAME));
    leases.subscribe({
        let pulse = pulse.clone();
        move |event| pulse.lease(event.object())
    });
    let controller = NodeLifecycle {
        client: context.client(NAME),
        recorder: context.recorder(NAME),
        given: context.given.clone(),
        wrote: ReadBack::new(&nodes),
        nodes: nodes.clone(),
        pods: pods.clone(),
        leases: leases.clone(),
        pulse,
    };
    tokio::join!(nodes.synced(), pods.synced(), leases.synced());
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
        let Some(node) = self.nodes.get(key) else {
            self.pulse.forget(&key.name);
            return Ok(Requeue::Never);
        };
        let lease = self.leases.find(LEASES, &key.name);
        let silent = self.pulse.node(&node, lease.as_deref().map(|lease| &lease.view), self.given.now());
        let again = match health::grace(&node.view).checked_sub(silent) {
            Some(left) if !left.is_zero() => Requeue::After(left),
            // Once it is unknown, only a sign of life changes anything, and that is an event.
            _ => self.lost(key, &node, lease.as_deref()).await?,
        };
        if self.pulse.owes_pods(&key.name) {
            self.mark_pods(&key.name).await?;
            self.pulse.owe_pods(&key.name, false);
        }
        self.settle(key, &node).await?;
        Ok(again)
    }
}

impl NodeLifecycle {
    /// Brings taints and labels in line.
    async fn settle(&self, key: &ObjectKey, node: &Object<Node>) -> Result<(), ClientError> {
        let may_evict = self.nodes.with(|cache| plan::may_evict(cache.iter().map(|node| &node.view)));
        let Some(patch) = plan::patch(&node.view, &json::parse(&node.bytes)?, may_evict, self.given.now()) else {
            return Ok(());
        };
        let api = self.client.kind::<Node>("");
        match api.patch(&key.name, "", &Patch::Merge(patch), &WriteOptions::default()).await {
            Ok(answer) => self.wrote.wrote(key, answer.revision()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Nothing was heard of the node for too long: what its kubelet told is no longer known.
    async fn lost(
        &self,
        key: &ObjectKey,
        node: &Object<Node>,
        lease: Option<&Object<Lease>>,
    ) -> Result<Requeue, ClientError> {
        let now = self.given.now();
        let Some(tree) = health::unknown(json::parse(&node.bytes)?, node.created(), now) else {
            return Ok(Requeue::Never);
        };
        // The cache may be what is silent, not the node.
        let live = self.client.kind::<Lease>(LEASES).get_opt(&key.name).await?;
        if let Some(live) = live
            && live.revision() != lease.map_or(0, |lease| lease.revision)
        {
            self.pulse.lease(&live.view()?);
            return Ok(Requeue::Backoff);
        }
        let was_ready = plan::condition(node, "Ready") == Some("True");
        self.pulse.owe_pods(&key.name, was_ready);
        let answer = self.client.kind::<Node>("").update_status(tree, &WriteOptions::default()).await?;
        self.wrote.wrote(key, answer.revision());
        if was_ready {
            let said = format!("Node {} status is now: NodeNotReady", key.name);
            self.recorder.event(&node.view, EventType::Normal, "NodeNotReady", said);
        }
        Ok(Requeue::Backoff)
    }

    /// The pods of a lost node are not ready: services must not lead to them.
    async fn mark_pods(&self, node: &str) -> Result<(), ClientError> {
        for pod in self.pods.indexed(index::NODE_NAME, node) {
            let Some(known) = pods::condition(&pod, "Ready").filter(|known| known.status == "True") else { continue };
            let reason = known.reason.clone().unwrap_or_default();
            let message = known.message.clone().unwrap_or_default();
            let condition: Value = pod_status::condition(&pod, "Ready", "False", &reason, &message, self.given.now());
            pod_status::patch(&self.client.kind::<Pod>(pod.namespace()), &pod, "", Some(condition)).await?;
            self.recorder.event(&pod.view, EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }
}
