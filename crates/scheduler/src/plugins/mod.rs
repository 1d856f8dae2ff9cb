//! The rules, as a table. Upstream: apis/config/v1/default_plugins.go.

pub mod balanced;
pub mod fit;
pub mod gates;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_unschedulable;
pub mod spread;
pub mod taints;
pub mod volume_binding;

use crate::framework::Plugin;

/// A rule with its weight among the scores; 0 where it gives none.
pub struct Row {
    /// The rule.
    pub plugin: Box<dyn Plugin>,
    /// How much its score counts.
    pub weight: i64,
}

/// The rules and weights of upstream's default profile, in its order: the first that refuses a node gives the reason.
pub fn default_table() -> Vec<Row> {
    let row = |plugin: Box<dyn Plugin>, weight| Row { plugin, weight };
    vec![
        row(Box::new(gates::SchedulingGates), 0),
        row(Box::new(node_name::NodeName), 0),
        row(Box::new(node_unschedulable::NodeUnschedulable), 0),
        row(Box::new(taints::TaintToleration), 3),
        row(Box::new(node_affinity::NodeAffinity), 2),
        row(Box::new(node_ports::NodePorts), 0),
        row(Box::new(fit::NodeResourcesFit), 1),
        row(Box::new(volume_binding::VolumeBinding), 0),
        row(Box::new(spread::PodTopologySpread), 2),
        row(Box::new(inter_pod_affinity::InterPodAffinity), 2),
        row(Box::new(balanced::NodeResourcesBalancedAllocation), 1),
        row(Box::new(image_locality::ImageLocality), 1),
    ]
}
