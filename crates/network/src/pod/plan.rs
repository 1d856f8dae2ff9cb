//! Which routes lead to other nodes' pods.

use crate::proxy::address::{Cidr, Family, parse_ip};
use crate::views::NodeView;
use client::MetaExt;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A route to another node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The node's pod range.
    pub destination: Cidr,
    /// The node.
    pub gateway: IpAddr,
}

/// The routes that this node needs: one for each range of each other node, through that node's internal address of the
/// same family. Nodes without a range or an address have none yet; this node's addresses lead nowhere.
pub fn plan<'a>(this_node: &str, nodes: impl IntoIterator<Item = &'a NodeView>) -> BTreeSet<Route> {
    let nodes: Vec<&NodeView> = nodes.into_iter().collect();
    let own = nodes.iter().filter(|node| node.name() == this_node).flat_map(|node| internal_ips(node));
    let own: BTreeSet<IpAddr> = own.collect();
    let others = nodes.into_iter().filter(|node| node.name() != this_node);
    others.flat_map(routes).filter(|route| !own.contains(&route.gateway)).collect()
}

fn routes(node: &NodeView) -> Vec<Route> {
    let cidrs: Vec<Cidr> = node.pod_cidrs().into_iter().filter_map(|cidr| cidr.parse().ok()).collect();
    let gateway = |family: Family| internal_ips(node).find(|ip| Family::of(ip) == family);
    let route = |destination: Cidr| Some(Route { destination, gateway: gateway(destination.family())? });
    cidrs.into_iter().filter_map(route).collect()
}

fn internal_ips(node: &NodeView) -> impl Iterator<Item = IpAddr> {
    let internal = node.status.addresses.iter().filter(|address| address.kind == "InternalIP");
    internal.filter_map(|address| parse_ip(&address.address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn node(name: &str, cidrs: &[&str], addresses: &[&str]) -> Value {
        let addresses: Vec<_> = addresses.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
        json!({"metadata": {"name": name}, "spec": {"podCIDRs": cidrs}, "status": {"addresses": addresses}})
    }

    #[rstest]
    #[case::alone(vec![], &[])]
    #[case::another(vec![node("b", &["10.244.1.0/24"], &["192.168.0.2"])], &["10.244.1.0/24 via 192.168.0.2"])]
    #[case::families_by_themselves(
        vec![node("b", &["10.244.1.0/24", "fd00:1::/64"], &["192.168.0.2", "fd00::2"])],
        &["10.244.1.0/24 via 192.168.0.2", "fd00:1::/64 via fd00::2"])]
    #[case::no_range_yet(vec![node("b", &[], &["192.168.0.2"])], &[])]
    #[case::no_address_of_the_family(vec![node("b", &["fd00:1::/64"], &["192.168.0.2"])], &[])]
    #[case::same_machine(vec![node("b", &["10.244.1.0/24"], &["192.168.0.1"])], &[])]
    fn routes_to_others(#[case] others: Vec<Value>, #[case] expected: &[&str]) {
        let this = node("a", &["10.244.0.0/24"], &["192.168.0.1"]);
        let nodes: Vec<NodeView> =
            others.into_iter().chain([this]).map(|node| serde_json::from_value(node).unwrap()).collect();
        let routes: Vec<String> =
            plan("a", &nodes).iter().map(|route| format!("{} via {}", route.destination, route.gateway)).collect();
        assert_eq!(routes, expected);
    }
}
