//! Node.

use smol_str::SmolStr;

use super::ip;
use super::pod::scheduling::taints;
use super::read::{Read, as_internal, copy};
use super::resources::{self, quantity_value};
use super::{Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::names;
use crate::value::Value;

const POD_CIDRS: Path<'static> = Path::new("spec.podCIDRs");

pub const RULES: Rules = Rules {
    defaults: |node| {
        if !node.has("status.allocatable") && node.has("status.capacity") {
            node.set("status.allocatable", node.at("status.capacity").clone());
        }
        join_pod_cidrs(node);
        resources::round(node, &["status.capacity", "status.allocatable"]);
    },
    status: StatusRule::SetOnCreate,
    prepare_create: |node, _| {
        node.remove("spec.configSource");
        node.remove("status.config");
    },
    prepare_update: |new, old, _| {
        if !old.has("spec.configSource") {
            new.remove("spec.configSource");
        }
    },
    validate,
    validate_update: |new, old, errors| {
        validate(new, errors);
        validate_update(new, old, errors);
    },
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            if !old.has("status.config") {
                new.remove("status.config");
            }
        },
        validate: validate_update,
        ..Subresource::STATUS
    }],
    warnings: |node, _| {
        let mut warnings = Vec::new();
        if node.has("spec.configSource") {
            warnings.push("spec.configSource: the feature is removed".to_owned());
        }
        if node.filled("spec.externalID") {
            warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        for (index, cidr) in node.strings("spec.podCIDRs").enumerate() {
            warnings.extend(ip::cidr_warnings(cidr, &POD_CIDRS.index(index)));
        }
        warnings
    },
    selectable: &[("spec.unschedulable", unschedulable)],
    ..Rules::DEFAULT
};

fn unschedulable(node: &Value) -> SmolStr {
    SmolStr::new_static(if node.flag("spec.unschedulable") { "true" } else { "false" })
}

/// Keeps `podCIDR` and `podCIDRs` in step; the single one wins.
fn join_pod_cidrs(node: &mut Value) {
    let single = node.str_at("spec.podCIDR").to_owned();
    let first = node.strings("spec.podCIDRs").next().map(str::to_owned);
    match first {
        Some(first) if single.is_empty() => node.set("spec.podCIDR", first),
        Some(first) if first == single => {}
        _ if single.is_empty() => {}
        _ => node.set("spec.podCIDRs", vec![single]),
    }
}

fn validate(node: &Value, errors: &mut FieldErrors) {
    taints(node.array_at("spec.taints"), &Path::new("metadata.taints"), errors);
    validate_resources(node, errors);
    let swap = "status.nodeInfo.swap.capacity";
    if node.has(swap) && node.int(swap) <= 0 {
        errors.invalid(&Path::new("metadata.nodeSwapStatus.capacity"), node.int(swap), "must be greater than 0");
    }
    validate_declared_features(node, errors);
    let cidrs: Vec<&str> = node.strings("spec.podCIDRs").collect();
    for (index, cidr) in cidrs.iter().enumerate() {
        ip::legacy_cidr(cidr, &POD_CIDRS.index(index), &[], errors);
    }
    if cidrs.len() > 1 {
        let parsed: Option<Vec<_>> = cidrs.iter().map(|cidr| ip::parse_cidr_sloppy(cidr).map(|(ip, _)| ip)).collect();
        let dual = match &parsed {
            Some(ips) => ips[1..].iter().any(|other| ip::is_dual_stack(ips[0], *other)),
            None => {
                let index = cidrs.iter().position(|cidr| ip::parse_cidr_sloppy(cidr).is_none()).unwrap_or_default();
                let bad = cidrs[index];
                errors.internal(
                    &POD_CIDRS,
                    format!("invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{index}]: <nil> (invalid CIDR address: {bad})"),
                );
                false
            }
        };
        if !dual || cidrs.len() > 2 {
            let message = "may specify no more than one CIDR for each IP family";
            errors.invalid(&POD_CIDRS, node.at("spec.podCIDRs"), message);
        }
    }
}

fn validate_resources(node: &Value, errors: &mut FieldErrors) {
    for list in ["status.capacity", "status.allocatable"] {
        for (resource, amount) in node.entries(list) {
            quantity_value(resource, amount, &Path::new(list).child(resource), errors);
        }
    }
}

