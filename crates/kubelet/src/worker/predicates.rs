//! What the scheduler would have looked at, for pods that it never saw. Upstream: `scheduler.AdmissionCheck`, as
//! pkg/kubelet/lifecycle/predicate.go asks it.

use std::collections::HashSet;

use client::placement::{is_wanted, untolerated};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::pod::PodExt;

/// A predicate's name and its reason.
type Failure = (&'static str, &'static str);

const NODE_AFFINITY: Failure = ("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
const NODE_PORTS: Failure = ("NodePorts", "node(s) didn't have free ports for the requested pod ports");
const TAINT_TOLERATION: Failure = ("TaintToleration", "node(s) had taints that the pod didn't tolerate");

/// The first predicate that fails: name and message.
pub fn first_failure(pod: &Pod, active: &[&Pod], node: &Node) -> Option<(&'static str, String)> {
    let spec = pod.spec.as_ref()?;
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let is_tainted = || !pod.is_static() && untolerated(node, tolerations, &["NoExecute"]).is_some();
    let (name, reason) = if !is_wanted(spec, node) {
        NODE_AFFINITY
    } else if collide(pod, active) {
        NODE_PORTS
    } else if is_tainted() {
        TAINT_TOLERATION
    } else {
        return None;
    };
    Some((name, format!("Predicate {name} failed: {reason}")))
}

/// An address, a protocol and a port of the node.
type HostPort<'a> = (&'a str, &'a str, i32);

fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort<'_>> {
    let spec = pod.spec.as_ref();
    let sidecars = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default().iter();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.map_or(&[][..], |spec| &spec.containers).iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.as_deref().unwrap_or_default());
    ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.as_deref().filter(|address| !address.is_empty()).unwrap_or("0.0.0.0");
        Some((address, port.protocol.as_deref().unwrap_or("TCP"), number))
    })
}

/// Whether the pod wants a port that another one has; every address includes each single one.
fn collide(pod: &Pod, active: &[&Pod]) -> bool {
    let taken: HashSet<HostPort<'_>> = active.iter().flat_map(|other| host_ports(other)).collect();
    let overlap = |one: &str, other: &str| one == other || one == "0.0.0.0" || other == "0.0.0.0";
    host_ports(pod).any(|(address, protocol, number)| {
        taken.iter().any(|(other, spoken, port)| (*spoken, *port) == (protocol, number) && overlap(address, other))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn with_port(address: &str, protocol: &str, number: i32) -> Value {
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": number, "hostIP": address, "protocol": protocol}]}]})
    }

    #[rstest]
    #[case::fits(json!({"containers": []}), None)]
    #[case::selector(json!({"containers": [], "nodeSelector": {"disk": "hdd"}}), Some(NODE_AFFINITY))]
    #[case::taken(with_port("", "TCP", 8080), Some(NODE_PORTS))]
    #[case::taken_on_all_addresses(with_port("10.0.0.1", "TCP", 8080), Some(NODE_PORTS))]
    #[case::another_protocol(with_port("", "UDP", 8080), None)]
    #[case::another_port(with_port("", "TCP", 8081), None)]
    #[case::another_address(with_port("10.0.0.1", "TCP", 9090), None)]
    fn by_spec(#[case] spec: Value, #[case] expected: Option<Failure>) {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n", "labels": {"disk": "ssd"}}})).unwrap();
        let others = [pod(with_port("", "TCP", 8080)), pod(with_port("10.0.0.2", "TCP", 9090))];
        let active: Vec<&Pod> = others.iter().collect();
        let found = first_failure(&pod(spec), &active, &node);
        let expected = expected.map(|(name, reason)| (name, format!("Predicate {name} failed: {reason}")));
        assert_eq!(found, expected);
    }

    #[test]
    fn taints_that_evict_keep_all_but_static_pods_away() {
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}});
        let node: Node = serde_json::from_value(node).unwrap();
        let mut one = pod(json!({"containers": []}));
        assert_eq!(first_failure(&one, &[], &node).unwrap().0, "TaintToleration");
        let annotations = [("kubernetes.io/config.source".to_owned(), "file".to_owned())];
        one.metadata.annotations = Some(annotations.into());
        assert_eq!(first_failure(&one, &[], &node), None);
    }
}
