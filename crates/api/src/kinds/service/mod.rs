//! Service: defaults, and what its type brings or takes away. Allocation of addresses and ports
//! belongs to the apiserver, which calls [`normalize_cluster_ips`] and
//! [`keep_allocated`] before it and the rules after it, as upstream does.
//!
//! Upstream: `pkg/registry/core/service`.

mod cluster_ips;
mod validate;

use super::ip::ip_warning;
use super::read::{Read, copy, default_to, default_zero, each_mut, same};
use super::{Rules, StatusRule, Subresource};
use crate::field::Path;
use crate::meta::NameRule;
use crate::value::{Map, Value};

const AFFINITY_SECONDS: i64 = 10_800;
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

pub const RULES: Rules = Rules {
    name: NameRule::Label,
    defaults,
    status: StatusRule::Separate,
    prepare_update: |new, old, _| drop_type_dependent_fields(new, old),
    validate: |service, errors| validate::service(service, None, errors),
    validate_update: validate::update,
    subresources: &[Subresource { validate: validate::status_update, ..Subresource::STATUS }],
    warnings: |service, _| warnings(service),
    selectable: &[
        ("spec.clusterIP", |service| service.str_at("spec.clusterIP").into()),
        ("spec.type", |service| service.str_at("spec.type").into()),
    ],
    allow_create_on_update: true,
    ..Rules::DEFAULT
};

fn defaults(service: &mut Value) {
    service.at_or_insert("spec").make_object();
    default_zero(service, "spec.sessionAffinity", "None");
    match service.str_at("spec.sessionAffinity") {
        "None" => {
            service.remove("spec.sessionAffinityConfig");
        }
        "ClientIP" if !service.has("spec.sessionAffinityConfig.clientIP.timeoutSeconds") => {
            service.set("spec.sessionAffinityConfig", Map::new());
            service.set("spec.sessionAffinityConfig.clientIP.timeoutSeconds", AFFINITY_SECONDS);
        }
        _ => {}
    }
    default_zero(service, "spec.type", "ClusterIP");
    each_mut(service, "spec.ports", |port| {
        default_zero(port, "protocol", "TCP");
        let number = port.int("port");
        default_zero(port, "targetPort", number);
    });
    if is_externally_accessible(service) {
        default_zero(service, "spec.externalTrafficPolicy", "Cluster");
    }
    let kind = service.str_at("spec.type").to_owned();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        default_to(service, "spec.internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default_to(service, "spec.allocateLoadBalancerNodePorts", true);
        each_mut(service, "status.loadBalancer.ingress", |ingress| {
            if ingress.filled("ip") {
                default_to(ingress, "ipMode", "VIP");
            }
        });
    }
}

// === What types need ===

pub fn is_headless(service: &Value) -> bool {
    matches!(service.array_at("spec.clusterIPs"), [Value::String(ip)] if ip == "None")
}

pub fn needs_cluster_ip(service: &Value) -> bool {
    service.str_at("spec.type") != "ExternalName"
}

/// Whether the allocator gives the ports node ports.
pub fn needs_node_port(service: &Value) -> bool {
    match service.str_at("spec.type") {
        "NodePort" => true,
        "LoadBalancer" => service.at("spec.allocateLoadBalancerNodePorts").as_bool().unwrap_or(true),
        _ => false,
    }
}

/// Whether load balancers ask a port of its own for the health of the node's endpoints.
pub fn needs_health_check_node_port(service: &Value) -> bool {
    service.str_at("spec.type") == "LoadBalancer" && service.str_at("spec.externalTrafficPolicy") == "Local"
}

/// Whether traffic may come from outside of the cluster.
pub fn is_externally_accessible(service: &Value) -> bool {
    match service.str_at("spec.type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => service.filled("spec.externalIPs"),
        _ => false,
    }
}

// === Before allocation ===

/// Brings `clusterIP` and `clusterIPs` into step, guessing what the client meant.
pub fn normalize_cluster_ips(new: &mut Value, old: Option<&Value>) {
    let ip = new.str_at("spec.clusterIP").to_owned();
    let Some(old) = old else {
        if !ip.is_empty() && !new.filled("spec.clusterIPs") {
            new.set("spec.clusterIPs", vec![ip]);
        }
        return;
    };
    let old_ip = old.str_at("spec.clusterIP");
    if old.filled("spec.clusterIPs") && !new.filled("spec.clusterIPs") && old_ip == ip {
        // An old client that doesn't know the plural field.
        copy(new, old, "spec.clusterIPs");
    }
    let plural_untouched = same(new.at("spec.clusterIPs"), old.at("spec.clusterIPs"));
    if old_ip != ip && plural_untouched {
        match ip.is_empty() {
            true => drop(new.remove("spec.clusterIPs")),
            false => new.set("spec.clusterIPs", vec![ip]),
        }
    }
}

/// Gives back what was allocated where the client left it out: the same manifest applied twice
/// must not lose its addresses.
pub fn keep_allocated(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if !new.filled("spec.clusterIP") {
            copy(new, old, "spec.clusterIP");
        }
        if !new.filled("spec.clusterIPs") && old.filled("spec.clusterIPs") {
            copy(new, old, "spec.clusterIPs");
        }
    }
    if needs_node_port(old) && needs_node_port(new) {
        keep_node_ports(new, old);
    }
    if needs_health_check_node_port(old)
        && needs_health_check_node_port(new)
        && new.int("spec.healthCheckNodePort") == 0
    {
        copy(new, old, "spec.healthCheckNodePort");
    }
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let in_new = node_ports(new);
    let used: Vec<i64> = node_ports(old).into_iter().filter(|port| in_new.contains(port)).collect();
    let by_name: Vec<(String, i64)> =
        old.array_at("spec.ports").iter().map(|port| (port.str_at("name").to_owned(), port.int("nodePort"))).collect();
    each_mut(new, "spec.ports", |port| {
        if port.int("nodePort") == 0 {
            let known = by_name.iter().rev().find(|(name, _)| name == port.str_at("name")).map(|(_, known)| *known);
            if let Some(known) = known.filter(|known| *known != 0 && !used.contains(known)) {
                port.set("nodePort", known);
            }
        }
    });
}

