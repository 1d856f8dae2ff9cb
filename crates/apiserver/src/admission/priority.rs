//! Priority: a pod's priority and preemption policy are those of its class.
//!
//! Upstream: `plugin/pkg/admission/priority`.

use std::sync::Arc;

use api::status::Status;
use api::value::Value;

use super::{Attributes, Operation, lookup};
use crate::api::Api;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";

pub fn mutate(api: &Api, attributes: &Attributes<'_>, pod: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    let resizes = attributes.is_sub("", "pods", "resize");
    if !attributes.is("", "pods") && !resizes {
        return Ok(());
    }
    if let Some(old) = old {
        // An update that leaves them out keeps what creation set.
        for path in ["spec.priority", "spec.preemptionPolicy"] {
            if pod.at(path).is_null() && !old.at(path).is_null() {
                pod.set(path, old.at(path).clone());
            }
        }
        return Ok(());
    }
    let class = class_of(api, attributes, pod)?;
    let (name, priority, policy) = match &class {
        Some(class) => (
            class.str_at("metadata.name"),
            class.i64_at("value").unwrap_or_default(),
            class.at("preemptionPolicy").as_str(),
        ),
        None => ("", 0, Some("PreemptLowerPriority")),
    };
    if !name.is_empty() {
        pod.set("spec.priorityClassName", name);
    }
    if let Some(given) = pod.i64_at("spec.priority").filter(|given| *given != priority) {
        return Err(attributes.forbidden(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        )));
    }
    pod.set("spec.priority", priority);
    let Some(policy) = policy else { return Ok(()) };
    match pod.str_at("spec.preemptionPolicy") {
        "" => {}
        given if given == policy => {}
        given => {
            return Err(attributes.forbidden(&format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            )));
        }
    }
    pod.set("spec.preemptionPolicy", policy);
    Ok(())
}

/// The class that the pod names, or the default one.
fn class_of(api: &Api, attributes: &Attributes<'_>, pod: &Value) -> Result<Option<Arc<Value>>, Status> {
    let name = pod.str_at("spec.priorityClassName");
    if name.is_empty() {
        let classes = lookup::all(api, GROUP, CLASSES);
        let defaults = classes.into_iter().filter(|class| class.at("globalDefault").as_bool() == Some(true));
        return Ok(defaults.min_by_key(|class| class.i64_at("value")));
    }
    match lookup::again(api, GROUP, CLASSES, "", name) {
        Some(class) => Ok(Some(class)),
        None => Err(attributes.forbidden(&format!("no PriorityClass with name {name} was found"))),
    }
}

/// There is one default class at most.
pub fn validate(
    api: &Api,
    attributes: &Attributes<'_>,
    class: Option<&Value>,
    _: Option<&Value>,
) -> Result<(), Status> {
    let Some(class) = class.filter(|_| attributes.is(GROUP, CLASSES)) else { return Ok(()) };
    if class.at("globalDefault").as_bool() != Some(true) || attributes.operation == Operation::Delete {
        return Ok(());
    }
    let name = class.str_at("metadata.name");
    let other = lookup::all(api, GROUP, CLASSES)
        .into_iter()
        .find(|one| one.at("globalDefault").as_bool() == Some(true) && one.str_at("metadata.name") != name);
    match other {
        None => Ok(()),
        Some(other) => Err(attributes.forbidden(&format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            other.str_at("metadata.name")
        ))),
    }
}
