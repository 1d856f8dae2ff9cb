//! HorizontalPodAutoscaler: autoscaling/v1, which knows one metric, and autoscaling/v2, as
//! which it is stored. What v1 has no fields for travels in annotations.

use crate::codec::json;
use crate::kinds::horizontal_pod_autoscaler::{CPU_UTILIZATION, cpu_metric};
use crate::kinds::read::Read;
use crate::kinds::resources::quantity;
use crate::value::{Map, Value};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CARRIERS: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

// === From v1 to v2 ===

pub fn v1_to_v2(autoscaler: &mut Value) {
    let carried = |name: &str| {
        let text = autoscaler.entry("metadata.annotations", name).as_str()?;
        json::parse(text.as_bytes()).ok()
    };
    let (metrics, current, conditions, behavior) =
        (carried(METRICS), carried(CURRENT_METRICS), carried(CONDITIONS), carried(BEHAVIOR));

    let mut converted: Vec<Value> = Vec::new();
    if let Some(Value::Array(metrics)) = metrics {
        converted.extend(metrics.iter().map(|metric| convert_metric(metric, from_v1)));
    }
    if let Some(Value::Int(utilization)) = autoscaler.remove("spec.targetCPUUtilizationPercentage") {
        converted.push(cpu_metric(utilization));
    }
    if converted.is_empty() {
        converted.push(cpu_metric(CPU_UTILIZATION));
    }
    autoscaler.set("spec.metrics", converted);

    if let Some(behavior) = behavior
        .map(|behavior| rename_keys(behavior, &lower))
        .filter(|behavior| behavior.has("scaleUp") || behavior.has("scaleDown"))
    {
        autoscaler.set("spec.behavior", behavior);
    }

    let utilization = autoscaler.remove("status.currentCPUUtilizationPercentage");
    if let Some(Value::Array(current)) = current {
        let current: Vec<Value> = current.iter().map(|status| convert_metric(status, status_from_v1)).collect();
        autoscaler.set("status.currentMetrics", current);
    } else if let Some(Value::Int(utilization)) = utilization {
        let mut status = Value::object();
        status.set("type", "Resource");
        status.set("resource.name", "cpu");
        status.set("resource.current.averageUtilization", utilization);
        autoscaler.set("status.currentMetrics", vec![status]);
    }
    if let Some(conditions @ Value::Array(_)) = conditions {
        autoscaler.set("status.conditions", conditions);
    }
    drop_carriers(autoscaler);
}

/// The sources of a metric; both versions call them so.
const METRIC_SOURCES: [&str; 5] = ["object", "pods", "resource", "containerResource", "external"];

/// A metric or a status of one, source by source.
fn convert_metric(metric: &Value, convert: fn(&str, &Value) -> Value) -> Value {
    let mut converted = Value::object();
    converted.set("type", metric.str_at("type"));
    for source in METRIC_SOURCES.iter().filter(|source| metric.has(source)) {
        converted.set(source, convert(source, metric.at(source)));
    }
    converted
}

fn from_v1(source: &str, old: &Value) -> Value {
    let mut new = Value::object();
    let zero = || Value::from("0");
    match source {
        "object" => {
            new.set("describedObject", old.at("target").clone());
            let (target, average) = (old.at("targetValue"), old.at("averageValue"));
            new.set("target.type", if average.is_null() { "Value" } else { "AverageValue" });
            if average.is_null() {
                new.set("target.value", if target.is_null() { zero() } else { target.clone() });
            } else if quantity(target).sign() != 0 {
                new.set("target.value", target.clone());
            }
            put(&mut new, "target.averageValue", average);
        }
        "pods" => {
            new.set("target.type", "AverageValue");
            let average = old.at("targetAverageValue");
            new.set("target.averageValue", if average.is_null() { zero() } else { average.clone() });
        }
        "external" => {
            new.set("target.type", if old.has("targetValue") { "Value" } else { "AverageValue" });
            put(&mut new, "target.value", old.at("targetValue"));
            put(&mut new, "target.averageValue", old.at("targetAverageValue"));
        }
        _ => {
            new.set("name", old.str_at("name"));
            put(&mut new, "container", old.at("container"));
            let utilization = old.at("targetAverageUtilization");
            new.set("target.type", if utilization.is_null() { "AverageValue" } else { "Utilization" });
            put(&mut new, "target.averageValue", old.at("targetAverageValue"));
            put(&mut new, "target.averageUtilization", utilization);
            return new;
        }
    }
    metric_from_v1(&mut new, old, source);
    new
}

