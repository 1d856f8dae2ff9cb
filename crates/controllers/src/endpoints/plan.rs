//! The subsets of an Endpoints object: addresses that offer the same ports together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use client::MetaExt;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, Service};

use crate::common::{pods, services};
use crate::endpoint_slice::endpoint::reference;

/// Most addresses in one Endpoints object; beyond it is cut.
pub const ADDRESSES_MAX: usize = 1000;

/// An address as it counts for grouping: IP, and the UID of its pod.
type AddressKey = (String, String);
/// A port as it counts for grouping: name, number, protocol, application protocol.
type PortKey = (Option<String>, i32, Option<String>, Option<String>);

/// The subsets that a service's pods make.
pub fn subsets<'a>(service: &Service, pods: impl IntoIterator<Item = &'a Pod>) -> Vec<EndpointSubset> {
    let spec = services::spec(service);
    let publishes_all = spec.publish_not_ready_addresses == Some(true);
    let mut offers: Vec<(EndpointAddress, bool, Option<EndpointPort>)> = Vec::new();
    for pod in pods {
        if !services::is_reachable(pod) || (pod.is_deleting() && !publishes_all) {
            continue;
        }
        let Some(address) = address(service, pod) else { continue };
        let is_ready = publishes_all || pods::is_ready(pod);
        let ports = spec.ports.as_deref().unwrap_or_default();
        if ports.is_empty() && spec.cluster_ip.as_deref() == Some("None") {
            offers.push((address, is_ready, None));
            continue;
        }
        for port in ports {
            let Some(number) = services::target_port(pod, port) else { continue };
            let port = EndpointPort {
                name: port.name.clone(),
                port: number,
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            };
            offers.push((address.clone(), is_ready, Some(port)));
        }
    }
    pack(offers)
}

/// Brings subsets into the form in which [`subsets`] gives them, for comparison.
pub fn repack(subsets: &[EndpointSubset]) -> Vec<EndpointSubset> {
    let mut offers = Vec::new();
    for subset in subsets {
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let rest = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, is_ready) in ready.chain(rest) {
            let ports = subset.ports.as_deref().unwrap_or_default();
            if ports.is_empty() {
                offers.push((address.clone(), is_ready, None));
            }
            offers.extend(ports.iter().map(|port| (address.clone(), is_ready, Some(port.clone()))));
        }
    }
    pack(offers)
}

/// Cuts the subsets to [`ADDRESSES_MAX`] addresses, ready ones first. Whether that was needed.
pub fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let rest: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + rest <= ADDRESSES_MAX {
        return false;
    }
    let keeps_rest = ready <= ADDRESSES_MAX;
    let (room, total) = if keeps_rest { (ADDRESSES_MAX - ready, rest) } else { (ADDRESSES_MAX, ready) };
    let mut left = room;
    for subset in subsets.iter_mut() {
        let cut = if keeps_rest { &mut subset.not_ready_addresses } else { &mut subset.addresses };
        // Every subset keeps its share, rounded up while there is room.
        if let Some(list) = cut {
            let share = (list.len() * room).div_ceil(total).min(left);
            left -= share.min(list.len());
            list.truncate(share);
        }
        if !keeps_rest {
            subset.not_ready_addresses = None;
        }
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses] {
            *list = list.take().filter(|list| !list.is_empty());
        }
    }
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    true
}

/// The pod's address of the service's (first) family.
fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let spec = services::spec(service);
    let first_of_pod = || pod.status.as_ref()?.pod_ip.as_ref()?.parse::<IpAddr>().ok().map(|ip| ip.is_ipv6());
    let is_v6 = match spec.ip_families.as_ref().and_then(|families| families.first()) {
        Some(family) => family == "IPv6",
        None if services::is_headless(service) => first_of_pod()?,
        None => spec.cluster_ip.as_deref().is_some_and(|ip| ip.contains(':')),
    };
    let node = pods::node_name(pod);
    Some(EndpointAddress {
        ip: services::addresses(pod, is_v6).into_iter().next()?,
        node_name: (!node.is_empty()).then(|| node.to_owned()),
        target_ref: Some(reference(pod)),
        hostname: services::hostname(pod, service).cloned(),
    })
}

/// Ports that the same addresses offer come together in one subset. An address that is not ready for a port is not,
/// whatever else is said.
fn pack(offers: Vec<(EndpointAddress, bool, Option<EndpointPort>)>) -> Vec<EndpointSubset> {
    let mut addresses: BTreeMap<AddressKey, EndpointAddress> = BTreeMap::new();
    let mut by_port: BTreeMap<Option<PortKey>, BTreeMap<AddressKey, bool>> = BTreeMap::new();
    for (address, is_ready, port) in offers {
        let uid = address.target_ref.as_ref().and_then(|target| target.uid.clone()).unwrap_or_default();
        let key = (address.ip.clone(), uid);
        let port =
            port.map(|port| (port.name.filter(|name| !name.is_empty()), port.port, port.protocol, port.app_protocol));
        let ready = by_port.entry(port).or_default().entry(key.clone()).or_insert(true);
        *ready &= is_ready;
        addresses.entry(key).or_insert(address);
    }
    let mut by_addresses: BTreeMap<BTreeMap<AddressKey, bool>, Vec<EndpointPort>> = BTreeMap::new();
    for (port, addresses) in by_port {
        let ports = by_addresses.entry(addresses).or_default();
        ports.extend(port.map(|(name, port, protocol, app_protocol)| EndpointPort {
            name,
            port,
            protocol,
            app_protocol,
        }));
    }
    let subset = |(keys, ports): (BTreeMap<AddressKey, bool>, Vec<EndpointPort>)| {
        let of = |wanted: bool| {
            let some = keys.iter().filter(|(_, ready)| **ready == wanted);
            let list: Vec<EndpointAddress> = some.filter_map(|(key, _)| addresses.get(key).cloned()).collect();
            (!list.is_empty()).then_some(list)
        };
        let ports = (!ports.is_empty()).then_some(ports);
        EndpointSubset { addresses: of(true), not_ready_addresses: of(false), ports }
    };
    by_addresses.into_iter().map(subset).collect()
}
