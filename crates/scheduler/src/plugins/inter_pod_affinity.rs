//! InterPodAffinity: near to some pods, far from others. Also for pods that are there already: their anti-affinity keeps
//! others off, their preferences count as the incoming pod's do.

use crate::framework::{Cycle, NodeFilter, NodeScore, Plugin, PreFilter, Rejection, SCORE_MAX, WhatIf};
use crate::model::labels::Labels;
use crate::model::pod::{Pod, PodTerm};
use crate::queue::event::ClusterEvent;
use crate::state::State;
use crate::state::node_info::{NodeId, NodeInfo};
use client::MetaExt;
use std::collections::HashMap;
use std::sync::Arc;

/// The plugin.
pub struct InterPodAffinity;

const NAME: &str = "InterPodAffinity";

/// A kind of place and one such place.
type Place<'a> = (&'a str, &'a str);

struct Filter<'a> {
    cycle: Cycle<'a>,
    /// Places with pods that satisfy all of the pod's affinity.
    wanted: HashMap<Place<'a>, i64>,
    /// Places with pods that the pod must not be with, for each of its terms.
    avoided: HashMap<Place<'a>, i64>,
    /// Places where pods are that must not be with this pod, and how many nodes say so.
    forbidden: HashMap<Place<'a>, i64>,
}

struct Score<'a> {
    weights: HashMap<&'a str, HashMap<&'a str, i64>>,
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        let pod = cycle.pod;
        let filter = Filter {
            cycle,
            wanted: count_terms(cycle.state, pod.affinity.iter(), pod.affinity_group.as_deref()),
            avoided: count_terms(cycle.state, pod.anti_affinity.iter(), None),
            forbidden: forbidden(cycle),
        };
        match filter.forbidden.is_empty() && pod.affinity.is_empty() && pod.anti_affinity.is_empty() {
            true => PreFilter::Skip,
            false => PreFilter::Ask(Box::new(filter)),
        }
    }

    fn score<'a>(&self, cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        let weights = weights(cycle);
        if weights.is_empty() { None } else { Some(Box::new(Score { weights })) }
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
fn count_terms<'a>(
    state: &'a State,
    terms: impl Iterator<Item = &'a PodTerm>,
    group: Option<&'a crate::model::pod::PodGroup>,
) -> HashMap<Place<'a>, i64> {
    let mut counts: HashMap<Place<'a>, i64> = HashMap::new();
    for term in terms {
        for (id, count) in state.groups().on_nodes(group.unwrap_or(&term.group)) {
            if let Some(place) = state.node(id).label(&term.topology_key) {
                *counts.entry((&term.topology_key, place)).or_default() += count.all;
            }
        }
    }
    counts
}

