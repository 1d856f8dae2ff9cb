//! Validation of Services.
//!
//! Upstream: `pkg/apis/core/validation` (`validateService` and below).

use super::{
    TOPOLOGY_HINTS, TOPOLOGY_MODE, cluster_ips, is_externally_accessible, is_headless, needs_health_check_node_port,
};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{
    PROTOCOLS, dns_label, dns_subdomain, one_of, port_number, port_number_or_name, qualified_name, required_one_of,
};
use crate::kinds::ip::{endpoint_ip, legacy_cidr, legacy_ip, parse_sloppy};
use crate::kinds::read::{Read, same};
use crate::meta;
use crate::value::{Map, Value};

const SPEC: Path<'static> = Path::new("spec");
/// Longest stickiness of clients, in seconds.
const AFFINITY_SECONDS_MAX: i64 = 86_400;
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const BALANCED_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

pub fn service(service: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    topology_annotations(service, errors);
    let spec = service.at("spec");
    let kind = spec.str_at("type");
    let headless = is_headless(service);
    if !spec.filled("ports") && !headless && kind != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    by_type(spec, kind, headless, errors);
    ports(spec, errors);
    meta::labels(spec.at("selector"), &SPEC.child("selector"), errors);
    session_affinity(spec, errors);
    cluster_ips::validate(service, old, errors);
    external_ips(spec, old, errors);
    required_one_of(kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &SPEC.child("type"), errors);
    port_collisions(spec, kind, errors);
    source_ranges(service, old, errors);
    if spec.has("allocateLoadBalancerNodePorts") && kind != "LoadBalancer" {
        errors.forbidden(&SPEC.child("allocateLoadBalancerNodePorts"), BALANCED_ONLY);
    }
    if kind == "LoadBalancer" && !spec.has("allocateLoadBalancerNodePorts") {
        errors.required(&Path::new("allocateLoadBalancerNodePorts"), "");
    }
    load_balancer_class(spec, errors);
    traffic(service, errors);
}

pub fn update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    cluster_ips::validate_update(new, old, errors);
    let balanced = |service: &Value| service.str_at("spec.type") == "LoadBalancer";
    let class = "spec.loadBalancerClass";
    if balanced(old) && balanced(new) && !same(new.at(class), old.at(class)) {
        errors.invalid(&Path::new(class), new.at(class), "may not change once set");
    }
    let port = "spec.healthCheckNodePort";
    if needs_health_check_node_port(old) && needs_health_check_node_port(new) && new.int(port) != old.int(port) {
        errors.forbidden(&Path::new(port), "field is immutable");
    }
    service(new, Some(old), errors);
}

fn topology_annotations(service: &Value, errors: &mut FieldErrors) {
    let hints = service.entry("metadata.annotations", TOPOLOGY_HINTS).as_str();
    let mode = service.entry("metadata.annotations", TOPOLOGY_MODE).as_str();
    if let (Some(hints), Some(mode)) = (hints, mode)
        && hints != mode
    {
        let message = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.invalid(&Path::new("metadata.annotations").key(TOPOLOGY_MODE), mode, message);
    }
}

fn by_type(spec: &Value, kind: &str, headless: bool, errors: &mut FieldErrors) {
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let message = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&SPEC.child("clusterIPs").index(0), "None", message);
        }
        "ExternalName" => {
            const MESSAGE: &str = "may not be set for ExternalName services";
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if spec.filled(field) {
                    errors.forbidden(&SPEC.child(field), MESSAGE);
                }
            }
            let name = spec.str_at("externalName");
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.required(&SPEC.child("externalName"), ""),
                name => dns_subdomain(name, &SPEC.child("externalName"), errors),
            }
        }
        _ => {}
    }
}

fn ports(spec: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("ports");
    let ports = spec.array_at("ports");
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        match port.str_at("name") {
            "" if ports.len() > 1 => errors.required(&at.child("name"), ""),
            "" => {}
            name => {
                dns_label(name, &at.child("name"), errors);
                if ports[..index].iter().any(|earlier| earlier.str_at("name") == name) {
                    errors.duplicate(&at.child("name"), name);
                }
            }
        }
        port_number(port.int("port"), &at.child("port"), errors);
        required_one_of(port.str_at("protocol"), &PROTOCOLS, &at.child("protocol"), errors);
        port_number_or_name(port.at("targetPort"), &at.child("targetPort"), errors);
        if port.has("appProtocol") {
            qualified_name(port.str_at("appProtocol"), &at.child("appProtocol"), errors);
        }
    }
}

