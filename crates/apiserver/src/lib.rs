//! # apiserver
//! The one door to cluster state.
//!
//! Start at [`pipeline`] (the stations that every request passes), then [`route`] and [`verbs`]
//! (what answers), [`forms`] (served bytes) and [`stored`] (stored bytes).
//! Invariants: every write goes through [`verbs::write`]; bytes are made once; nothing here waits
//! for a client while it holds a lock.
#![forbid(unsafe_code)]

pub mod admission;
mod allocation;
pub mod api;
pub mod authn;
pub mod authz;
pub mod boot;
pub mod bootstrap;
mod companions;
mod component_status;
pub mod context;
mod decode;
mod discovery;
mod flow;
mod forms;
mod gather;
mod health;
mod identity;
pub mod launch;
mod lifecycle;
mod managed;
mod metrics;
mod openapi;
pub mod pipeline;
pub mod pki;
mod proxy;
mod request;
mod respond;
mod route;
mod selection;
pub mod serve;
mod served;
pub mod server;
pub mod settings;
mod stored;
mod streams;
mod subresources;
mod verbs;
mod wire;

/// What reads strangers' texts within this crate, for the targets in `fuzz/`.
#[doc(hidden)]
pub mod decoders {
    pub use crate::authn::bearer;
    pub use crate::request::{Accept, Query, RequestInfo, options, query};
    pub use crate::verbs::page_token;
}

#[cfg(test)]
mod testing;
