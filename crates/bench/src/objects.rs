//! The objects that are sent: the sizes of the reference measurements (a ConfigMap of 1.0 KiB, a Pod of 3.1 KiB).

use bytes::Bytes;
use serde_json::{Value, json};

/// Bytes of a ConfigMap's one value.
const CONFIG_MAP_VALUE_BYTES: usize = 860;

pub fn config_map(name: &str, mark: usize) -> Bytes {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench", "mark": format!("m{}", mark % 10)}},
        "data": {"mark": mark.to_string(), "content": "x".repeat(CONFIG_MAP_VALUE_BYTES)},
    });
    object.to_string().into()
}

/// A Pod that no scheduler looks at.
pub fn pod(name: &str, mark: usize) -> Bytes {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": "bench", "tier": "backend", "mark": format!("m{}", mark % 10)},
            "annotations": {"example.com/mark": mark.to_string(), "example.com/note": "n".repeat(180)},
        },
        "spec": pod_spec(),
    });
    object.to_string().into()
}

fn pod_spec() -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8080}, "initialDelaySeconds": 3, "periodSeconds": 10, "timeoutSeconds": 2});
    let container = |name: &str| {
        let env: Vec<Value> = (0..8)
            .map(|at| json!({"name": format!("SETTING_{at}"), "value": format!("value-of-setting-{at}")}))
            .collect();
        json!({
            "name": name, "image": format!("registry.example.com/team/{name}:1.2.3"),
            "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
            "env": env,
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
            "livenessProbe": probe("/livez"), "readinessProbe": probe("/readyz"),
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}, {"name": "scratch", "mountPath": "/tmp"}],
        })
    };
    json!({
        "schedulerName": "nobody",
        "containers": [container("web"), container("worker")],
        "volumes": [{"name": "config", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}],
        "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "bench", "effect": "NoSchedule"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000},
    })
}
