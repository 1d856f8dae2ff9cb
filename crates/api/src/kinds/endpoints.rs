//! Endpoints and EndpointSlice: where a Service's traffic can go.
//!
//! Upstream: `pkg/apis/core/validation`, `pkg/apis/discovery/validation`.

use std::net::IpAddr;

use super::formats::{
    PROTOCOLS, dns_label, dns_subdomain, fully_qualified_domain_name, one_of, port_number, qualified_name,
    required_one_of,
};
use super::ip::{canonical_ip, endpoint_ip, ip_warning, legacy_ip, parse_sloppy};
use super::read::{Read, default_to, default_zero, each_mut, same};
use super::{Generation, Rules};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::names;
use crate::value::Value;

const TOPOLOGY_LABELS_MAX: usize = 16;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const ENDPOINTS_MAX: usize = 1000;
const HINTS_MAX: usize = 8;
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

pub const ENDPOINTS: Rules = Rules {
    defaults: |endpoints| {
        each_mut(endpoints, "subsets", |subset| {
            each_mut(subset, "ports", |port| default_zero(port, "protocol", "TCP"));
        });
    },
    validate: |endpoints, errors| validate_subsets(endpoints, errors),
    validate_update: |new, old, errors| {
        // What an older release took stays valid as long as it isn't touched.
        let mut found = FieldErrors::new();
        validate_subsets(new, &mut found);
        if !found.is_empty() && !same(new.at("subsets"), old.at("subsets")) {
            errors.extend(found);
        }
    },
    warnings: |endpoints, _| {
        let at = Path::new("subsets");
        let mut warnings = Vec::new();
        for (index, subset) in endpoints.array_at("subsets").iter().enumerate() {
            for list in ["addresses", "notReadyAddresses"] {
                for (address_index, address) in subset.array_at(list).iter().enumerate() {
                    let at = at.index(index);
                    let at = at.child(list);
                    let at = at.index(address_index);
                    warnings.extend(ip_warning(address.str_at("ip"), &at.child("ip")));
                }
            }
        }
        warnings
    },
    allow_create_on_update: true,
    ..Rules::DEFAULT
};

pub const ENDPOINT_SLICE: Rules = Rules {
    defaults: |slice| {
        each_mut(slice, "ports", |port| {
            default_to(port, "name", "");
            default_to(port, "protocol", "TCP");
        });
    },
    generation: Generation::ContentOrLabels,
    prepare_create: |slice, _| drop_topology(slice, None),
    prepare_update: |new, old, _| {
        if !same(new.at("endpoints"), old.at("endpoints")) {
            drop_topology(new, Some(old));
        }
    },
    validate: |slice, errors| {
        validate_slice(slice, errors);
        validate_endpoints(slice, errors);
    },
    validate_update: |new, old, errors| {
        validate_slice(new, errors);
        let mut found = FieldErrors::new();
        validate_endpoints(new, &mut found);
        if !found.is_empty() && !same(new.at("endpoints"), old.at("endpoints")) {
            errors.extend(found);
        }
        meta::fixed(new.at("addressType"), old.at("addressType"), &Path::new("addressType"), errors);
    },
    warnings: slice_warnings,
    ..Rules::DEFAULT
};

// === Endpoints ===

fn validate_subsets(endpoints: &Value, errors: &mut FieldErrors) {
    let at = Path::new("subsets");
    for (index, subset) in endpoints.array_at("subsets").iter().enumerate() {
        let at = at.index(index);
        if !subset.filled("addresses") && !subset.filled("notReadyAddresses") {
            errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (index, address) in subset.array_at(list).iter().enumerate() {
                validate_address(address, &at.child(list).index(index), errors);
            }
        }
        let ports = subset.array_at("ports");
        for (index, port) in ports.iter().enumerate() {
            validate_port(port, ports.len() > 1, &at.child("ports").index(index), errors);
        }
    }
}

fn validate_address(address: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let ip = address.str_at("ip");
    legacy_ip(ip, &at.child("ip"), &[], errors);
    if address.filled("hostname") {
        dns_label(address.str_at("hostname"), &at.child("hostname"), errors);
    }
    if address.has("nodeName") {
        dns_subdomain(address.str_at("nodeName"), &at.child("nodeName"), errors);
    }
    endpoint_ip(ip, &at.child("ip"), errors);
}

