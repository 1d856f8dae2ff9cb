//! Builders of small pods and nodes for tests.

use crate::model::node::Node;
use crate::model::pod::Pod;
use serde_json::{Value, json};
use std::sync::Arc;

/// A pod `ns/NAME` with the scheduler's default name, changed by fields of its spec, `labels`, `status` or `metadata`.
pub fn pod(name: &str, changes: Value) -> Arc<Pod> {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")},
        "spec": {"schedulerName": "default-scheduler", "containers": [{"name": "c", "image": "web"}]},
        "status": {},
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        match key.as_str() {
            "labels" => object["metadata"]["labels"] = value.clone(),
            "cpu" => object["spec"]["containers"][0]["resources"]["requests"]["cpu"] = value.clone(),
            "memory" => object["spec"]["containers"][0]["resources"]["requests"]["memory"] = value.clone(),
            "status" | "metadata" => {
                for (field, value) in value.as_object().into_iter().flatten() {
                    object[key][field] = value.clone();
                }
            }
            _ => object["spec"][key] = value.clone(),
        }
    }
    Arc::new(Pod::new(serde_json::from_value(object).unwrap()))
}

/// A node with 4 cores, 8 GiB and 110 pods, its hostname label, changed by fields of its spec, `labels` (added) or
/// `allocatable` and `images` of its status.
pub fn node(name: &str, changes: Value) -> Arc<Node> {
    let mut object = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"}},
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        match key.as_str() {
            "labels" => {
                for (label, value) in value.as_object().into_iter().flatten() {
                    object["metadata"]["labels"][label] = value.clone();
                }
            }
            "allocatable" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    object["status"]["allocatable"][name] = value.clone();
                }
            }
            "images" => object["status"]["images"] = value.clone(),
            _ => object["spec"][key] = value.clone(),
        }
    }
    Arc::new(Node::new(serde_json::from_value(object).unwrap()))
}
