//! The affinity terms of pods that are on nodes: a pod that comes must mind them.
//!
//! Pods of one workload have the same terms; each is kept once, with the nodes on which such pods are.

use super::node_info::{NodeId, NodeMap};
use crate::model::pod::{Pod, PodTerm};
use std::collections::HashMap;

/// What weight a required affinity of a pod that is there has when a pod of the wanted kind looks for a node
/// (upstream's `hardPodAffinityWeight`).
const REQUIRED_AFFINITY_WEIGHT: i64 = 1;

/// Terms of pods on nodes.
#[derive(Default)]
pub struct Terms {
    required_anti: HashMap<PodTerm, NodeMap<i64>>,
    /// Preferred terms of both kinds, and required affinity: weights add up, anti-affinity's are negative.
    preferred: HashMap<PodTerm, NodeMap<Weight>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Weight {
    terms: i64,
    sum: i64,
}

// === impl Terms ===

impl Terms {
    /// A pod came to a node.
    pub fn add(&mut self, pod: &Pod, node: NodeId) {
        self.change(pod, node, 1);
    }

    /// A pod left a node.
    pub fn remove(&mut self, pod: &Pod, node: NodeId) {
        self.change(pod, node, -1);
    }

    /// Required anti-affinity terms with the nodes on which pods have them.
    pub fn required_anti(&self) -> impl Iterator<Item = (&PodTerm, impl Iterator<Item = NodeId>)> {
        self.required_anti.iter().map(|(term, nodes)| (term, nodes.keys().copied()))
    }

    /// Preferred terms (and required affinity) with their weights by node.
    pub fn preferred(&self) -> impl Iterator<Item = (&PodTerm, impl Iterator<Item = (NodeId, i64)>)> {
        self.preferred.iter().map(|(term, nodes)| (term, nodes.iter().map(|(id, weight)| (*id, weight.sum))))
    }

    fn change(&mut self, pod: &Pod, node: NodeId, by: i64) {
        for term in &pod.anti_affinity {
            let nodes = self.required_anti.entry(term.clone()).or_default();
            let count = nodes.entry(node).or_default();
            *count += by;
            if *count == 0 {
                nodes.remove(&node);
            }
            if nodes.is_empty() {
                self.required_anti.remove(term);
            }
        }
        let required = pod.affinity.iter().map(|term| (REQUIRED_AFFINITY_WEIGHT, term));
        let preferred = pod.preferred_affinity.iter().map(|(weight, term)| (*weight, term));
        let avoided = pod.preferred_anti_affinity.iter().map(|(weight, term)| (-weight, term));
        for (weight, term) in required.chain(preferred).chain(avoided) {
            let nodes = self.preferred.entry(term.clone()).or_default();
            let sum = nodes.entry(node).or_default();
            sum.terms += by;
            sum.sum += by * weight;
            if sum.terms == 0 {
                nodes.remove(&node);
            }
            if nodes.is_empty() {
                self.preferred.remove(term);
            }
        }
    }

    /// All terms, for comparing states.
    #[cfg(test)]
    pub fn snapshot(
        &self,
    ) -> std::collections::BTreeMap<(bool, PodTerm), std::collections::BTreeMap<usize, (i64, i64)>> {
        let anti = self
            .required_anti
            .iter()
            .map(|(term, nodes)| ((true, term.clone()), nodes.iter().map(|(id, count)| (id.0, (*count, 0))).collect()));
        let preferred = self.preferred.iter().map(|(term, nodes)| {
            ((false, term.clone()), nodes.iter().map(|(id, weight)| (id.0, (weight.terms, weight.sum))).collect())
        });
        anti.chain(preferred).collect()
    }
}
