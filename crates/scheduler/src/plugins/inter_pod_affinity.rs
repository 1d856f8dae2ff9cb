//! InterPodAffinity: near to some pods, far from others. Also for pods that are there already: their anti-affinity keeps
//! others off, their preferences count as the incoming pod's do.

use crate::framework::{Cycle, NodeFilter, NodeScore, Plugin, PreFilter, Rejection, SCORE_MAX, WhatIf};
use crate::model::labels::Labels;
use crate::model::pod::{Pod, PodGroup, PodTerm};
use crate::queue::event::ClusterEvent;
use crate::state::State;
use crate::state::node_info::{NodeId, NodeInfo};
use crate::state::places::Amounts;
use client::MetaExt;
use std::sync::Arc;

/// The plugin.
pub struct InterPodAffinity;

const NAME: &str = "InterPodAffinity";

struct Filter<'a> {
    cycle: Cycle<'a>,
    /// Places with pods that satisfy all of the pod's affinity.
    wanted: Amounts<'a>,
    /// Places with pods that the pod must not be with, for each of its terms.
    avoided: Amounts<'a>,
    /// Places where pods are that must not be with this pod, and how many nodes say so.
    forbidden: Amounts<'a>,
}

struct Score<'a> {
    weights: Amounts<'a>,
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        let pod = cycle.pod;
        let filter = Filter {
            cycle,
            wanted: count_terms(cycle.state, &pod.affinity, pod.affinity_group.as_deref()),
            avoided: count_terms(cycle.state, &pod.anti_affinity, None),
            forbidden: forbidden(cycle),
        };
        match filter.forbidden.is_zero() && pod.affinity.is_empty() && pod.anti_affinity.is_empty() {
            true => PreFilter::Skip,
            false => PreFilter::Ask(Box::new(filter)),
        }
    }

    fn score<'a>(&self, cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        let weights = weights(cycle);
        if weights.is_zero() { None } else { Some(Box::new(Score { weights })) }
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        // Namespaces' labels are not at hand: a group that minds them may contain any pod.
        let in_group =
            |term: &PodTerm, other: &Pod| term.group.minds_namespace_labels() || term.group.contains(other, None);
        let wants = |other: &Pod| pod.affinity.iter().any(|term| in_group(term, other));
        let avoids = |other: &Pod| pod.anti_affinity.iter().any(|term| in_group(term, other));
        let is_avoided = |other: &Pod| other.anti_affinity.iter().any(|term| in_group(term, pod));
        match event {
            ClusterEvent::PodAssigned(other) => wants(other),
            ClusterEvent::PodGone(other) => avoids(other) || is_avoided(other),
            ClusterEvent::PodChanged { old, new } => wants(new) || (avoids(old) && !avoids(new)) || is_avoided(old),
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeChanged { new: node, .. } => {
                let terms = pod.affinity.iter().chain(&pod.anti_affinity);
                pod.affinity.is_empty() || terms.into_iter().any(|term| node.labels.contains_key(&term.topology_key))
            }
            _ => true,
        }
    }
}

/// Pods of each term's group (or of one group for all) by the term's places.
fn count_terms<'a>(state: &'a State, terms: &'a [PodTerm], group: Option<&'a PodGroup>) -> Amounts<'a> {
    let mut counts = Amounts::default();
    for term in terms {
        let pods = state.groups().on_nodes(group.unwrap_or(&term.group));
        counts.add(state.places(), &term.topology_key, pods.map(|(id, count)| (id, count.all)));
    }
    counts
}