fn status_from_v1(source: &str, old: &Value) -> Value {
    let mut new = Value::object();
    let or_zero = |value: &Value| if value.is_null() { Value::from("0") } else { value.clone() };
    match source {
        "object" => {
            new.set("describedObject", old.at("target").clone());
            new.set("current.value", or_zero(old.at("currentValue")));
            put(&mut new, "current.averageValue", old.at("averageValue"));
        }
        "pods" => new.set("current.averageValue", or_zero(old.at("currentAverageValue"))),
        "external" => {
            new.set("current.value", or_zero(old.at("currentValue")));
            put(&mut new, "current.averageValue", old.at("currentAverageValue"));
        }
        _ => {
            new.set("name", old.str_at("name"));
            put(&mut new, "container", old.at("container"));
            new.set("current.averageValue", or_zero(old.at("currentAverageValue")));
            put(&mut new, "current.averageUtilization", old.at("currentAverageUtilization"));
            return new;
        }
    }
    metric_from_v1(&mut new, old, source);
    new
}

fn metric_from_v1(new: &mut Value, old: &Value, source: &str) {
    new.set("metric.name", old.str_at("metricName"));
    put(new, "metric.selector", old.at(if source == "external" { "metricSelector" } else { "selector" }));
}

// === From v2 to v1 ===

pub fn v2_to_v1(autoscaler: &mut Value) {
    drop_carriers(autoscaler);
    let is_cpu = |metric: &Value| metric.str_at("type") == "Resource" && metric.str_at("resource.name") == "cpu";
    let metrics = autoscaler.remove("spec.metrics").unwrap_or_default();
    let target = |metric: &Value| metric.i64_at("resource.target.averageUtilization").filter(|_| is_cpu(metric));
    let metrics = metrics.as_array().unwrap_or_default();
    if let Some(utilization) = metrics.iter().find_map(target) {
        autoscaler.set("spec.targetCPUUtilizationPercentage", utilization);
    }
    let others: Vec<Value> =
        metrics.iter().filter(|metric| target(metric).is_none()).map(|metric| convert_metric(metric, to_v1)).collect();

    let statuses = autoscaler.remove("status.currentMetrics").unwrap_or_default();
    let statuses = statuses.as_array().unwrap_or_default();
    let current = |status: &Value| status.i64_at("resource.current.averageUtilization").filter(|_| is_cpu(status));
    if let Some(utilization) = statuses.iter().filter_map(current).next_back() {
        autoscaler.set("status.currentCPUUtilizationPercentage", utilization);
    }
    let statuses: Vec<Value> = statuses.iter().map(|status| convert_metric(status, status_to_v1)).collect();
    let behavior = autoscaler.remove("spec.behavior").unwrap_or_default();
    let conditions = autoscaler.remove("status.conditions").unwrap_or_default();

    carry(autoscaler, METRICS, others.into());
    carry(autoscaler, CURRENT_METRICS, statuses.into());
    if behavior.as_object().is_some() {
        carry(autoscaler, BEHAVIOR, internal_behavior(&behavior));
    }
    carry(autoscaler, CONDITIONS, conditions);
}