fn validate_port(port: &Value, name_needed: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    match port.str_at("name") {
        "" if name_needed => errors.required(&at.child("name"), ""),
        "" => {}
        name => dns_label(name, &at.child("name"), errors),
    }
    port_number(port.int("port"), &at.child("port"), errors);
    required_one_of(port.str_at("protocol"), &PROTOCOLS, &at.child("protocol"), errors);
    if port.has("appProtocol") {
        qualified_name(port.str_at("appProtocol"), &at.child("appProtocol"), errors);
    }
}

// === EndpointSlice ===

/// v1 doesn't take the old topology labels; a node name that was kept in one moves to its field.
fn drop_topology(slice: &mut Value, old: Option<&Value>) {
    let known: Vec<String> = old
        .into_iter()
        .flat_map(|old| old.array_at("endpoints"))
        .filter_map(|endpoint| endpoint.entry("deprecatedTopology", HOSTNAME_LABEL).as_str())
        .map(str::to_owned)
        .collect();
    each_mut(slice, "endpoints", |endpoint| {
        let node = endpoint.entry("deprecatedTopology", HOSTNAME_LABEL).as_str().unwrap_or_default().to_owned();
        if !endpoint.has("nodeName") && known.contains(&node) && names::dns1123_subdomain(&node).is_empty() {
            endpoint.set("nodeName", node);
        }
        endpoint.remove("deprecatedTopology");
    });
}

fn validate_slice(slice: &Value, errors: &mut FieldErrors) {
    required_one_of(slice.str_at("addressType"), &["FQDN", "IPv4", "IPv6"], &Path::new("addressType"), errors);
    let at = Path::new("ports");
    let ports = slice.array_at("ports");
    if ports.len() > PORTS_MAX {
        return errors.too_many(&at, ports.len(), PORTS_MAX);
    }
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let name = port.str_at("name");
        if !name.is_empty() {
            dns_label(name, &at.child("name"), errors);
        }
        if ports[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.duplicate(&at.child("name"), name);
        }
        match port.has("protocol") {
            true => one_of(port.str_at("protocol"), &PROTOCOLS, &at.child("protocol"), errors),
            false => errors.required(&at.child("protocol"), ""),
        }
        if port.has("appProtocol") {
            qualified_name(port.str_at("appProtocol"), &at.child("appProtocol"), errors);
        }
    }
}

fn validate_endpoints(slice: &Value, errors: &mut FieldErrors) {
    let at = Path::new("endpoints");
    let endpoints = slice.array_at("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        return errors.too_many(&at, endpoints.len(), ENDPOINTS_MAX);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        validate_endpoint(endpoint, slice.str_at("addressType"), &at.index(index), errors);
    }
}

fn validate_endpoint(endpoint: &Value, family: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let addresses = at.child("addresses");
    match endpoint.len_at("addresses") {
        0 => errors.required(&addresses, ""),
        count if count > ADDRESSES_MAX => errors.too_many(&addresses, count, ADDRESSES_MAX),
        _ => {}
    }
    for (index, address) in endpoint.strings("addresses").enumerate() {
        slice_address(address, family, &addresses, index, errors);
    }
    if endpoint.has("nodeName") {
        dns_subdomain(endpoint.str_at("nodeName"), &at.child("nodeName"), errors);
    }
    let topology = at.child("deprecatedTopology");
    if endpoint.len_at("deprecatedTopology") > TOPOLOGY_LABELS_MAX {
        errors.too_many(&topology, endpoint.len_at("deprecatedTopology"), TOPOLOGY_LABELS_MAX);
    }
    meta::labels(endpoint.at("deprecatedTopology"), &topology, errors);
    if !endpoint.entry("deprecatedTopology", ZONE_LABEL).is_null() {
        errors.internal(&topology.key(ZONE_LABEL), "reserved key was not removed in conversion");
    }
    if endpoint.has("hostname") {
        dns_label(endpoint.str_at("hostname"), &at.child("hostname"), errors);
    }
    hints(endpoint.at("hints"), &at.child("hints"), errors);
}

