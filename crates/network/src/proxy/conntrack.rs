//! UDP flows that lead to endpoints which are gone.
//!
//! UDP knows no end of a connection: the kernel keeps a flow's translation while packets come, so that a client which
//! never falls silent would talk to an address that nobody has for ever. Upstream: pkg/proxy/conntrack/cleanup.go.
//! The kernel is asked through netlink (ctnetlink), without a library: two messages are all there is to it.

use super::address::Family;
use super::model::UdpPort;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};

mod netlink;

/// One UDP flow that the kernel tracks.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Who sent the first packet.
    pub source: SocketAddr,
    /// To whom: a service's address, for flows that were translated.
    pub destination: SocketAddr,
    /// Who answers: the endpoint.
    pub reply_source: SocketAddr,
}

/// The flows to cut: those to a frontend of a UDP port whose endpoint does not serve that port any more.
///
/// NodePorts are known by the number alone; without any endpoint nothing is cut there, as the flow may be of others.
pub fn stale<'a>(flows: &'a [Flow], ports: &[UdpPort]) -> Vec<&'a Flow> {
    let mut by_address: HashMap<SocketAddr, &BTreeSet<SocketAddr>> = HashMap::new();
    let mut by_node_port: HashMap<u16, &BTreeSet<SocketAddr>> = HashMap::new();
    for port in ports {
        by_address.extend(port.frontends.iter().map(|frontend| (*frontend, &port.serving)));
        if port.node_port != 0 && !port.serving.is_empty() {
            by_node_port.insert(port.node_port, &port.serving);
        }
    }
    let is_stale = |flow: &&Flow| {
        let gone = |serving: &&BTreeSet<SocketAddr>| !serving.contains(&flow.reply_source);
        by_address.get(&flow.destination).is_some_and(gone)
            || by_node_port.get(&flow.destination.port()).is_some_and(gone)
    };
    flows.iter().filter(is_stale).collect()
}

/// Cuts the stale flows of a family in this network namespace; gives their number.
///
/// # Errors
/// Where the kernel can't be asked.
pub fn clean(family: Family, ports: &[UdpPort]) -> io::Result<usize> {
    let socket = netlink::Conntrack::open()?;
    let flows = socket.list_udp(family)?;
    let stale = stale(&flows, ports);
    for flow in &stale {
        match socket.delete_udp(family, flow) {
            // It ended by itself in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(stale.len())
}

fn port_of(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn flow(destination: &str, reply_source: &str) -> Flow {
        Flow {
            source: "10.244.0.9:5000".parse().unwrap(),
            destination: destination.parse().unwrap(),
            reply_source: reply_source.parse().unwrap(),
        }
    }

    #[rstest]
    #[case::served("10.96.0.10:53", "10.244.0.2:53", false)]
    #[case::endpoint_gone("10.96.0.10:53", "10.244.0.3:53", true)]
    #[case::never_translated("10.96.0.10:53", "10.96.0.10:53", true)]
    #[case::other_port("10.96.0.10:54", "10.244.0.3:53", false)]
    #[case::node_port_gone("192.168.0.1:30053", "10.244.0.3:53", true)]
    #[case::node_port_served("192.168.0.1:30053", "10.244.0.2:53", false)]
    #[case::node_port_without_endpoints_may_be_others("192.168.0.1:30054", "10.244.0.3:53", false)]
    #[case::without_endpoints("10.96.0.11:53", "10.244.0.3:53", true)]
    fn stale_flows(#[case] destination: &str, #[case] reply_source: &str, #[case] expected: bool) {
        let served = UdpPort {
            frontends: vec!["10.96.0.10:53".parse().unwrap()],
            node_port: 30053,
            serving: BTreeSet::from(["10.244.0.2:53".parse().unwrap()]),
        };
        let empty =
            UdpPort { frontends: vec!["10.96.0.11:53".parse().unwrap()], node_port: 30054, serving: BTreeSet::new() };
        assert_eq!(!stale(&[flow(destination, reply_source)], &[served, empty]).is_empty(), expected);
    }
}
