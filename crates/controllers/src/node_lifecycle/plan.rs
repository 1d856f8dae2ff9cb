//! Which taints and labels a node should have.

use api::value::{Map, Value};
use client::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::common::tree;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// Which condition in which state taints a node with which key.
const CONDITION_TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Old names of labels, which keep the value of the new ones.
const OLD_LABELS: [(&str, &str); 2] =
    [("kubernetes.io/os", "beta.kubernetes.io/os"), ("kubernetes.io/arch", "beta.kubernetes.io/arch")];

/// The status of one of the node's conditions; none if there is no such condition.
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

/// Whether pods may be evicted at all: when no node is ready, it is rather the control plane that is cut off.
/// Nodes excluded from disruption checks don't count.
pub fn may_evict<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> bool {
    let mut counted = nodes.into_iter().filter(|node| node.label("node.kubernetes.io/exclude-disruption").is_none());
    counted.any(|node| condition(node, "Ready") == Some("True"))
}

/// The merge patch that brings a node's taints and labels in line with its conditions; none if they are.
pub fn patch(node: &Node, tree: &Value, may_evict: bool, now: Timestamp) -> Option<Value> {
    let mut patch = Value::object();
    if let Some(taints) = taints(node, tree, may_evict, now) {
        patch.set("spec.taints", if taints.is_empty() { Value::Null } else { Value::Array(taints) });
        // The list is replaced as a whole: only if nobody else changed it.
        patch.set("metadata.resourceVersion", node.metadata.resource_version.as_deref().unwrap_or_default());
    }
    for (new, old) in OLD_LABELS {
        if let Some(value) = node.label(new).filter(|value| node.label(old) != Some(value)) {
            patch.at_or_insert("metadata.labels").make_object().insert(old, value);
        }
    }
    (patch != Value::object()).then_some(patch)
}

/// The node's taints as they should be, if they aren't: those there first, new ones last.
fn taints(node: &Node, tree: &Value, may_evict: bool, now: Timestamp) -> Option<Vec<Value>> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (kind, status, key) in CONDITION_TAINTS {
        if condition(node, kind) == Some(status) {
            wanted.push((key, NO_SCHEDULE));
            if kind == "Ready" && may_evict {
                wanted.push((key, NO_EXECUTE));
            }
        }
    }
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    // A node that never said how it is keeps what pods are evicted by; kubelets register with such taints.
    let is_known = condition(node, "Ready").is_some();
    let there: Vec<&Taint> = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten().collect();
    let is_ours = |taint: &Taint| match taint.effect.as_str() {
        NO_SCHEDULE => taint.key == UNSCHEDULABLE || CONDITION_TAINTS.iter().any(|(_, _, key)| *key == taint.key),
        NO_EXECUTE => is_known && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
        _ => false,
    };
    let is_wanted = |taint: &Taint| wanted.contains(&(&taint.key, &taint.effect));
    let keeps = |taint: &&Taint| !is_ours(taint) || is_wanted(taint);
    let is_there = |wanted: &(&str, &str)| there.iter().any(|taint| (&*taint.key, &*taint.effect) == *wanted);
    if there.iter().all(keeps) && wanted.iter().all(is_there) {
        return None;
    }
    let stored = tree.array_at("spec.taints").iter();
    let mut taints: Vec<Value> =
        stored.zip(&there).filter(|(_, taint)| keeps(taint)).map(|(stored, _)| stored.clone()).collect();
    for (key, effect) in wanted.iter().filter(|wanted| !is_there(wanted)) {
        let mut taint = Map::from_iter([("key", *key), ("effect", *effect)]);
        taint.insert("timeAdded", tree::time(now));
        taints.push(Value::Object(taint));
    }
    Some(taints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::{View, json};
    use rstest::rstest;

    fn taint(text: &str) -> String {
        let (key, effect) = text.split_once(':').unwrap();
        format!(r#"{{"key":"{key}","effect":"{effect}"}}"#)
    }

    #[rstest]
    #[case::ready_again(
        &[("Ready", "True")],
        &["node.kubernetes.io/not-ready:NoSchedule", "a:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"],
        true,
        Some(vec!["a:NoSchedule"])
    )]
    #[case::settled(&[("Ready", "True"), ("DiskPressure", "False")], &["a:NoExecute"], true, None)]
    #[case::not_ready(
        &[("Ready", "False")],
        &[],
        true,
        Some(vec!["node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"])
    )]
    #[case::no_node_is_ready(
        &[("Ready", "False")],
        &["node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"],
        false,
        Some(vec!["node.kubernetes.io/not-ready:NoSchedule"])
    )]
    #[case::not_ready_becomes_unreachable(
        &[("Ready", "Unknown")],
        &["node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"],
        true,
        Some(vec!["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"])
    )]
    #[case::pressure(
        &[("Ready", "True"), ("MemoryPressure", "True")],
        &[],
        true,
        Some(vec!["node.kubernetes.io/memory-pressure:NoSchedule"])
    )]
    #[case::registered_with_a_taint(&[], &["node.kubernetes.io/not-ready:NoExecute"], true, None)]
    fn by_condition(
        #[case] conditions: &[(&str, &str)],
        #[case] there: &[&str],
        #[case] may_evict: bool,
        #[case] expected: Option<Vec<&str>>,
    ) {
        let conditions: Vec<String> =
            conditions.iter().map(|(kind, status)| format!(r#"{{"type":"{kind}","status":"{status}"}}"#)).collect();
        let there: Vec<String> = there.iter().map(|one| taint(one)).collect();
        let json = format!(
            r#"{{"metadata":{{"name":"n","resourceVersion":"7"}},"spec":{{"taints":[{}]}},"status":{{"conditions":[{}]}}}}"#,
            there.join(","),
            conditions.join(",")
        );
        let node = Node::decode(json.as_bytes()).unwrap();
        let patch = patch(&node, &json::parse(json.as_bytes()).unwrap(), may_evict, Timestamp::UNIX_EPOCH);
        let got = patch.map(|patch| {
            assert_eq!(patch.str_at("metadata.resourceVersion"), "7");
            let taints = patch.array_at("spec.taints").iter();
            taints.map(|one| format!("{}:{}", one.str_at("key"), one.str_at("effect"))).collect::<Vec<_>>()
        });
        assert_eq!(got, expected.map(|list| list.into_iter().map(str::to_owned).collect()));
    }

    #[test]
    fn cordoned_and_old_labels() {
        let json = br#"{"metadata":{"name":"n","labels":{"kubernetes.io/os":"linux"}},"spec":{"unschedulable":true}}"#;
        let patch =
            patch(&Node::decode(json).unwrap(), &json::parse(json).unwrap(), true, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(patch.at("spec.taints").as_array().unwrap()[0].str_at("key"), UNSCHEDULABLE);
        assert_eq!(patch.at("metadata.labels").get("beta.kubernetes.io/os").as_str(), Some("linux"));
    }
}
