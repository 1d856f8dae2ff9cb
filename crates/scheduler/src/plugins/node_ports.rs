//! NodePorts: ports on the node are taken once.

use crate::framework::{Cycle, NodeFilter, Plugin, PreFilter, Rejection, WhatIf};
use crate::model::pod::{HostPort, Pod};
use crate::queue::event::ClusterEvent;
use crate::state::node_info::NodeInfo;

/// The plugin.
pub struct NodePorts;

const NAME: &str = "NodePorts";

struct Filter<'a>(&'a [HostPort]);

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        let ports = &cycle.pod.host_ports;
        if ports.is_empty() { PreFilter::Skip } else { PreFilter::Ask(Box::new(Filter(ports))) }
    }

    fn may_help(&self, event: &ClusterEvent, pod: &Pod) -> bool {
        match event {
            ClusterEvent::PodGone(gone) => {
                gone.host_ports.iter().any(|freed| pod.host_ports.iter().any(|wanted| wanted.conflicts(freed)))
            }
            ClusterEvent::NodeAdded(_) | ClusterEvent::Other => true,
            _ => false,
        }
    }
}

impl NodeFilter for Filter<'_> {
    fn check(&self, node: &NodeInfo, _what_if: WhatIf<'_>) -> Result<(), Rejection> {
        match node.ports.iter().any(|taken| self.0.iter().any(|wanted| wanted.conflicts(taken))) {
            true => Err(Rejection::new(NAME, "node(s) didn't have free ports for the requested pod ports")),
            false => Ok(()),
        }
    }
}
