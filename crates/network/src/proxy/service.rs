//! Service ports of one family: a Service's fields, sorted out for the proxy.
//!
//! Upstream: pkg/proxy/serviceport.go, servicechangetracker.go.

use super::address::{Cidr, Family, parse_ip};
use crate::views::{ObjectName, Protocol, ServicePortSpec, ServiceView};
use std::fmt;
use std::net::IpAddr;

/// Which port of which Service; endpoints are found by the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName {
    /// The Service.
    pub service: ObjectName,
    /// The port's name, empty where a Service has a single port without one.
    pub port: String,
    /// The port's protocol.
    pub protocol: Protocol,
}

/// One port of a Service in one family.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ServicePort {
    pub cluster_ip: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
    /// 0: none.
    pub node_port: u16,
    pub external_ips: Vec<IpAddr>,
    /// Load balancer addresses of mode VIP; a proxying load balancer's address is none of ours.
    pub load_balancer_vips: Vec<IpAddr>,
    /// Who may come through the load balancer; empty: everybody.
    pub source_ranges: Vec<Cidr>,
    /// How long a client stays with its endpoint; none: no affinity.
    pub affinity_seconds: Option<u32>,
    pub external_local: bool,
    pub internal_local: bool,
    /// 0: none.
    pub health_check_node_port: u16,
}

/// How long a client stays with its endpoint where the Service does not say (the API's default).
const AFFINITY_SECONDS_DEFAULT: u32 = 10_800;

// === impl PortName ===

impl PortName {
    /// What names of chains and sets of this port end in. All parts are `[a-z0-9-]`, so that `/` parts them
    /// unambiguously; 204 bytes at most, well below nftables' 255.
    pub fn chain_suffix(&self) -> String {
        format!("{}/{}/{}/{}", self.service.namespace, self.service.name, self.protocol.lower(), self.port)
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.port.is_empty() { "" } else { ":" };
        write!(f, "{}{colon}{}", self.service, self.port)
    }
}

// === impl ServicePort ===

impl ServicePort {
    /// The ports of a Service in one family; none for a Service that is not proxied (headless, ExternalName, or
    /// without an address of the family).
    pub fn of(service: &ServiceView, family: Family) -> Vec<(PortName, ServicePort)> {
        let Some(cluster_ip) = cluster_ip(service, family) else { return Vec::new() };
        let name = service.object_name();
        let named = |port: &ServicePortSpec| PortName {
            service: name.clone(),
            port: port.name.clone(),
            protocol: port.protocol,
        };
        service.spec.ports.iter().map(|port| (named(port), new(service, family, cluster_ip, port))).collect()
    }

    /// Whether anything but the cluster IP leads here.
    pub fn externally_accessible(&self) -> bool {
        self.node_port != 0 || !self.load_balancer_vips.is_empty() || !self.external_ips.is_empty()
    }

    /// Whether traffic is ever spread over the endpoints of all nodes. External access always needs them: traffic
    /// from the node itself and its pods ignores the policy `Local`.
    pub fn uses_cluster_endpoints(&self) -> bool {
        !self.internal_local || self.externally_accessible()
    }

    /// Whether traffic is ever kept to this node's endpoints.
    pub fn uses_local_endpoints(&self) -> bool {
        self.internal_local || (self.external_local && self.externally_accessible())
    }
}

fn new(service: &ServiceView, family: Family, cluster_ip: IpAddr, port: &ServicePortSpec) -> ServicePort {
    let spec = &service.spec;
    let of_family = |address: &IpAddr| Family::of(address) == family;
    let external_local = is_external(service) && spec.external_traffic_policy == "Local";
    ServicePort {
        cluster_ip,
        port: port.port,
        protocol: port.protocol,
        node_port: port.node_port,
        external_ips: spec.external_ips.iter().filter_map(|ip| parse_ip(ip)).filter(of_family).collect(),
        load_balancer_vips: load_balancer_vips(service).filter(of_family).collect(),
        source_ranges: source_ranges(service, family),
        affinity_seconds: (spec.session_affinity == "ClientIP").then(|| affinity_seconds(service)),
        external_local,
        internal_local: spec.internal_traffic_policy == "Local",
        health_check_node_port: match spec.kind == "LoadBalancer" && external_local {
            true => spec.health_check_node_port,
            false => 0,
        },
    }
}

fn cluster_ip(service: &ServiceView, family: Family) -> Option<IpAddr> {
    if !service.has_cluster_ip() {
        return None;
    }
    service.cluster_ips().iter().filter_map(|ip| parse_ip(ip)).find(|ip| Family::of(ip) == family)
}

/// Whether the external traffic policy counts: only where traffic can come from outside.
fn is_external(service: &ServiceView) -> bool {
    let spec = &service.spec;
    matches!(spec.kind.as_str(), "LoadBalancer" | "NodePort")
        || (spec.kind == "ClusterIP" && !spec.external_ips.is_empty())
}

fn load_balancer_vips(service: &ServiceView) -> impl Iterator<Item = IpAddr> {
    let ingress = &service.status.load_balancer.ingress;
    ingress.iter().filter(|ingress| matches!(ingress.ip_mode.as_str(), "" | "VIP")).filter_map(|i| parse_ip(&i.ip))
}

/// The allowed sources of one family. A range that holds everything lifts all limits.
fn source_ranges(service: &ServiceView, family: Family) -> Vec<Cidr> {
    let ranges = service.spec.load_balancer_source_ranges.iter().filter_map(|range| range.parse::<Cidr>().ok());
    let ranges: Vec<Cidr> = ranges.filter(|range| range.family() == family).collect();
    if ranges.iter().any(Cidr::is_all) { Vec::new() } else { ranges }
}

fn affinity_seconds(service: &ServiceView) -> u32 {
    let config = service.spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    config.and_then(|client_ip| client_ip.timeout_seconds).unwrap_or(AFFINITY_SECONDS_DEFAULT)
}
