//! The decision: from a Service port and its endpoints to what the table holds for it.
//!
//! Upstream: pkg/proxy/nftables (its README explains the table). Packets find their service through one map lookup
//! (`service-ips` or `service-nodeports`), whose verdict leads to the port's own chains:
//! - `service-…`: the endpoints for traffic policy `Cluster`; `local-…`: those on this node;
//! - `external-…`: what comes through a NodePort, an external IP or a load balancer, on the way to one of these;
//! - `firewall-…`: sources allowed through the load balancer;
//! - `endpoint-…`: one endpoint, only with session affinity, with the set of its clients.

use super::address::Family;
use super::config::Config;
use super::endpoints::{Chosen, Endpoint, EndpointsByPort, Place};
use super::ruleset::{AffinitySet, Container, Fragment, Ruleset};
use super::service::{PortName, ServicePort};
use crate::views::{EndpointSliceView, ObjectName, Protocol, ServiceView};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The chain that rejects (ICMP port unreachable, or reset).
pub const REJECT_CHAIN: &str = "reject-chain";

/// Ends a chain that chooses by a map within a rule. The kernel takes a packet through the rules as they were when it came, but
/// looks maps up as they are: where a change falls between the two, the old rule's map is empty. The packet is sent again
/// then; without this rule it would go on to the cluster IP's own and be rejected.
const MISSED: &str = "drop";

/// What a Service port means on this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortPlan {
    /// Its part of the table.
    pub fragment: Fragment,
    /// Its NodePort on localhost, where it has one.
    pub relay: Option<Relay>,
    /// Its frontends and backends, where it is a UDP port: flows to other backends are cut.
    pub udp: Option<UdpPort>,
    /// What load balancers hear from the health check port, where the Service has one.
    pub health_check: Option<HealthCheck>,
    /// Traffic of policy `Local` that is dropped for want of local endpoints (a metric of upstream's).
    pub dropped_internal: bool,
    /// The same for external traffic.
    pub dropped_external: bool,
}

/// A UDP port's addresses. UDP flows never end by themselves while packets come, so that a flow to an endpoint which is
/// gone would go on for ever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UdpPort {
    /// Cluster IP, external IPs, load balancer addresses, with the port.
    pub frontends: Vec<SocketAddr>,
    /// 0: none.
    pub node_port: u16,
    /// All serving endpoints, whatever the policies: a policy must not cut flows that exist.
    pub serving: BTreeSet<SocketAddr>,
}

/// A Service's health check port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HealthCheck {
    /// The port on the node.
    pub node_port: u16,
    /// Addresses of ready endpoints on this node.
    pub local_ready: BTreeSet<IpAddr>,
}

/// A NodePort that this process relays from localhost, as kernels don't route from there.
#[derive(Clone, Debug, PartialEq)]
pub struct Relay {
    /// The port on localhost.
    pub node_port: u16,
    /// Where connections go, at random.
    pub endpoints: Vec<SocketAddr>,
    /// How long all local clients stay with one endpoint (they share an address).
    pub affinity_seconds: Option<u32>,
}

/// What a plan depends on besides the port and its endpoints.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The proxy's configuration.
    pub config: &'a Config,
    /// Where this node is.
    pub place: &'a Place,
    /// The family of the table.
    pub family: Family,
}

/// The whole ruleset of a family, from scratch.
pub fn model<'a>(
    services: impl IntoIterator<Item = &'a ServiceView>,
    slices: impl IntoIterator<Item = &'a EndpointSliceView>,
    context: Context<'_>,
) -> Ruleset {
    let mut by_service: BTreeMap<ObjectName, Vec<&EndpointSliceView>> = BTreeMap::new();
    for slice in slices {
        if let Some(service) = slice.service() {
            by_service.entry(service).or_default().push(slice);
        }
    }
    let plans = services.into_iter().flat_map(|service| {
        let slices = by_service.get(&service.object_name()).cloned().unwrap_or_default();
        plan_service(service, slices, context)
    });
    Ruleset::new(plans.map(|(name, plan)| (name, plan.fragment)))
}

