//! # scheduler
//! Finds a node for every pod that has none.
//!
//! Start at [`cycle`] (one decision: filter, score, choose), then [`plugins`] (the table of rules it runs),
//! [`state`] (what is known of the cluster, kept up event by event), [`queue`] (which pod is next), and [`run`] (the
//! shell: informers in, bindings and events out). [`model`] is a pod and a node as the scheduler sees them.
//!
//! Invariants: a decision is a pure function of state, pod and a seeded random source; counts are kept by events and
//! never recomputed by walking pods; why a pod has no node is data first, and text made from it.
#![forbid(unsafe_code)]

pub mod actions;
pub mod core;
pub mod cycle;
pub mod diagnosis;
pub mod framework;
pub mod model;
pub mod plugins;
pub mod preemption;
pub mod queue;
pub mod run;
pub mod state;
#[cfg(test)]
mod testing;
