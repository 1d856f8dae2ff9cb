//! # kubelet
//! Runs the pods that are bound to one node.
//!
//! Start at [`plan`]: the decision what to do next for a pod, a pure function of its spec, what the runtime shows and
//! what the probes found. [`worker`] is the shell around it, one task a pod. Around them stand small owners of one
//! thing each: [`volumes`], [`images`], [`probes`], [`cgroups`], [`status`], [`node`].
//!
//! Invariants: containers are reached only through the container runtime interface ([`cri`]); whatever a restart needs
//! to know is derived from the runtime's labels and annotations, upstream's ones; everything that differs between two
//! kubelets on one machine comes from [`config::Config`].
#![forbid(unsafe_code)]

pub mod certificates;
pub mod cgroups;
pub mod config;
pub mod cri;
pub mod events;
pub mod eviction;
pub mod gc;
pub mod images;
pub mod kubelet;
pub mod labels;
pub mod lifecycle;
pub mod logs;
pub mod lookup;
pub mod node;
pub mod objects;
pub mod observed;
pub mod plan;
pub mod pleg;
pub mod pod;
pub mod probes;
pub mod qos;
pub mod quantity;
pub mod resize;
pub mod run;
pub mod runtime;
pub mod server;
pub mod sources;
pub mod stats;
pub mod status;
pub mod userns;
pub mod volumes;
pub mod worker;

/// What reads others' texts within this crate, for the targets in `fuzz/`.
#[doc(hidden)]
pub mod decoders {
    pub use crate::server::logs::{Options, lines::Lines};
    pub use crate::server::query::Query;
}

pub use run::{StartError, run, start};
