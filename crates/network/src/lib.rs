//! # network
//! What makes pods and services reachable on a node: the service proxy, the pod network, cluster DNS.
//!
//! Start at [`proxy`] (`model → ruleset → batch → nft`), [`pod`] (CNI configuration, routes, masquerade) and
//! [`dns`] (names of services and pods). [`views`] are the slices of API objects that all three read.
//!
//! Invariants: decisions are pure functions over views; a change reaches the kernel in one transaction and
//! costs what changed, not what exists; everything made on the machine carries the instance's name and is
//! removed by `cleanup`.
#![forbid(unsafe_code)]

pub mod dns;
pub mod http;
pub mod instance;
pub mod pod;
pub mod proxy;
pub mod views;
