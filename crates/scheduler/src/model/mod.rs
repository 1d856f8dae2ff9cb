//! Pods and nodes with just the fields that decide where a pod goes.

pub mod labels;
pub mod node;
pub mod pod;
pub mod resources;
pub mod spec;
pub mod taint;
