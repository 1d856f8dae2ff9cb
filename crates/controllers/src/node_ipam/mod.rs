//! Node IPAM: every node has a range of pod addresses out of each of the cluster's.
//!
//! Upstream: pkg/controller/nodeipam, its range allocator. What is taken is read from the nodes; one worker that waits
//! for its own writes can't give out a range twice.

pub mod ranges;

use std::sync::Arc;

use api::value::Value;
use client::{
    Client, EventRecorder, EventType, Informer, MetaExt, Object, ObjectKey, Patch, Reconcile, ReconcileError, Requeue,
    WorkQueue, WriteOptions,
};
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;

use self::ranges::Range;
use crate::common::owners;
use crate::context::Context;

const NAME: &str = "node-controller";

/// The controller.
pub struct NodeIpam {
    nodes: Informer<Node>,
    client: Client,
    recorder: EventRecorder,
    cluster: Vec<Range>,
    services: Vec<Range>,
    /// Where to look on, per range of the cluster: a range given back is not used again at once.
    next: Mutex<Vec<u128>>,
}

/// Starts the controller: `cluster` are the ranges of all pods, `services` ranges never to be given out.
pub async fn run(context: Context, cluster: Vec<Range>, services: Vec<Range>) {
    let nodes = context.informers.kind::<Node>();
    let queue = WorkQueue::default();
    owners::watch_owners(&nodes, &queue);
    let controller = NodeIpam {
        nodes: nodes.clone(),
        client: context.client(NAME),
        recorder: context.recorder("cidrAllocator"),
        next: Mutex::new(vec![0; cluster.len()]),
        cluster,
        services,
    };
    nodes.synced().await;
    client::queue::run("node-ipam-controller", Arc::new(controller), queue, 1, context.stop).await;
}

impl Reconcile for NodeIpam {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(node) = self.nodes.get(key).filter(|node| !node.is_deleting()) else { return Ok(Requeue::Never) };
        if has_ranges(&node) || self.cluster.is_empty() {
            return Ok(Requeue::Never);
        }
        let Some(ranges) = self.choose(&node) else {
            let said = format!("Node {} status is now: CIDRNotAvailable", node.name());
            self.recorder.event(&node.view, EventType::Normal, "CIDRNotAvailable", said);
            return Ok(Requeue::Backoff);
        };
        let ranges: Vec<String> = ranges.iter().map(Range::to_string).collect();
        let mut patch = Value::object();
        patch.set("spec.podCIDR", ranges.first().map_or("", String::as_str));
        patch.set("spec.podCIDRs", ranges);
        let api = self.client.kind::<Node>("");
        match api.patch(&key.name, "", &Patch::Strategic(patch), &WriteOptions::default()).await {
            Ok(answer) => self.nodes.reached(answer.revision()).await,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Requeue::Never)
    }
}

impl NodeIpam {
    /// A free range out of each of the cluster's.
    fn choose(&self, node: &Object<Node>) -> Option<Vec<Range>> {
        let mut used = self.services.clone();
        self.nodes.with(|cache| used.extend(cache.iter().filter(|other| other.uid() != node.uid()).flat_map(taken)));
        let mut next = self.next.lock();
        let mut chosen = Vec::with_capacity(self.cluster.len());
        for (cluster, next) in self.cluster.iter().zip(next.iter_mut()) {
            let (index, range) = cluster.free_piece(*next, &used)?;
            *next = index + 1;
            chosen.push(range);
        }
        Some(chosen)
    }
}

fn has_ranges(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.pod_cidrs.as_ref().is_some_and(|list| !list.is_empty()))
}

/// The ranges that a node has.
fn taken(node: &Arc<Object<Node>>) -> Vec<Range> {
    let list = node.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_ref());
    list.into_iter().flatten().filter_map(|text| text.parse().ok()).collect()
}
