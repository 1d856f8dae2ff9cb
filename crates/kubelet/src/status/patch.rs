//! The strategic merge patch between two statuses: what upstream's two-way merge gives.

use serde_json::{Map, Value, json};

use super::conditions::is_owned;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};

/// Lists that merge by a key; the others are replaced whole.
const MERGE_KEYS: [(&str, &str); 4] =
    [("conditions", "type"), ("podIPs", "ip"), ("hostIPs", "ip"), ("resourceClaimStatuses", "name")];

/// What to write: ours, with others' conditions as they are on the server. Upstream: `mergePodStatus`.
pub fn merge(server: &PodStatus, ours: &PodStatus) -> PodStatus {
    let theirs = server.conditions.iter().flatten().filter(|condition| !is_owned(&condition.type_));
    let mut conditions: Vec<PodCondition> = theirs.cloned().collect();
    for condition in ours.conditions.iter().flatten() {
        let shared = condition.type_ == "DisruptionTarget";
        if is_owned(&condition.type_) {
            conditions.push(condition.clone());
        } else if shared {
            match conditions.iter_mut().find(|known| known.type_ == condition.type_) {
                Some(known) => known.clone_from(condition),
                None => conditions.push(condition.clone()),
            }
        }
    }
    let mut merged = ours.clone();
    merged.conditions = Some(conditions);
    merged.volume_health.clone_from(&server.volume_health);
    merged.resource_claim_statuses.clone_from(&server.resource_claim_statuses);
    merged.extended_resource_claim_status.clone_from(&server.extended_resource_claim_status);
    merged.nominated_node_name.clone_from(&server.nominated_node_name);
    merged
}

/// The body of the patch; `None` where nothing changes.
pub fn between(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (old, new) = (tree(old), tree(new));
    let changes = diff(&old, &new);
    (!changes.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changes}))
}

fn tree(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A strategic merge patch between two objects of a kind whose list keys are in `MERGE_KEYS`.
pub fn diff(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut changes = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(before) if before == value => {}
            before => {
                let keyed = MERGE_KEYS.iter().find(|(list, _)| list == key);
                match (keyed, value, before) {
                    (Some((_, merge_key)), Value::Array(items), before) => {
                        let before = before.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                        list_changes(key, merge_key, before, items, &mut changes);
                    }
                    (None, Value::Object(new), Some(Value::Object(old))) => {
                        changes.insert(key.clone(), Value::Object(diff(old, new)));
                    }
                    _ => {
                        changes.insert(key.clone(), value.clone());
                    }
                }
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    changes
}

fn list_changes(name: &str, merge_key: &str, old: &[Value], new: &[Value], changes: &mut Map<String, Value>) {
    let find =
        |list: &[Value], item: &Value| list.iter().find(|other| other.get(merge_key) == item.get(merge_key)).cloned();
    let mut items: Vec<Value> = Vec::new();
    for item in new {
        match find(old, item) {
            Some(before) if &before == item => {}
            Some(Value::Object(before)) => {
                let mut change = item.as_object().map(|item| diff(&before, item)).unwrap_or_default();
                change.insert(merge_key.to_owned(), item[merge_key].clone());
                items.push(Value::Object(change));
            }
            _ => items.push(item.clone()),
        }
    }
    for item in old.iter().filter(|item| find(new, item).is_none()) {
        items.push(json!({"$patch": "delete", merge_key: item[merge_key]}));
    }
    if items.is_empty() {
        return;
    }
    let order: Vec<Value> = new.iter().map(|item| json!({merge_key: item[merge_key]})).collect();
    changes.insert(format!("$setElementOrder/{name}"), Value::Array(order));
    changes.insert(name.to_owned(), Value::Array(items));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_changed_is_sent() {
        let old = status(json!({"phase": "Pending", "reason": "x", "conditions": [
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}, {"type": "Initialized", "status": "True"}]}));
        let new = status(json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]}));
        let patch = between("u", &old, &new).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running", "reason": null,
                "$setElementOrder/podIPs": [{"ip": "10.0.0.1"}], "podIPs": [{"ip": "10.0.0.1"}],
                "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "Initialized"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}],
            }})
        );
        assert_eq!(between("u", &new, &new), None);
    }

    #[test]
    fn others_conditions_are_the_servers() {
        let server = status(
            json!({"conditions": [{"type": "www.example.com/gate", "status": "True"}, {"type": "Ready", "status": "False"}]}),
        );
        let ours = status(
            json!({"phase": "Running", "conditions": [{"type": "www.example.com/gate", "status": "False"}, {"type": "Ready", "status": "True"}]}),
        );
        let merged = merge(&server, &ours);
        let list: Vec<_> = merged.conditions.unwrap().into_iter().map(|c| (c.type_, c.status)).collect();
        assert_eq!(list, [("www.example.com/gate".into(), "True".into()), ("Ready".into(), "True".into())]);
    }
}