fn slice_address(address: &str, family: &str, at: &Path<'_>, index: usize, errors: &mut FieldErrors) {
    let here = at.index(index);
    let before = errors.len();
    let right_family = match family {
        "IPv4" => {
            legacy_ip(address, &here, &[], errors);
            IpAddr::is_ipv4
        }
        "IPv6" => {
            canonical_ip(address, &here, errors);
            IpAddr::is_ipv6
        }
        "FQDN" => return fully_qualified_domain_name(address, &here, errors),
        _ => return,
    };
    if errors.grew_since(before) {
        return;
    }
    if !parse_sloppy(address).is_some_and(|ip| right_family(&ip)) {
        errors.invalid(at, address, format!("must be an {family} address"));
    }
    endpoint_ip(address, &here, errors);
}

fn hints(hints: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    for (list, judge) in
        [("forZones", names::label_value as fn(&str) -> names::Complaints), ("forNodes", names::dns1123_subdomain)]
    {
        let at = at.child(list);
        let items = hints.array_at(list);
        if items.len() > HINTS_MAX {
            return errors.too_many(&at, items.len(), HINTS_MAX);
        }
        for (index, item) in items.iter().enumerate() {
            let at = at.index(index);
            let at = at.child("name");
            let name = item.str_at("name");
            if items[..index].iter().any(|earlier| earlier.str_at("name") == name) {
                errors.duplicate(&at, name);
            }
            errors.invalid_each(&at, name, judge(name));
        }
    }
}

fn slice_warnings(slice: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() && slice.str_at("addressType") == "FQDN" {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
    let manager = slice.entry("metadata.labels", "endpointslice.kubernetes.io/managed-by").as_str().unwrap_or_default();
    if matches!(manager, "endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io") {
        return warnings;
    }
    let at = Path::new("endpoints");
    for (index, endpoint) in slice.array_at("endpoints").iter().enumerate() {
        for (address_index, address) in endpoint.strings("addresses").enumerate() {
            warnings.extend(ip_warning(address, &at.index(index).child("addresses").index(address_index)));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}), "")]
    #[case(json!({"subsets": [{"ports": [{"port": 80}]}]}),
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`")]
    #[case(json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]}),
        r#"subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#)]
    #[case(json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}, {"name": "b", "port": 0}]}]}),
        "subsets[0].ports[0].name: Required value; \
         subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive")]
    fn endpoints(#[case] fields: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&ENDPOINTS, true, object(true, fields)).err().unwrap_or_default().join("; "), expected);
    }

    #[rstest]
    #[case(json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}), "")]
    #[case(json!({"addressType": "IPv5"}),
        r#"addressType: Unsupported value: "IPv5": supported values: "FQDN", "IPv4", "IPv6""#)]
    #[case(json!({"addressType": "IPv4", "endpoints": [{"addresses": []}]}),
        "endpoints[0].addresses: Required value")]
    #[case(json!({"addressType": "IPv4", "endpoints": [{"addresses": ["fe80::1"]}]}),
        r#"endpoints[0].addresses: Invalid value: "fe80::1": must be an IPv4 address; endpoints[0].addresses[0]: Invalid value: "fe80::1": may not be in the link-local range (169.254.0.0/16, fe80::/10)"#)]
    #[case(json!({"addressType": "IPv4", "ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}),
        r#"ports[1].name: Duplicate value: "a""#)]
    fn slices(#[case] fields: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&ENDPOINT_SLICE, true, object(true, fields)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_slices_generation_moves_with_endpoints_and_labels() {
        let old = create(&ENDPOINT_SLICE, true, object(true, json!({"addressType": "IPv4"}))).unwrap();
        let mut labeled = old.clone();
        labeled.set("metadata.labels.a", "b");
        assert_eq!(update(&ENDPOINT_SLICE, true, labeled, old.clone()).unwrap().int("metadata.generation"), 2);
        let mut annotated = old.clone();
        annotated.set("metadata.annotations.a", "b");
        assert_eq!(update(&ENDPOINT_SLICE, true, annotated, old).unwrap().int("metadata.generation"), 1);
    }
}
