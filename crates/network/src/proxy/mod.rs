//! The service proxy: cluster IPs, NodePorts, external addresses, on nftables.
//!
//! `views → `[`model`]` → `[`ruleset`]` → batch → `[`nft`]. Semantics are those of upstream's kube-proxy in nftables
//! mode (pkg/proxy, pkg/proxy/nftables).
//!
//! Invariant: the kernel sees one transaction a change, which holds only what changed; connections that exist are
//! never touched by it (conntrack keeps their translation).

pub mod address;
pub mod base;
pub mod config;
pub mod config_file;
pub mod conntrack;
pub mod driver;
pub mod endpoints;
pub mod health;
pub mod inputs;
pub mod interfaces;
pub mod metrics;
pub mod model;
pub mod nft;
pub mod relay;
pub mod ruleset;
pub mod run;
pub mod service;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;
