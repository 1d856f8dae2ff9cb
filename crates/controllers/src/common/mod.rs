//! What workload controllers share.

pub mod claim;
pub mod conditions;
pub mod history;
pub mod kinds;
pub mod namespaces;
pub mod order;
pub mod owners;
pub mod pod_control;
pub mod pod_status;
pub mod pods;
pub mod read_back;
pub mod resources;
pub mod revisions;
pub mod selectors;
pub mod services;
pub mod tree;