fn to_v1(source: &str, new: &Value) -> Value {
    let mut old = Value::object();
    let or_zero = |value: &Value| if value.is_null() { Value::from("0") } else { value.clone() };
    let (value, average) = (new.at("target.value"), new.at("target.averageValue"));
    match source {
        "object" => {
            old.set("target", new.at("describedObject").clone());
            old.set("metricName", new.str_at("metric.name"));
            old.set("targetValue", or_zero(value));
            put(&mut old, "selector", new.at("metric.selector"));
            put(&mut old, "averageValue", average);
        }
        "pods" => {
            old.set("metricName", new.str_at("metric.name"));
            old.set("targetAverageValue", or_zero(average));
            put(&mut old, "selector", new.at("metric.selector"));
        }
        "external" => {
            old.set("metricName", new.str_at("metric.name"));
            put(&mut old, "metricSelector", new.at("metric.selector"));
            put(&mut old, "targetValue", value);
            put(&mut old, "targetAverageValue", average);
        }
        _ => {
            old.set("name", new.str_at("name"));
            put(&mut old, "targetAverageUtilization", new.at("target.averageUtilization"));
            put(&mut old, "targetAverageValue", average);
            put(&mut old, "container", new.at("container"));
        }
    }
    old
}

fn status_to_v1(source: &str, new: &Value) -> Value {
    let mut old = Value::object();
    let or_zero = |value: &Value| if value.is_null() { Value::from("0") } else { value.clone() };
    let (value, average) = (new.at("current.value"), new.at("current.averageValue"));
    match source {
        "object" => {
            old.set("target", new.at("describedObject").clone());
            old.set("metricName", new.str_at("metric.name"));
            old.set("currentValue", or_zero(value));
            put(&mut old, "selector", new.at("metric.selector"));
            put(&mut old, "averageValue", average);
        }
        "pods" => {
            old.set("metricName", new.str_at("metric.name"));
            old.set("currentAverageValue", or_zero(average));
            put(&mut old, "selector", new.at("metric.selector"));
        }
        "external" => {
            old.set("metricName", new.str_at("metric.name"));
            put(&mut old, "metricSelector", new.at("metric.selector"));
            old.set("currentValue", or_zero(value));
            put(&mut old, "currentAverageValue", average);
        }
        _ => {
            old.set("name", new.str_at("name"));
            put(&mut old, "currentAverageUtilization", new.at("current.averageUtilization"));
            old.set("currentAverageValue", or_zero(average));
            put(&mut old, "container", new.at("container"));
        }
    }
    old
}

/// Behavior as upstream's internal type is written: every field, with Go's names.
fn internal_behavior(behavior: &Value) -> Value {
    let mut internal = Map::new();
    for (go, direction) in [("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown")] {
        let rules = behavior.at(direction);
        let mut fields = Map::new();
        for field in ["stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance"] {
            fields.insert(upper(field), rename_keys(rules.at(field).clone(), &upper));
        }
        internal.insert(go, if rules.is_null() { Value::Null } else { fields.into() });
    }
    internal.into()
}

// === Parts ===

fn put(object: &mut Value, path: &str, value: &Value) {
    if !value.is_null() {
        object.set(path, value.clone());
    }
}

fn carry(autoscaler: &mut Value, name: &str, value: Value) {
    if !crate::kinds::read::is_empty(&value) {
        let text = String::from_utf8_lossy(&json::to_vec(&value)).into_owned();
        let annotations = autoscaler.at_or_insert("metadata.annotations").make_object();
        annotations.insert(name, text);
        annotations.sort();
    }
}

fn drop_carriers(autoscaler: &mut Value) {
    let Some(annotations) = autoscaler.at_mut("metadata.annotations").and_then(Value::as_object_mut) else { return };
    annotations.retain(|name, _| !CARRIERS.contains(&name.as_str()));
    if annotations.is_empty() {
        autoscaler.remove("metadata.annotations");
    }
}

fn rename_keys(value: Value, rename: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => {
            let renamed: Map =
                map.iter().map(|(key, value)| (rename(key), rename_keys(value.clone(), rename))).collect();
            renamed.into()
        }
        Value::Array(items) => items.into_iter().map(|item| rename_keys(item, rename)).collect::<Vec<_>>().into(),
        other => other,
    }
}

