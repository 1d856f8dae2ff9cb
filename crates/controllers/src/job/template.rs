//! The pods of a job.

use api::value::{Map, Value};

use super::model::{FAILURES, IGNORED_FAILURES, INDEX, TRACKING};
use super::plan::NewPod;
use crate::common::claim::Owner;
use crate::common::pod_control::from_template;

/// The variable with the pod's index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Longest prefix of a generated name; upstream's `MaxGeneratedNameLength`.
const PREFIX_CHARS_MAX: usize = 58;

/// The pod to be made: tracked by a finalizer and, of an indexed job, with its index in annotation, label, host name,
/// name and environment.
pub fn pod(owner: &Owner, template: &Value, new: NewPod) -> Value {
    let mut pod = from_template(owner, template);
    let finalizers = pod.at_or_insert("metadata.finalizers");
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|one| one.as_str() == Some(TRACKING)) => {}
        Some(list) => list.push(TRACKING.into()),
        None => *finalizers = vec![TRACKING].into(),
    }
    if let Some(index) = new.index {
        add_index(&mut pod, owner, index, new.failures);
    }
    pod
}

fn add_index(pod: &mut Value, owner: &Owner, index: i32, failures: Option<(i32, i32)>) {
    let text = index.to_string();
    pod.at_or_insert("metadata.labels").make_object().insert(INDEX, text.as_str());
    let annotations = pod.at_or_insert("metadata.annotations").make_object();
    annotations.insert(INDEX, text);
    if let Some((counted, ignored)) = failures {
        annotations.insert(FAILURES, counted.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_FAILURES, ignored.to_string());
        }
    }
    let suffix = format!("-{index}-");
    let room = PREFIX_CHARS_MAX.saturating_sub(suffix.len());
    let kept: String = owner.name.chars().take(room).collect();
    pod.set("metadata.generateName", format!("{kept}{suffix}"));
    pod.set("spec.hostname", format!("{}-{index}", owner.name));
    for list in ["spec.initContainers", "spec.containers"] {
        let containers = pod.at_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(add_variable);
    }
}

fn add_variable(container: &mut Value) {
    if container.array_at("env").iter().any(|variable| variable.str_at("name") == INDEX_VARIABLE) {
        return;
    }
    let mut variable = Value::object();
    variable.set("name", INDEX_VARIABLE);
    variable.set("valueFrom.fieldRef.fieldPath", format!("metadata.labels['{INDEX}']"));
    let env = container.at_or_insert("env");
    match env.as_array_mut() {
        Some(list) => list.push(variable),
        None => *env = Value::Array(vec![variable]),
    }
}

/// Lets a pod go: takes the finalizer away.
pub fn release_patch() -> Value {
    let mut metadata = Map::new();
    metadata.insert("$deleteFromPrimitiveList/finalizers", vec![TRACKING]);
    let mut patch = Map::new();
    patch.insert("metadata", metadata);
    Value::Object(patch)
}
