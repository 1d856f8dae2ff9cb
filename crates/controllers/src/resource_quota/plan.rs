//! What a quota's status should say, and which changes of objects may change that.

use api::quota::{Amounts, Evaluator, amounts, pods, scopes};
use api::value::Value;
use jiff::Timestamp;

/// The new status: limits as the spec has them, and what is used of them. None where that is what it says already.
/// Limits that nobody could count keep what they had.
pub fn status(quota: &Value, counted: &Amounts) -> Option<Value> {
    let hard = Amounts::read(quota.at("spec.hard"));
    let known = Amounts::read(quota.at("status.used"));
    let is_asked = |name: &str| hard.get(name).is_some();
    let mut used = known.masked(is_asked);
    for (name, amount) in counted.masked(is_asked).iter() {
        used.set(name.clone(), amount.clone());
    }
    let status = quota.at("status");
    let is_there = status.field("hard").is_some() && status.field("used").is_some();
    if is_there && Amounts::read(status.at("hard")) == hard && known == used {
        return None;
    }
    let mut status = Value::object();
    status.set("hard", hard.to_value());
    status.set("used", used.to_value());
    Some(status)
}

/// What these objects use of a quota together, by the names that it limits.
pub fn usage(quota: &Value, evaluator: &Evaluator, objects: &[Value], now: Timestamp) -> Amounts {
    let hard = Amounts::read(quota.at("spec.hard"));
    let scopes = scopes::of(quota);
    let mut total: Amounts =
        hard.names().filter(|name| evaluator.counts(name)).map(|name| (name.clone(), amounts::count(0))).collect();
    for object in objects.iter().filter(|object| scopes.iter().all(|scope| evaluator.is_in(scope, object))) {
        total.add(&evaluator.usage(object, now));
    }
    total.masked(|name| hard.get(name).is_some())
}

/// Whether a pod's change may give something back, or take more than was charged.
pub fn pod_matters(old: &Value, new: &Value, now: Timestamp) -> bool {
    scopes::is_terminating(old) != scopes::is_terminating(new) || pods::usage(old, now) != pods::usage(new, now)
}

/// The same of a service: it changes what it is.
pub fn service_matters(old: &Value, new: &Value) -> bool {
    let kind = |service: &Value| match service.str_at("spec.type") {
        kind @ ("NodePort" | "LoadBalancer") => kind.to_owned(),
        _ => String::new(),
    };
    kind(old) != kind(new)
}

/// The same of a claim: its allocation or its class.
pub fn claim_matters(old: &Value, new: &Value) -> bool {
    let paths = [
        "status.allocatedResources",
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    paths.iter().any(|path| old.at(path) != new.at(path))
}

#[cfg(test)]
mod tests {
    use client::json;
    use rstest::rstest;

    use super::*;

    fn value(text: &str) -> Value {
        json::parse(text.as_bytes()).unwrap()
    }

    const POD: &str = r#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"1"}}}]}}"#;
    const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn pods_are_added_up_within_the_scopes() {
        let quota = |scope: &str| {
            value(&format!(r#"{{"spec":{{"hard":{{"pods":"5","cpu":"4","x":"1"}},"scopes":[{scope}]}}}}"#))
        };
        let pods = [value(POD), value(POD), value(r#"{"spec":{"containers":[{}]}}"#)];
        let used = |scope: &str| usage(&quota(scope), &Evaluator::Pods, &pods, EPOCH).printed();
        assert_eq!(used(""), "cpu=2,pods=3");
        assert_eq!(used(r#""BestEffort""#), "cpu=0,pods=1");
        assert_eq!(used(r#""Terminating""#), "cpu=0,pods=0");
    }

    #[rstest]
    #[case::new("{}", r#"{"hard":{"pods":"5","x":"1"},"used":{"pods":"2"}}"#)]
    #[case::changed(
        r#"{"hard":{"pods":"9"},"used":{"pods":"1","x":"7","gone":"1"}}"#,
        r#"{"hard":{"pods":"5","x":"1"},"used":{"pods":"2","x":"7"}}"#
    )]
    #[case::the_same(r#"{"hard":{"pods":"5","x":"1"},"used":{"pods":"2"}}"#, "null")]
    fn statuses(#[case] known: &str, #[case] expected: &str) {
        let quota = value(&format!(r#"{{"spec":{{"hard":{{"pods":"5","x":"1"}}}},"status":{known}}}"#));
        let counted = Amounts::default().with("pods", amounts::count(2));
        assert_eq!(status(&quota, &counted).unwrap_or(Value::Null), value(expected));
    }

    #[rstest]
    #[case::ended(
        r#"{"spec":{"containers":[{}]},"status":{"phase":"Running"}}"#,
        r#"{"spec":{"containers":[{}]},"status":{"phase":"Succeeded"}}"#,
        true
    )]
    #[case::runs(
        r#"{"spec":{"containers":[{}]},"status":{"phase":"Pending"}}"#,
        r#"{"spec":{"containers":[{}]},"status":{"phase":"Running"}}"#,
        false
    )]
    #[case::will_end(
        r#"{"spec":{"containers":[{}]}}"#,
        r#"{"spec":{"containers":[{}],"activeDeadlineSeconds":3}}"#,
        true
    )]
    fn pods_that_matter(#[case] old: &str, #[case] new: &str, #[case] expected: bool) {
        assert_eq!(pod_matters(&value(old), &value(new), EPOCH), expected);
    }
}