/// Sorted, unique, each a path of names like `InPlacePodVerticalScaling`.
fn validate_declared_features(node: &Value, errors: &mut FieldErrors) {
    let at = Path::new("status.declaredFeatures");
    let mut previous: Option<&str> = None;
    for (index, feature) in node.strings("status.declaredFeatures").enumerate() {
        let at = at.index(index);
        match previous {
            Some(previous) if previous == feature => errors.duplicate(&at, feature),
            Some(previous) if previous > feature => errors.invalid(&at, feature, "list must be sorted alphabetically"),
            _ => {}
        }
        previous = Some(feature);
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if feature.len() > names::SUBDOMAIN_BYTES_MAX {
            let message = format!("invalid feature name \"{feature}\": must be no more than 253 characters");
            errors.invalid(&at, feature, message);
        } else if !feature.starts_with(|c: char| c.is_ascii_uppercase()) || !feature.split('/').all(is_name) {
            let message = format!(
                "invalid feature name \"{feature}\": must start with an UpperCamelCase segment, with subsequent \
                 segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric \
                 characters and slashes"
            );
            errors.invalid(&at, feature, message);
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    validate_resources(new, errors);
    validate_declared_features(new, errors);
    let addresses = new.array_at("status.addresses");
    for (index, address) in addresses.iter().enumerate() {
        if addresses[..index].contains(address) {
            let shown = as_internal(address, &[("Type", "type", "".into()), ("Address", "address", "".into())]);
            errors.duplicate(&Path::new("status.addresses").index(index), shown);
        }
    }
    let (cidrs, old_cidrs) = (new.array_at("spec.podCIDRs"), old.array_at("spec.podCIDRs"));
    if !old_cidrs.is_empty() && cidrs != old_cidrs {
        errors.forbidden(&POD_CIDRS, "node updates may not change podCIDR except from \"\" to valid");
    }
    let (id, old_id) = (new.str_at("spec.providerID"), old.str_at("spec.providerID"));
    if !old_id.is_empty() && id != old_id {
        let what = if id.is_empty() { "cleared" } else { "modified" };
        let message = format!("field cannot be {what} once set");
        errors.invalid(&Path::new("spec.providerID"), Value::Null, message);
    }
    taints(new.array_at("spec.taints"), &Path::new("metadata.taints"), errors);
    if new.str_at("spec.externalID") != old.str_at("spec.externalID") {
        errors.forbidden(&Path::new("spec.externalID"), "may not be updated");
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}}), "")]
    #[case(json!({"spec": {"podCIDRs": ["10.0.0.0/24", "10.1.0.0/24"]}}),
        r#"spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one CIDR for each IP family"#)]
    #[case(json!({"spec": {"podCIDR": "10.0.0"}}),
        r#"spec.podCIDRs[0]: Invalid value: "10.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#)]
    #[case(json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}}),
        r#"metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair"#)]
    #[case(json!({"spec": {"taints": [{"key": "a", "effect": "Maybe"}]}}),
        r#"metadata.taints[0].effect: Unsupported value: "Maybe": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#)]
    #[case(json!({"status": {"capacity": {"pods": "1500m"}}}),
        r#"status.capacity.pods: Invalid value: "1500m": must be an integer; status.allocatable.pods: Invalid value: "1500m": must be an integer"#)]
    #[case(json!({"status": {"declaredFeatures": ["B", "A"]}}),
        r#"status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically"#)]
    fn new_nodes(#[case] fields: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&RULES, false, object(false, fields)).err().unwrap_or_default().join("; "), expected);
    }

    #[rstest]
    #[case(json!({"providerID": "a"}), json!({}), "spec.providerID: Invalid value: null: field cannot be cleared once set")]
    #[case(json!({"providerID": "a"}), json!({"providerID": "b"}),
        "spec.providerID: Invalid value: null: field cannot be modified once set")]
    #[case(json!({}), json!({"providerID": "b", "podCIDR": "10.0.0.0/24", "unschedulable": true}), "")]
    #[case(json!({"podCIDR": "10.0.0.0/24"}), json!({"podCIDR": "10.1.0.0/24"}),
        "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid")]
    fn changed_nodes(#[case] old: serde_json::Value, #[case] new: serde_json::Value, #[case] expected: &str) {
        let node = |spec| object(false, json!({"spec": spec}));
        let said = update(&RULES, false, node(new), node(old)).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }

    #[test]
    fn status_is_taken_on_create() {
        let node = object(false, json!({"status": {"capacity": {"cpu": "2"}}, "spec": {"podCIDR": "10.0.0.0/24"}}));
        let created = create(&RULES, false, node).unwrap();
        assert_eq!(created.str_at("status.allocatable.cpu"), "2");
        assert_eq!(created.array_at("spec.podCIDRs"), ["10.0.0.0/24".into()]);
    }
}
