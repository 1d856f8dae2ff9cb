use super::*;
use crate::proxy::testing::{ready, service, slice};
use rstest::rstest;
use serde_json::{Value, json};

fn config() -> Config {
    let mut config = Config::new("here", vec!["192.168.0.5".parse().unwrap()], vec!["10.1.0.0/16".parse().unwrap()]);
    config.node_port_addresses.localhost = true;
    config
}

/// The fragment as text: chains with their rules, then elements, in the table's names.
fn text(spec: Value, endpoints: Value) -> String {
    let (config, place) = (config(), Place { node: "here".to_string(), zone: String::new() });
    let context = Context { config: &config, place: &place, family: Family::V4 };
    let service = service("svc", "10.96.0.1", spec);
    let slice = slice("svc", "x", endpoints);
    let plans = plan_service(&service, [&slice], context);
    let mut lines = Vec::new();
    for (_, plan) in plans {
        for (chain, rules) in &plan.fragment.chains {
            lines.extend(rules.iter().map(|rule| format!("{chain}: {rule}")));
            if rules.is_empty() {
                lines.push(format!("{chain}: (empty)"));
            }
        }
        lines.extend(plan.fragment.sets.keys().map(|set| format!("set {set}")));
        for ((container, key), value) in &plan.fragment.elements {
            lines.push(format!("@{} {key}{}{value}", container.name(), if value.is_empty() { "" } else { " : " }));
        }
        if let Some(relay) = plan.relay {
            lines.push(format!("relay {} -> {:?}", relay.node_port, relay.endpoints));
        }
    }
    lines.join("\n")
}

fn node_port(policy: &str) -> Value {
    json!({"type": "NodePort", "externalTrafficPolicy": policy, "ports": [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}]})
}

fn load_balancer() -> Value {
    json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Cluster",
        "loadBalancerSourceRanges": ["192.168.0.0/24", " 203.0.113.0/25"],
        "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"ip": "5.6.7.8", "ipMode": "Proxy"}]}},
    })
}