/// How many nodes say that their place is forbidden to the pod, for each term.
fn forbidden(cycle: Cycle<'_>) -> Amounts<'_> {
    let namespace = cycle.state.namespace_labels(cycle.pod.namespace());
    let mut nodes = Amounts::default();
    for (term, with_term) in cycle.state.terms().required_anti() {
        if term.group.contains(cycle.pod, namespace) {
            nodes.add(cycle.state.places(), &term.topology_key, with_term.map(|id| (id, 1)));
        }
    }
    nodes
}

// === impl Filter ===

impl NodeFilter for Filter<'_> {
    fn check(&self, info: &NodeInfo, what_if: WhatIf<'_>) -> Result<(), Rejection> {
        let Some(node) = &info.node else { return Ok(()) };
        if !self.affinity_holds(info.id, &node.labels, what_if) {
            return Err(Rejection::unresolvable(NAME, "node(s) didn't match pod affinity rules"));
        }
        if !self.anti_affinity_holds(info.id, &node.labels, what_if) {
            return Err(Rejection::new(NAME, "node(s) didn't match pod anti-affinity rules"));
        }
        if !self.others_allow(info, &node.labels, what_if) {
            return Err(Rejection::new(NAME, "node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

impl<'a> Filter<'a> {
    fn in_group(&self, group: &PodGroup, other: &Pod) -> bool {
        group.contains(other, self.cycle.state.namespace_labels(other.namespace()))
    }

    /// How many more pods of a group there are by supposition.
    fn change(&self, group: &PodGroup, what_if: WhatIf<'_>) -> i64 {
        let count = |pods: &[Arc<Pod>]| pods.iter().filter(|other| self.in_group(group, other)).count() as i64;
        count(what_if.added) - count(what_if.removed)
    }

    /// All terms are satisfied in the node's places. The first pod of a kind that wants to be with its own kind may go
    /// anywhere where the labels are.
    fn affinity_holds(&self, node: NodeId, labels: &Labels, what_if: WhatIf<'_>) -> bool {
        let pod = self.cycle.pod;
        let Some(group) = &pod.affinity_group else { return true };
        let change = self.change(group, what_if);
        let mut all_there = true;
        for term in &pod.affinity {
            if !labels.contains_key(&term.topology_key) {
                return false;
            }
            all_there &= self.wanted.at(&term.topology_key, node) + change > 0;
        }
        let total = self.wanted.total() + change;
        all_there || (total <= 0 && pod.affinity.iter().all(|term| self.in_group(&term.group, pod)))
    }

    fn anti_affinity_holds(&self, node: NodeId, labels: &Labels, what_if: WhatIf<'_>) -> bool {
        self.cycle.pod.anti_affinity.iter().all(|term| {
            if !labels.contains_key(&term.topology_key) {
                return true;
            }
            let count = self.avoided.at(&term.topology_key, node);
            let same_place = |other: &&PodTerm| other.topology_key == term.topology_key;
            let terms = self.cycle.pod.anti_affinity.iter().filter(same_place);
            count + terms.map(|term| self.change(&term.group, what_if)).sum::<i64>() <= 0
        })
    }

    /// No pod in the node's places has this pod in its anti-affinity.
    fn others_allow(&self, info: &NodeInfo, labels: &Labels, what_if: WhatIf<'_>) -> bool {
        let pod = self.cycle.pod;
        let avoids = |other: &Pod, key: &str| {
            other.anti_affinity.iter().any(|term| term.topology_key == key && self.in_group(&term.group, pod))
        };
        let added = what_if.added.iter().flat_map(|other| &other.anti_affinity);
        if added.filter(|term| labels.contains_key(&term.topology_key)).any(|term| self.in_group(&term.group, pod)) {
            return false;
        }
        self.forbidden.here(info.id).all(|(key, nodes)| {
            if nodes == 0 || what_if.removed.is_empty() {
                return nodes == 0;
            }
            // This node says so no more if all of its pods that did are thought away.
            let did = what_if.removed.iter().any(|other| avoids(other, key));
            let does = info.pods.iter().any(|other| avoids(other, key));
            nodes - self.terms_of_node(info.id, key) * i64::from(did && !does) <= 0
        })
    }

    /// How many terms forbid the place because of pods on this node.
    fn terms_of_node(&self, node: NodeId, key: &str) -> i64 {
        let namespace = self.cycle.state.namespace_labels(self.cycle.pod.namespace());
        let terms = self.cycle.state.terms().required_anti();
        terms
            .filter(|(term, _)| term.topology_key == key && term.group.contains(self.cycle.pod, namespace))
            .map(|(_, mut nodes)| i64::from(nodes.any(|id| id == node)))
            .sum()
    }
}

/// Weights of places: the pod's own preferences among pods that are there, and theirs for it.
fn weights(cycle: Cycle<'_>) -> Amounts<'_> {
    let (state, pod) = (cycle.state, cycle.pod);
    let mut weights = Amounts::default();
    let own = pod.preferred_affinity.iter().map(|(weight, term)| (*weight, term));
    let own = own.chain(pod.preferred_anti_affinity.iter().map(|(weight, term)| (-weight, term)));
    for (weight, term) in own {
        let pods = state.groups().on_nodes(&term.group);
        weights.add(state.places(), &term.topology_key, pods.map(|(id, count)| (id, weight * count.all)));
    }
    let namespace = state.namespace_labels(pod.namespace());
    for (term, nodes) in state.terms().preferred() {
        if term.group.contains(pod, namespace) {
            weights.add(state.places(), &term.topology_key, nodes);
        }
    }
    weights
}

// === impl Score ===

impl NodeScore for Score<'_> {
    fn score(&self, info: &NodeInfo) -> i64 {
        self.weights.here(info.id).map(|(_, weight)| weight).sum()
    }

    fn normalize(&self, _nodes: &[NodeId], scores: &mut [i64]) {
        let (min, max) = (scores.iter().min().copied(), scores.iter().max().copied());
        let (min, max) = (min.unwrap_or_default(), max.unwrap_or_default());
        for score in scores {
            *score = if max == min { 0 } else { SCORE_MAX * (*score - min) / (max - min) };
        }
    }
}