/// The plans of a Service's ports.
pub fn plan_service<'a>(
    service: &ServiceView,
    slices: impl IntoIterator<Item = &'a EndpointSliceView>,
    context: Context<'_>,
) -> Vec<(PortName, PortPlan)> {
    let ports = ServicePort::of(service, context.family);
    if ports.is_empty() {
        return Vec::new();
    }
    let name = service.object_name();
    let endpoints: EndpointsByPort = super::endpoints::by_port(&name, slices, context.family, &context.place.node);
    let none = Vec::new();
    let plan = |(name, port): (PortName, ServicePort)| {
        let plan = plan_port(&name, &port, endpoints.get(&name).unwrap_or(&none), context);
        (name, plan)
    };
    ports.into_iter().map(plan).collect()
}

/// The plan of one port.
pub fn plan_port(name: &PortName, port: &ServicePort, endpoints: &[Endpoint], context: Context<'_>) -> PortPlan {
    let chosen = Chosen::new(port, endpoints, context.place);
    let builder = Builder { names: Names::new(name), port, chosen: &chosen, context };
    let mut fragment = Fragment::default();
    builder.dispatch(&mut fragment);
    builder.external(&mut fragment);
    builder.firewall(&mut fragment);
    builder.balance(&mut fragment);
    builder.hairpins(&mut fragment);
    PortPlan {
        fragment,
        relay: builder.relay(),
        udp: (port.protocol == Protocol::Udp).then(|| udp_port(port, endpoints)),
        health_check: (port.health_check_node_port != 0).then(|| health_check(port, endpoints)),
        dropped_internal: chosen.any && port.internal_local && chosen.local.is_empty(),
        dropped_external: chosen.any && port.external_local && chosen.local.is_empty(),
    }
}

fn udp_port(port: &ServicePort, endpoints: &[Endpoint]) -> UdpPort {
    let addresses =
        [port.cluster_ip].into_iter().chain(port.load_balancer_vips.clone()).chain(port.external_ips.clone());
    UdpPort {
        frontends: addresses.map(|ip| SocketAddr::new(ip, port.port)).collect(),
        node_port: port.node_port,
        serving: endpoints.iter().filter(|endpoint| endpoint.serving).map(|endpoint| endpoint.address).collect(),
    }
}

/// Terminating endpoints don't count: a load balancer should look for another node before they are gone.
fn health_check(port: &ServicePort, endpoints: &[Endpoint]) -> HealthCheck {
    let local_ready = endpoints.iter().filter(|endpoint| endpoint.local && endpoint.ready);
    HealthCheck {
        node_port: port.health_check_node_port,
        local_ready: local_ready.map(|endpoint| endpoint.address.ip()).collect(),
    }
}

/// The names of a port's chains.
struct Names {
    suffix: String,
    cluster: String,
    local: String,
    external: String,
    firewall: String,
}

struct Builder<'a> {
    names: Names,
    port: &'a ServicePort,
    chosen: &'a Chosen,
    context: Context<'a>,
}

// === impl Names ===

impl Names {
    fn new(name: &PortName) -> Names {
        let suffix = name.chain_suffix();
        Names {
            cluster: format!("service-{suffix}"),
            local: format!("local-{suffix}"),
            external: format!("external-{suffix}"),
            firewall: format!("firewall-{suffix}"),
            suffix,
        }
    }

    /// Colons of IPv6 become dots. 252 bytes at most, nftables allows 255.
    fn endpoint(&self, endpoint: &SocketAddr) -> String {
        format!("endpoint-{}__{}", self.suffix, self.address(endpoint))
    }

    /// The timeout is part of the name: a set's timeout can't be changed, so another one is another set.
    fn affinity(&self, endpoint: &SocketAddr, timeout_seconds: u32) -> String {
        format!("aff-{}__{}_{timeout_seconds}", self.suffix, self.address(endpoint))
    }

    fn address(&self, endpoint: &SocketAddr) -> String {
        format!("{}/{}", endpoint.ip().to_string().replace(':', "."), endpoint.port())
    }
}

