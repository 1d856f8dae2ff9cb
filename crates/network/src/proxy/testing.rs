//! Builders of small views for tests.

use crate::views::{EndpointSliceView, ServiceView};
use serde_json::{Value, json};

/// A Service `ns/NAME` with one TCP port 80 (`http`), changed by a JSON merge of its spec.
pub fn service(name: &str, cluster_ip: &str, spec: Value) -> ServiceView {
    let mut object = json!({
        "metadata": {"namespace": "ns", "name": name},
        "spec": {
            "type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
        },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        match key.as_str() {
            "status" => object["status"] = value.clone(),
            _ => object["spec"][key] = value.clone(),
        }
    }
    serde_json::from_value(object).unwrap()
}

/// A slice of Service `ns/NAME` for port `http` 8080, with endpoints as JSON.
pub fn slice(service: &str, suffix: &str, endpoints: Value) -> EndpointSliceView {
    slice_of(service, suffix, "TCP", 8080, endpoints)
}

/// The same with another protocol and port.
pub fn slice_of(service: &str, suffix: &str, protocol: &str, port: u16, endpoints: Value) -> EndpointSliceView {
    let first = endpoints[0]["addresses"][0].as_str().unwrap_or_default();
    serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": format!("{service}-{suffix}"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": if first.contains(':') { "IPv6" } else { "IPv4" },
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": protocol, "port": port}],
    }))
    .unwrap()
}

/// A ready endpoint on a node.
pub fn ready(address: &str, node: &str) -> Value {
    json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true, "serving": true, "terminating": false}})
}

/// An endpoint that terminates; it may still serve.
pub fn terminating(address: &str, node: &str, serving: bool) -> Value {
    json!({"addresses": [address], "nodeName": node, "conditions": {"ready": false, "serving": serving, "terminating": true}})
}
