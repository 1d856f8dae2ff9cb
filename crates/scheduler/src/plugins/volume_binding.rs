//! VolumeBinding: a pod goes where its volumes can be reached, once its claims are bound.
//!
//! Claims of classes that wait for their first consumer are not bound from here yet: such pods wait, and say so.

use crate::framework::{Cycle, NodeFilter, Plugin, PreFilter, Rejection, WhatIf};
use crate::model::pod::Pod;
use crate::queue::event::ClusterEvent;
use crate::state::State;
use crate::state::node_info::NodeInfo;
use client::MetaExt;
use std::borrow::Cow;

/// The plugin.
pub struct VolumeBinding;

const NAME: &str = "VolumeBinding";

struct Filter<'a> {
    state: &'a State,
    /// Volumes of bound claims.
    volumes: Vec<&'a str>,
    /// A claim waits for the pod to have a node.
    waits: bool,
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&self, cycle: Cycle<'a>) -> PreFilter<'a> {
        if cycle.pod.claims.is_empty() {
            return PreFilter::Skip;
        }
        match prepare(cycle.state, cycle.pod) {
            Ok(filter) => PreFilter::Ask(Box::new(filter)),
            Err(reason) => PreFilter::Reject(Rejection::unresolvable(NAME, reason)),
        }
    }

    fn may_help(&self, event: &ClusterEvent, _pod: &Pod) -> bool {
        matches!(event, ClusterEvent::Other | ClusterEvent::NodeAdded(_) | ClusterEvent::NodeChanged { .. })
    }
}

fn prepare<'a>(state: &'a State, pod: &Pod) -> Result<Filter<'a>, Cow<'static, str>> {
    let mut filter = Filter { state, volumes: Vec::new(), waits: false };
    let mut immediate = false;
    for wanted in &pod.claims {
        let Some(claim) = state.volumes().claim(pod.namespace(), &wanted.name) else {
            return Err(match wanted.ephemeral {
                true => {
                    let name = &wanted.name;
                    format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}")
                }
                false => format!("persistentvolumeclaim {:?} not found", wanted.name),
            }
            .into());
        };
        if claim.lost {
            let (claim, volume) = (&wanted.name, &claim.volume);
            return Err(
                format!("persistentvolumeclaim {claim:?} bound to non-existent persistentvolume {volume:?}").into()
            );
        }
        if claim.deleting {
            return Err(format!("persistentvolumeclaim {:?} is being deleted", wanted.name).into());
        }
        match (claim.bound, state.volumes().waits(claim)) {
            (true, _) => filter.volumes.push(&claim.volume),
            (false, true) => filter.waits = true,
            (false, false) => immediate = true,
        }
    }
    if immediate { Err("pod has unbound immediate PersistentVolumeClaims".into()) } else { Ok(filter) }
}

impl NodeFilter for Filter<'_> {
    fn check(&self, info: &NodeInfo, _what_if: WhatIf<'_>) -> Result<(), Rejection> {
        let Some(node) = &info.node else { return Ok(()) };
        for volume in &self.volumes {
            let reason = match self.state.volumes().reaches(volume, &node.name, &node.labels) {
                Some(true) => continue,
                Some(false) => "node(s) didn't match PersistentVolume's node affinity",
                None => "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
            };
            return Err(Rejection::unresolvable(NAME, reason));
        }
        match self.waits {
            true => Err(Rejection::unresolvable(NAME, "node(s) didn't find available persistent volumes to bind")),
            false => Ok(()),
        }
    }
}
