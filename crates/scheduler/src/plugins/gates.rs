//! SchedulingGates: a pod waits until others have opened all its gates.

use crate::framework::{Plugin, Rejection};
use crate::model::pod::Pod;
use crate::queue::event::ClusterEvent;

/// The plugin.
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }

    fn pre_enqueue(&self, pod: &Pod) -> Result<(), Rejection> {
        if pod.gates.is_empty() {
            return Ok(());
        }
        let message = format!("waiting for scheduling gates: [{}]", pod.gates.join(" "));
        Err(Rejection::unresolvable(self.name(), message))
    }

    /// Only a change to the pod itself opens gates; the queue looks at it then.
    fn may_help(&self, _event: &ClusterEvent, _pod: &Pod) -> bool {
        false
    }
}
