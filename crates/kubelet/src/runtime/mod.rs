//! From a pod's spec to what the runtime is told, part by part, all pure but for the files that are mounted.

pub mod container;
pub mod containerd;
pub mod dns;
pub mod env;
pub mod expand;
pub mod fields;
pub mod hosts;
pub mod limits;
pub mod mounts;
pub mod sandbox;
pub mod security;
pub mod services;
