//! Pod, and the PodSpec that templates share with it.

pub mod defaults;
mod image;