fn lower(key: &str) -> String {
    change_first(key, char::to_ascii_lowercase)
}

fn upper(key: &str) -> String {
    change_first(key, char::to_ascii_uppercase)
}

fn change_first(key: &str, change: fn(&char) -> char) -> String {
    let mut chars = key.chars();
    chars.next().map(|first| change(&first)).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::convert::convert;
    use crate::kinds::testing::tree;

    const V1: (&str, &str) = ("autoscaling", "v1");
    const V2: (&str, &str) = ("autoscaling", "v2");
    const KIND: &str = "HorizontalPodAutoscaler";

    fn there_and_back(spec: serde_json::Value, status: serde_json::Value) -> (Value, Value, Value) {
        let mut original = tree(json!({"kind": KIND, "apiVersion": "autoscaling/v2", "metadata": {"name": "a"},
            "spec": spec, "status": status}));
        let id = crate::registry::Registry::builtin().kind(V2.0, V2.1, KIND).unwrap();
        crate::decode::canonicalize(crate::schema::builtin(), id, &mut original).unwrap();
        let mut v1 = original.clone();
        convert(&mut v1, V2, V1, KIND).unwrap();
        let mut back = v1.clone();
        convert(&mut back, V1, V2, KIND).unwrap();
        (original, v1, back)
    }

    #[test]
    fn the_cpu_metric_is_a_field_of_v1() {
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "D", "name": "d"}, "metrics": [cpu(50)]});
        let (original, v1, back) = there_and_back(spec, json!({"desiredReplicas": 1}));
        assert_eq!(v1.i64_at("spec.targetCPUUtilizationPercentage"), Some(50));
        assert!(!v1.has("metadata.annotations") && !v1.has("spec.metrics"));
        assert_eq!(back, original);
    }

    #[test]
    fn everything_else_travels_in_annotations() {
        let object = json!({"type": "Object", "object": {"describedObject": {"kind": "S", "name": "s"},
            "metric": {"name": "m"}, "target": {"type": "Value", "value": "5"}}});
        let external = json!({"type": "External", "external": {"metric": {"name": "m", "selector": {"matchLabels":
            {"a": "b"}}}, "target": {"type": "AverageValue", "averageValue": "5"}}});
        let policy = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let spec = json!({"maxReplicas": 3, "minReplicas": 1, "scaleTargetRef": {"kind": "D", "name": "d"},
            "metrics": [object, external, cpu(50)],
            "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [policy]}}});
        let status = json!({"desiredReplicas": 1, "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": 40, "averageValue": "100m"}}}],
            "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let (original, v1, back) = there_and_back(spec, status);
        let annotation = |name: &str| v1.entry("metadata.annotations", name).as_str().unwrap_or_default().to_owned();
        assert_eq!(
            annotation(METRICS),
            r#"[{"type":"Object","object":{"target":{"kind":"S","name":"s"},"metricName":"m","targetValue":"5"}},{"type":"External","external":{"metricName":"m","metricSelector":{"matchLabels":{"a":"b"}},"targetAverageValue":"5"}}]"#
        );
        assert_eq!(
            annotation(BEHAVIOR),
            r#"{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":null}"#
        );
        assert_eq!(
            annotation(CURRENT_METRICS),
            r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":40,"currentAverageValue":"100m"}}]"#
        );
        assert_eq!(v1.i64_at("status.currentCPUUtilizationPercentage"), Some(40));
        assert_eq!(back, original);
    }

    #[test]
    fn without_metrics_v1_means_80_percent() {
        let mut v1 = tree(json!({"kind": KIND, "apiVersion": "autoscaling/v1", "spec": {"maxReplicas": 2}}));
        convert(&mut v1, V1, V2, KIND).unwrap();
        assert_eq!(v1.array_at("spec.metrics"), [cpu_metric(80)]);
    }

    fn cpu(utilization: i64) -> serde_json::Value {
        json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": utilization}}})
    }
}
