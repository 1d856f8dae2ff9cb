//! What happened in the cluster that may make room for pods that wait.

use crate::model::node::Node;
use crate::model::pod::Pod;
use std::sync::Arc;

/// An event.
#[derive(Clone, Debug)]
pub enum ClusterEvent {
    /// A node came.
    NodeAdded(Arc<Node>),
    /// A node changed in what matters.
    NodeChanged {
        /// As it was.
        old: Arc<Node>,
        /// As it is.
        new: Arc<Node>,
    },
    /// A node went: fewer places may even out a spread.
    NodeGone(Arc<Node>),
    /// A pod is on a node now.
    PodAssigned(Arc<Pod>),
    /// A pod that is on a node changed.
    PodChanged {
        /// As it was.
        old: Arc<Pod>,
        /// As it is.
        new: Arc<Pod>,
    },
    /// A pod left its node (or was not bound after all).
    PodGone(Arc<Pod>),
    /// Something else, which any plugin may wait for.
    Other,
}

// === impl ClusterEvent ===

impl ClusterEvent {
    /// The node that came or changed.
    pub fn node(&self) -> Option<&Node> {
        match self {
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeChanged { new: node, .. } => Some(node),
            _ => None,
        }
    }
}