#[rstest]
#[case::one_endpoint(json!({}), json!([ready("10.1.0.2", "there")]), "
service-ns/svc/tcp/http: meta l4proto tcp dnat to 10.1.0.2:8080
@cluster-ips 10.96.0.1
@service-ips 10.96.0.1 . tcp . 80 : goto service-ns/svc/tcp/http")]
#[case::several_endpoints(json!({}), json!([ready("10.1.0.2", "there"), ready("10.1.0.1", "here")]), "
service-ns/svc/tcp/http: meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.1.0.1 . 8080, 1 : 10.1.0.2 . 8080 }
service-ns/svc/tcp/http: drop
@cluster-ips 10.96.0.1
@service-ips 10.96.0.1 . tcp . 80 : goto service-ns/svc/tcp/http
@hairpin-connections 10.1.0.1 . 10.1.0.1 . tcp . 8080")]
#[case::no_endpoints_reject(json!({}), json!([]), "
@cluster-ips 10.96.0.1
@no-endpoint-services 10.96.0.1 . tcp . 80 : goto reject-chain")]
#[case::internal_local_without_local_drops(json!({"internalTrafficPolicy": "Local"}), json!([ready("10.1.0.2", "there")]), "
@cluster-ips 10.96.0.1
@no-endpoint-services 10.96.0.1 . tcp . 80 : drop")]
#[case::node_port(node_port("Cluster"), json!([ready("10.1.0.2", "there")]), "
external-ns/svc/tcp/http: meta mark set meta mark or 0x4000
external-ns/svc/tcp/http: goto service-ns/svc/tcp/http
service-ns/svc/tcp/http: meta l4proto tcp dnat to 10.1.0.2:8080
@cluster-ips 10.96.0.1
@service-ips 10.96.0.1 . tcp . 80 : goto service-ns/svc/tcp/http
@service-nodeports tcp . 30080 : goto external-ns/svc/tcp/http
relay 30080 -> [10.1.0.2:8080]")]
#[case::node_port_local_elsewhere(node_port("Local"), json!([ready("10.1.0.2", "there")]), "
external-ns/svc/tcp/http: ip saddr { 10.1.0.0/16 } goto service-ns/svc/tcp/http
external-ns/svc/tcp/http: fib saddr type local meta mark set meta mark or 0x4000
external-ns/svc/tcp/http: fib saddr type local goto service-ns/svc/tcp/http
service-ns/svc/tcp/http: meta l4proto tcp dnat to 10.1.0.2:8080
@cluster-ips 10.96.0.1
@service-ips 10.96.0.1 . tcp . 80 : goto service-ns/svc/tcp/http
@service-nodeports tcp . 30080 : goto external-ns/svc/tcp/http
@no-endpoint-nodeports tcp . 30080 : drop")]
#[case::node_port_without_endpoints(node_port("Local"), json!([]), "
@cluster-ips 10.96.0.1
@no-endpoint-services 10.96.0.1 . tcp . 80 : goto reject-chain
@no-endpoint-nodeports tcp . 30080 : goto reject-chain")]
#[case::load_balancer_with_sources(load_balancer(), json!([ready("10.1.0.2", "there")]), "
external-ns/svc/tcp/http: meta mark set meta mark or 0x4000
external-ns/svc/tcp/http: goto service-ns/svc/tcp/http
firewall-ns/svc/tcp/http: ip saddr != { 192.168.0.0/24, 203.0.113.0/25, 1.2.3.4 } drop
service-ns/svc/tcp/http: meta l4proto tcp dnat to 10.1.0.2:8080
@cluster-ips 10.96.0.1
@service-ips 1.2.3.4 . tcp . 80 : goto external-ns/svc/tcp/http
@service-ips 10.96.0.1 . tcp . 80 : goto service-ns/svc/tcp/http
@firewall-ips 1.2.3.4 . tcp . 80 : goto firewall-ns/svc/tcp/http")]
#[case::affinity(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}}}), json!([ready("10.1.0.2", "there"), ready("10.1.0.3", "there")]), "
endpoint-ns/svc/tcp/http__10.1.0.2/8080: update @aff-ns/svc/tcp/http__10.1.0.2/8080_10 { ip saddr }
endpoint-ns/svc/tcp/http__10.1.0.2/8080: meta l4proto tcp dnat to 10.1.0.2:8080
endpoint-ns/svc/tcp/http__10.1.0.3/8080: update @aff-ns/svc/tcp/http__10.1.0.3/8080_10 { ip saddr }
endpoint-ns/svc/tcp/http__10.1.0.3/8080: meta l4proto tcp dnat to 10.1.0.3:8080
service-ns/svc/tcp/http: ip saddr @aff-ns/svc/tcp/http__10.1.0.2/8080_10 goto endpoint-ns/svc/tcp/http__10.1.0.2/8080
service-ns/svc/tcp/http: ip saddr @aff-ns/svc/tcp/http__10.1.0.3/8080_10 goto endpoint-ns/svc/tcp/http__10.1.0.3/8080
service-ns/svc/tcp/http: numgen random mod 2 vmap { 0 : goto endpoint-ns/svc/tcp/http__10.1.0.2/8080, 1 : goto endpoint-ns/svc/tcp/http__10.1.0.3/8080 }
service-ns/svc/tcp/http: drop
set aff-ns/svc/tcp/http__10.1.0.2/8080_10
set aff-ns/svc/tcp/http__10.1.0.3/8080_10
@cluster-ips 10.96.0.1
@service-ips 10.96.0.1 . tcp . 80 : goto service-ns/svc/tcp/http")]
#[case::external_ip(json!({"externalIPs": ["203.0.113.9", "fd00::9"]}), json!([]), "
@cluster-ips 10.96.0.1
@no-endpoint-services 10.96.0.1 . tcp . 80 : goto reject-chain
@no-endpoint-services 203.0.113.9 . tcp . 80 : goto reject-chain")]
#[case::headless(json!({"clusterIP": "None", "clusterIPs": ["None"]}), json!([ready("10.1.0.2", "there")]), "")]
#[case::external_name(json!({"type": "ExternalName"}), json!([]), "")]
#[case::other_family(json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}), json!([ready("10.1.0.2", "there")]), "")]
fn fragments(#[case] spec: Value, #[case] endpoints: Value, #[case] expected: &str) {
    assert_eq!(text(spec, endpoints), expected.trim());
}

#[test]
fn ipv6_endpoints_are_bracketed_in_rules_and_dotted_in_names() {
    let (config, place) = (config(), Place::default());
    let context = Context { config: &config, place: &place, family: Family::V6 };
    let service = service("svc", "fd00::1", json!({"sessionAffinity": "ClientIP"}));
    let slice = slice("svc", "x", json!([ready("fd00:1::2", "there")]));
    let (_, plan) = plan_service(&service, [&slice], context).remove(0);
    let chain = &plan.fragment.chains["endpoint-ns/svc/tcp/http__fd00.1..2/8080"];
    assert_eq!(chain[1], "meta l4proto tcp dnat to [fd00:1::2]:8080");
    assert!(chain[0].ends_with("_10800 { ip6 saddr }"), "{chain:?}");
}

#[test]
fn the_longest_names_fit_nftables() {
    let long = |length| "x".repeat(length);
    let name = PortName { service: ObjectName::new(long(63), long(63)), port: long(63), protocol: Protocol::Sctp };
    let names = Names::new(&name);
    let endpoint = "[1111:1111:1111:1111:1111:1111:1111:1111]:65535".parse().unwrap();
    for name in [&names.endpoint(&endpoint), &names.affinity(&endpoint, 86_400), &names.external, &names.firewall] {
        assert!(name.len() <= 255, "{} bytes", name.len());
    }
}
