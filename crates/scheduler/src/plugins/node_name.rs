//! NodeName: a pod that names its node goes there or nowhere.

use crate::framework::{Cycle, NodeFilter, Plugin, PreFilter, Rejection, WhatIf};
use crate::model::pod::Pod;
use crate::queue::event::ClusterEvent;
use crate::state::node_info::NodeInfo;

/// The plugin.
pub struct NodeName;

const NAME: &str = "NodeName";

struct Filter<'a>(&'a str);

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        match cycle.pod.node.is_empty() {
            true => PreFilter::Skip,
            false => PreFilter::Ask(Box::new(Filter(&cycle.pod.node))),
        }
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        event.node().is_some_and(|node| node.name == pod.node)
    }
}

impl NodeFilter for Filter<'_> {
    fn check(&self, node: &NodeInfo, _what_if: WhatIf<'_>) -> Result<(), Rejection> {
        match node.name() == self.0 {
            true => Ok(()),
            false => Err(Rejection::unresolvable(NAME, "node(s) didn't match the requested node name")),
        }
    }
}
