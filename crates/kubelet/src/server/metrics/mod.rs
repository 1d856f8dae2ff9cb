//! `/metrics` and what lies below it: the kubelet's own figures, its containers' and its probes'.

mod cadvisor;
mod own;
mod resource;

pub use cadvisor::cadvisor;
pub use own::{own, probes};
pub use resource::resource;
