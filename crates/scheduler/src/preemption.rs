//! Preemption: room for a pod by ending less important ones. Upstream: framework/plugins/defaultpreemption.

use crate::cycle::{Filters, prepare};
use crate::diagnosis::Diagnosis;
use crate::framework::{Cycle, Rejection};
use crate::model::labels::Selector;
use crate::model::pod::Pod;
use crate::plugins::Row;
use crate::state::State;
use crate::state::node_info::NodeId;
use client::MetaExt;
use rand::Rng;
use rand::rngs::StdRng;
use std::cmp::Reverse;
use std::sync::Arc;

/// Nodes tried in a dry run: this share of those where it could help, in percent…
const CANDIDATES_PERCENT_MIN: usize = 10;
/// …but at least so many.
const CANDIDATES_MIN: usize = 100;

/// A disruption budget: how many of its pods may still be ended.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Budget {
    pub namespace: String,
    pub selector: Selector,
    pub disruptions_allowed: i64,
    /// Pods that are being ended already and don't count again.
    pub disrupted: Vec<String>,
}

/// What preemption came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// End these pods, and wait for this node.
    Preempt {
        /// The node.
        node: String,
        /// From most to least important.
        victims: Vec<Arc<Pod>>,
    },
    /// It does not help; wait for no node any more.
    Useless(String),
    /// The pod must not, or waits for victims to end already; what it waits for stays.
    NotNow(String),
}

/// A node with the pods that would have to go.
struct Candidate {
    node: NodeId,
    victims: Vec<Arc<Pod>>,
    violations: usize,
}

/// Decides what to do for a pod that found no node. The state has to be prepared for it.
pub fn preempt(
    state: &State,
    table: &[Row],
    pod: &Pod,
    diagnosis: &Diagnosis,
    budgets: &[Budget],
    chance: &mut StdRng,
) -> Outcome {
    if let Some(message) = not_eligible(state, pod, diagnosis) {
        return Outcome::NotNow(message.to_string());
    }
    let helpful = |id: &&NodeId| diagnosis.why(**id).is_some_and(|rejection| !rejection.unresolvable);
    let nodes: Vec<NodeId> = state.order().iter().filter(helpful).copied().collect();
    let mut refusals = Diagnosis { nodes: state.order().len(), ..Diagnosis::default() };
    let cycle = Cycle { state, pod };
    let mut candidates = Vec::new();
    let mut unused = Diagnosis::default();
    if !nodes.is_empty()
        && let Ok((filters, _)) = prepare(cycle, table, &mut unused)
    {
        let enough = (nodes.len() * CANDIDATES_PERCENT_MIN / 100).max(CANDIDATES_MIN);
        let start = chance.random_range(0..nodes.len());
        for id in nodes[start..].iter().chain(&nodes[..start]) {
            match victims_on(cycle, &filters, *id, budgets) {
                Ok(candidate) => candidates.push(candidate),
                Err(rejection) => refusals.reject(*id, rejection),
            }
            if candidates.len() >= enough {
                break;
            }
        }
    }
    match best(candidates) {
        Some(candidate) => {
            Outcome::Preempt { node: state.node(candidate.node).name().to_string(), victims: candidate.victims }
        }
        None => {
            refusals.absent =
                Some(Rejection::unresolvable("DefaultPreemption", "Preemption is not helpful for scheduling"));
            Outcome::Useless(refusals.message())
        }
    }
}

/// Why a pod must not preempt at the moment.
fn not_eligible(state: &State, pod: &Pod, diagnosis: &Diagnosis) -> Option<&'static str> {
    if pod.never_preempts {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let info = state.find(&pod.nominated_node)?;
    if diagnosis.why(info.id).is_some_and(|rejection| rejection.unresolvable) {
        return None;
    }
    let waits = info.pods.iter().any(|other| other.preempted && other.terminating && other.priority < pod.priority);
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// The pods that have to leave a node: all less important ones, less those that can stay, the most important first;
/// pods under a budget that is used up are spared before others.
fn victims_on(
    cycle: Cycle<'_>,
    filters: &Filters<'_>,
    node: NodeId,
    budgets: &[Budget],
) -> Result<Candidate, Rejection> {
    let info = cycle.state.node(node);
    let mut potential: Vec<Arc<Pod>> =
        info.pods.iter().filter(|other| other.priority < cycle.pod.priority).cloned().collect();
    if potential.is_empty() {
        let reason = "No preemption victims found for incoming pod";
        return Err(Rejection::unresolvable("DefaultPreemption", reason));
    }
    let mut without = info.clone();
    potential.iter().for_each(|victim| without.remove(victim));
    filters.passes_if(cycle, &without, &potential)?;
    potential.sort_by(|a, b| importance(a).cmp(&importance(b)));
    let (violating, others) = by_budget(potential.clone(), budgets);
    let mut removed = potential;
    let mut victims = Vec::new();
    let mut violations = 0;
    let tries =
        violating.into_iter().map(|victim| (victim, true)).chain(others.into_iter().map(|victim| (victim, false)));
    for (victim, violates) in tries {
        without.add(&victim);
        removed.retain(|other| other.uid() != victim.uid());
        if filters.passes_if(cycle, &without, &removed).is_err() {
            without.remove(&victim);
            removed.push(victim.clone());
            violations += usize::from(violates);
            victims.push(victim);
        }
    }
    victims.sort_by(|a, b| importance(a).cmp(&importance(b)));
    Ok(Candidate { node, victims, violations })
}

/// Orders pods from most to least important: by priority, then the longest running first. (Times are RFC 3339 in UTC, so
/// that texts order as times; a pod that has not started is younger than all.)
fn importance(pod: &Pod) -> (Reverse<i32>, bool, &str) {
    (Reverse(pod.priority), pod.start_time.is_empty(), &pod.start_time)
}

/// Parts pods into those whose end would violate a budget, and the others.
fn by_budget(pods: Vec<Arc<Pod>>, budgets: &[Budget]) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
    let mut allowed: Vec<i64> = budgets.iter().map(|budget| budget.disruptions_allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut violates = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            let selects = budget.namespace == pod.namespace()
                && !pod.labels.is_empty()
                && !budget.selector.is_everything()
                && budget.selector.matches(&pod.labels);
            if selects && !budget.disrupted.iter().any(|name| name == pod.name()) {
                *allowed -= 1;
                violates |= *allowed < 0;
            }
        }
        violates
    })
}

/// The candidate that hurts least: fewest violated budgets, then the least important first victim, the smallest sum of
/// priorities, the fewest victims, and the youngest among the most important ones.
fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    let cost = |candidate: &Candidate| {
        let priorities = || candidate.victims.iter().map(|victim| i64::from(victim.priority));
        let highest = priorities().max().unwrap_or(i64::MIN);
        // Priorities may be negative; moved so that more victims cost more.
        let sum: i64 = priorities().map(|priority| priority + i64::from(i32::MAX) + 1).sum();
        let most_important = candidate.victims.iter().filter(|victim| i64::from(victim.priority) == highest);
        let earliest = most_important.map(|victim| (victim.start_time.is_empty(), victim.start_time.clone())).min();
        (candidate.violations, highest, sum, candidate.victims.len(), Reverse(earliest))
    };
    candidates.into_iter().min_by_key(cost)
}

#[cfg(test)]
mod tests;
