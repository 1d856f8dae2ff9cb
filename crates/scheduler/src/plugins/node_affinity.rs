//! NodeAffinity: node selector, required and preferred node affinity.

use crate::framework::{Cycle, NodeFilter, NodeScore, Plugin, PreFilter, Rejection, WhatIf, normalize_by_max};
use crate::model::labels::NodeTerm;
use crate::model::pod::Pod;
use crate::queue::event::ClusterEvent;
use crate::state::node_info::{NodeId, NodeInfo};
use std::collections::BTreeSet;

/// The plugin.
pub struct NodeAffinity;

const NAME: &str = "NodeAffinity";

struct Filter<'a>(&'a Pod);

struct Score<'a>(&'a [(i64, NodeTerm)]);

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        let pod = cycle.pod;
        if pod.node_selector.is_empty() && pod.required_nodes.is_none() {
            return PreFilter::Skip;
        }
        match bound_names(pod) {
            None => PreFilter::Ask(Box::new(Filter(pod))),
            Some(names) if names.is_empty() => {
                PreFilter::Reject(Rejection::unresolvable(NAME, "pod affinity terms conflict"))
            }
            Some(names) => PreFilter::Only(names, Box::new(Filter(pod))),
        }
    }

    fn score<'a>(&self, cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        let preferred = &cycle.pod.preferred_nodes;
        if preferred.is_empty() { None } else { Some(Box::new(Score(preferred))) }
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        let fits = |node: &crate::model::node::Node| pod.allows_node(&node.name, &node.labels);
        match event {
            ClusterEvent::NodeChanged { old, new } => fits(new) && !fits(old),
            event => event.node().is_some_and(fits),
        }
    }
}

/// The names of nodes to which all terms bind the pod, as a DaemonSet's pods are; none where a term does not. Terms are
/// alternatives, and a term that names two nodes at once conflicts with itself.
fn bound_names(pod: &Pod) -> Option<BTreeSet<String>> {
    let terms = pod.required_nodes.as_ref()?;
    let mut names = BTreeSet::new();
    for term in terms {
        names.extend(term.bound_names()?.into_iter().map(str::to_string));
    }
    (!terms.is_empty()).then_some(names)
}

impl NodeFilter for Filter<'_> {
    fn check(&self, node: &NodeInfo, _what_if: WhatIf<'_>) -> Result<(), Rejection> {
        match node.node.as_ref().is_some_and(|node| self.0.allows_node(&node.name, &node.labels)) {
            true => Ok(()),
            false => Err(Rejection::unresolvable(NAME, "node(s) didn't match Pod's node affinity/selector")),
        }
    }
}

impl NodeScore for Score<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let Some(node) = &node.node else { return 0 };
        let matching = self.0.iter().filter(|(_, term)| term.matches(&node.name, &node.labels));
        matching.map(|(weight, _)| weight).sum()
    }

    fn normalize(&self, _nodes: &[NodeId], scores: &mut [i64]) {
        normalize_by_max(scores, false);
    }
}
