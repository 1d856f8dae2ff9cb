//! How many pods of a group are on each node.
//!
//! A group (namespaces and selector) comes from a spread constraint or an affinity term; pods of one workload share it.
//! It is counted from the moment it is first asked for, by every pod event, until it was not asked for for long.

use super::node_info::{NodeId, NodeMap};
use crate::model::labels::Labels;
use crate::model::pod::{Pod, PodGroup};
use client::MetaExt;
use std::collections::HashMap;
use std::sync::Arc;

/// Groups counted at once; beyond that, those not asked for for longest are dropped. Each costs a look at every pod
/// event of its namespace.
const GROUPS_MAX: usize = 4_096;

/// Pods on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub all: i64,
    /// Without those that are terminating.
    pub staying: i64,
}

/// Counts by group and node.
#[derive(Default)]
pub struct Groups {
    counts: HashMap<Arc<PodGroup>, Counted>,
    /// The groups that may have pods of a namespace, so that an event looks at few.
    by_namespace: HashMap<String, Vec<Arc<PodGroup>>>,
    /// Groups that may have pods of any.
    everywhere: Vec<Arc<PodGroup>>,
    asked: u64,
}

struct Counted {
    per_node: NodeMap<Count>,
    last_asked: u64,
}

// === impl Groups ===

impl Groups {
    /// Begins to count a group, if it is not counted yet.
    pub fn register<'a>(
        &mut self,
        group: Arc<PodGroup>,
        pods: impl Iterator<Item = &'a (Arc<Pod>, NodeId)>,
        namespaces: &HashMap<String, Labels>,
    ) {
        self.asked += 1;
        let asked = self.asked;
        if let Some(counted) = self.counts.get_mut(&group) {
            counted.last_asked = asked;
            return;
        }
        if self.counts.len() >= GROUPS_MAX {
            self.drop_old();
        }
        let mut counted = Counted { per_node: NodeMap::default(), last_asked: asked };
        for (pod, node) in pods {
            if group.contains(pod, namespaces.get(pod.namespace())) {
                counted.count(pod, *node, 1);
            }
        }
        if group.minds_namespace_labels() {
            self.everywhere.push(group.clone());
        } else {
            for namespace in &group.namespaces {
                self.by_namespace.entry(namespace.clone()).or_default().push(group.clone());
            }
        }
        self.counts.insert(group, counted);
    }

    /// Pods of a group by node; empty for a group that is not registered.
    pub fn on_nodes(&self, group: &PodGroup) -> impl Iterator<Item = (NodeId, Count)> {
        self.counts.get(group).into_iter().flat_map(|counted| counted.per_node.iter().map(|(id, count)| (*id, *count)))
    }

    /// Pods of a group by node; none for a group that is not registered. Finding a group reads all of its selector: ask
    /// once, not for each node.
    pub fn find(&self, group: &PodGroup) -> Option<&NodeMap<Count>> {
        self.counts.get(group).map(|counted| &counted.per_node)
    }

    /// A pod came to a node.
    pub fn add(&mut self, pod: &Pod, node: NodeId, namespace: Option<&Labels>) {
        self.change(pod, node, namespace, 1);
    }

    /// A pod left a node.
    pub fn remove(&mut self, pod: &Pod, node: NodeId, namespace: Option<&Labels>) {
        self.change(pod, node, namespace, -1);
    }

    /// A namespace's labels changed: its pods may belong to other groups.
    pub fn recount_namespace<'a>(
        &mut self,
        pods: impl Iterator<Item = &'a (Arc<Pod>, NodeId)>,
        old: Option<&Labels>,
        new: Option<&Labels>,
    ) {
        for (pod, node) in pods {
            for group in &self.everywhere {
                let by = i64::from(group.contains(pod, new)) - i64::from(group.contains(pod, old));
                if let Some(counted) = self.counts.get_mut(group).filter(|_| by != 0) {
                    counted.count(pod, *node, by);
                }
            }
        }
    }

    fn change(&mut self, pod: &Pod, node: NodeId, namespace: Option<&Labels>, by: i64) {
        let here = self.by_namespace.get(pod.namespace()).into_iter().flatten();
        for group in here.chain(&self.everywhere) {
            if group.contains(pod, namespace)
                && let Some(counted) = self.counts.get_mut(group)
            {
                counted.count(pod, node, by);
            }
        }
    }

    /// Drops the half that was not asked for for longest.
    fn drop_old(&mut self) {
        let mut asked: Vec<u64> = self.counts.values().map(|counted| counted.last_asked).collect();
        asked.sort_unstable();
        let middle = asked.get(asked.len() / 2).copied().unwrap_or_default();
        self.counts.retain(|_, counted| counted.last_asked >= middle);
        let counts = &self.counts;
        self.everywhere.retain(|group| counts.contains_key(group));
        self.by_namespace.retain(|_, groups| {
            groups.retain(|group| counts.contains_key(group));
            !groups.is_empty()
        });
    }

    /// All counts, for comparing states.
    #[cfg(test)]
    pub fn snapshot(&self) -> std::collections::BTreeMap<Arc<PodGroup>, std::collections::BTreeMap<usize, (i64, i64)>> {
        let flat = |counted: &Counted| counted.per_node.iter().map(|(id, c)| (id.0, (c.all, c.staying))).collect();
        self.counts.iter().map(|(group, counted)| (group.clone(), flat(counted))).collect()
    }
}

impl Counted {
    fn count(&mut self, pod: &Pod, node: NodeId, by: i64) {
        let count = self.per_node.entry(node).or_default();
        count.all += by;
        count.staying += if pod.terminating { 0 } else { by };
        if *count == Count::default() {
            self.per_node.remove(&node);
        }
    }
}
