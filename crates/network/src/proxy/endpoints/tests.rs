use super::*;
use crate::proxy::testing::{ready, service, slice, terminating};
use rstest::rstest;
use serde_json::{Value, json};

fn place() -> Place {
    Place { node: "here".to_string(), zone: "a".to_string() }
}

fn choose(spec: Value, endpoints: Value) -> Chosen {
    let service = service("svc", "10.96.0.1", spec);
    let slice = slice("svc", "x", endpoints);
    let name = service.object_name();
    let (port_name, port) = ServicePort::of(&service, Family::V4).remove(0);
    let endpoints = by_port(&name, [&slice], Family::V4, "here");
    Chosen::new(&port, endpoints.get(&port_name).map_or(&[][..], Vec::as_slice), &place())
}

fn last_octets(addresses: &[SocketAddr]) -> Vec<u8> {
    let octet = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    };
    addresses.iter().map(octet).collect()
}

fn zone(mut endpoint: Value, zone: &str) -> Value {
    endpoint["hints"]["forZones"] = json!([{"name": zone}]);
    endpoint
}

fn node(mut endpoint: Value, node: &str) -> Value {
    endpoint["hints"]["forNodes"] = json!([{"name": node}]);
    endpoint
}

const E1: &str = "10.1.0.1";
const E2: &str = "10.1.0.2";
const E3: &str = "10.1.0.3";

#[rstest]
#[case::no_endpoints(json!({}), json!([]), &[], &[], false)]
#[case::ready_ones(json!({}), json!([ready(E1, "here"), ready(E2, "there")]), &[1, 2], &[], true)]
#[case::conditions_absent_mean_ready(json!({}), json!([{"addresses": [E1]}]), &[1], &[], true)]
#[case::ready_before_terminating(json!({}), json!([ready(E1, "here"), terminating(E2, "there", true)]), &[1], &[], true)]
#[case::terminating_when_nothing_is_ready(json!({}), json!([terminating(E1, "here", true), terminating(E2, "there", true)]), &[1, 2], &[], true)]
#[case::terminating_but_not_serving(json!({}), json!([terminating(E1, "here", false)]), &[], &[], false)]
#[case::internal_local(json!({"internalTrafficPolicy": "Local"}), json!([ready(E1, "here"), ready(E2, "there")]), &[], &[1], true)]
#[case::internal_local_none_here(json!({"internalTrafficPolicy": "Local"}), json!([ready(E2, "there")]), &[], &[], true)]
#[case::external_local_has_both(
    json!({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}]}),
    json!([ready(E1, "here"), ready(E2, "there")]), &[1, 2], &[1], true)]
#[case::local_falls_back_alone(
    json!({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}]}),
    json!([terminating(E1, "here", true), ready(E2, "there")]), &[2], &[1], true)]
#[case::zone_hints(json!({}), json!([zone(ready(E1, "x"), "a"), zone(ready(E2, "y"), "b")]), &[1], &[], true)]
#[case::a_missing_hint_voids_all(json!({}), json!([zone(ready(E1, "x"), "a"), ready(E2, "y")]), &[1, 2], &[], true)]
#[case::no_hint_for_this_zone(json!({}), json!([zone(ready(E1, "x"), "b"), zone(ready(E2, "y"), "b")]), &[1, 2], &[], true)]
#[case::node_hints_before_zone_hints(
    json!({}), json!([node(zone(ready(E1, "here"), "a"), "here"), node(zone(ready(E2, "y"), "a"), "y"), node(zone(ready(E3, "z"), "b"), "z")]), &[1], &[], true)]
#[case::no_node_hint_for_this_node(
    json!({}), json!([node(zone(ready(E1, "x"), "a"), "x"), node(zone(ready(E2, "y"), "b"), "y")]), &[1], &[], true)]
fn chosen(
    #[case] spec: Value,
    #[case] endpoints: Value,
    #[case] cluster: &[u8],
    #[case] local: &[u8],
    #[case] any: bool,
) {
    let chosen = choose(spec, endpoints);
    assert_eq!(
        (last_octets(&chosen.cluster), last_octets(&chosen.local), chosen.any),
        (cluster.into(), local.into(), any)
    );
}

#[test]
fn an_address_given_on_is_the_running_pods() {
    let name = ObjectName::new("ns", "svc");
    for order in [[0, 1], [1, 0]] {
        let both = [terminating(E1, "here", true), ready(E1, "here")];
        let slice = slice("svc", "x", json!([both[order[0]], both[order[1]]]));
        let endpoints = by_port(&name, [&slice], Family::V4, "here").into_values().next().unwrap();
        assert_eq!(endpoints.len(), 1);
        assert!(endpoints[0].ready, "{order:?}");
    }
}

#[test]
fn ports_without_name_or_number_serve_nothing() {
    let mut view = slice("svc", "x", json!([ready(E1, "here")]));
    view.ports = serde_json::from_value(json!([{"port": 80}, {"name": "a"}, {"name": "b", "port": 0}])).unwrap();
    assert!(by_port(&ObjectName::new("ns", "svc"), [&view], Family::V4, "here").is_empty());
}
