//! Conditions of workloads: one shape for those of ReplicaSets, ReplicationControllers, DaemonSets, Jobs …

use api::value::{Map, Value};
use jiff::Timestamp;

use super::tree;

/// A condition with the fields that all of them have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Since when the status is what it is.
    pub since: Option<Timestamp>,
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// Sets a condition unless it is there with the same status and reason.
pub fn set(conditions: &mut Vec<Condition>, condition: Condition) {
    let is_there = find(conditions, &condition.kind)
        .is_some_and(|known| known.status == condition.status && known.reason == condition.reason);
    if !is_there {
        remove(conditions, &condition.kind);
        conditions.push(condition);
    }
}

/// Removes the condition of a type.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.kind != kind);
}

/// Reads conditions from a tree.
pub fn read(tree: &Value, path: &str) -> Vec<Condition> {
    let read = |one: &Value| Condition {
        kind: one.str_at("type").to_owned(),
        status: one.str_at("status").to_owned(),
        reason: one.str_at("reason").to_owned(),
        message: one.str_at("message").to_owned(),
        since: one.str_at("lastTransitionTime").parse().ok(),
    };
    tree.array_at(path).iter().map(read).collect()
}

/// Writes conditions into a tree, leaving those alone that are there and the same.
pub fn write(into: &mut Value, path: &str, conditions: &[Condition]) {
    let known = read(into, path);
    let before: Vec<Value> = into.array_at(path).to_vec();
    let written: Vec<Value> = conditions
        .iter()
        .map(|condition| match known.iter().position(|one| one == condition) {
            Some(at) => before[at].clone(),
            None => condition.to_value(),
        })
        .collect();
    if written.is_empty() {
        into.remove(path);
    } else {
        into.set(path, Value::Array(written));
    }
}

// === impl Condition ===

impl Condition {
    /// A condition that holds from now on.
    pub fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>, now: Timestamp) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
            since: Some(now),
        }
    }

    fn to_value(&self) -> Value {
        let mut value = Map::new();
        value.insert("type", self.kind.as_str());
        value.insert("status", self.status.as_str());
        if let Some(since) = self.since {
            value.insert("lastTransitionTime", tree::time(since));
        }
        for (key, text) in [("reason", &self.reason), ("message", &self.message)] {
            if !text.is_empty() {
                value.insert(key, text.as_str());
            }
        }
        Value::Object(value)
    }
}
