//! HorizontalPodAutoscaler, in the shape of autoscaling/v2.

use super::formats::dns_label;
use super::read::{Read, default_to};
use super::resources::{container_name, quantity};
use super::workload::SPEC;
use super::{Rules, Subresource};
use crate::field::{ErrorKind, FieldErrors, Path};
use crate::meta::{NEGATIVE, non_negative};
use crate::names;
use crate::value::Value;

const STABILIZATION_SECONDS_MAX: i64 = 3600;
const PERIOD_SECONDS_MAX: i64 = 1800;
/// What is aimed at where no metric is given.
pub const CPU_UTILIZATION: i64 = 80;
/// In the order in which upstream looks at them; each with the type that names it.
const SOURCES: [(&str, &str, Judge); 5] = [
    ("object", "Object", object_source),
    ("external", "External", external_source),
    ("pods", "Pods", pods_source),
    ("resource", "Resource", resource_source),
    ("containerResource", "ContainerResource", container_source),
];
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

type Judge = fn(&Value, Ratchet, &Path<'_>, &mut FieldErrors);

pub const RULES: Rules = Rules {
    defaults,
    validate: |autoscaler, errors| {
        validate_spec(
            autoscaler.at("spec"),
            Ratchet::of(autoscaler, None),
            Ratchet { empty_group: true, any: false },
            errors,
        );
    },
    validate_update: |new, old, errors| {
        let mut metrics = Ratchet { empty_group: true, any: false };
        metrics.any = old.array_at("spec.metrics").iter().any(|metric| {
            let object = metric.at("object.describedObject");
            metric.str_at("type") == "Object" && !object.is_null() && api_version_complaint(object, metrics).is_some()
        });
        validate_spec(new.at("spec"), Ratchet::of(new, Some(old)), metrics, errors);
    },
    declared: &[("spec.minReplicas", ErrorKind::Invalid), ("spec.maxReplicas", ErrorKind::Required)],
    subresources: &[Subresource {
        validate: |new, _, errors| validate_status(new.at("status"), errors),
        ..Subresource::STATUS
    }],
    ..Rules::WITH_STATUS
};

/// What a reference's apiVersion may get away with.
#[derive(Clone, Copy)]
struct Ratchet {
    empty_group: bool,
    any: bool,
}

// === impl Ratchet ===

impl Ratchet {
    /// For the target of scaling: the core group has ReplicationControllers only, and what is
    /// stored may stay.
    fn of(new: &Value, old: Option<&Value>) -> Ratchet {
        let target = |object: &Value, field: &str| object.at("spec.scaleTargetRef").str_at(field).to_owned();
        let any = old.is_some_and(|old| {
            target(old, "apiVersion") == target(new, "apiVersion") && target(old, "kind") == target(new, "kind")
        });
        Ratchet { any, empty_group: target(new, "kind") == "ReplicationController" }
    }
}

// === Defaults ===

fn defaults(autoscaler: &mut Value) {
    default_to(autoscaler, "spec.minReplicas", 1i64);
    if autoscaler.str_at("apiVersion") == "autoscaling/v1" {
        // What else v1 means is said by its conversion.
        return;
    }
    if !autoscaler.filled("spec.metrics") {
        autoscaler.set("spec.metrics", vec![cpu_metric(CPU_UTILIZATION)]);
    }
    if autoscaler.has("spec.behavior") {
        let pods = policy("Pods", 4);
        scaling_defaults(autoscaler, "spec.behavior.scaleUp", vec![pods, policy("Percent", 100)]);
        default_to(autoscaler, "spec.behavior.scaleUp.stabilizationWindowSeconds", 0i64);
        scaling_defaults(autoscaler, "spec.behavior.scaleDown", vec![policy("Percent", 100)]);
    }
}

fn scaling_defaults(autoscaler: &mut Value, at: &str, policies: Vec<Value>) {
    autoscaler.at_or_insert(at).make_object();
    default_to(autoscaler, &format!("{at}.selectPolicy"), "Max");
    default_to(autoscaler, &format!("{at}.policies"), policies);
}

fn policy(kind: &str, value: i64) -> Value {
    let mut policy = Value::object();
    policy.set("type", kind);
    policy.set("value", value);
    policy.set("periodSeconds", 15i64);
    policy
}

/// The metric that stands for autoscaling/v1's CPU utilization.
pub fn cpu_metric(utilization: i64) -> Value {
    let mut metric = Value::object();
    metric.set("type", "Resource");
    metric.set("resource.name", "cpu");
    metric.set("resource.target.type", "Utilization");
    metric.set("resource.target.averageUtilization", utilization);
    metric
}

// === Validation ===

fn validate_spec(spec: &Value, target: Ratchet, metrics: Ratchet, errors: &mut FieldErrors) {
    let (min, max) = (spec.i64_at("minReplicas"), spec.int("maxReplicas"));
    let at_max = SPEC.child("maxReplicas");
    if let Some(min) = min {
        non_negative(min, &SPEC.child("minReplicas"), errors);
    }
    match max {
        0 => errors.required(&at_max, ""),
        ..0 => errors.invalid(&at_max, max, "must be greater than or equal to 1"),
        _ => {}
    }
    if min.is_some_and(|min| max < min) {
        errors.invalid(&at_max, max, "must be greater than or equal to `minReplicas`");
    }
    reference(spec.at("scaleTargetRef"), target, &SPEC.child("scaleTargetRef"), errors);

    let at = SPEC.child("metrics");
    let list = spec.array_at("metrics");
    for (index, metric) in list.iter().enumerate() {
        validate_metric(metric, metrics, &at.index(index), errors);
    }
    let wakes = list.iter().any(|metric| matches!(metric.str_at("type"), "Object" | "External"));
    if min == Some(0) && !wakes {
        let message = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(&at, message);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.at("behavior").at(direction);
        if !rules.is_null() {
            let at = SPEC.child("behavior");
            scaling_rules(rules, &at.child(direction), errors);
        }
    }
}

fn reference(reference: &Value, ratchet: Ratchet, at: &Path<'_>, errors: &mut FieldErrors) {
    for field in ["kind", "name"] {
        match reference.str_at(field) {
            "" => errors.required(&at.child(field), ""),
            text => errors.invalid_each(&at.child(field), text, names::path_segment(text, false)),
        }
    }
    if let Some(complaint) = api_version_complaint(reference, ratchet) {
        errors.invalid(&at.child("apiVersion"), reference.str_at("apiVersion"), complaint);
    }
}

fn api_version_complaint(reference: &Value, ratchet: Ratchet) -> Option<String> {
    let version = reference.str_at("apiVersion");
    if ratchet.any {
        return None;
    }
    if version.matches('/').count() > 1 {
        return Some(format!("unexpected GroupVersion string: {version}"));
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    (!ratchet.empty_group && group.is_empty()).then(|| "apiVersion must specify API group".to_owned())
}

fn scaling_rules(rules: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let window = "stabilizationWindowSeconds";
    match rules.int(window) {
        seconds @ ..0 => errors.invalid(&at.child(window), seconds, "must be greater than or equal to zero"),
        seconds if seconds > STABILIZATION_SECONDS_MAX => {
            let message = format!("must be less than or equal to {STABILIZATION_SECONDS_MAX}");
            errors.invalid(&at.child(window), seconds, message);
        }
        _ => {}
    }
    let select = rules.at("selectPolicy");
    if !select.is_null() && !matches!(select.as_str(), Some("Max" | "Min" | "Disabled")) {
        errors.not_supported(&at.child("selectPolicy"), select, &["Disabled", "Max", "Min"]);
    }
    let at_policies = at.child("policies");
    if !rules.filled("policies") {
        errors.required(&at_policies, "must specify at least one Policy");
    }
    for (index, policy) in rules.array_at("policies").iter().enumerate() {
        let at = at_policies.index(index);
        let kind = policy.str_at("type");
        if !matches!(kind, "Pods" | "Percent") {
            errors.not_supported(&at.child("type"), kind, &["Percent", "Pods"]);
        }
        for field in ["value", "periodSeconds"] {
            if policy.int(field) <= 0 {
                errors.invalid(&at.child(field), policy.int(field), "must be greater than zero");
            }
        }
        let period = policy.int("periodSeconds");
        if period > PERIOD_SECONDS_MAX {
            let message = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
            errors.invalid(&at.child("periodSeconds"), period, message);
        }
    }
    let tolerance = quantity(rules.at("tolerance"));
    if tolerance.sign() < 0 {
        errors.invalid(&at.child("tolerance"), tolerance.to_string(), NEGATIVE);
    }
}

// === Metrics ===

fn validate_metric(metric: &Value, ratchet: Ratchet, at: &Path<'_>, errors: &mut FieldErrors) {
    let (kind, at_type) = (metric.str_at("type"), at.child("type"));
    if kind.is_empty() {
        errors.required(&at_type, "must specify a metric source type");
    }
    if !TYPES.contains(&kind) {
        errors.not_supported(&at_type, kind, &TYPES);
    }
    let present: Vec<&str> = SOURCES.iter().map(|(source, ..)| *source).filter(|source| metric.has(source)).collect();
    if let Some((source, _, judge)) = SOURCES.iter().find(|(source, ..)| Some(source) == present.first()) {
        judge(metric.at(source), ratchet, &at.child(source), errors);
    }
    let expected = SOURCES.iter().find(|(_, name, _)| *name == kind).map(|(source, ..)| *source);
    match expected {
        Some(expected) if !present.contains(&expected) => {
            errors.required(&at.child(expected), "must populate information for the given metric source");
        }
        Some(_) => {}
        None => errors.not_supported(&at_type, kind, &TYPES),
    }
    if present.len() != 1 {
        for source in present.iter().filter(|source| Some(**source) != expected) {
            errors.forbidden(&at.child(source), "must populate the given metric source only");
        }
    }
}

fn object_source(source: &Value, ratchet: Ratchet, at: &Path<'_>, errors: &mut FieldErrors) {
    reference(source.at("describedObject"), ratchet, &at.child("describedObject"), errors);
    metric_name(source, at, errors);
    target(source.at("target"), &at.child("target"), errors);
    if !source.has("target.value") && !source.has("target.averageValue") {
        errors.required(&at.child("target.averageValue"), "must set either a target value or averageValue");
    }
}

fn external_source(source: &Value, _: Ratchet, at: &Path<'_>, errors: &mut FieldErrors) {
    metric_name(source, at, errors);
    target(source.at("target"), &at.child("target"), errors);
    match (source.has("target.value"), source.has("target.averageValue")) {
        (false, false) => {
            let message = "must set either a target value for metric or a per-pod target";
            errors.required(&at.child("target.averageValue"), message);
        }
        (true, true) => {
            let message = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&at.child("target.value"), message);
        }
        _ => {}
    }
}

fn pods_source(source: &Value, _: Ratchet, at: &Path<'_>, errors: &mut FieldErrors) {
    metric_name(source, at, errors);
    target(source.at("target"), &at.child("target"), errors);
    if !source.has("target.averageValue") {
        errors.required(&at.child("target.averageValue"), "must specify a positive target averageValue");
    }
}

fn resource_source(source: &Value, _: Ratchet, at: &Path<'_>, errors: &mut FieldErrors) {
    if !source.filled("name") {
        errors.required(&at.child("name"), "must specify a resource name");
    }
    resource_target(source, at, errors);
}

fn container_source(source: &Value, _: Ratchet, at: &Path<'_>, errors: &mut FieldErrors) {
    match source.str_at("name") {
        "" => errors.required(&at.child("name"), "must specify a resource name"),
        name => container_name(name, &at.child("name"), errors),
    }
    match source.str_at("container") {
        "" => errors.required(&at.child("container"), "must specify a container"),
        container => dns_label(container, &at.child("container"), errors),
    }
    resource_target(source, at, errors);
}

fn resource_target(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    target(source.at("target"), &at.child("target"), errors);
    match (source.has("target.averageUtilization"), source.has("target.averageValue")) {
        (false, false) => {
            let message = "must set either a target raw value or a target utilization";
            errors.required(&at.child("target.averageUtilization"), message);
        }
        (true, true) => {
            let message = "may not set both a target raw value and a target utilization";
            errors.forbidden(&at.child("target.averageValue"), message);
        }
        _ => {}
    }
}

fn metric_name(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at = at.child("metric.name");
    match source.str_at("metric.name") {
        "" => errors.required(&at, "must specify a metric name"),
        name => errors.invalid_each(&at, name, names::path_segment(name, false)),
    }
}

fn target(target: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let kind = target.str_at("type");
    if kind.is_empty() {
        errors.required(&at.child("type"), "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        errors.invalid(&at.child("type"), kind, "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"] {
        let amount = quantity(target.at(field));
        if target.has(field) && amount.sign() <= 0 {
            errors.invalid(&at.child(field), amount.to_string(), "must be positive");
        }
    }
    let utilization = "averageUtilization";
    if target.has(utilization) && target.int(utilization) < 1 {
        errors.invalid(&at.child(utilization), target.int(utilization), "must be greater than 0");
    }
}

fn validate_status(status: &Value, errors: &mut FieldErrors) {
    let at = Path::new("status.conditions");
    for (index, condition) in status.array_at("conditions").iter().enumerate() {
        let field = "observedGeneration";
        non_negative(condition.int(field), &at.index(index).child(field), errors);
    }
    for field in ["currentReplicas", "desiredReplicas"] {
        non_negative(status.int(field), &Path::new("status").child(field), errors);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    fn autoscaler(changes: serde_json::Value) -> Value {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
        let mut spec = json!({"maxReplicas": 3, "scaleTargetRef": target});
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        object(true, json!({"spec": spec}))
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"maxReplicas": 0}),
        "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`; spec.maxReplicas: Required value")]
    #[case(json!({"minReplicas": 0}),
        "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas")]
    #[case(json!({"scaleTargetRef": {"kind": "Deployment", "name": "d"}}),
        r#"spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group"#)]
    #[case(json!({"scaleTargetRef": {"kind": "ReplicationController", "name": "d", "apiVersion": "v1"}}), "")]
    #[case(json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]}),
        "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization")]
    #[case(json!({"metrics": [{"type": "Pods"}]}),
        "spec.metrics[0].pods: Required value: must populate information for the given metric source")]
    #[case(json!({"metrics": [{"type": "External", "external": {"metric": {"name": "m"},
        "target": {"type": "Value", "value": "0"}}}]}),
        r#"spec.metrics[0].external.target.value: Invalid value: "0": must be positive"#)]
    #[case(json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "policies": []}}}),
        "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600; spec.behavior.scaleUp.policies: Required value: must specify at least one Policy")]
    fn autoscalers(#[case] changes: serde_json::Value, #[case] expected: &str) {
        let said = create(&RULES, true, autoscaler(changes)).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }

    #[test]
    fn behavior_is_filled_in() {
        let created = create(&RULES, true, autoscaler(json!({"behavior": {"scaleDown": {}}}))).unwrap();
        assert_eq!(created.array_at("spec.behavior.scaleUp.policies").len(), 2);
        assert_eq!(created.str_at("spec.behavior.scaleDown.selectPolicy"), "Max");
        assert!(!created.has("spec.behavior.scaleDown.stabilizationWindowSeconds"));
        assert_eq!(created.array_at("spec.metrics"), [cpu_metric(80)]);
    }

    #[test]
    fn a_stored_target_may_stay() {
        let target = json!({"scaleTargetRef": {"kind": "Deployment", "name": "d"}});
        assert!(update(&RULES, true, autoscaler(target.clone()), autoscaler(target)).is_ok());
    }
}
