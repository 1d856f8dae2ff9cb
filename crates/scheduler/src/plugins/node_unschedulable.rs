//! NodeUnschedulable: a cordoned node takes only pods that tolerate it.

use crate::framework::{Cycle, NodeFilter, Plugin, PreFilter, Rejection, WhatIf};
use crate::model::node::{Node, UNSCHEDULABLE_TAINT};
use crate::model::pod::Pod;
use crate::model::taint::Taint;
use crate::queue::event::ClusterEvent;
use crate::state::node_info::NodeInfo;

/// The plugin.
pub struct NodeUnschedulable;

const NAME: &str = "NodeUnschedulable";

struct Filter {
    tolerated: bool,
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        PreFilter::Ask(Box::new(Filter { tolerated: tolerates(cycle.pod) }))
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        event.node().is_some_and(|node: &Node| !node.unschedulable || tolerates(pod))
    }
}

fn tolerates(pod: &Pod) -> bool {
    let taint = Taint { key: UNSCHEDULABLE_TAINT.to_string(), value: String::new(), effect: "NoSchedule".to_string() };
    pod.tolerations.iter().any(|toleration| toleration.tolerates(&taint))
}

impl NodeFilter for Filter {
    fn check(&self, node: &NodeInfo, _what_if: WhatIf<'_>) -> Result<(), Rejection> {
        match node.node.as_ref().is_some_and(|node| node.unschedulable) && !self.tolerated {
            true => Err(Rejection::unresolvable(NAME, "node(s) were unschedulable")),
            false => Ok(()),
        }
    }
}
