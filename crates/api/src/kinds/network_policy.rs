//! NetworkPolicy.

use super::formats::port_number;
use super::read::{Read, each_mut};
use super::{Generation, Rules, ip};
use crate::field::{FieldErrors, Path};
use crate::value::Value;
use crate::{meta, names};

const SPEC: Path<'static> = Path::new("spec");
/// The lists of rules and, in each, the list of peers.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

pub const RULES: Rules = Rules {
    defaults: |policy| {
        for (direction, _) in DIRECTIONS {
            each_mut(policy, &format!("spec.{direction}"), |rule| {
                each_mut(rule, "ports", |port| super::read::default_to(port, "protocol", "TCP"));
            });
        }
        if !policy.filled("spec.policyTypes") {
            let both = policy.filled("spec.egress");
            policy.set("spec.policyTypes", if both { vec!["Ingress", "Egress"] } else { vec!["Ingress"] });
        }
    },
    generation: Generation::Spec,
    validate: |policy, errors| validate_spec(policy.at("spec"), &[], errors),
    validate_update: |new, old, errors| {
        let mut known = Vec::new();
        each_block(old.at("spec"), |block, _| {
            known.push(block.str_at("cidr").to_owned());
            known.extend(block.strings("except").map(str::to_owned));
        });
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        validate_spec(new.at("spec"), &known, errors);
    },
    warnings: |policy, _| {
        let mut warnings = Vec::new();
        each_block(policy.at("spec"), |block, at| {
            warnings.extend(ip::cidr_warnings(block.str_at("cidr"), &at.child("cidr")));
            for (index, except) in block.strings("except").enumerate() {
                warnings.extend(ip::cidr_warnings(except, &at.child("except").index(index)));
            }
        });
        warnings
    },
    ..Rules::DEFAULT
};

fn each_block(spec: &Value, mut each: impl FnMut(&Value, &Path<'_>)) {
    for (direction, peers) in DIRECTIONS {
        for (index, rule) in spec.array_at(direction).iter().enumerate() {
            let at = SPEC.child(direction);
            let at = at.index(index);
            let at = at.child(peers);
            for (index, peer) in rule.array_at(peers).iter().enumerate() {
                if peer.has("ipBlock") {
                    each(peer.at("ipBlock"), &at.index(index).child("ipBlock"));
                }
            }
        }
    }
}

fn validate_spec(spec: &Value, known: &[&str], errors: &mut FieldErrors) {
    meta::label_selector(spec.at("podSelector"), &SPEC.child("podSelector"), errors);
    for (direction, peers) in DIRECTIONS {
        let at = SPEC.child(direction);
        for (index, rule) in spec.array_at(direction).iter().enumerate() {
            let at = at.index(index);
            for (index, port) in rule.array_at("ports").iter().enumerate() {
                validate_port(port, &at.child("ports").index(index), errors);
            }
            for (index, peer) in rule.array_at(peers).iter().enumerate() {
                validate_peer(peer, known, &at.child(peers).index(index), errors);
            }
        }
    }
    let at = SPEC.child("policyTypes");
    if spec.len_at("policyTypes") > 2 {
        return errors.invalid(&at, spec.at("policyTypes"), "may not specify more than two policyTypes");
    }
    for (index, kind) in spec.strings("policyTypes").enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            errors.not_supported(&at.index(index), kind, &["Ingress", "Egress"]);
        }
    }
}

fn validate_port(port: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let protocol = port.at("protocol");
    if !protocol.is_null() && !matches!(protocol.as_str(), Some("TCP" | "UDP" | "SCTP")) {
        errors.not_supported(&at.child("protocol"), protocol, &["TCP", "UDP", "SCTP"]);
    }
    let (at_port, at_end) = (at.child("port"), at.child("endPort"));
    let end = port.i64_at("endPort");
    match (port.at("port"), end) {
        (Value::Null, Some(end)) => errors.invalid(&at_end, end, "may not be specified when `port` is not specified"),
        (Value::Null, None) => {}
        (Value::String(name), end) => {
            if let Some(end) = end {
                errors.invalid(&at_end, end, "may not be specified when `port` is non-numeric");
            }
            errors.invalid_each(&at_port, name, names::port_name(name));
        }
        (start, end) => {
            let start = start.as_i64().unwrap_or_default();
            port_number(start, &at_port, errors);
            if let Some(end) = end {
                if end < start {
                    errors.invalid(&at_end, end, "must be greater than or equal to `port`");
                }
                port_number(end, &at_end, errors);
            }
        }
    }
}

fn validate_peer(peer: &Value, known: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    let mut selects = false;
    for selector in ["podSelector", "namespaceSelector"] {
        if peer.has(selector) {
            selects = true;
            meta::label_selector(peer.at(selector), &at.child(selector), errors);
        }
    }
    let has_block = peer.has("ipBlock");
    if has_block {
        validate_block(peer.at("ipBlock"), known, &at.child("ipBlock"), errors);
    }
    if !selects && !has_block {
        errors.required(at, "must specify a peer");
    } else if selects && has_block {
        errors.forbidden(at, "may not specify both ipBlock and another peer");
    }
}

fn validate_block(block: &Value, known: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    let cidr = block.str_at("cidr");
    if cidr.is_empty() {
        return errors.required(&at.child("cidr"), "");
    }
    ip::legacy_cidr(cidr, &at.child("cidr"), known, errors);
    let Some(outer) = ip::parse_cidr_sloppy(cidr) else { return };
    for (index, except) in block.strings("except").enumerate() {
        let at = at.child("except");
        let at = at.index(index);
        ip::legacy_cidr(except, &at, known, errors);
        if ip::parse_cidr_sloppy(except).is_some_and(|inner| !ip::is_strict_subset(outer, inner)) {
            errors.invalid(&at, except, "must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({"ports": [{"port": 80, "endPort": 90}], "from": [{"podSelector": {}}]}), "")]
    #[case(json!({"ports": [{"port": 80, "endPort": 70}]}),
        "spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`")]
    #[case(json!({"ports": [{"port": "http", "endPort": 70}]}),
        "spec.ingress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is non-numeric")]
    #[case(json!({"ports": [{"protocol": "ICMP"}]}),
        r#"spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP""#)]
    #[case(json!({"from": [{}]}), "spec.ingress[0].from[0]: Required value: must specify a peer")]
    #[case(json!({"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}),
        "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer")]
    #[case(json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}),
        r#"spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`"#)]
    #[case(json!({"from": [{"ipBlock": {}}]}), "spec.ingress[0].from[0].ipBlock.cidr: Required value")]
    fn policies(#[case] rule: serde_json::Value, #[case] expected: &str) {
        let policy = object(true, json!({"spec": {"podSelector": {}, "ingress": [rule]}}));
        assert_eq!(create(&RULES, true, policy).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn types_follow_from_rules() {
        let types = |spec| {
            let created = create(&RULES, true, object(true, json!({"spec": spec}))).unwrap();
            created.strings("spec.policyTypes").map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(types(json!({})), ["Ingress"]);
        assert_eq!(types(json!({"egress": [{}]})), ["Ingress", "Egress"]);
        assert_eq!(types(json!({"egress": [{}], "policyTypes": ["Egress"]})), ["Egress"]);
    }

    #[test]
    fn old_ranges_may_stay_sloppy() {
        let policy = |cidr| {
            object(true, json!({"spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]}}))
        };
        assert!(update(&RULES, true, policy("10.0.0.1/8"), policy("10.0.0.1/8")).is_ok());
        assert!(update(&RULES, true, policy("10.0.0.1/8"), policy("10.0.0.2/8")).is_err());
    }
}
