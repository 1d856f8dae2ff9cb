//! Endpoints of Service ports, and which of them a node uses.
//!
//! Upstream: pkg/proxy/endpointslicecache.go and topology.go.

use super::address::{Family, parse_ip};
use super::service::{PortName, ServicePort};
use crate::views::{EndpointSliceView, EndpointSpec, Named, ObjectName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// One endpoint of a Service port.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// On this node.
    pub local: bool,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub zone_hints: BTreeSet<String>,
    pub node_hints: BTreeSet<String>,
}

/// The endpoints of a Service's ports, sorted by address.
pub type EndpointsByPort = BTreeMap<PortName, Vec<Endpoint>>;

/// Where this node is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// Label `topology.kubernetes.io/zone`, empty where the node has none.
    pub zone: String,
}

/// The endpoints that a node uses for a Service port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    /// For traffic policy `Cluster`; empty where no traffic has that policy.
    pub cluster: Vec<SocketAddr>,
    /// For traffic policy `Local`; empty where no traffic has that policy.
    pub local: Vec<SocketAddr>,
    /// Both together, without repetition, sorted; with whether an endpoint is on this node.
    pub reachable: Vec<(SocketAddr, bool)>,
    /// Whether there are usable endpoints anywhere in the cluster.
    pub any: bool,
}

/// Which endpoints topology hints prefer here.
#[derive(Clone, Copy, PartialEq)]
enum Preference {
    None,
    SameNode,
    SameZone,
}

// === impl Endpoint ===

/// The endpoints of one family in a Service's slices.
///
/// An address may be in two slices, or twice in one where a terminating pod's address was given to another pod
/// already: then the one that is not terminating wins.
pub fn by_port<'a>(
    service: &ObjectName,
    slices: impl IntoIterator<Item = &'a EndpointSliceView>,
    family: Family,
    node: &str,
) -> EndpointsByPort {
    let mut found: BTreeMap<PortName, BTreeMap<SocketAddr, Endpoint>> = BTreeMap::new();
    for slice in slices.into_iter().filter(|slice| slice.address_type == family.kubernetes()) {
        for port in &slice.ports {
            let (Some(name), Some(number @ 1..)) = (&port.name, port.port) else { continue };
            let name = PortName { service: service.clone(), port: name.clone(), protocol: port.protocol };
            let endpoints = found.entry(name).or_default();
            for endpoint in slice.endpoints.iter().filter_map(|spec| Endpoint::new(spec, number, node)) {
                if !endpoint.terminating || !endpoints.contains_key(&endpoint.address) {
                    endpoints.insert(endpoint.address, endpoint);
                }
            }
        }
    }
    found.into_iter().map(|(name, endpoints)| (name, endpoints.into_values().collect())).collect()
}

impl Endpoint {
    fn new(spec: &EndpointSpec, port: u16, node: &str) -> Option<Endpoint> {
        let ip: IpAddr = parse_ip(spec.addresses.first()?)?;
        Some(Endpoint {
            address: SocketAddr::new(ip, port),
            local: !node.is_empty() && spec.node_name == node,
            ready: spec.conditions.ready.unwrap_or(true),
            serving: spec.conditions.serving.unwrap_or(true),
            terminating: spec.conditions.terminating.unwrap_or(false),
            zone_hints: names(&spec.hints.for_zones),
            node_hints: names(&spec.hints.for_nodes),
        })
    }

    /// Terminating but still answering: used where nothing is ready.
    fn serves_while_terminating(&self) -> bool {
        self.serving && self.terminating
    }
}

fn names(hints: &[Named]) -> BTreeSet<String> {
    hints.iter().map(|hint| hint.name.clone()).collect()
}

// === impl Chosen ===

impl Chosen {
    /// Ready endpoints by topology; where none is ready, for each policy on its own, those that still serve while
    /// they terminate.
    pub fn new(port: &ServicePort, endpoints: &[Endpoint], place: &Place) -> Chosen {
        let mut chosen = Chosen::default();
        if port.uses_cluster_endpoints() {
            let preference = preference(endpoints, place);
            chosen.cluster = addresses(endpoints, |e| e.ready && available(e, preference, place));
            if chosen.cluster.is_empty() {
                chosen.cluster = addresses(endpoints, Endpoint::serves_while_terminating);
            }
            chosen.any = !chosen.cluster.is_empty();
        }
        if port.uses_local_endpoints() {
            chosen.any |= endpoints.iter().any(|e| e.ready || e.serves_while_terminating());
            chosen.local = addresses(endpoints, |e| e.local && e.ready);
            if chosen.local.is_empty() {
                chosen.local = addresses(endpoints, |e| e.local && e.serves_while_terminating());
            }
        }
        let used: BTreeSet<SocketAddr> = chosen.cluster.iter().chain(&chosen.local).copied().collect();
        let used = endpoints.iter().filter(|e| used.contains(&e.address));
        chosen.reachable = used.map(|e| (e.address, e.local)).collect();
        chosen
    }
}

fn addresses(endpoints: &[Endpoint], keep: impl Fn(&Endpoint) -> bool) -> Vec<SocketAddr> {
    endpoints.iter().filter(|endpoint| keep(endpoint)).map(|endpoint| endpoint.address).collect()
}

/// Hints count only when every ready endpoint has one and one of them points here.
fn preference(endpoints: &[Endpoint], place: &Place) -> Preference {
    let ready = || endpoints.iter().filter(|endpoint| endpoint.ready);
    if ready().next().is_none() {
        Preference::None
    } else if ready().all(|e| !e.node_hints.is_empty()) && ready().any(|e| e.node_hints.contains(&place.node)) {
        Preference::SameNode
    } else if ready().all(|e| !e.zone_hints.is_empty()) && ready().any(|e| e.zone_hints.contains(&place.zone)) {
        Preference::SameZone
    } else {
        Preference::None
    }
}

fn available(endpoint: &Endpoint, preference: Preference, place: &Place) -> bool {
    match preference {
        Preference::None => true,
        Preference::SameNode => endpoint.node_hints.contains(&place.node),
        Preference::SameZone => endpoint.zone_hints.contains(&place.zone),
    }
}

#[cfg(test)]
mod tests;
