//! ResourceQuota.

use super::read::{Read, as_internal};
use super::resources::{self, is_standard_quota, quantity, quantity_value, quota_name};
use super::{Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta::IMMUTABLE;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");

pub const RULES: Rules = Rules {
    defaults: |quota| resources::round(quota, &["spec.hard", "status.hard", "status.used"]),
    status: StatusRule::Separate,
    validate: |quota, errors| validate_spec(quota.at("spec"), errors),
    validate_update: |new, old, errors| {
        validate_spec(new.at("spec"), errors);
        let scopes = |quota: &Value| {
            let mut scopes: Vec<String> = quota.strings("spec.scopes").map(str::to_owned).collect();
            scopes.sort_unstable();
            scopes.dedup();
            scopes
        };
        if scopes(new) != scopes(old) {
            errors.invalid(&SPEC.child("scopes"), new.at("spec.scopes"), IMMUTABLE);
        }
    },
    subresources: &[Subresource { validate: |new, _, errors| validate_status(new, errors), ..Subresource::STATUS }],
    warnings: |quota, old| if old.is_none() { warnings(quota.at("spec")) } else { Vec::new() },
    ..Rules::DEFAULT
};

fn amounts(object: &Value, list: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let at = at.child(list);
    for (resource, amount) in object.entries(list) {
        let at = at.key(resource);
        quota_name(resource, &at, errors);
        quantity_value(resource, amount, &at, errors);
    }
}

fn validate_status(quota: &Value, errors: &mut FieldErrors) {
    if quota.str_at("metadata.resourceVersion").is_empty() {
        errors.required(&Path::new("resourceVersion"), "");
    }
    for list in ["hard", "used"] {
        amounts(quota.at("status"), list, &Path::new("status"), errors);
    }
}

fn validate_spec(spec: &Value, errors: &mut FieldErrors) {
    amounts(spec, "hard", &SPEC, errors);
    let mut limited: Vec<&str> = spec.entries("hard").map(|(resource, _)| resource.as_str()).collect();
    limited.sort_unstable();
    let does_not_fit = |scope: &str| limited.iter().filter(|one| is_standard_quota(one) && !fits(scope, one)).count();

    let (scopes, at) = (spec.at("scopes"), SPEC.child("scopes"));
    for scope in spec.strings("scopes") {
        if !is_scope(scope) {
            errors.invalid(&at, scopes, "unsupported scope");
        }
        for _ in 0..does_not_fit(scope) {
            errors.invalid(&at, scopes, "unsupported scope applied to resource");
        }
    }
    conflicts(&spec.strings("scopes").collect::<Vec<_>>(), scopes, &at, errors);

    let requirements = spec.array_at("scopeSelector.matchExpressions");
    let at = SPEC.child("scopeSelector.matchExpressions");
    for requirement in requirements {
        let scope = requirement.str_at("scopeName");
        if !is_scope(scope) {
            errors.invalid(&at.child("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..does_not_fit(scope) {
            errors.invalid(&at, shown(spec.at("scopeSelector")), "unsupported scope applied to resource");
        }
        validate_operator(requirement, scope, &at, errors);
    }
    let names: Vec<&str> = requirements.iter().map(|requirement| requirement.str_at("scopeName")).collect();
    conflicts(&names, scopes, &at, errors);
}

/// A scope selector as Go's types name it.
fn shown(selector: &Value) -> Value {
    let fields =
        [("ScopeName", "scopeName", "".into()), ("Operator", "operator", "".into()), ("Values", "values", Value::Null)];
    let requirements = selector.array_at("matchExpressions").iter();
    let requirements: Vec<Value> = requirements.map(|requirement| as_internal(requirement, &fields)).collect();
    crate::value::Map::from_iter([("MatchExpressions", requirements)]).into()
}

fn validate_operator(requirement: &Value, scope: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let operator = requirement.str_at("operator");
    let stands_alone = !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && is_scope(scope);
    if stands_alone && operator != "Exists" {
        let message = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                       ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&at.child("operator"), operator, message);
    }
    match operator {
        "In" | "NotIn" if !requirement.filled("values") => {
            let message = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.required(&at.child("values"), message);
        }
        "Exists" | "DoesNotExist" if requirement.filled("values") => {
            let message = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(&at.child("values"), requirement.at("values"), message);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
}

fn conflicts(scopes: &[&str], shown: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            errors.invalid(at, shown, "conflicting scopes");
        }
    }
}

fn is_scope(scope: &str) -> bool {
    matches!(
        scope,
        "Terminating"
            | "NotTerminating"
            | "BestEffort"
            | "NotBestEffort"
            | "PriorityClass"
            | "CrossNamespacePodAffinity"
            | "VolumeAttributesClass"
    )
}

/// Whether a resource can be limited within a scope.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            let base = resource.strip_prefix("limits.").or(resource.strip_prefix("requests.")).unwrap_or(resource);
            resource == "pods" || matches!(base, "cpu" | "memory")
        }
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn warnings(spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let mut request_name = format!("requests.{resource}");
        if spec.entry("hard", &request_name).is_null() && resource != "ephemeral-storage" {
            request_name = resource.to_owned();
        }
        let limit_name = format!("limits.{resource}");
        let (request, limit) = (spec.entry("hard", &request_name), spec.entry("hard", &limit_name));
        let (request_amount, limit_amount) = (quantity(request), quantity(limit));
        if !request.is_null() && !limit.is_null() && request_amount > limit_amount {
            warnings.push(format!(
                "ResourceQuota {request_name} ({request_amount}) should be less than {limit_name} ({limit_amount})"
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, tree, update};

    #[rstest]
    #[case(json!({"hard": {"cpu": "1", "requests.storage": "1Gi", "count/pods": "2"}}), "")]
    #[case(json!({"hard": {"other": "1"}}),
        r#"spec.hard[other]: Invalid value: "other": must be a standard resource type or fully qualified; spec.hard[other]: Invalid value: "other": must be a standard resource for quota"#)]
    #[case(json!({"hard": {"pods": "-1"}}),
        r#"spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0"#)]
    #[case(json!({"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}),
        r#"spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes"#)]
    #[case(json!({"hard": {"services": "1"}, "scopes": ["BestEffort"]}),
        r#"spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource"#)]
    #[case(json!({"scopes": ["Other"]}), r#"spec.scopes: Invalid value: ["Other"]: unsupported scope"#)]
    #[case(json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}),
        "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")]
    fn quotas(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let quota = object(true, json!({"spec": spec}));
        assert_eq!(create(&RULES, true, quota).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn scopes_stay() {
        let quota = |scope| object(true, json!({"spec": {"scopes": [scope]}}));
        let said = update(&RULES, true, quota("BestEffort"), quota("Terminating")).unwrap_err();
        assert_eq!(said, [r#"spec.scopes: Invalid value: ["BestEffort"]: field is immutable"#]);
    }

    #[test]
    fn requests_above_limits_are_warned_of() {
        assert_eq!(
            warnings(&tree(json!({"hard": {"cpu": "2", "limits.cpu": "1"}}))),
            ["ResourceQuota cpu (2) should be less than limits.cpu (1)"]
        );
    }
}
