//! One decision: which node for this pod, or why none. Upstream: schedule_one.go.

use crate::diagnosis::Diagnosis;
use crate::framework::{Cycle, NodeFilter, PreFilter, Rejection, WhatIf};
use crate::model::pod::Pod;
use crate::plugins::Row;
use crate::state::State;
use crate::state::node_info::{NodeId, NodeInfo};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Clusters up to this size are searched whole.
const FEASIBLE_MIN: usize = 100;
/// In large clusters, this share of the nodes is enough to choose from, in percent, less one for every so many nodes…
const FEASIBLE_PERCENT: usize = 50;
const NODES_PER_PERCENT: usize = 125;
/// …but never less than this.
const FEASIBLE_PERCENT_MIN: usize = 5;

/// Where the search goes on, and chance.
pub struct Search {
    /// The share of nodes to find, in percent; 0: by the cluster's size.
    pub percentage_of_nodes_to_score: usize,
    next: usize,
    chance: StdRng,
}

/// A node was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The node's name.
    pub node: String,
    /// Nodes that were looked at.
    pub evaluated: usize,
    /// Nodes that would have done.
    pub feasible: usize,
}

/// The filters that a pod's decision asks, in the table's order.
pub struct Filters<'a>(Vec<Box<dyn NodeFilter + 'a>>);

// === impl Search ===

impl Search {
    /// Begins at the first node.
    pub fn new(percentage_of_nodes_to_score: usize, chance: StdRng) -> Search {
        Search { percentage_of_nodes_to_score, next: 0, chance }
    }

    /// Finds a node for the pod; the state has to be [prepared](State::prepare) for it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn schedule(&mut self, state: &State, table: &[Row], pod: &Pod) -> Result<Decision, Diagnosis> {
        let cycle = Cycle { state, pod };
        let mut diagnosis = Diagnosis { nodes: state.order().len(), ..Diagnosis::default() };
        if diagnosis.nodes == 0 {
            return Err(diagnosis);
        }
        let (filters, only) = prepare(cycle, table, &mut diagnosis)?;
        let feasible = self.feasible(cycle, &filters, only.as_ref(), &mut diagnosis);
        let evaluated = feasible.len() + diagnosis.rejected.len();
        let node = match feasible.as_slice() {
            [] => return Err(diagnosis),
            [node] => *node,
            nodes => self.best(cycle, table, nodes),
        };
        Ok(Decision { node: state.node(node).name().to_string(), evaluated, feasible: feasible.len() })
    }

    /// Nodes that pass all filters: the one the pod was nominated for, if it does; else so many as are enough.
    fn feasible(
        &mut self,
        cycle: Cycle<'_>,
        filters: &Filters<'_>,
        only: Option<&BTreeSet<String>>,
        diagnosis: &mut Diagnosis,
    ) -> Vec<NodeId> {
        let state = cycle.state;
        let nominated = state.find(&cycle.pod.nominated_node).map(|info| info.id);
        if let Some(id) = nominated
            && filters.passes(cycle, state.node(id)).is_ok()
        {
            return vec![id];
        }
        let named: Vec<NodeId>;
        let nodes = match only {
            Some(names) => {
                named = names.iter().filter_map(|name| state.find(name)).map(|info| info.id).collect();
                &named
            }
            None => state.order(),
        };
        let enough = self.enough(nodes.len());
        let start = self.next % nodes.len().max(1);
        let mut feasible = Vec::new();
        for id in nodes[start..].iter().chain(&nodes[..start]) {
            match filters.passes(cycle, state.node(*id)) {
                Ok(()) => feasible.push(*id),
                Err(rejection) => diagnosis.reject(*id, rejection),
            }
            if feasible.len() >= enough {
                break;
            }
        }
        self.next = (self.next + feasible.len() + diagnosis.rejected.len()) % state.order().len();
        feasible
    }

    /// How many feasible nodes are enough to choose from.
    fn enough(&self, nodes: usize) -> usize {
        if nodes < FEASIBLE_MIN {
            return nodes.max(1);
        }
        let percentage = match self.percentage_of_nodes_to_score {
            0 => FEASIBLE_PERCENT.saturating_sub(nodes / NODES_PER_PERCENT).max(FEASIBLE_PERCENT_MIN),
            percentage => percentage,
        };
        (nodes * percentage / 100).max(FEASIBLE_MIN)
    }

    /// The node with the highest score; among several, any.
    fn best(&mut self, cycle: Cycle<'_>, table: &[Row], nodes: &[NodeId]) -> NodeId {
        let totals = scores(cycle, table, nodes);
        let mut best = (nodes[0], i64::MIN, 0);
        for (id, total) in nodes.iter().zip(totals) {
            let (_, highest, equals) = best;
            if total > highest {
                best = (*id, total, 1);
            } else if total == highest {
                // Each of n equals is taken with a chance of one in n.
                let take = self.chance.random_range(0..=equals) == 0;
                best = (if take { *id } else { best.0 }, highest, equals + 1);
            }
        }
        best.0
    }
}

