//! Why a pod has no node: data first, and upstream's text made from it.

use crate::framework::Rejection;
use crate::state::node_info::NodeId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What was found out about nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// How many nodes there are.
    pub nodes: usize,
    /// A plugin refused before any node was looked at.
    pub pre_filter: Option<Rejection>,
    /// Nodes that were looked at, and why not.
    pub rejected: HashMap<NodeId, Rejection>,
    /// Why the nodes that were not looked at were not.
    pub absent: Option<Rejection>,
    /// The plugins that refused: only what they wait for is worth another try.
    pub plugins: BTreeSet<&'static str>,
    /// What came of trying to help (preemption, mostly), with its own beginning.
    pub post_filter: Option<String>,
}

// === impl Diagnosis ===

impl Diagnosis {
    /// Notes a node's rejection.
    pub fn reject(&mut self, node: NodeId, rejection: Rejection) {
        self.plugins.insert(rejection.plugin);
        self.rejected.insert(node, rejection);
    }

    /// Why a node was refused.
    pub fn why(&self, node: NodeId) -> Option<&Rejection> {
        self.rejected.get(&node).or(self.pre_filter.as_ref()).or(self.absent.as_ref())
    }

    /// `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. preemption: …`
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_string();
        }
        let mut text = format!("0/{} nodes are available:", self.nodes);
        match &self.pre_filter {
            Some(rejection) => text.push_str(&format!(" {}.", rejection.reasons.join(", "))),
            None => {
                let histogram = self.histogram();
                if !histogram.is_empty() {
                    text.push_str(&format!(" {}.", histogram.join(", ")));
                }
            }
        }
        if let Some(message) = &self.post_filter {
            text.push_str(&format!(" {message}"));
        }
        text
    }

    /// Reasons with how many nodes have them, sorted as texts.
    fn histogram(&self) -> Vec<String> {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for rejection in self.rejected.values() {
            for reason in &rejection.reasons {
                *reasons.entry(reason.as_ref()).or_default() += 1;
            }
        }
        let absent = self.nodes - self.rejected.len().min(self.nodes);
        for reason in self.absent.iter().flat_map(|rejection| &rejection.reasons).filter(|_| absent > 0) {
            *reasons.entry(reason.as_ref()).or_default() += absent;
        }
        let mut lines: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        lines.sort();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_sorted_as_texts() {
        let mut diagnosis = Diagnosis { nodes: 12, ..Diagnosis::default() };
        for node in 0..10 {
            diagnosis.reject(NodeId(node), Rejection::new("NodeResourcesFit", "Insufficient cpu"));
        }
        let both = vec!["Insufficient cpu".into(), "Insufficient memory".into()];
        diagnosis.reject(NodeId(10), Rejection { plugin: "NodeResourcesFit", unresolvable: false, reasons: both });
        diagnosis.reject(NodeId(11), Rejection::unresolvable("TaintToleration", "node(s) had untolerated taint(s)"));
        diagnosis.post_filter =
            Some("preemption: 0/12 nodes are available: 12 Preemption is not helpful for scheduling.".to_string());
        assert_eq!(
            diagnosis.message(),
            "0/12 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), 11 Insufficient cpu. \
             preemption: 0/12 nodes are available: 12 Preemption is not helpful for scheduling."
        );
    }

    #[test]
    fn nodes_that_were_not_looked_at_have_their_reason() {
        let absent = Rejection::unresolvable("NodeAffinity", "node(s) didn't satisfy plugin(s) [NodeAffinity]");
        let mut diagnosis = Diagnosis { nodes: 3, absent: Some(absent), ..Diagnosis::default() };
        diagnosis.reject(NodeId(0), Rejection::new("NodeResourcesFit", "Too many pods"));
        assert_eq!(
            diagnosis.message(),
            "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
        );
    }

    #[test]
    fn without_nodes() {
        assert_eq!(Diagnosis::default().message(), "no nodes available to schedule pods");
    }
}
