//! ImageLocality: rather where the images are, the more so the more nodes have them (or all pods would follow one).

use crate::framework::{Cycle, NodeScore, Plugin, SCORE_MAX};
use crate::state::State;
use crate::state::node_info::{NodeId, NodeInfo};

/// The plugin.
pub struct ImageLocality;

/// Below this, bytes don't matter.
const BYTES_MIN: i64 = 23 << 20;
/// Beyond this, more bytes a container don't matter.
const CONTAINER_BYTES_MAX: i64 = 1_000 << 20;

struct Score<'a> {
    images: &'a [String],
    state: &'a State,
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn score<'a>(&self, cycle: Cycle<'a>, _feasible: &[NodeId]) -> Option<Box<dyn NodeScore + 'a>> {
        let images = &cycle.pod.images;
        if images.is_empty() { None } else { Some(Box::new(Score { images, state: cycle.state })) }
    }
}

impl NodeScore for Score<'_> {
    fn score(&self, info: &NodeInfo) -> i64 {
        let Some(node) = &info.node else { return 0 };
        let nodes = self.state.order().len().max(1) as f64;
        let bytes = |image: &String| {
            let (_, size) = node.images.iter().find(|(name, _)| name == image)?;
            Some((*size as f64 * (self.state.image_nodes(image) as f64 / nodes)) as i64)
        };
        let sum: i64 = self.images.iter().filter_map(bytes).sum();
        let max = CONTAINER_BYTES_MAX * self.images.len() as i64;
        SCORE_MAX * (sum.clamp(BYTES_MIN, max) - BYTES_MIN) / (max - BYTES_MIN)
    }
}