fn node_ports(service: &Value) -> Vec<i64> {
    service.array_at("spec.ports").iter().map(|port| port.int("nodePort")).filter(|port| *port != 0).collect()
}

// === Update ===

/// Fields that the new type has no use for go, where the client didn't set them itself.
fn drop_type_dependent_fields(new: &mut Value, old: &Value) {
    let unchanged = |new: &Value, path: &str| same(new.at(path), old.at(path));
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if unchanged(new, "spec.clusterIP") && unchanged(new, "spec.clusterIPs") {
            new.remove("spec.clusterIP");
            new.remove("spec.clusterIPs");
        }
        for field in ["spec.ipFamilies", "spec.ipFamilyPolicy"] {
            if unchanged(new, field) {
                new.remove(field);
            }
        }
    }
    let uses_node_ports = |service: &Value| matches!(service.str_at("spec.type"), "NodePort" | "LoadBalancer");
    let old_ports = node_ports(old);
    if uses_node_ports(old) && !uses_node_ports(new) && node_ports(new).iter().all(|port| old_ports.contains(port)) {
        each_mut(new, "spec.ports", |port| drop(port.remove("nodePort")));
    }
    if needs_health_check_node_port(old)
        && !needs_health_check_node_port(new)
        && unchanged(new, "spec.healthCheckNodePort")
    {
        new.remove("spec.healthCheckNodePort");
    }
    let is_balanced = |service: &Value| service.str_at("spec.type") == "LoadBalancer";
    if is_balanced(old) && !is_balanced(new) {
        for field in ["spec.allocateLoadBalancerNodePorts", "spec.loadBalancerClass"] {
            if unchanged(new, field) {
                new.remove(field);
            }
        }
    }
    if is_externally_accessible(old) && !is_externally_accessible(new) && unchanged(new, "spec.externalTrafficPolicy") {
        new.remove("spec.externalTrafficPolicy");
    }
    if !is_balanced(new) {
        new.set("status.loadBalancer", Map::new());
    }
}

// === Warnings ===

fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = service.at("spec");
    let at = Path::new("spec");
    let kind = spec.str_at("type");
    let headless = kind == "ClusterIP" && spec.str_at("clusterIP") == "None";
    if !service.entry("metadata.annotations", TOPOLOGY_HINTS).is_null() {
        warnings.push(format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    if !matches!(spec.str_at("clusterIP"), "" | "None") {
        for (index, ip) in spec.strings("clusterIPs").enumerate() {
            warnings.extend(ip_warning(ip, &at.child("clusterIPs").index(index)));
        }
    }
    if headless {
        if spec.filled("loadBalancerIP") {
            warnings.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if spec.filled("externalIPs") {
            warnings.push("spec.externalIPs is ignored for headless services".into());
        }
        if spec.str_at("sessionAffinity") != "None" {
            warnings.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    for (index, ip) in spec.strings("externalIPs").enumerate() {
        warnings.extend(ip_warning(ip, &at.child("externalIPs").index(index)));
    }
    if spec.filled("externalIPs") && !headless && kind != "ExternalName" {
        warnings.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if spec.filled("loadBalancerIP") {
        warnings.extend(ip_warning(spec.str_at("loadBalancerIP"), &at.child("loadBalancerIP")));
    }
    if kind == "ExternalName" && spec.filled("externalIPs") {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if kind != "ExternalName" && spec.filled("externalName") {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.str_at("trafficDistribution") == "PreferClose" {
        warnings.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{object, tree, update};

    #[test]
    fn a_bare_service_gets_its_defaults() {
        let mut service = tree(json!({"spec": {"ports": [{"port": 80}]}}));
        defaults(&mut service);
        assert_eq!(
            service,
            tree(json!({"spec": {
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster"}}))
        );
    }

    #[test]
    fn the_plural_follows_the_singular() {
        let mut service = tree(json!({"spec": {"clusterIP": "10.0.0.1"}}));
        normalize_cluster_ips(&mut service, None);
        assert_eq!(service.array_at("spec.clusterIPs"), ["10.0.0.1".into()]);
        let old = service.clone();
        service.remove("spec.clusterIPs");
        normalize_cluster_ips(&mut service, Some(&old));
        assert_eq!(service, old);
    }

    #[test]
    fn applying_a_manifest_again_keeps_what_was_allocated() {
        let old = tree(json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"name": "a", "nodePort": 30000}, {"name": "b", "nodePort": 30001}]}}));
        let mut new =
            tree(json!({"spec": {"type": "NodePort", "ports": [{"name": "b"}, {"name": "c", "nodePort": 30000}]}}));
        keep_allocated(&mut new, &old);
        assert_eq!(new.str_at("spec.clusterIP"), "10.0.0.1");
        assert_eq!(new.array_at("spec.ports")[0].int("nodePort"), 30001);
    }

    #[test]
    fn node_ports_go_when_the_type_does() {
        let old = object(
            true,
            json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"port": 80, "nodePort": 30000}]}}),
        );
        let mut new = old.clone();
        new.set("spec.type", "ClusterIP");
        let updated = update(&RULES, true, new, old).unwrap();
        assert!(!updated.array_at("spec.ports")[0].has("nodePort"));
    }
}
