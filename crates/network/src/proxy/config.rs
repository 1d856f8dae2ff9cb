//! How the proxy is to behave: the fields of upstream's `KubeProxyConfiguration` that mean something here.

use super::address::{Cidr, Family};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The bit of the packet mark that asks for masquerading, upstream's default.
pub const MASQUERADE_BIT_DEFAULT: u8 = 14;

/// A whole new table at least this often, should somebody else have changed it: upstream's `FullSyncPeriod`.
pub const FULL_SYNC_PERIOD: Duration = Duration::from_secs(60 * 60);

/// What the proxy needs to know besides Services and EndpointSlices.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node_name: String,
    /// The node's own addresses, one of each family at most.
    pub node_ips: Vec<IpAddr>,
    /// Where NodePorts answer.
    pub node_port_addresses: NodePortAddresses,
    /// How to tell traffic that comes from this node's pods.
    pub detect_local: LocalDetector,
    /// Masquerade all traffic to cluster IPs.
    pub masquerade_all: bool,
    /// The bit of the packet mark to use (0 to 31).
    pub masquerade_bit: u8,
    /// Ranges of cluster IPs: traffic to an address in them that no Service has is dropped.
    pub service_cidrs: Vec<Cidr>,
    /// Where `/healthz` and `/livez` are served; none: nowhere.
    pub healthz_bind_address: Option<SocketAddr>,
    /// Where `/metrics` is served; none: nowhere.
    pub metrics_bind_address: Option<SocketAddr>,
    /// The least time between two transactions; changes in between go together. Upstream's default is a second.
    pub min_sync_period: Duration,
    /// When to try again after a failure.
    pub sync_period: Duration,
}

/// Where NodePorts answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodePortAddresses {
    /// Ranges of node addresses; empty for a family: all of the node's addresses but loopback.
    pub ranges: Vec<Cidr>,
    /// Also on 127.0.0.1 and ::1, over TCP, through a relay in this process: what newcomers try first.
    pub localhost: bool,
}

/// How to tell traffic that comes from this node's pods: it keeps its address on the way to a cluster IP, and is
/// not subject to external traffic policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LocalDetector {
    /// Not at all.
    #[default]
    None,
    /// Pods have addresses of these ranges (`ClusterCIDR`, `NodeCIDR`).
    Cidrs(Vec<Cidr>),
    /// Pods hang on this interface.
    Bridge(String),
    /// Pods hang on interfaces whose names begin so.
    InterfacePrefix(String),
}

// === impl Config ===

impl Config {
    /// Defaults for a node: NodePorts on all its addresses and on localhost, local traffic told by the cluster's pod
    /// ranges.
    pub fn new(node_name: impl Into<String>, node_ips: Vec<IpAddr>, cluster_cidrs: Vec<Cidr>) -> Config {
        Config {
            node_name: node_name.into(),
            node_ips,
            node_port_addresses: NodePortAddresses { ranges: Vec::new(), localhost: true },
            detect_local: match cluster_cidrs.is_empty() {
                true => LocalDetector::None,
                false => LocalDetector::Cidrs(cluster_cidrs),
            },
            masquerade_all: false,
            masquerade_bit: MASQUERADE_BIT_DEFAULT,
            service_cidrs: Vec::new(),
            healthz_bind_address: None,
            metrics_bind_address: None,
            min_sync_period: Duration::ZERO,
            sync_period: Duration::from_secs(30),
        }
    }

    /// The node's address of a family.
    pub fn node_ip(&self, family: Family) -> Option<IpAddr> {
        self.node_ips.iter().find(|ip| Family::of(ip) == family).copied()
    }
}

// === impl NodePortAddresses ===

impl NodePortAddresses {
    /// Reads `--nodeport-addresses`: ranges, `primary` (the node's own addresses), `localhost`, `all`. With a value,
    /// upstream's behaviour: localhost only where it is asked for.
    ///
    /// # Errors
    /// The first value that is none of these.
    pub fn parse(values: &[String], node_ips: &[IpAddr]) -> Result<NodePortAddresses, super::address::InvalidCidr> {
        let mut addresses = NodePortAddresses { ranges: Vec::new(), localhost: values.is_empty() };
        for value in values {
            match value.as_str() {
                "primary" => addresses.ranges.extend(node_ips.iter().map(|ip| single(*ip))),
                "localhost" => addresses.localhost = true,
                "all" => addresses.ranges.extend(Family::ALL.map(Cidr::all)),
                range => addresses.ranges.push(range.parse()?),
            }
        }
        addresses.localhost |= addresses.ranges.iter().any(Cidr::is_loopback);
        Ok(addresses)
    }

    /// Whether all of the node's addresses of a family answer.
    pub fn match_all(&self, family: Family) -> bool {
        let mut ranges = self.ranges.iter().filter(|range| range.family() == family).peekable();
        ranges.peek().is_none() || ranges.any(Cidr::is_all)
    }

    /// Whether an address of the node answers.
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.match_all(Family::of(address)) || self.ranges.iter().any(|range| range.contains(address))
    }
}

fn single(address: IpAddr) -> Cidr {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    Cidr::of(address, bits)
}

// === impl LocalDetector ===

impl LocalDetector {
    /// nftables' match for local traffic of a family, and for what is not; none where it can't be told.
    pub fn matches(&self, family: Family) -> Option<(String, String)> {
        let both = |subject: &str, value: String| Some((format!("{subject} {value}"), format!("{subject} != {value}")));
        match self {
            LocalDetector::None => None,
            LocalDetector::Cidrs(cidrs) => {
                let ranges: Vec<String> =
                    cidrs.iter().filter(|cidr| cidr.family() == family).map(Cidr::to_string).collect();
                let subject = format!("{} saddr", family.nft());
                if ranges.is_empty() { None } else { both(&subject, format!("{{ {} }}", ranges.join(", "))) }
            }
            LocalDetector::Bridge(name) => both("iifname", format!("\"{name}\"")),
            LocalDetector::InterfacePrefix(prefix) => both("iifname", format!("\"{prefix}*\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::unset(&[], true, &["10.0.0.5", "192.168.1.1"], &[])]
    #[case::upstreams_default(&["primary"], false, &["10.0.0.5"], &["192.168.1.1"])]
    #[case::all(&["all"], false, &["10.0.0.5", "192.168.1.1", "fd00::1"], &[])]
    #[case::a_range(&["192.168.0.0/16"], false, &["192.168.1.1"], &["10.0.0.5"])]
    #[case::other_family_only_means_all(&["fd00::/8"], false, &["10.0.0.5", "fd00::1"], &["fe80::1"])]
    #[case::primary_and_localhost(&["primary", "localhost"], true, &["10.0.0.5"], &["10.0.0.6"])]
    #[case::explicit_loopback(&["127.0.0.0/8"], true, &["127.0.0.1"], &["10.0.0.5"])]
    fn node_port_addresses(
        #[case] values: &[&str],
        #[case] localhost: bool,
        #[case] inside: &[&str],
        #[case] outside: &[&str],
    ) {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let addresses = NodePortAddresses::parse(&values, &["10.0.0.5".parse().unwrap()]).unwrap();
        assert_eq!(addresses.localhost, localhost);
        assert!(inside.iter().all(|ip| addresses.contains(&ip.parse().unwrap())), "{addresses:?}");
        assert!(!outside.iter().any(|ip| addresses.contains(&ip.parse().unwrap())), "{addresses:?}");
    }
}
