//! What a plugin is: a rule about nodes that is asked at some points of a decision.
//!
//! A plugin prepares itself for a pod once a decision ([`Plugin::filter`], [`Plugin::score`]) and is then asked node by
//! node. It holds no state between decisions; all state is [`State`]. A new rule is a row in [`crate::plugins`].

use crate::model::pod::Pod;
use crate::queue::event::ClusterEvent;
use crate::state::State;
use crate::state::node_info::{NodeId, NodeInfo};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The highest score that a plugin may give a node.
pub const SCORE_MAX: i64 = 100;

/// Why a node, or a pod altogether, was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Which plugin.
    pub plugin: &'static str,
    /// Taking pods off the node would not help.
    pub unresolvable: bool,
    /// In upstream's words; users read them in events.
    pub reasons: Vec<Cow<'static, str>>,
}

/// What a plugin has to say about a pod before any node is looked at.
pub enum PreFilter<'a> {
    /// Nothing; it is not asked about nodes.
    Skip,
    /// Ask about each node.
    Ask(Box<dyn NodeFilter + 'a>),
    /// Only these nodes; ask about each.
    Only(BTreeSet<String>, Box<dyn NodeFilter + 'a>),
    /// No node will do.
    Reject(Rejection),
}

/// Pods that are thought away from the node, or onto it, when asked about it.
#[derive(Clone, Copy, Default)]
pub struct WhatIf<'a> {
    /// Not on the node (the `NodeInfo` has them taken out).
    pub removed: &'a [Arc<Pod>],
    /// On the node (the `NodeInfo` has them in it).
    pub added: &'a [Arc<Pod>],
}

/// Asked about each node.
pub trait NodeFilter {
    /// # Errors
    /// Why the pod can't go there.
    fn check(&self, node: &NodeInfo, what_if: WhatIf<'_>) -> Result<(), Rejection>;
}

/// Gives each node a score.
pub trait NodeScore {
    /// More is better. In the plugin's own measure, if it normalizes.
    fn score(&self, node: &NodeInfo) -> i64;

    /// Brings the scores of all nodes between 0 and [`SCORE_MAX`]. `nodes` are those that were scored, in order.
    fn normalize(&self, _nodes: &[NodeId], _scores: &mut [i64]) {}
}

/// A decision's context.
#[derive(Clone, Copy)]
pub struct Cycle<'a> {
    /// The cluster.
    pub state: &'a State,
    /// The pod.
    pub pod: &'a Pod,
}

/// A rule.
pub trait Plugin: Send + Sync {
    /// Upstream's name for it.
    fn name(&self) -> &'static str;

    /// Whether a pod may be queued at all.
    ///
    /// # Errors
    /// What it waits for.
    fn pre_enqueue(&self, _pod: &Pod) -> Result<(), Rejection> {
        Ok(())
    }

    /// Prepares to be asked about nodes.
    fn filter<'a>(&self, _cycle: Cycle<'a>) -> PreFilter<'a> {
        PreFilter::Skip
    }

    /// Prepares to score the nodes that passed all filters; none where it has no opinion on this pod.
    fn score<'a>(&self, _cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        None
    }

    /// Whether an event may make room for a pod that this plugin refused.
    fn may_help(&self, _event: &ClusterEvent, _pod: &Pod) -> bool {
        true
    }
}

// === impl Rejection ===

impl Rejection {
    /// A refusal that removing pods from the node could lift.
    pub fn new(plugin: &'static str, reason: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { plugin, unresolvable: false, reasons: vec![reason.into()] }
    }

    /// A refusal that removing pods can't lift.
    pub fn unresolvable(plugin: &'static str, reason: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { unresolvable: true, ..Rejection::new(plugin, reason) }
    }
}

/// Brings scores to 0…[`SCORE_MAX`] by the largest of them, turned around where less is better.
pub fn normalize_by_max(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or_default();
    for score in scores {
        *score = if max == 0 { 0 } else { SCORE_MAX * *score / max };
        if reverse {
            *score = SCORE_MAX - *score;
        }
    }
}
