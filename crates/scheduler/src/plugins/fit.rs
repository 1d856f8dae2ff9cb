//! NodeResourcesFit: a pod goes where what it asks for is free, rather where much is free (`LeastAllocated`).

use crate::framework::{Cycle, NodeFilter, NodeScore, Plugin, PreFilter, Rejection, SCORE_MAX, WhatIf};
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::model::resources::Resources;
use crate::queue::event::ClusterEvent;
use crate::state::node_info::{NodeId, NodeInfo};
use std::borrow::Cow;

/// The plugin.
pub struct NodeResourcesFit;

const NAME: &str = "NodeResourcesFit";

struct Filter<'a>(&'a Resources);

struct Score<'a>(&'a Resources);

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        PreFilter::Ask(Box::new(Filter(&cycle.pod.requests)))
    }

    fn score<'a>(&self, cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        Some(Box::new(Score(&cycle.pod.requests_with_defaults)))
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        match event {
            ClusterEvent::PodGone(_) | ClusterEvent::Other => true,
            ClusterEvent::PodChanged { old, new } => new.requests != old.requests,
            ClusterEvent::NodeAdded(node) => could_hold(node, &pod.requests),
            ClusterEvent::NodeChanged { old, new } => {
                could_hold(new, &pod.requests) && (new.allocatable != old.allocatable || new.pods_max > old.pods_max)
            }
            _ => false,
        }
    }
}

/// Whether the node would do if it were empty.
fn could_hold(node: &Node, wanted: &Resources) -> bool {
    let has = &node.allocatable;
    node.pods_max > 0
        && wanted.milli_cpu <= has.milli_cpu
        && wanted.memory <= has.memory
        && wanted.ephemeral_storage <= has.ephemeral_storage
        && wanted.scalar.iter().all(|(name, amount)| *amount <= has.scalar(name))
}

impl NodeFilter for Filter<'_> {
    /// All that is missing is named, as users want to know it at once.
    fn check(&self, info: &NodeInfo, _what_if: WhatIf<'_>) -> Result<(), Rejection> {
        let Some(node) = &info.node else { return Ok(()) };
        let (wanted, taken, has) = (self.0, &info.requested, &node.allocatable);
        let mut reasons: Vec<Cow<'static, str>> = Vec::new();
        let mut unresolvable = false;
        if info.pods.len() as i64 + 1 > node.pods_max {
            reasons.push("Too many pods".into());
        }
        let basic = [
            (wanted.milli_cpu, taken.milli_cpu, has.milli_cpu, "Insufficient cpu"),
            (wanted.memory, taken.memory, has.memory, "Insufficient memory"),
            (
                wanted.ephemeral_storage,
                taken.ephemeral_storage,
                has.ephemeral_storage,
                "Insufficient ephemeral-storage",
            ),
        ];
        for (wanted, taken, has, reason) in basic {
            if wanted > 0 && wanted > has - taken {
                reasons.push(reason.into());
                unresolvable |= wanted > has;
            }
        }
        for (name, wanted) in &wanted.scalar {
            let (taken, has) = (taken.scalar(name), has.scalar(name));
            if *wanted > 0 && *wanted > has - taken {
                reasons.push(format!("Insufficient {name}").into());
                unresolvable |= *wanted > has;
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(Rejection { plugin: NAME, unresolvable, reasons }) }
    }
}

impl NodeScore for Score<'_> {
    fn score(&self, info: &NodeInfo) -> i64 {
        let Some(node) = &info.node else { return 0 };
        let (wanted, taken, has) = (self.0, &info.requested_with_defaults, &node.allocatable);
        let pairs = [(taken.milli_cpu + wanted.milli_cpu, has.milli_cpu), (taken.memory + wanted.memory, has.memory)];
        let known = pairs.iter().filter(|(_, has)| *has > 0);
        let (sum, count) = known.fold((0, 0), |(sum, count), (taken, has)| (sum + free_share(*taken, *has), count + 1));
        if count == 0 { 0 } else { sum / count }
    }
}

fn free_share(taken: i64, has: i64) -> i64 {
    if taken > has { 0 } else { (has - taken) * SCORE_MAX / has }
}