fn session_affinity(spec: &Value, errors: &mut FieldErrors) {
    let affinity = spec.str_at("sessionAffinity");
    required_one_of(affinity, &["ClientIP", "None"], &SPEC.child("sessionAffinity"), errors);
    let at = SPEC.child("sessionAffinityConfig");
    match affinity {
        "ClientIP" => {
            const NEEDED: &str = "when session affinity type is ClientIP";
            for (path, shown) in
                [("", ""), (".clientIP", "clientIP"), (".clientIP.timeoutSeconds", "clientIP.timeoutSeconds")]
            {
                if !spec.has(&format!("sessionAffinityConfig{path}")) {
                    return match shown {
                        "" => errors.required(&at, NEEDED),
                        shown => errors.required(&at.child(shown), NEEDED),
                    };
                }
            }
            let seconds = spec.int("sessionAffinityConfig.clientIP.timeoutSeconds");
            if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) {
                let message = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                errors.invalid(&at.child("clientIP.timeoutSeconds"), seconds, message);
            }
        }
        "None" if spec.has("sessionAffinityConfig") => {
            errors.forbidden(&at, "must not be set when session affinity is None");
        }
        _ => {}
    }
}

fn external_ips(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let existing: Vec<&str> = old.into_iter().flat_map(|old| old.strings("spec.externalIPs")).collect();
    for (index, ip) in spec.strings("externalIPs").enumerate() {
        let at = SPEC.child("externalIPs");
        let at = at.index(index);
        let before = errors.len();
        legacy_ip(ip, &at, &existing, errors);
        if !errors.grew_since(before) {
            endpoint_ip(ip, &at, errors);
        }
    }
}

