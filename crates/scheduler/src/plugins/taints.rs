//! TaintToleration: taints keep off pods that don't tolerate them; soft ones make a node less wanted.

use crate::framework::{Cycle, NodeFilter, NodeScore, Plugin, PreFilter, Rejection, WhatIf, normalize_by_max};
use crate::model::pod::Pod;
use crate::model::taint::{Toleration, untolerated};
use crate::queue::event::ClusterEvent;
use crate::state::node_info::{NodeId, NodeInfo};

/// The plugin.
pub struct TaintToleration;

const NAME: &str = "TaintToleration";

struct Filter<'a>(&'a [Toleration]);

/// Tolerations that can be about soft taints.
struct Score<'a>(Vec<&'a Toleration>);

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        PreFilter::Ask(Box::new(Filter(&cycle.pod.tolerations)))
    }

    fn score<'a>(&self, cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        let soft = |toleration: &&Toleration| matches!(toleration.effect.as_str(), "" | "PreferNoSchedule");
        Some(Box::new(Score(cycle.pod.tolerations.iter().filter(soft).collect())))
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        event.node().is_some_and(|node| untolerated(&node.taints, &pod.tolerations).is_none())
    }
}

impl NodeFilter for Filter<'_> {
    fn check(&self, node: &NodeInfo, _what_if: WhatIf<'_>) -> Result<(), Rejection> {
        let taints = node.node.as_ref().map_or(&[][..], |node| &node.taints);
        match untolerated(taints, self.0) {
            Some(_) => Err(Rejection::unresolvable(NAME, "node(s) had untolerated taint(s)")),
            None => Ok(()),
        }
    }
}

impl NodeScore for Score<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let taints = node.node.as_ref().map_or(&[][..], |node| &node.taints);
        let soft = taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
        soft.filter(|taint| !self.0.iter().any(|toleration| toleration.tolerates(taint))).count() as i64
    }

    fn normalize(&self, _nodes: &[NodeId], scores: &mut [i64]) {
        normalize_by_max(scores, true);
    }
}
