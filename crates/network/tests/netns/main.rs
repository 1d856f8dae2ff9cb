//! The proxy and the pod network on a real kernel, in network namespaces: real nftables, real sockets.
//!
//! Needs root, `ip`, `nft`, and, for the bridge, the CNI plugins in /usr/lib/cni.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bridge;
mod lab;
mod services;
