//! State and queue together: events in, decisions out. No I/O; time and chance are given.

use crate::cycle::Search;
use crate::diagnosis::Diagnosis;
use crate::framework::Plugin;
use crate::model::labels::Labels;
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::plugins::Row;
use crate::preemption::{Budget, Outcome, preempt};
use crate::queue::event::ClusterEvent;
use crate::queue::{Queue, QueuedPod};
use crate::state::State;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::time::Instant;

/// The scheduler without its shell.
pub struct Core {
    /// The cluster.
    pub state: State,
    /// Pods without a node.
    pub queue: Queue,
    scheduler_name: String,
    table: Vec<Row>,
    search: Search,
    chance: StdRng,
    budgets: HashMap<(String, String), Budget>,
}

/// What is to be done about a pod.
#[derive(Debug)]
pub enum Work {
    /// Bind it; then tell [`Core::bound`] or [`Core::not_bound`].
    Bind {
        /// The pod with its history.
        queued: QueuedPod,
        /// The node's name.
        node: String,
    },
    /// Say why it has no node.
    Explain {
        /// The pod.
        pod: Arc<Pod>,
        /// Why; `message()` gives the text.
        diagnosis: Diagnosis,
        /// The node it waits for from now on; none: as before.
        nominate: Option<String>,
        /// Pods to end for it.
        victims: Vec<Arc<Pod>>,
    },
    /// It is being deleted: nothing but a word about it.
    Skip(Arc<Pod>),
}

// === impl Core ===

impl Core {
    /// A scheduler for pods that name it, with these rules.
    pub fn new(scheduler_name: &str, table: Vec<Row>, percentage_of_nodes_to_score: usize, seed: u64) -> Core {
        Core {
            state: State::default(),
            queue: Queue::default(),
            scheduler_name: scheduler_name.to_string(),
            table,
            search: Search::new(percentage_of_nodes_to_score, StdRng::seed_from_u64(seed)),
            chance: StdRng::seed_from_u64(seed.wrapping_add(1)),
            budgets: HashMap::new(),
        }
    }

    /// The name by which pods choose this scheduler.
    pub fn scheduler_name(&self) -> &str {
        &self.scheduler_name
    }

    /// A pod came or changed.
    pub fn pod(&mut self, pod: Arc<Pod>, now: Instant) {
        if pod.terminal {
            return self.pod_gone(&pod, now);
        }
        if !pod.node.is_empty() {
            return self.pod_assigned(pod, now);
        }
        if pod.scheduler != self.scheduler_name || self.state.is_assumed(pod.uid()) {
            return;
        }
        if self.state.nomination(pod.uid()).is_none() && !pod.nominated_node.is_empty() {
            self.state.nominate(&pod, &pod.nominated_node);
        }
        match self.queue.get(pod.uid()).is_some() {
            true => self.queue.update(pod, &plugins(&self.table), now),
            false => self.queue.add(pod, &plugins(&self.table), now),
        }
    }

    fn pod_assigned(&mut self, pod: Arc<Pod>, now: Instant) {
        let assumed = self.state.is_assumed(pod.uid());
        let old = self.state.pod(pod.uid()).cloned().filter(|_| !assumed);
        self.queue.remove(pod.uid());
        self.state.withdraw_nomination(pod.uid());
        self.state.set_pod(pod.clone());
        match old {
            // Events of a pod's status are many; they make no room.
            Some(old)
                if old.labels == pod.labels && old.requests == pod.requests && old.terminating == pod.terminating => {}
            Some(old) => self.happened(&ClusterEvent::PodChanged { old, new: pod }, now),
            None => self.happened(&ClusterEvent::PodAssigned(pod), now),
        }
    }

    /// A pod went.
    pub fn pod_gone(&mut self, pod: &Arc<Pod>, now: Instant) {
        self.queue.remove(pod.uid());
        self.state.withdraw_nomination(pod.uid());
        if let Some(old) = self.state.remove_pod(pod.uid()) {
            self.happened(&ClusterEvent::PodGone(old), now);
        }
    }

    /// A node came or changed.
    pub fn node(&mut self, node: Arc<Node>, now: Instant) {
        match self.state.set_node(node.clone()) {
            None => self.happened(&ClusterEvent::NodeAdded(node), now),
            Some(old) if old.differs(&node) => self.happened(&ClusterEvent::NodeChanged { old, new: node }, now),
            Some(_) => {}
        }
    }

    /// A node went.
    pub fn node_gone(&mut self, name: &str, now: Instant) {
        if let Some(old) = self.state.remove_node(name) {
            self.happened(&ClusterEvent::NodeGone(old), now);
        }
    }

    /// A namespace's labels came, changed or went.
    pub fn namespace(&mut self, name: &str, labels: Option<Labels>, now: Instant) {
        self.state.set_namespace(name, labels);
        self.happened(&ClusterEvent::Other, now);
    }

