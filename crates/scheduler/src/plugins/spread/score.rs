//! Soft constraints: fewer pods in a place make it more wanted.

use super::{HOSTNAME_LABEL, SYSTEM_DEFAULTS, included};
use crate::framework::{Cycle, NodeScore, SCORE_MAX};
use crate::model::node::Node;
use crate::model::pod::Spread;
use crate::state::groups::Count;
use crate::state::node_info::{NodeId, NodeInfo, NodeMap};
use crate::state::places::Column;
use std::borrow::Cow;
use std::collections::HashSet;

/// Marks a node without the labels, which gets no score.
const IGNORED: i64 = -1;

struct Score<'a> {
    constraints: Vec<Counted<'a>>,
    ignored: HashSet<NodeId>,
}

struct Counted<'a> {
    spread: Cow<'a, Spread>,
    column: Option<&'a Column>,
    /// Pods by place; none where no node is scored.
    counts: Vec<Option<i64>>,
    /// Pods by node, where a place is a node itself.
    pods: Option<&'a NodeMap<Count>>,
    /// Evens out that there are many small places or few large ones.
    weight: f64,
}

/// None where the pod has no soft constraints.
pub fn prepare<'a>(cycle: Cycle<'a>, feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
    let is_default = cycle.pod.spread.is_empty();
    let constraints: Vec<Cow<'a, Spread>> = match is_default {
        false => cycle.pod.spread.iter().filter(|spread| !spread.hard).map(Cow::Borrowed).collect(),
        true => default_constraints(cycle).into_iter().map(Cow::Owned).collect(),
    };
    if constraints.is_empty() {
        return None;
    }
    // A cluster without zone labels is spread over nodes all the same.
    let require_all = !is_default;
    let complete = |node: &Node| constraints.iter().all(|spread| node.labels.contains_key(&spread.topology_key));
    let lacks = |id: &&NodeId| cycle.state.node(**id).node.as_ref().is_some_and(|node| !complete(node));
    let ignored: HashSet<NodeId> = feasible.iter().filter(|_| require_all).filter(lacks).copied().collect();
    let scored: Vec<NodeId> = feasible.iter().filter(|id| !ignored.contains(id)).copied().collect();
    let count = |spread: &Cow<'a, Spread>| Counted::new(spread.clone(), cycle, &scored, require_all, &complete);
    let constraints = constraints.iter().map(count).collect();
    Some(Box::new(Score { constraints, ignored }))
}

fn default_constraints(cycle: Cycle<'_>) -> Vec<Spread> {
    let Some(group) = cycle.state.owners().default_group(cycle.pod) else { return Vec::new() };
    let constraint = |(key, max_skew): (&str, i64)| Spread {
        max_skew,
        topology_key: key.to_string(),
        hard: false,
        group: group.clone(),
        min_domains: 1,
        honor_affinity: true,
        honor_taints: false,
    };
    SYSTEM_DEFAULTS.into_iter().map(constraint).collect()
}

impl<'a> Counted<'a> {
    /// Counts in the places of the nodes that are scored, over all nodes that are in them.
    fn new(
        spread: Cow<'a, Spread>,
        cycle: Cycle<'a>,
        scored: &[NodeId],
        require_all: bool,
        complete: &impl Fn(&Node) -> bool,
    ) -> Counted<'a> {
        let state = cycle.state;
        let pods = state.groups().find(&spread.group);
        if spread.topology_key == HOSTNAME_LABEL {
            return Counted { spread, column: None, counts: Vec::new(), pods, weight: weight(scored.len()) };
        }
        let column = state.places().column(&spread.topology_key).map(|(_, column)| column);
        let place = |id: NodeId| column.and_then(|column| column.place(id));
        let mut counts = vec![None; column.map_or(0, Column::len)];
        // Nodes without the label are in a place without a name, which counts as one.
        let mut nameless = false;
        for id in scored {
            match place(*id) {
                Some(place) => counts[place] = Some(0),
                None => nameless = true,
            }
        }
        let weight = weight(counts.iter().flatten().count() + usize::from(nameless));
        for (id, count) in pods.into_iter().flatten() {
            let Some(node) = &state.node(*id).node else { continue };
            if require_all && !complete(node) || !included(&spread, cycle.pod, node) {
                continue;
            }
            if let Some(Some(sum)) = place(*id).map(|place| &mut counts[place]) {
                *sum += count.staying;
            }
        }
        Counted { spread, column, counts, pods: None, weight }
    }

    /// Pods in the node's place; none where it is in no place.
    fn at(&self, info: &NodeInfo) -> Option<i64> {
        if self.spread.topology_key == HOSTNAME_LABEL {
            info.label(HOSTNAME_LABEL)?;
            return Some(self.pods.and_then(|pods| pods.get(&info.id)).map_or(0, |count| count.staying));
        }
        Some(self.counts[self.column?.place(info.id)?].unwrap_or_default())
    }
}

fn weight(places: usize) -> f64 {
    ((places + 2) as f64).ln()
}

impl NodeScore for Score<'_> {
    fn score(&self, info: &NodeInfo) -> i64 {
        if self.ignored.contains(&info.id) {
            return IGNORED;
        }
        let mut score = 0.0;
        for constraint in &self.constraints {
            let Some(count) = constraint.at(info) else { continue };
            score += count as f64 * constraint.weight + (constraint.spread.max_skew - 1) as f64;
        }
        score.round() as i64
    }

    fn normalize(&self, _nodes: &[NodeId], scores: &mut [i64]) {
        let known = || scores.iter().copied().filter(|score| *score != IGNORED);
        let (min, max) = (known().min().unwrap_or_default(), known().max().unwrap_or_default());
        for score in scores.iter_mut() {
            *score = match *score {
                IGNORED => 0,
                _ if max == 0 => SCORE_MAX,
                score => SCORE_MAX * (max + min - score) / max,
            };
        }
    }
}
