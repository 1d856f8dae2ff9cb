//! PodDisruptionBudget.

use super::read::{Read, as_internal};
use super::workload::{SPEC, STATUS, at_most_100_percent, counts, int_or_percent};
use super::{Rules, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::value::Value;

/// Stands in selectors for "all" or "none" where v1beta1 meant something else by empty.
const MATCH_LABEL: &str = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";

pub const RULES: Rules = Rules {
    name: meta::NameRule::Generic,
    prepare_create: |budget, _| strip_match_label(budget),
    prepare_update: |new, old, _| {
        if new.at("spec.selector") != old.at("spec.selector") {
            strip_match_label(new);
        }
    },
    validate,
    validate_update: |new, _, errors| validate(new, errors),
    subresources: &[Subresource {
        validate: |new, _, errors| {
            meta::conditions(new.array_at("status.conditions"), &Path::new("status.conditions"), errors);
            let fields = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
            counts(new.at("status"), &fields, &STATUS, errors);
        },
        ..Subresource::STATUS
    }],
    allow_unconditional_update: false,
    ..Rules::WITH_STATUS
};

/// The label never stands beside requirements of the user's.
fn strip_match_label(budget: &mut Value) {
    let is_match = |requirement: &Value| requirement.str_at("key") == MATCH_LABEL;
    let selector = budget.at("spec.selector");
    let requirements = selector.array_at("matchExpressions");
    let matches_none = !selector.filled("matchLabels")
        && requirements.len() == 1
        && is_match(&requirements[0])
        && requirements[0].str_at("operator") == "Exists"
        && !requirements[0].filled("values");
    if matches_none || !requirements.iter().any(is_match) {
        return;
    }
    let kept: Vec<Value> = requirements.iter().filter(|requirement| !is_match(requirement)).cloned().collect();
    match kept.is_empty() {
        true => drop(budget.remove("spec.selector.matchExpressions")),
        false => budget.set("spec.selector.matchExpressions", kept),
    }
}

fn validate(budget: &Value, errors: &mut FieldErrors) {
    let spec = budget.at("spec");
    if spec.has("minAvailable") && spec.has("maxUnavailable") {
        let fields = [
            ("MinAvailable", "minAvailable", Value::Null),
            ("Selector", "selector", Value::Null),
            ("MaxUnavailable", "maxUnavailable", Value::Null),
            ("UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy", Value::Null),
        ];
        errors.invalid(&SPEC, as_internal(spec, &fields), "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if spec.has(field) {
            int_or_percent(spec.at(field), &SPEC.child(field), errors);
            at_most_100_percent(spec.at(field), &SPEC.child(field), errors);
        }
    }
    meta::label_selector(spec.at("selector"), &SPEC.child("selector"), errors);
    let policy = spec.at("unhealthyPodEvictionPolicy");
    if !policy.is_null() && !matches!(policy.as_str(), Some("IfHealthyBudget" | "AlwaysAllow")) {
        let at = SPEC.child("unhealthyPodEvictionPolicy");
        errors.not_supported(&at, policy, &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    #[rstest]
    #[case(json!({"minAvailable": 1}), "")]
    #[case(json!({"minAvailable": -1}), "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0")]
    #[case(json!({"minAvailable": 1, "maxUnavailable": 1}),
        r#"spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":1,"UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be both set"#)]
    #[case(json!({"maxUnavailable": "101%"}),
        r#"spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#)]
    #[case(json!({"maxUnavailable": "x"}),
        r#"spec.maxUnavailable: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"#)]
    #[case(json!({"unhealthyPodEvictionPolicy": "Maybe"}),
        r#"spec.unhealthyPodEvictionPolicy: Unsupported value: "Maybe": supported values: "AlwaysAllow", "IfHealthyBudget""#)]
    fn budgets(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let budget = object(true, json!({"spec": spec}));
        assert_eq!(create(&RULES, true, budget).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn the_label_of_old_is_dropped_beside_others() {
        let requirement = |key: &str| json!({"key": key, "operator": "Exists"});
        let budget = |keys: &[&str]| {
            let requirements: Vec<_> = keys.iter().map(|key| requirement(key)).collect();
            let budget = object(true, json!({"spec": {"selector": {"matchExpressions": requirements}}}));
            create(&RULES, true, budget).unwrap().array_at("spec.selector.matchExpressions").len()
        };
        assert_eq!(budget(&[MATCH_LABEL]), 1);
        assert_eq!(budget(&[MATCH_LABEL, "a"]), 1);
    }
}