fn port_collisions(spec: &Value, kind: &str, errors: &mut FieldErrors) {
    let at = SPEC.child("ports");
    let ports = spec.array_at("ports");
    if kind == "ClusterIP" {
        for (index, _) in ports.iter().enumerate().filter(|(_, port)| port.int("nodePort") != 0) {
            errors.forbidden(&at.index(index).child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let collides = |index: usize, field: &str| {
        let port: &Value = &ports[index];
        ports[..index].iter().any(|earlier| {
            earlier.int(field) == port.int(field) && earlier.str_at("protocol") == port.str_at("protocol")
        })
    };
    for (index, port) in ports.iter().enumerate() {
        if port.int("nodePort") != 0 && collides(index, "nodePort") {
            errors.duplicate(&at.index(index).child("nodePort"), port.int("nodePort"));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        if collides(index, "port") {
            errors.duplicate(&at.index(index), internal_port(port));
        }
    }
}

/// How upstream prints the pair that collides: its internal type, which has no JSON names.
fn internal_port(port: &Value) -> Value {
    let fields: [(&str, Value); 6] = [
        ("Name", "".into()),
        ("Protocol", port.at("protocol").clone()),
        ("AppProtocol", Value::Null),
        ("Port", port.at("port").clone()),
        ("TargetPort", 0i64.into()),
        ("NodePort", 0i64.into()),
    ];
    fields.into_iter().collect::<Map>().into()
}

fn source_ranges(service: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let balanced = service.str_at("spec.type") == "LoadBalancer";
    if service.filled("spec.loadBalancerSourceRanges") {
        let at = SPEC.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.forbidden(&at, BALANCED_ONLY);
        }
        let existing: Vec<&str> =
            old.into_iter().flat_map(|old| old.strings("spec.loadBalancerSourceRanges")).map(str::trim).collect();
        for (index, range) in service.strings("spec.loadBalancerSourceRanges").enumerate() {
            legacy_cidr(range.trim(), &at.index(index), &existing, errors);
        }
        return;
    }
    let Some(ranges) = service.entry("metadata.annotations", SOURCE_RANGES).as_str() else { return };
    let at = Path::new("metadata.annotations");
    let at = at.key(SOURCE_RANGES);
    if !balanced {
        errors.forbidden(&at, BALANCED_ONLY);
    }
    let unchanged = old.is_some_and(|old| old.entry("metadata.annotations", SOURCE_RANGES).as_str() == Some(ranges));
    if !unchanged && !ranges.trim().is_empty() {
        for range in ranges.split(',') {
            legacy_cidr(range.trim(), &at, &[], errors);
        }
    }
}

fn load_balancer_class(spec: &Value, errors: &mut FieldErrors) {
    if spec.has("loadBalancerClass") {
        let at = SPEC.child("loadBalancerClass");
        match spec.str_at("type") {
            "LoadBalancer" => qualified_name(spec.str_at("loadBalancerClass"), &at, errors),
            _ => errors.forbidden(&at, BALANCED_ONLY),
        }
    }
}

fn traffic(service: &Value, errors: &mut FieldErrors) {
    let spec = service.at("spec");
    let at = SPEC.child("externalTrafficPolicy");
    let policy = spec.str_at("externalTrafficPolicy");
    match is_externally_accessible(service) {
        true => required_one_of(policy, &["Cluster", "Local"], &at, errors),
        false if !policy.is_empty() => {
            errors.invalid(&at, policy, "may only be set for externally-accessible services");
        }
        false => {}
    }
    let at = SPEC.child("healthCheckNodePort");
    match (needs_health_check_node_port(service), spec.int("healthCheckNodePort")) {
        (false, 0) => {}
        (false, port) => errors.invalid(
            &at,
            port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ),
        (true, 0) => errors.required(&at, ""),
        (true, port) => port_number(port, &at, errors),
    }
    let at = SPEC.child("internalTrafficPolicy");
    match spec.has("internalTrafficPolicy") {
        true => one_of(spec.str_at("internalTrafficPolicy"), &["Cluster", "Local"], &at, errors),
        false if matches!(spec.str_at("type"), "NodePort" | "LoadBalancer" | "ClusterIP") => errors.required(&at, ""),
        false => {}
    }
    if spec.has("trafficDistribution") {
        const KNOWN: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
        one_of(spec.str_at("trafficDistribution"), &KNOWN, &SPEC.child("trafficDistribution"), errors);
    }
}

// === Status ===

pub fn status_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = Path::new("status.loadBalancer.ingress");
    let ingresses = new.array_at("status.loadBalancer.ingress");
    if new.str_at("spec.type") != "LoadBalancer" && !ingresses.is_empty() {
        return errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    let existing: Vec<&str> =
        old.array_at("status.loadBalancer.ingress").iter().map(|ingress| ingress.str_at("ip")).collect();
    for (index, ingress) in ingresses.iter().enumerate() {
        load_balancer_ingress(ingress, &existing, &at.index(index), errors);
    }
}

fn load_balancer_ingress(ingress: &Value, existing: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    let ip = ingress.str_at("ip");
    if !ip.is_empty() {
        legacy_ip(ip, &at.child("ip"), existing, errors);
    }
    let mode = at.child("ipMode");
    match (ingress.has("ipMode"), ip.is_empty()) {
        (false, false) => errors.required(&mode, "must be specified when `ip` is set"),
        (true, true) => errors.forbidden(&mode, "may not be specified when `ip` is not set"),
        (true, false) => one_of(ingress.str_at("ipMode"), &["Proxy", "VIP"], &mode, errors),
        (false, true) => {}
    }
    let hostname = ingress.str_at("hostname");
    if !hostname.is_empty() {
        dns_subdomain(hostname, &at.child("hostname"), errors);
        if parse_sloppy(hostname).is_some() {
            errors.invalid(&at.child("hostname"), hostname, "must be a DNS name, not an IP address");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::super::RULES;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case::plain(json!({"ports": [{"port": 80}]}), "")]
    #[case::no_ports(json!({}), "spec.ports: Required value")]
    #[case::headless_without_ports(json!({"clusterIP": "None", "clusterIPs": ["None"]}), "")]
    #[case::bad_type(json!({"ports": [{"port": 80}], "type": "Other"}),
        r#"spec.type: Unsupported value: "Other": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#)]
    #[case::bad_port(json!({"ports": [{"port": 65536}]}),
        "spec.ports[0].port: Invalid value: 65536: must be between 1 and 65535, inclusive; \
         spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive")]
    #[case::unnamed_ports(json!({"ports": [{"port": 80}, {"port": 81}]}),
        "spec.ports[0].name: Required value; spec.ports[1].name: Required value")]
    #[case::same_ports(json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
        r#"spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}"#)]
    #[case::external_name(json!({"type": "ExternalName", "externalName": "example.com."}), "")]
    #[case::external_name_missing(json!({"type": "ExternalName"}), "spec.externalName: Required value")]
    #[case::node_port_of_cluster_ip(json!({"ports": [{"port": 80, "nodePort": 30000}]}),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'")]
    #[case::cluster_ips_apart(json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}),
        r#"spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`"#)]
    #[case::affinity(json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400")]
    #[case::external_policy(json!({"ports": [{"port": 80}], "externalTrafficPolicy": "Local"}),
        r#"spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services"#)]
    fn services(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let said = create(&RULES, true, object(true, json!({"spec": spec}))).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }

    #[test]
    fn a_cluster_ip_stays() {
        let spec = |ip: &str| json!({"spec": {"ports": [{"port": 80}], "clusterIP": ip, "clusterIPs": [ip]}});
        let said = update(&RULES, true, object(true, spec("10.0.0.2")), object(true, spec("10.0.0.1"))).unwrap_err();
        assert_eq!(said, [r#"spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set"#]);
    }
}
