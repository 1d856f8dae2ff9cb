//! What is known of the cluster, kept up event by event: nodes with what is taken on them, and counts of pods by group
//! and place.
//!
//! Nothing here walks all pods, except when a group is asked for that nobody asked for before.

pub mod groups;
pub mod node_info;
pub mod owners;
pub mod places;
pub mod terms;
pub mod volumes;

use self::groups::Groups;
use self::node_info::{NodeId, NodeInfo};
use self::owners::Owners;
use self::places::Places;
use self::terms::Terms;
use self::volumes::Volumes;
use crate::model::labels::Labels;
use crate::model::node::Node;
use crate::model::pod::{Pod, PodGroup};
use client::MetaExt;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Labels that tell where a node is; nodes are tried alternating between such places.
const REGION_LABEL: &str = "topology.kubernetes.io/region";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The cluster.
#[derive(Default)]
pub struct State {
    nodes: Vec<NodeInfo>,
    by_name: HashMap<String, NodeId>,
    /// Nodes that are there, alternating between zones.
    order: Vec<NodeId>,
    pods: HashMap<String, (Arc<Pod>, NodeId)>,
    /// Pods that were given a node by us and are not known to be bound yet.
    assumed: HashSet<String>,
    /// Pods that wait for a node to become free for them, by node.
    nominated: HashMap<String, Vec<Arc<Pod>>>,
    namespaces: HashMap<String, Labels>,
    groups: Groups,
    places: Places,
    terms: Terms,
    owners: Owners,
    volumes: Volumes,
    /// On how many nodes an image is.
    image_nodes: HashMap<String, usize>,
}

// === impl State ===

impl State {
    /// A node came or changed. Gives what it was.
    pub fn set_node(&mut self, node: Arc<Node>) -> Option<Arc<Node>> {
        let id = self.node_id(&node.name);
        let old = self.nodes[id.0].node.replace(node.clone());
        self.count_images(old.as_deref(), Some(&node));
        self.places.set_node(id, Some(&node));
        let place = |node: &Node| (node.labels.get(REGION_LABEL).cloned(), node.labels.get(ZONE_LABEL).cloned());
        if old.as_ref().is_none_or(|old| place(old) != place(&node)) {
            self.reorder();
        }
        old
    }

    /// A node went. Its pods stay known until they go, too.
    pub fn remove_node(&mut self, name: &str) -> Option<Arc<Node>> {
        let id = *self.by_name.get(name)?;
        let old = self.nodes[id.0].node.take()?;
        self.count_images(Some(&old), None);
        self.places.set_node(id, None);
        self.reorder();
        Some(old)
    }

    /// A pod is on a node, or changed there. A pod that was assumed is known to be bound from now on.
    pub fn set_pod(&mut self, pod: Arc<Pod>) {
        self.assumed.remove(pod.uid());
        self.remove_counted(pod.uid());
        self.add_counted(pod);
    }