// === impl Builder ===

impl Builder<'_> {
    /// Ways in: each leads to a chain of this port, or, without endpoints, to a reject or a drop.
    ///
    /// No endpoints at all: reject. None on this node under policy `Local`: drop, so that a load balancer which
    /// still sends traffic here makes its clients try again instead of failing them.
    fn dispatch(&self, fragment: &mut Fragment) {
        let port = self.port;
        fragment.element(Container::ClusterIps, port.cluster_ip.to_string(), "");
        let key = self.key(port.cluster_ip);
        match self.verdict_without(port.internal_local) {
            None => {
                let chain = if port.internal_local { &self.names.local } else { &self.names.cluster };
                fragment.element(Container::ServiceIps, key, format!("goto {chain}"));
            }
            Some(verdict) => fragment.element(Container::NoEndpointServices, key, verdict),
        }
        let no_external = self.verdict_without(port.external_local);
        for ip in port.external_ips.iter().chain(&port.load_balancer_vips) {
            if self.chosen.any {
                fragment.element(Container::ServiceIps, self.key(*ip), format!("goto {}", self.names.external));
            }
            if let Some(verdict) = &no_external {
                fragment.element(Container::NoEndpointServices, self.key(*ip), verdict.clone());
            }
        }
        if port.node_port != 0 {
            let key = format!("{} . {}", port.protocol.lower(), port.node_port);
            if self.chosen.any {
                fragment.element(Container::NodePorts, key.clone(), format!("goto {}", self.names.external));
            }
            if let Some(verdict) = no_external {
                fragment.element(Container::NoEndpointNodePorts, key, verdict);
            }
        }
    }

    /// What happens to traffic that no endpoint can take under a policy; none where one can.
    fn verdict_without(&self, local: bool) -> Option<String> {
        match (self.chosen.any, local && self.chosen.local.is_empty()) {
            (false, _) => Some(format!("goto {REJECT_CHAIN}")),
            (true, true) => Some("drop".to_string()),
            (true, false) => None,
        }
    }

    /// Traffic from outside is masqueraded, as it may leave for another node, except under policy `Local`. There the
    /// node's own traffic and its pods' take the way around: as if it went out and came back through a load balancer.
    fn external(&self, fragment: &mut Fragment) {
        if !self.chosen.any || !self.port.externally_accessible() {
            return;
        }
        let mut rules = Vec::new();
        if self.port.external_local {
            if let Some((local, _)) = self.context.config.detect_local.matches(self.context.family) {
                rules.push(format!("{local} goto {}", self.names.cluster));
            }
            rules.push(format!("fib saddr type local {}", masquerade(self.context.config)));
            rules.push(format!("fib saddr type local goto {}", self.names.cluster));
            if !self.chosen.local.is_empty() {
                rules.push(format!("goto {}", self.names.local));
            }
        } else {
            rules.push(masquerade(self.context.config));
            rules.push(format!("goto {}", self.names.cluster));
        }
        fragment.chains.insert(self.names.external.clone(), rules);
        // Referred to by the rules above, also where it has no endpoints.
        fragment.chains.entry(self.names.cluster.clone()).or_default();
    }

    /// Only the allowed sources pass to the load balancer's addresses. Where the node's own address is allowed, so
    /// are these addresses: traffic from the node to them has them as source.
    fn firewall(&self, fragment: &mut Fragment) {
        let port = self.port;
        if port.load_balancer_vips.is_empty() || port.source_ranges.is_empty() {
            return;
        }
        let mut sources: Vec<String> = port.source_ranges.iter().map(ToString::to_string).collect();
        let node_ip = self.context.config.node_ip(self.context.family);
        if node_ip.is_some_and(|ip| port.source_ranges.iter().any(|range| range.contains(&ip))) {
            sources.extend(port.load_balancer_vips.iter().map(ToString::to_string));
        }
        let rule = format!("{} saddr != {{ {} }} drop", self.context.family.nft(), sources.join(", "));
        fragment.chains.insert(self.names.firewall.clone(), vec![rule]);
        for vip in &port.load_balancer_vips {
            fragment.element(Container::FirewallIps, self.key(*vip), format!("goto {}", self.names.firewall));
        }
    }

    fn balance(&self, fragment: &mut Fragment) {
        for (chain, endpoints) in [(&self.names.cluster, &self.chosen.cluster), (&self.names.local, &self.chosen.local)]
        {
            if !endpoints.is_empty() {
                let rules = match self.port.affinity_seconds {
                    None => self.spread(endpoints),
                    Some(seconds) => self.stick(endpoints, seconds),
                };
                fragment.chains.insert(chain.clone(), rules);
            }
        }
        if let Some(timeout_seconds) = self.port.affinity_seconds {
            for (endpoint, _) in &self.chosen.reachable {
                let set = self.names.affinity(endpoint, timeout_seconds);
                let remember = format!("update @{set} {{ {} saddr }}", self.context.family.nft());
                let dnat = format!("meta l4proto {} dnat to {endpoint}", self.port.protocol.lower());
                fragment.chains.insert(self.names.endpoint(endpoint), vec![remember, dnat]);
                fragment.sets.insert(set, AffinitySet { timeout_seconds });
            }
        }
    }

    /// One rule picks an endpoint at random.
    fn spread(&self, endpoints: &[SocketAddr]) -> Vec<String> {
        let protocol = self.port.protocol.lower();
        if let [endpoint] = endpoints {
            return vec![format!("meta l4proto {protocol} dnat to {endpoint}")];
        }
        let choices: Vec<String> =
            endpoints.iter().enumerate().map(|(at, e)| format!("{at} : {} . {}", e.ip(), e.port())).collect();
        let dnat = format!(
            "meta l4proto {protocol} dnat {} addr . port to numgen random mod {} map {{ {} }}",
            self.context.family.nft(),
            endpoints.len(),
            choices.join(", ")
        );
        vec![dnat, MISSED.to_owned()]
    }

    /// Known clients go where they went before, others to an endpoint at random.
    fn stick(&self, endpoints: &[SocketAddr], timeout_seconds: u32) -> Vec<String> {
        let ip = self.context.family.nft();
        let known = endpoints.iter().map(|endpoint| {
            let set = self.names.affinity(endpoint, timeout_seconds);
            format!("{ip} saddr @{set} goto {}", self.names.endpoint(endpoint))
        });
        let choices: Vec<String> =
            endpoints.iter().enumerate().map(|(at, e)| format!("{at} : goto {}", self.names.endpoint(e))).collect();
        let others = format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), choices.join(", "));
        known.chain([others, MISSED.to_owned()]).collect()
    }

    /// An endpoint on this node that reaches itself must see another source than itself, or it answers itself
    /// directly and the answer is lost.
    fn hairpins(&self, fragment: &mut Fragment) {
        for (endpoint, _) in self.chosen.reachable.iter().filter(|(_, local)| *local) {
            let ip = endpoint.ip();
            let key = format!("{ip} . {ip} . {} . {}", self.port.protocol.lower(), endpoint.port());
            fragment.element(Container::Hairpins, key, "");
        }
    }

    fn relay(&self) -> Option<Relay> {
        let port = self.port;
        let relayed =
            self.context.config.node_port_addresses.localhost && port.node_port != 0 && port.protocol == Protocol::Tcp;
        let endpoints = if port.external_local { &self.chosen.local } else { &self.chosen.cluster };
        (relayed && !endpoints.is_empty()).then(|| Relay {
            node_port: port.node_port,
            endpoints: endpoints.clone(),
            affinity_seconds: port.affinity_seconds,
        })
    }

    fn key(&self, address: IpAddr) -> String {
        format!("{address} . {} . {}", self.port.protocol.lower(), self.port.port)
    }
}

/// The statement that asks for masquerading.
pub fn masquerade(config: &Config) -> String {
    format!("meta mark set meta mark or {:#x}", 1u32 << config.masquerade_bit)
}

#[cfg(test)]
mod tests;
