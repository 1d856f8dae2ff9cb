//! The pod network of a node: CNI configuration, a bridge, routes to other nodes' pods, masquerading to the outside.
//!
//! Pods hang on a bridge of the instance's own, through the standard CNI plugins (`bridge`, `host-local`, `portmap`).
//!
//! A bridge has a catch: pods on it talk to each other past the node's IP stack. When a pod asks a Service whose endpoint
//! is on the same bridge, the question is translated by the node, but the answer goes straight to the pod, from an
//! address that it never asked. The usual way out is the kernel module `br_netfilter`, which may be missing or off.
//! Here bridged IP packets between pods are handed to the node's IP stack instead, by two nftables rules in the bridge
//! family (see [`rules`]): every packet is routed, translated back, and seen by filters, as with routed veths.
//!
//! [`plan`] decides, [`apply`] carries out with `ip` and `nft`, [`cni`] writes the configuration.

pub mod apply;
pub mod cni;
pub mod plan;
pub mod rules;

use crate::instance::Instance;
use crate::proxy::address::{Cidr, Family};
use std::net::IpAddr;

/// What a node's pod network is made of.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    /// Names the bridge, the tables and the CNI network.
    pub instance: Instance,
    /// This node's pod ranges, one of each family at most.
    pub pod_cidrs: Vec<Cidr>,
    /// The whole cluster's pod ranges: traffic to them keeps its source.
    pub cluster_cidrs: Vec<Cidr>,
    /// Ranges of cluster IPs. They get a route, so that the node itself reaches Services also without a default route
    /// (an offline machine): packets are translated on the way out, but only if there is a way.
    pub service_cidrs: Vec<Cidr>,
    /// The node's addresses, the source of its own packets to Services.
    pub node_ips: Vec<IpAddr>,
    /// Size of packets; none: the kernel's default.
    pub mtu: Option<u32>,
}

// === impl PodNetwork ===

impl PodNetwork {
    /// The bridge's address in a range, the pods' gateway: the first of it.
    pub fn gateway(cidr: &Cidr) -> Option<IpAddr> {
        cidr.nth(1)
    }

    /// The node's range of a family.
    pub fn pod_cidr(&self, family: Family) -> Option<&Cidr> {
        self.pod_cidrs.iter().find(|cidr| cidr.family() == family)
    }

    /// The bridge's hardware address: made from the gateway's, so that it stays when ports come and go (a bridge takes
    /// the lowest of its ports' otherwise) and is the same after a restart. The first byte marks it as locally given.
    pub fn bridge_mac(&self) -> String {
        let gateway = self.pod_cidrs.first().and_then(PodNetwork::gateway);
        let tail = match gateway {
            Some(IpAddr::V4(ip)) => ip.octets(),
            Some(IpAddr::V6(ip)) => {
                let octets = ip.octets();
                [octets[5], octets[6], octets[7], octets[15]]
            }
            None => [0; 4],
        };
        format!("0a:58:{:02x}:{:02x}:{:02x}:{:02x}", tail[0], tail[1], tail[2], tail[3])
    }
}