    /// A disruption budget came, changed or went.
    pub fn budget(&mut self, name: &str, namespace: &str, budget: Option<Budget>) {
        let key = (namespace.to_string(), name.to_string());
        match budget {
            Some(budget) => self.budgets.insert(key, budget),
            None => self.budgets.remove(&key),
        };
    }

    /// Decides about the next pod.
    pub fn next(&mut self, now: Instant) -> Option<Work> {
        if self.queue.flush_due(now) {
            self.queue.flush(&plugins(&self.table), now);
        }
        let queued = loop {
            let queued = self.queue.pop(now)?;
            // It was given a node, by us or by somebody else, since it was queued.
            match self.state.pod(queued.pod.uid()) {
                Some(_) => self.queue.done(queued.pod.uid()),
                None => break queued,
            }
        };
        let mut pod = queued.pod.clone();
        if pod.terminating {
            self.queue.done(pod.uid());
            return Some(Work::Skip(pod));
        }
        if let Some(node) = self.state.nomination(pod.uid()).filter(|node| **node != *pod.nominated_node) {
            pod = Arc::new(Pod { nominated_node: node.to_string(), ..(*pod).clone() });
        }
        self.state.prepare(&pod);
        match self.search.schedule(&self.state, &self.table, &pod) {
            Ok(decision) => {
                self.state.withdraw_nomination(pod.uid());
                self.state.assume(Arc::new(pod.on(&decision.node)));
                Some(Work::Bind { queued, node: decision.node })
            }
            Err(diagnosis) => Some(self.refuse(queued, pod, diagnosis, now)),
        }
    }

    fn refuse(&mut self, queued: QueuedPod, pod: Arc<Pod>, mut diagnosis: Diagnosis, now: Instant) -> Work {
        let (mut nominate, mut victims) = (None, Vec::new());
        if diagnosis.pre_filter.is_some() {
            // Upstream's first helper (DynamicResources) looks for what it prepared, which a refusal before any node
            // was looked at has kept it from: it fails with these words, and preemption is not tried.
            diagnosis.post_filter = Some("not found".to_string());
        } else if diagnosis.nodes > 0 {
            let budgets: Vec<Budget> = self.budgets.values().cloned().collect();
            match preempt(&self.state, &self.table, &pod, &diagnosis, &budgets, &mut self.chance) {
                Outcome::Preempt { node, victims: found } => {
                    self.state.nominate(&pod, &node);
                    // Its own victims' end is what it waits for, besides what refused it.
                    diagnosis.plugins.insert("DefaultPreemption");
                    let count = found.len();
                    let text =
                        format!("found a potential placement for pod on node {node}, preempting {count} victims");
                    diagnosis.post_filter = Some(format!("preemption: {text}"));
                    (nominate, victims) = (Some(node), found);
                }
                Outcome::Useless(message) => {
                    self.state.withdraw_nomination(pod.uid());
                    diagnosis.post_filter = Some(format!("preemption: {message}"));
                    nominate = Some(String::new());
                }
                Outcome::NotNow(message) => diagnosis.post_filter = Some(format!("preemption: {message}")),
            }
        }
        let rejectors = match diagnosis.nodes {
            // Without nodes, a node is what it waits for; any plugin's opinion on one will do.
            0 => self.table.iter().map(|row| row.plugin.name()).collect(),
            _ => diagnosis.plugins.clone(),
        };
        self.queue.failed(queued, rejectors, &plugins(&self.table), now);
        Work::Explain { pod, diagnosis, nominate, victims }
    }

    /// A pod was bound.
    pub fn bound(&mut self, uid: &str) {
        self.queue.done(uid);
    }

    /// A pod could not be bound: its room is free again, and it is tried again after a pause, unless it is gone.
    pub fn not_bound(&mut self, queued: QueuedPod, gone: bool, now: Instant) {
        let uid = queued.pod.uid().to_string();
        let assumed = self.state.forget(&uid);
        match gone || (assumed.is_none() && self.state.pod(&uid).is_some()) {
            true => self.queue.done(&uid),
            false => self.queue.failed(queued, BTreeSet::new(), &plugins(&self.table), now),
        }
        if let Some(assumed) = assumed {
            self.happened(&ClusterEvent::PodGone(assumed), now);
        }
    }

    /// Pods that wait for a node but matter less than another that will have it.
    pub fn outranked(&self, node: &str, priority: i32) -> Vec<Arc<Pod>> {
        self.state.nominated(node).iter().filter(|pod| pod.priority < priority).cloned().collect()
    }

    /// A pod's victims could not be ended: it is tried again.
    pub fn retry(&mut self, uid: &str) {
        self.queue.activate(uid, &plugins(&self.table));
    }

    /// Something happened that may make room.
    pub fn happened(&mut self, event: &ClusterEvent, now: Instant) {
        self.queue.happened(event, &plugins(&self.table), now);
    }
}

fn plugins(table: &[Row]) -> Vec<&dyn Plugin> {
    table.iter().map(|row| row.plugin.as_ref()).collect()
}

#[cfg(test)]
mod tests;
