//! NodeResourcesBalancedAllocation: rather where the pod evens out how much of each resource is taken.

use crate::framework::{Cycle, NodeScore, Plugin, SCORE_MAX};
use crate::model::resources::Resources;
use crate::state::node_info::{NodeId, NodeInfo};

/// The plugin.
pub struct NodeResourcesBalancedAllocation;

struct Score<'a>(&'a Resources);

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    /// A pod that asks for nothing is not scored, or all of them would go to one node.
    fn score<'a>(&self, cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        let requests = &cycle.pod.requests;
        if requests.milli_cpu == 0 && requests.memory == 0 { None } else { Some(Box::new(Score(requests))) }
    }
}

impl NodeScore for Score<'_> {
    /// Around 75; towards 100 where the node becomes more even, towards 50 where less.
    fn score(&self, info: &NodeInfo) -> i64 {
        let Some(node) = &info.node else { return 0 };
        let (taken, has) = (&info.requested, &node.allocatable);
        let with = evenness(&[
            (taken.milli_cpu + self.0.milli_cpu, has.milli_cpu),
            (taken.memory + self.0.memory, has.memory),
        ]);
        let without = evenness(&[(taken.milli_cpu, has.milli_cpu), (taken.memory, has.memory)]);
        SCORE_MAX / 2 + (SCORE_MAX / 2 + with - without) / 2
    }
}

/// 100 less the standard deviation of the shares taken.
fn evenness(pairs: &[(i64, i64)]) -> i64 {
    let shares: Vec<f64> =
        pairs.iter().filter(|(_, has)| *has > 0).map(|(taken, has)| (*taken as f64 / *has as f64).min(1.0)).collect();
    let deviation = match shares.as_slice() {
        [a, b] => ((a - b) / 2.0).abs(),
        _ => 0.0,
    };
    ((1.0 - deviation) * SCORE_MAX as f64) as i64
}
