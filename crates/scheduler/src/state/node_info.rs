//! A node with what is taken on it.

use crate::model::node::Node;
use crate::model::pod::{HostPort, Pod};
use crate::model::resources::Resources;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// A node's number; stays while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

/// Maps from nodes' numbers. They are small and all different: spreading their bits is hash enough.
pub type NodeMap<T> = HashMap<NodeId, T, BuildHasherDefault<NumberHasher>>;

/// Spreads the bits of one number.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, number: usize) {
        // An odd constant with bits all over (2^64 by the golden ratio), as in Fibonacci hashing.
        self.0 = (self.0.rotate_left(5) ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A node with what is taken on it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its number.
    pub id: NodeId,
    /// The node; none while only its pods are known.
    pub node: Option<Arc<Node>>,
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
    /// What they ask for together.
    pub requested: Resources,
    /// The same with a little for containers that ask for nothing.
    pub requested_with_defaults: Resources,
    /// Ports that they take.
    pub ports: Vec<HostPort>,
}

// === impl NodeInfo ===

impl NodeInfo {
    /// Nothing known yet.
    pub fn new(id: NodeId) -> NodeInfo {
        NodeInfo {
            id,
            node: None,
            pods: Vec::new(),
            requested: Resources::default(),
            requested_with_defaults: Resources::default(),
            ports: Vec::new(),
        }
    }

    /// The value of one of the node's labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.as_ref()?.labels.get(key).map(String::as_str)
    }

    /// The node's name, empty where the node is not known.
    pub fn name(&self) -> &str {
        self.node.as_ref().map_or("", |node| node.name.as_str())
    }

    /// Counts a pod.
    pub fn add(&mut self, pod: &Arc<Pod>) {
        self.requested.add(&pod.requests);
        self.requested_with_defaults.add(&pod.requests_with_defaults);
        self.ports.extend(pod.host_ports.iter().cloned());
        self.pods.push(pod.clone());
    }

    /// Takes a pod out.
    pub fn remove(&mut self, pod: &Pod) {
        let Some(at) = self.pods.iter().position(|known| known.uid() == pod.uid()) else { return };
        let pod = self.pods.swap_remove(at);
        self.requested.subtract(&pod.requests);
        self.requested_with_defaults.subtract(&pod.requests_with_defaults);
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|known| known == port) {
                self.ports.swap_remove(at);
            }
        }
    }
}