fn forbidden(cycle: Cycle<'_>) -> HashMap<Place<'_>, i64> {
    let namespace = cycle.state.namespace_labels(cycle.pod.namespace());
    let mut places: HashMap<Place<'_>, i64> = HashMap::new();
    for (term, nodes) in cycle.state.terms().required_anti() {
        if !term.group.contains(cycle.pod, namespace) {
            continue;
        }
        for id in nodes {
            if let Some(place) = cycle.state.node(id).label(&term.topology_key) {
                *places.entry((&term.topology_key, place)).or_default() += 1;
            }
        }
    }
    places
}

// === impl Filter ===

impl NodeFilter for Filter<'_> {
    fn check(&self, info: &NodeInfo, what_if: WhatIf<'_>) -> Result<(), Rejection> {
        let Some(node) = &info.node else { return Ok(()) };
        if !self.affinity_holds(&node.labels, what_if) {
            return Err(Rejection::unresolvable(NAME, "node(s) didn't match pod affinity rules"));
        }
        if !self.anti_affinity_holds(&node.labels, what_if) {
            return Err(Rejection::new(NAME, "node(s) didn't match pod anti-affinity rules"));
        }
        if !self.others_allow(info, &node.labels, what_if) {
            return Err(Rejection::new(NAME, "node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

impl<'a> Filter<'a> {
    fn in_group(&self, group: &crate::model::pod::PodGroup, other: &Pod) -> bool {
        group.contains(other, self.cycle.state.namespace_labels(other.namespace()))
    }

    /// How many more pods of a group there are by supposition.
    fn change(&self, group: &crate::model::pod::PodGroup, what_if: WhatIf<'_>) -> i64 {
        let count = |pods: &[Arc<Pod>]| pods.iter().filter(|other| self.in_group(group, other)).count() as i64;
        count(what_if.added) - count(what_if.removed)
    }

    /// All terms are satisfied in the node's places. The first pod of a kind that wants to be with its own kind may go
    /// anywhere where the labels are.
    fn affinity_holds(&self, labels: &Labels, what_if: WhatIf<'_>) -> bool {
        let pod = self.cycle.pod;
        let Some(group) = &pod.affinity_group else { return true };
        let change = self.change(group, what_if);
        let mut all_there = true;
        for term in &pod.affinity {
            let Some(place) = labels.get(&term.topology_key) else { return false };
            let count = self.wanted.get(&(term.topology_key.as_str(), place.as_str())).copied().unwrap_or_default();
            all_there &= count + change > 0;
        }
        let total: i64 = self.wanted.values().sum::<i64>() + change;
        all_there || (total <= 0 && pod.affinity.iter().all(|term| self.in_group(&term.group, pod)))
    }

    fn anti_affinity_holds(&self, labels: &Labels, what_if: WhatIf<'_>) -> bool {
        self.cycle.pod.anti_affinity.iter().all(|term| {
            let Some(place) = labels.get(&term.topology_key) else { return true };
            let count = self.avoided.get(&(term.topology_key.as_str(), place.as_str())).copied().unwrap_or_default();
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
        self.forbidden.is_empty()
            || labels.iter().all(|(key, value)| {
                let nodes = self.forbidden.get(&(key.as_str(), value.as_str())).copied().unwrap_or_default();
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
fn weights(cycle: Cycle<'_>) -> HashMap<&str, HashMap<&str, i64>> {
    let (state, pod) = (cycle.state, cycle.pod);
    let mut weights: HashMap<&str, HashMap<&str, i64>> = HashMap::new();
    let own = pod.preferred_affinity.iter().map(|(weight, term)| (*weight, term));
    let own = own.chain(pod.preferred_anti_affinity.iter().map(|(weight, term)| (-weight, term)));
    for (weight, term) in own {
        for (id, count) in state.groups().on_nodes(&term.group) {
            if let Some(place) = state.node(id).label(&term.topology_key) {
                *weights.entry(&term.topology_key).or_default().entry(place).or_default() += weight * count.all;
            }
        }
    }
    let namespace = state.namespace_labels(pod.namespace());
    for (term, nodes) in state.terms().preferred() {
        if !term.group.contains(pod, namespace) {
            continue;
        }
        for (id, weight) in nodes {
            if let Some(place) = state.node(id).label(&term.topology_key) {
                *weights.entry(&term.topology_key).or_default().entry(place).or_default() += weight;
            }
        }
    }
    weights
}

// === impl Score ===

impl NodeScore for Score<'_> {
    fn score(&self, info: &NodeInfo) -> i64 {
        let weight = |(key, places): (&&str, &HashMap<&str, i64>)| places.get(info.label(key)?).copied();
        self.weights.iter().filter_map(weight).sum()
    }

    fn normalize(&self, _nodes: &[NodeId], scores: &mut [i64]) {
        let (min, max) = (scores.iter().min().copied(), scores.iter().max().copied());
        let (min, max) = (min.unwrap_or_default(), max.unwrap_or_default());
        for score in scores {
            *score = if max == min { 0 } else { SCORE_MAX * (*score - min) / (max - min) };
        }
    }
}
