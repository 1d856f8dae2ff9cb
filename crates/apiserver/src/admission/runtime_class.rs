//! RuntimeClass: a pod's overhead, and where it may run, are those of its class.
//!
//! Upstream: `plugin/pkg/admission/runtimeclass`.

use api::quantity::Quantity;
use api::status::Status;
use api::value::{Map, Value};

use super::{Attributes, lookup};
use crate::api::Api;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const WITHOUT_CLASS: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

pub fn mutate(api: &Api, attributes: &Attributes<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), Status> {
    let Some(class) = class_of(api, attributes, pod)? else { return Ok(()) };
    let overhead = class.at("overhead.podFixed");
    if !class.at("overhead").is_null() {
        let given = pod.at("spec.overhead");
        if !is_empty(given) && !same(given, overhead) {
            return Err(attributes.forbidden(MISMATCH));
        }
        pod.set("spec.overhead", overhead.clone());
    }
    if !class.at("scheduling").is_null() {
        merge_selector(attributes, pod, class.at("scheduling.nodeSelector"))?;
        merge_tolerations(pod, class.array_at("scheduling.tolerations"));
    }
    Ok(())
}

pub fn validate(api: &Api, attributes: &Attributes<'_>, pod: Option<&Value>, _: Option<&Value>) -> Result<(), Status> {
    let Some(pod) = pod.filter(|_| attributes.is("", "pods")) else { return Ok(()) };
    let class = class_of(api, attributes, pod)?;
    let given = pod.at("spec.overhead");
    match class.filter(|class| !class.at("overhead").is_null()) {
        Some(class) if !same(given, class.at("overhead.podFixed")) => Err(attributes.forbidden(MISMATCH)),
        None if !given.is_null() => Err(attributes.forbidden(WITHOUT_CLASS)),
        _ => Ok(()),
    }
}

/// The class that a new pod names.
fn class_of(api: &Api, attributes: &Attributes<'_>, pod: &Value) -> Result<Option<Value>, Status> {
    let Some(name) = pod.at("spec.runtimeClassName").as_str().filter(|_| attributes.is("", "pods")) else {
        return Ok(None);
    };
    let class = lookup::get(api, "node.k8s.io", "runtimeclasses", "", name);
    let missing = || attributes.forbidden(&format!("pod rejected: RuntimeClass {name:?} not found"));
    class.map(Some).ok_or_else(missing)
}

fn merge_selector(attributes: &Attributes<'_>, pod: &mut Value, wanted: &Value) -> Result<(), Status> {
    for (key, value) in wanted.as_object().into_iter().flat_map(Map::iter) {
        let value = value.as_str().unwrap_or_default();
        match pod.at("spec.nodeSelector").get(key).as_str() {
            Some(given) if given != value => {
                return Err(attributes.forbidden(&format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {given}"
                )));
            }
            Some(_) => {}
            None => {
                pod.at_or_insert("spec.nodeSelector").make_object().insert(key.clone(), value);
            }
        }
    }
    Ok(())
}

/// The pod's tolerations with the class's behind them; what another one covers is left out.
fn merge_tolerations(pod: &mut Value, wanted: &[Value]) {
    let all: Vec<&Value> = pod.array_at("spec.tolerations").iter().chain(wanted).collect();
    let mut merged: Vec<Value> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let covered_later = all[index + 1..].iter().any(|later| later != one && covers(later, one));
        if !covered_later && !merged.iter().any(|kept| covers(kept, one)) {
            merged.push((*one).clone());
        }
    }
    if !merged.is_empty() {
        pod.set("spec.tolerations", Value::Array(merged));
    }
}

/// Whether `one` tolerates all that `other` does.
fn covers(one: &Value, other: &Value) -> bool {
    if one == other {
        return true;
    }
    let exists = one.str_at("operator") == "Exists";
    let key = one.str_at("key") == other.str_at("key") || (one.str_at("key").is_empty() && exists);
    let effect = one.str_at("effect") == other.str_at("effect") || one.str_at("effect").is_empty();
    let seconds = match (one.str_at("effect"), one.i64_at("tolerationSeconds")) {
        ("NoExecute", Some(limit)) => other.i64_at("tolerationSeconds").is_some_and(|seconds| seconds <= limit),
        _ => true,
    };
    let is_equal = |toleration: &Value| matches!(toleration.str_at("operator"), "" | "Equal");
    let value = exists || (is_equal(one) && is_equal(other) && one.str_at("value") == other.str_at("value"));
    key && effect && seconds && value
}

fn is_empty(resources: &Value) -> bool {
    resources.as_object().is_none_or(Map::is_empty)
}

/// Whether two lists of resources name the same amounts, however they are written.
fn same(one: &Value, other: &Value) -> bool {
    let amount = |value: &Value| value.as_str().and_then(|text| text.parse::<Quantity>().ok());
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return is_empty(one) && is_empty(other);
    };
    one.len() == other.len()
        && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| amount(value) == amount(other)))
}

#[cfg(test)]
mod tests {
    use api::codec::json;
    use rstest::rstest;

    use super::*;

    fn value(text: &str) -> Value {
        json::parse(text.as_bytes()).unwrap()
    }

    #[rstest]
    #[case::written_otherwise(r#"{"cpu":"250m"}"#, r#"{"cpu":"0.25"}"#, true)]
    #[case::another_amount(r#"{"cpu":"250m"}"#, r#"{"cpu":"1"}"#, false)]
    #[case::one_more(r#"{"cpu":"1"}"#, r#"{"cpu":"1","memory":"1Mi"}"#, false)]
    #[case::none_and_empty("null", "{}", true)]
    #[case::none_and_some("null", r#"{"cpu":"1"}"#, false)]
    fn amounts(#[case] one: &str, #[case] other: &str, #[case] expected: bool) {
        assert_eq!(same(&value(one), &value(other)), expected);
    }

    #[rstest]
    #[case::kept_and_added(r#"[{"key":"a"}]"#, r#"[{"key":"b"}]"#, r#"[{"key":"a"},{"key":"b"}]"#)]
    #[case::equal_ones(r#"[{"key":"a"}]"#, r#"[{"key":"a"}]"#, r#"[{"key":"a"}]"#)]
    #[case::covered_by_the_class(
        r#"[{"key":"a","operator":"Equal","value":"x","effect":"NoSchedule"}]"#,
        r#"[{"operator":"Exists"}]"#,
        r#"[{"operator":"Exists"}]"#
    )]
    #[case::a_shorter_time_covers_no_longer_one(
        r#"[{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":10}]"#,
        r#"[{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":5}]"#,
        r#"[{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":10}]"#
    )]
    fn tolerations(#[case] given: &str, #[case] wanted: &str, #[case] expected: &str) {
        let mut pod = value("{}");
        pod.set("spec.tolerations", value(given));
        merge_tolerations(&mut pod, value(wanted).as_array().unwrap());
        assert_eq!(pod.at("spec.tolerations"), &value(expected));
    }
}
