//! Kinds that are served in more than one shape, and how a tree goes from one to the other.
//!
//! Everything else that is served twice has the same fields in both versions.

use crate::value::{Key, Map, Value};

/// Fields of core/v1 events and what events.k8s.io/v1 calls them.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Brings a tree of `kind` from one group and version to another. The API version in the tree is
/// the caller's to change, and so is the order of fields.
///
/// # Errors
/// There is no way between the versions.
pub fn convert(tree: &mut Value, from: (&str, &str), to: (&str, &str), kind: &str) -> Result<(), String> {
    match (kind, from, to) {
        ("Event", ("", _), ("events.k8s.io", _)) => rename(tree, |(core, new)| (core, new)),
        ("Event", ("events.k8s.io", _), ("", _)) => rename(tree, |(core, new)| (new, core)),
        ("HorizontalPodAutoscaler", (_, "v1"), (_, "v2")) => autoscaler_to_v2(tree),
        ("HorizontalPodAutoscaler", (_, "v2"), (_, "v1")) => autoscaler_to_v1(tree),
        (_, from, to) if from == to => {}
        _ => return Err(format!("{kind} can't be converted from {}/{} to {}/{}", from.0, from.1, to.0, to.1)),
    }
    Ok(())
}

fn rename(tree: &mut Value, direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(map) = tree.as_object_mut() else { return };
    for (key, _) in map.entries_mut() {
        let found = EVENT_FIELDS.iter().map(|pair| direction(*pair)).find(|(from, _)| key == from);
        if let Some((_, to)) = found {
            *key = Key::new_static(to);
        }
    }
}

/// The one metric that v1 has a field for.
fn is_cpu_utilization(metric: &Value) -> bool {
    metric.str_at("type") == "Resource" && metric.str_at("resource.name") == "cpu"
}

fn autoscaler_to_v2(tree: &mut Value) {
    if let Some(target) = tree.remove("spec.targetCPUUtilizationPercentage").filter(|target| !target.is_null()) {
        let mut metric = Value::object();
        metric.set("type", "Resource");
        metric.set("resource.name", "cpu");
        metric.set("resource.target.type", "Utilization");
        metric.set("resource.target.averageUtilization", target);
        tree.set("spec.metrics", vec![metric]);
    }
    if let Some(current) = tree.remove("status.currentCPUUtilizationPercentage").filter(|current| !current.is_null()) {
        let mut metric = Value::object();
        metric.set("type", "Resource");
        metric.set("resource.name", "cpu");
        metric.set("resource.current.averageUtilization", current);
        tree.set("status.currentMetrics", vec![metric]);
    }
    // What v1 could not say came along in annotations.
    for (annotation, path) in ANNOTATED {
        let Some(annotations) = tree.at_mut("metadata.annotations").and_then(Value::as_object_mut) else { return };
        let Some(text) = annotations.remove(annotation) else { continue };
        let parsed = text.as_str().and_then(|text| crate::codec::json::parse(text.as_bytes()).ok());
        let Some(Value::Array(more)) = parsed else { continue };
        let mut all = more;
        all.extend(tree.array_at(path).iter().cloned());
        tree.set(path, all);
    }
    drop_empty_annotations(tree);
}

fn autoscaler_to_v1(tree: &mut Value) {
    for (path, field, value) in [
        ("spec.metrics", "spec.targetCPUUtilizationPercentage", "resource.target.averageUtilization"),
        ("status.currentMetrics", "status.currentCPUUtilizationPercentage", "resource.current.averageUtilization"),
    ] {
        let metrics = tree.array_at(path).to_vec();
        tree.remove(path);
        let (cpu, others): (Vec<Value>, Vec<Value>) =
            metrics.into_iter().partition(|metric| is_cpu_utilization(metric) && !metric.at(value).is_null());
        if let Some(utilization) = cpu.first() {
            tree.set(field, utilization.at(value).clone());
        }
        annotate(tree, path, others);
    }
    let conditions = tree.array_at("status.conditions").to_vec();
    tree.remove("status.conditions");
    annotate(tree, "status.conditions", conditions);
}

/// Lists that v1 keeps in annotations.
const ANNOTATED: [(&str, &str); 3] = [
    ("autoscaling.alpha.kubernetes.io/metrics", "spec.metrics"),
    ("autoscaling.alpha.kubernetes.io/current-metrics", "status.currentMetrics"),
    ("autoscaling.alpha.kubernetes.io/conditions", "status.conditions"),
];

fn annotate(tree: &mut Value, path: &str, list: Vec<Value>) {
    if list.is_empty() {
        return;
    }
    let Some((annotation, _)) = ANNOTATED.iter().find(|(_, listed)| *listed == path) else { return };
    let text = crate::codec::json::to_vec(&Value::from(list));
    let annotations = tree.at_or_insert("metadata.annotations").make_object();
    annotations.insert(*annotation, String::from_utf8_lossy(&text).into_owned());
    annotations.sort();
}

fn drop_empty_annotations(tree: &mut Value) {
    if tree.at("metadata.annotations").as_object().is_some_and(Map::is_empty) {
        tree.remove("metadata.annotations");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    fn there_and_back(text: &str, kind: &str, from: (&str, &str), to: (&str, &str)) -> (Value, Value) {
        let original = json::parse(text.as_bytes()).unwrap();
        let mut converted = original.clone();
        convert(&mut converted, from, to, kind).unwrap();
        let mut back = converted.clone();
        convert(&mut back, to, from, kind).unwrap();
        assert_eq!(back, original);
        (original, converted)
    }

    #[test]
    fn events_have_other_names_for_the_same() {
        let text = r#"{"reason":"Scheduled","note":"done","regarding":{"kind":"Pod"},"reportingController":"s","deprecatedCount":2}"#;
        let (_, core) = there_and_back(text, "Event", ("events.k8s.io", "v1"), ("", "v1"));
        assert_eq!((core.str_at("message"), core.str_at("involvedObject.kind")), ("done", "Pod"));
        assert_eq!(core.i64_at("count"), Some(2));
    }

    #[test]
    fn autoscalers_keep_what_the_old_version_has_no_field_for() {
        let text = r#"{"metadata":{"name":"a"},"spec":{"maxReplicas":3,"metrics":[{"type":"Pods","pods":{"metric":{"name":"x"}}},{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]}}"#;
        let (_, v1) = there_and_back(text, "HorizontalPodAutoscaler", ("autoscaling", "v2"), ("autoscaling", "v1"));
        assert_eq!(v1.i64_at("spec.targetCPUUtilizationPercentage"), Some(80));
    }
}
