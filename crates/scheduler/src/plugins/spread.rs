//! PodTopologySpread: pods of a kind evenly over zones, nodes, or whatever labels tell places apart.
//!
//! Pods without constraints of their own are spread, softly, over nodes and zones with the pods that Services and
//! workloads select (upstream's system defaults).

mod score;

use crate::framework::{Cycle, NodeFilter, NodeScore, Plugin, PreFilter, Rejection, WhatIf};
use crate::model::node::Node;
use crate::model::pod::{Pod, Spread};
use crate::model::taint::untolerated;
use crate::queue::event::ClusterEvent;
use crate::state::node_info::{NodeId, NodeInfo};
use crate::state::places::Column;
use std::sync::Arc;

/// The plugin.
pub struct PodTopologySpread;

const NAME: &str = "PodTopologySpread";
const REASON: &str = "node(s) didn't match pod topology spread constraints";
const REASON_NO_LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

/// The label of a node's own name, the smallest place.
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// What pods without constraints have: place and largest difference.
const SYSTEM_DEFAULTS: [(&str, i64); 2] = [(HOSTNAME_LABEL, 3), (ZONE_LABEL, 5)];

struct Filter<'a> {
    pod: &'a Pod,
    constraints: Vec<Counted<'a>>,
}

/// A hard constraint with its pods by place.
struct Counted<'a> {
    spread: &'a Spread,
    column: Option<&'a Column>,
    /// None: no node that counts is there.
    counts: Vec<Option<i64>>,
    /// How many places have nodes that count.
    places: i64,
    /// The two places with fewest pods.
    fewest: [Option<(usize, i64)>; 2],
    /// 1 where the pod counts itself.
    own: i64,
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        let hard: Vec<&Spread> = cycle.pod.spread.iter().filter(|spread| spread.hard).collect();
        if hard.is_empty() {
            return PreFilter::Skip;
        }
        let constraints = hard.iter().map(|spread| Counted::new(spread, &hard, cycle)).collect();
        PreFilter::Ask(Box::new(Filter { pod: cycle.pod, constraints }))
    }

    fn score<'a>(&self, cycle: Cycle<'a>, feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        score::prepare(cycle, feasible)
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        let counts = |other: &Pod| pod.spread.iter().any(|spread| spread.group.contains(other, None));
        let has_places = |node: &Node| pod.spread.iter().all(|spread| node.labels.contains_key(&spread.topology_key));
        match event {
            ClusterEvent::PodAssigned(other) | ClusterEvent::PodGone(other) => counts(other),
            ClusterEvent::PodChanged { old, new } => {
                counts(old) != counts(new) || (counts(new) && old.terminating != new.terminating)
            }
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeGone(node) => has_places(node),
            ClusterEvent::NodeChanged { old, new } => {
                (has_places(old) || has_places(new)) && (old.labels != new.labels || old.taints != new.taints)
            }
            _ => true,
        }
    }
}

/// Whether a node's pods count under a constraint's policies.
fn included(spread: &Spread, pod: &Pod, node: &Node) -> bool {
    (!spread.honor_affinity || pod.allows_node(&node.name, &node.labels))
        && (!spread.honor_taints || untolerated(&node.taints, &pod.tolerations).is_none())
}

// === impl Filter ===

impl NodeFilter for Filter<'_> {
    fn check(&self, info: &NodeInfo, what_if: WhatIf<'_>) -> Result<(), Rejection> {
        let Some(node) = &info.node else { return Ok(()) };
        for constraint in &self.constraints {
            let Some(place) = constraint.column.and_then(|column| column.place(info.id)) else {
                return Err(Rejection::unresolvable(NAME, REASON_NO_LABEL));
            };
            let change = constraint.change(self.pod, node, what_if);
            let here = constraint.counts[place].unwrap_or_default() + change;
            if here + constraint.own - constraint.fewest(place, here) > constraint.spread.max_skew {
                return Err(Rejection::new(NAME, REASON));
            }
        }
        Ok(())
    }
}

impl<'a> Counted<'a> {
    /// Counts over all nodes that have the labels of all constraints and count under this one's policies.
    fn new(spread: &'a Spread, all: &[&Spread], cycle: Cycle<'a>) -> Counted<'a> {
        let state = cycle.state;
        let find = |spread: &Spread| state.places().column(&spread.topology_key).map(|(_, column)| column);
        let column = find(spread);
        let all: Option<Vec<&Column>> = all.iter().map(|spread| find(spread)).collect();
        let mut counts = vec![None; column.map_or(0, Column::len)];
        let pods = state.groups().find(&spread.group);
        for id in state.order() {
            let has_places = all.as_ref().is_some_and(|all| all.iter().all(|column| column.place(*id).is_some()));
            let Some(node) = state.node(*id).node.as_ref().filter(|_| has_places) else { continue };
            if let Some(place) = column.and_then(|column| column.place(*id))
                && included(spread, cycle.pod, node)
            {
                let here = pods.and_then(|pods| pods.get(id)).map_or(0, |count| count.staying);
                *counts[place].get_or_insert(0) += here;
            }
        }
        let mut fewest: [Option<(usize, i64)>; 2] = [None, None];
        for (place, count) in counts.iter().enumerate().filter_map(|(place, count)| Some((place, (*count)?))) {
            if fewest[0].is_none_or(|(_, least)| count < least) {
                fewest = [Some((place, count)), fewest[0]];
            } else if fewest[1].is_none_or(|(_, second)| count < second) {
                fewest[1] = Some((place, count));
            }
        }
        let own = i64::from(spread.group.selector.matches(&cycle.pod.labels));
        let places = counts.iter().flatten().count() as i64;
        Counted { spread, column, counts, places, fewest, own }
    }

    /// The fewest pods in any place, given how many are in this one. With too few places it is none at all.
    fn fewest(&self, place: usize, here: i64) -> i64 {
        if self.places < self.spread.min_domains {
            return 0;
        }
        let other = self.fewest.iter().flatten().find(|(known, _)| *known != place).map(|(_, count)| *count);
        match (other, self.counts[place].is_some()) {
            (Some(other), true) => other.min(here),
            (Some(other), false) => other,
            (None, true) => here,
            // No place is known at all: upstream's largest number.
            (None, false) => i64::from(i32::MAX),
        }
    }

    /// How many more (or fewer) pods there are in the node's place when pods are thought onto or off the node.
    fn change(&self, pod: &Pod, node: &Node, what_if: WhatIf<'_>) -> i64 {
        if what_if.added.is_empty() && what_if.removed.is_empty() || !included(self.spread, pod, node) {
            return 0;
        }
        // Upstream counts terminating pods here, too.
        let count = |pods: &[Arc<Pod>]| pods.iter().filter(|other| self.spread.group.contains(other, None)).count();
        count(what_if.added) as i64 - count(what_if.removed) as i64
    }
}