    /// A pod is gone, or takes no room any more.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<Pod>> {
        self.assumed.remove(uid);
        self.remove_counted(uid)
    }

    /// Counts a pod on the node that it is about to be bound to.
    pub fn assume(&mut self, pod: Arc<Pod>) {
        self.assumed.insert(pod.uid().to_string());
        self.remove_counted(pod.uid());
        self.add_counted(pod);
    }

    /// Takes an assumption back, if it is one still.
    pub fn forget(&mut self, uid: &str) -> Option<Arc<Pod>> {
        if self.assumed.remove(uid) { self.remove_counted(uid) } else { None }
    }

    /// Whether a pod is assumed.
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.assumed.contains(uid)
    }

    /// A pod that is on a node.
    pub fn pod(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.get(uid).map(|(pod, _)| pod)
    }

    /// A namespace's labels came, changed or went.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) {
        let old = match &labels {
            Some(labels) => self.namespaces.insert(name.to_string(), labels.clone()),
            None => self.namespaces.remove(name),
        };
        if old != labels {
            let pods = self.pods.values().filter(|(pod, _)| pod.namespace() == name);
            self.groups.recount_namespace(pods, old.as_ref(), labels.as_ref());
        }
    }

    /// What selects pods: Services and owners.
    pub fn owners_mut(&mut self) -> &mut Owners {
        &mut self.owners
    }

    /// What selects pods: Services and owners.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Claims, volumes, storage classes.
    pub fn volumes_mut(&mut self) -> &mut Volumes {
        &mut self.volumes
    }

    /// Claims, volumes, storage classes.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Notes that a pod waits for a node, or, with an empty name, for none any more.
    pub fn nominate(&mut self, pod: &Arc<Pod>, node: &str) {
        self.withdraw_nomination(pod.uid());
        if !node.is_empty() {
            self.nominated.entry(node.to_string()).or_default().push(pod.clone());
        }
    }

    /// A pod waits for no node any more.
    pub fn withdraw_nomination(&mut self, uid: &str) {
        self.nominated.retain(|_, pods| {
            pods.retain(|pod| pod.uid() != uid);
            !pods.is_empty()
        });
    }

    /// Pods that wait for a node.
    pub fn nominated(&self, node: &str) -> &[Arc<Pod>] {
        self.nominated.get(node).map_or(&[], Vec::as_slice)
    }

    /// The node that a pod waits for.
    pub fn nomination(&self, uid: &str) -> Option<&str> {
        let waits = self.nominated.iter().find(|(_, pods)| pods.iter().any(|pod| pod.uid() == uid));
        waits.map(|(node, _)| node.as_str())
    }

    /// Makes sure that the groups which decide about this pod are counted.
    pub fn prepare(&mut self, pod: &Pod) {
        let mut groups: Vec<Arc<PodGroup>> = Vec::new();
        groups.extend(pod.affinity_group.clone());
        groups.extend(pod.anti_affinity.iter().map(|term| term.group.clone()));
        let preferred = pod.preferred_affinity.iter().chain(&pod.preferred_anti_affinity);
        groups.extend(preferred.map(|(_, term)| term.group.clone()));
        groups.extend(pod.spread.iter().map(|spread| spread.group.clone()));
        if pod.spread.is_empty() {
            groups.extend(self.owners.default_group(pod));
        }
        let own =
            pod.affinity.iter().chain(&pod.anti_affinity).chain(pod.preferred_affinity.iter().map(|(_, term)| term));
        let own = own.chain(pod.preferred_anti_affinity.iter().map(|(_, term)| term));
        let keys = own.map(|term| term.topology_key.as_str());
        let keys = keys.chain(pod.spread.iter().map(|spread| spread.topology_key.as_str())).chain([ZONE_LABEL]);
        keys.for_each(|key| register_place(&mut self.places, &self.nodes, key));
        for group in groups {
            self.groups.register(group, self.pods.values(), &self.namespaces);
        }
    }

    /// The nodes in the order in which they are tried.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// A node by its number.
    pub fn node(&self, id: NodeId) -> &NodeInfo {
        &self.nodes[id.0]
    }

    /// A node that is there, by name.
    pub fn find(&self, name: &str) -> Option<&NodeInfo> {
        let info = &self.nodes[self.by_name.get(name)?.0];
        info.node.is_some().then_some(info)
    }

    /// Counts of pods by group.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Where nodes are, for the label keys that decide.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The terms of pods that are on nodes.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// A namespace's labels.
    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// On how many nodes an image is.
    pub fn image_nodes(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or_default()
    }

    fn node_id(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = NodeId(self.nodes.len());
        self.nodes.push(NodeInfo::new(id));
        self.by_name.insert(name.to_string(), id);
        id
    }

    fn add_counted(&mut self, pod: Arc<Pod>) {
        let id = self.node_id(&pod.node);
        self.nodes[id.0].add(&pod);
        self.groups.add(&pod, id, self.namespaces.get(pod.namespace()));
        self.terms.add(&pod, id);
        if pod.has_pod_affinity() {
            let terms = pod.affinity.iter().chain(&pod.anti_affinity);
            let preferred = pod.preferred_affinity.iter().chain(&pod.preferred_anti_affinity).map(|(_, term)| term);
            for term in terms.chain(preferred) {
                register_place(&mut self.places, &self.nodes, &term.topology_key);
            }
        }
        self.pods.insert(pod.uid().to_string(), (pod, id));
    }

    fn remove_counted(&mut self, uid: &str) -> Option<Arc<Pod>> {
        let (pod, id) = self.pods.remove(uid)?;
        self.nodes[id.0].remove(&pod);
        self.groups.remove(&pod, id, self.namespaces.get(pod.namespace()));
        self.terms.remove(&pod, id);
        Some(pod)
    }

    fn count_images(&mut self, old: Option<&Node>, new: Option<&Node>) {
        if let (Some(old), Some(new)) = (old, new)
            && old.images == new.images
        {
            return;
        }
        for (image, _) in old.iter().flat_map(|node| &node.images) {
            if let Some(count) = self.image_nodes.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_nodes.remove(image);
                }
            }
        }
        for (image, _) in new.iter().flat_map(|node| &node.images) {
            *self.image_nodes.entry(image.clone()).or_default() += 1;
        }
    }

    /// One node of each zone in turn.
    fn reorder(&mut self) {
        let mut zones: BTreeMap<(Option<String>, Option<String>), Vec<NodeId>> = BTreeMap::new();
        for info in &self.nodes {
            if let Some(node) = &info.node {
                let zone = (node.labels.get(REGION_LABEL).cloned(), node.labels.get(ZONE_LABEL).cloned());
                zones.entry(zone).or_default().push(info.id);
            }
        }
        let longest = zones.values().map(Vec::len).max().unwrap_or_default();
        let turn = |at: usize| zones.values().filter_map(move |zone| zone.get(at)).copied();
        self.order = (0..longest).flat_map(turn).collect();
    }
}

fn register_place(places: &mut Places, nodes: &[NodeInfo], key: &str) {
    places.register(key, nodes.iter().map(|info| (info.id, info.node.as_deref())));
}

#[cfg(test)]
mod tests;
