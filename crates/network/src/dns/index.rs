//! What there is to be found: Services and endpoints by name and by address, kept up to date event by event.

use crate::proxy::address::parse_ip;
use crate::views::{EndpointSliceView, EndpointSpec, ObjectName, Protocol, ServiceView};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// A Service's answerable form.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The Service.
    pub name: ObjectName,
    /// Where its name leads.
    pub target: Target,
    /// Its ports; empty for a Service without ports.
    pub ports: Vec<Port>,
}

/// Where a Service's name leads.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// To its own addresses.
    ClusterIps(Vec<IpAddr>),
    /// To its endpoints.
    Headless,
    /// To another name.
    External(String),
}

/// A port's name and number.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Port {
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
}

/// The ready endpoints of one slice.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Slice {
    pub addresses: Vec<Address>,
    pub ports: Vec<Port>,
}

/// One address of an endpoint with the label under which it is found.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Address {
    pub ip: IpAddr,
    pub hostname: String,
}

/// Everything, indexed.
#[derive(Debug, Default)]
pub struct Index {
    services: HashMap<ObjectName, Arc<Service>>,
    slices: HashMap<ObjectName, BTreeMap<String, Arc<Slice>>>,
    owners: HashMap<ObjectName, ObjectName>,
    service_of_ip: HashMap<IpAddr, BTreeSet<ObjectName>>,
    /// Services whose slices have an address; counted, as several may.
    endpoints_of_ip: HashMap<IpAddr, BTreeMap<ObjectName, usize>>,
    /// Goes up with every change: the zone's serial number.
    changes: u32,
}

// === impl Service ===

impl Service {
    /// Reads a Service.
    pub fn new(view: &ServiceView) -> Service {
        let target = if view.spec.kind == "ExternalName" {
            Target::External(view.spec.external_name.clone())
        } else if view.is_headless() {
            Target::Headless
        } else {
            Target::ClusterIps(view.cluster_ips().iter().filter_map(|ip| parse_ip(ip)).collect())
        };
        let port = |port: &crate::views::ServicePortSpec| Port {
            name: port.name.clone(),
            protocol: port.protocol,
            number: port.port,
        };
        Service { name: view.object_name(), target, ports: view.spec.ports.iter().map(port).collect() }
    }
}

// === impl Slice ===

impl Slice {
    /// Reads a slice: what is not ready is not found. (For a Service that publishes addresses that are not ready, the
    /// slices say that they are.)
    pub fn new(view: &EndpointSliceView) -> Slice {
        let ready = view.endpoints.iter().filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
        let port = |port: &crate::views::EndpointPortSpec| {
            Some(Port { name: port.name.clone().unwrap_or_default(), protocol: port.protocol, number: port.port? })
        };
        Slice { addresses: ready.flat_map(addresses).collect(), ports: view.ports.iter().filter_map(port).collect() }
    }
}

fn addresses(endpoint: &EndpointSpec) -> impl Iterator<Item = Address> {
    endpoint.addresses.iter().filter_map(|text| {
        let ip = parse_ip(text)?;
        let hostname = if endpoint.hostname.is_empty() { dashed(&ip) } else { endpoint.hostname.to_ascii_lowercase() };
        Some(Address { ip, hostname })
    })
}

/// `10.1.2.3` is found as `10-1-2-3`.
pub fn dashed(ip: &IpAddr) -> String {
    ip.to_string().replace(['.', ':'], "-")
}

// === impl Index ===

impl Index {
    /// Takes a Service in.
    pub fn service(&mut self, name: ObjectName, view: Option<&ServiceView>) {
        self.changes = self.changes.wrapping_add(1);
        if let Some(old) = self.services.remove(&name) {
            for ip in cluster_ips(&old) {
                if let Some(names) = self.service_of_ip.get_mut(ip) {
                    names.remove(&name);
                    if names.is_empty() {
                        self.service_of_ip.remove(ip);
                    }
                }
            }
        }
        if let Some(view) = view {
            let service = Service::new(view);
            for ip in cluster_ips(&service) {
                self.service_of_ip.entry(*ip).or_default().insert(name.clone());
            }
            self.services.insert(name, Arc::new(service));
        }
    }

    /// Takes an EndpointSlice in.
    pub fn slice(&mut self, name: ObjectName, view: Option<&EndpointSliceView>) {
        self.changes = self.changes.wrapping_add(1);
        if let Some(owner) = self.owners.remove(&name) {
            self.forget_slice(&owner, &name.name);
        }
        let Some((owner, view)) = view.and_then(|view| Some((view.service()?, view))) else { return };
        let slice = Slice::new(view);
        for address in &slice.addresses {
            *self.endpoints_of_ip.entry(address.ip).or_default().entry(owner.clone()).or_default() += 1;
        }
        self.slices.entry(owner.clone()).or_default().insert(name.name.clone(), Arc::new(slice));
        self.owners.insert(name, owner);
    }

    fn forget_slice(&mut self, owner: &ObjectName, slice: &str) {
        let Some(slices) = self.slices.get_mut(owner) else { return };
        let old = slices.remove(slice);
        if slices.is_empty() {
            self.slices.remove(owner);
        }
        for address in old.iter().flat_map(|slice| &slice.addresses) {
            let Some(owners) = self.endpoints_of_ip.get_mut(&address.ip) else { continue };
            if let Some(count) = owners.get_mut(owner) {
                *count -= 1;
                if *count == 0 {
                    owners.remove(owner);
                }
            }
            if owners.is_empty() {
                self.endpoints_of_ip.remove(&address.ip);
            }
        }
    }

    /// A Service by name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(&ObjectName::new(namespace, name)).map(Arc::as_ref)
    }

    /// A Service's slices.
    pub fn slices_of(&self, service: &ObjectName) -> impl Iterator<Item = &Slice> {
        self.slices.get(service).into_iter().flat_map(|slices| slices.values().map(Arc::as_ref))
    }

    /// The Service that has a cluster IP.
    pub fn service_of_ip(&self, ip: &IpAddr) -> Option<&ObjectName> {
        self.service_of_ip.get(ip)?.first()
    }

    /// Services with an endpoint at an address, with the endpoint's label.
    pub fn endpoints_of_ip(&self, ip: IpAddr) -> Vec<(&ObjectName, &str)> {
        let owners = self.endpoints_of_ip.get(&ip).into_iter().flat_map(BTreeMap::keys);
        let labels = owners.flat_map(|owner| {
            let addresses = self.slices_of(owner).flat_map(|slice| &slice.addresses);
            addresses.filter(|address| address.ip == ip).map(move |address| (owner, address.hostname.as_str()))
        });
        let mut found: Vec<_> = labels.collect();
        found.dedup();
        found
    }

    /// Goes up with every change.
    pub fn serial(&self) -> u32 {
        self.changes
    }
}

fn cluster_ips(service: &Service) -> &[IpAddr] {
    match &service.target {
        Target::ClusterIps(ips) => ips,
        Target::Headless | Target::External(_) => &[],
    }
}
