//! Cluster DNS: names of Services and pods, and a forwarder for all others.
//!
//! [`zone`] decides, on the [`index`] that events keep up to date; [`server`] listens; [`forward`] asks the machine's
//! own name servers, with a cache. [`wire`] reads and writes messages: a server of one zone needs so little of DNS
//! that a library would be larger than it.
//!
//! How clients reach it: the server listens on the node's own address, and is published as what it is to everybody
//! else, a Service: `kube-system/kube-dns` with the well-known cluster IP and no selector, and an EndpointSlice that
//! [`publish`] keeps. The service proxy of every node sends traffic for the cluster IP here, from pods and from nodes,
//! and several nodes make it available twice. No address is added to any interface.

pub mod forward;
pub mod index;
pub mod publish;
pub mod resolv;
pub mod run;
pub mod server;
pub mod wire;
pub mod zone;
