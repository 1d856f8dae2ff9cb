//! One pod as an endpoint of a service.

use client::MetaExt;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone};

use crate::common::{pods, services};

/// What makes two endpoints the same one: addresses, host name, pod.
pub type Identity = (Vec<String>, Option<String>, Option<(Option<String>, Option<String>)>);

/// The endpoint that a pod is; none if it has no address of the family.
pub fn endpoint(pod: &Pod, node: Option<&Node>, service: &Service, is_v6: bool) -> Option<Endpoint> {
    let addresses = services::addresses(pod, is_v6);
    if addresses.is_empty() {
        return None;
    }
    let serving = pods::is_ready(pod);
    let terminating = pod.is_deleting();
    let publishes_all = services::spec(service).publish_not_ready_addresses == Some(true);
    let conditions = EndpointConditions {
        ready: Some(publishes_all || (serving && !terminating)),
        serving: Some(serving),
        terminating: Some(terminating),
    };
    let mut endpoint = Endpoint {
        addresses,
        conditions: Some(conditions),
        target_ref: Some(reference(pod)),
        node_name: Some(pods::node_name(pod).to_owned()).filter(|name| !name.is_empty()),
        zone: node.and_then(|node| node.label("topology.kubernetes.io/zone")).map(str::to_owned),
        hostname: services::hostname(pod, service).cloned(),
        ..Endpoint::default()
    };
    endpoint.zone = endpoint.zone.filter(|zone| !zone.is_empty());
    endpoint.hints = hints(&endpoint, services::spec(service).traffic_distribution.as_deref());
    Some(endpoint)
}

/// The reference to a pod.
pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// Who should use a ready endpoint, by `trafficDistribution`.
fn hints(endpoint: &Endpoint, distribution: Option<&str>) -> Option<EndpointHints> {
    let same_node = match distribution {
        Some("PreferClose" | "PreferSameZone") => false,
        Some("PreferSameNode") => true,
        _ => return None,
    };
    let is_ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
    let for_zones = endpoint.zone.clone().map(|name| vec![ForZone { name }]);
    let for_nodes = endpoint.node_name.clone().filter(|_| same_node).map(|name| vec![ForNode { name }]);
    (is_ready && (for_zones.is_some() || for_nodes.is_some())).then_some(EndpointHints { for_zones, for_nodes })
}

/// The ports of a pod that a service leads to.
pub fn ports(pod: &Pod, service: &Service) -> Vec<EndpointPort> {
    let ports = services::spec(service).ports.iter().flatten();
    let targets = ports.filter_map(|port| Some((port, services::target_port(pod, port)?)));
    targets
        .map(|(port, target)| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

/// See [`Identity`].
pub fn identity(endpoint: &Endpoint) -> Identity {
    let mut addresses = endpoint.addresses.clone();
    addresses.sort();
    let target = endpoint.target_ref.as_ref().map(|target| (target.namespace.clone(), target.name.clone()));
    (addresses, endpoint.hostname.clone().filter(|name| !name.is_empty()), target)
}

/// Whether two endpoints of one identity say the same.
pub fn is_same(a: &Endpoint, b: &Endpoint) -> bool {
    let target = |endpoint: &Endpoint| {
        let target = endpoint.target_ref.clone();
        target.map(|target| ObjectReference { resource_version: None, ..target })
    };
    let hints = |endpoint: &Endpoint| endpoint.hints.clone().unwrap_or_default();
    a.node_name == b.node_name
        && a.zone == b.zone
        && a.conditions == b.conditions
        && hints(a) == hints(b)
        && target(a) == target(b)
}