/// The weighted scores of nodes, in their order.
pub fn scores(cycle: Cycle<'_>, table: &[Row], nodes: &[NodeId]) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    for row in table.iter().filter(|row| row.weight > 0) {
        let Some(plugin) = row.plugin.score(cycle, nodes) else { continue };
        let mut scores: Vec<i64> = nodes.iter().map(|id| plugin.score(cycle.state.node(*id))).collect();
        plugin.normalize(nodes, &mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * row.weight;
        }
    }
    totals
}

/// Prepares all filters, and the names of the only nodes that will do, where filters know them.
///
/// # Errors
/// The diagnosis, where a plugin refuses the pod altogether.
pub fn prepare<'a>(
    cycle: Cycle<'a>,
    table: &[Row],
    diagnosis: &mut Diagnosis,
) -> Result<(Filters<'a>, Option<BTreeSet<String>>), Diagnosis> {
    let mut filters = Vec::new();
    let mut only: Option<BTreeSet<String>> = None;
    let mut restricting = Vec::new();
    for row in table {
        match row.plugin.filter(cycle) {
            PreFilter::Skip => {}
            PreFilter::Ask(filter) => filters.push(filter),
            PreFilter::Only(names, filter) => {
                restricting.push(row.plugin.name());
                only = Some(match only {
                    Some(known) => known.intersection(&names).cloned().collect(),
                    None => names,
                });
                filters.push(filter);
            }
            PreFilter::Reject(rejection) => {
                diagnosis.plugins.insert(rejection.plugin);
                diagnosis.pre_filter = Some(rejection);
                return Err(std::mem::take(diagnosis));
            }
        }
    }
    if only.is_some() {
        let reason = format!("node(s) didn't satisfy plugin(s) [{}]", restricting.join(" "));
        let plugin = restricting.first().copied().unwrap_or_default();
        diagnosis.plugins.extend(restricting);
        diagnosis.absent = Some(Rejection::unresolvable(plugin, reason));
    }
    Ok((Filters(filters), only))
}

// === impl Filters ===

impl Filters<'_> {
    /// Whether a node will do, also when the pods that were nominated for it come, and also when they don't.
    ///
    /// # Errors
    /// The first filter's reason.
    pub fn passes(&self, cycle: Cycle<'_>, info: &NodeInfo) -> Result<(), Rejection> {
        self.passes_if(cycle, info, &[])
    }

    /// The same with pods thought away; `info` is without them.
    ///
    /// # Errors
    /// The first filter's reason.
    pub fn passes_if(&self, cycle: Cycle<'_>, info: &NodeInfo, removed: &[Arc<Pod>]) -> Result<(), Rejection> {
        let waiting = cycle.state.nominated(info.name()).iter();
        let before = |other: &&Arc<Pod>| other.priority >= cycle.pod.priority && other.uid() != cycle.pod.uid();
        let added: Vec<Arc<Pod>> = waiting.filter(before).cloned().collect();
        if !added.is_empty() {
            let mut crowded = info.clone();
            added.iter().for_each(|pod| crowded.add(pod));
            self.check(&crowded, WhatIf { removed, added: &added })?;
        }
        self.check(info, WhatIf { removed, added: &[] })
    }

    fn check(&self, info: &NodeInfo, what_if: WhatIf<'_>) -> Result<(), Rejection> {
        self.0.iter().try_for_each(|filter| filter.check(info, what_if))
    }
}

#[cfg(test)]
mod tests;
