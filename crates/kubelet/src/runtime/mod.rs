//! From a pod's spec to what the runtime is told.

pub mod dns;
pub mod env;
pub mod expand;
pub mod fields;
pub mod hosts;
pub mod security;
pub mod services;
