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

/// An object as the server answered it, but for its mark: what a client sends back that changes one annotation.
pub struct Template {
    before: String,
    after: String,
}

// === impl Template ===

impl Template {
    /// # Errors
    /// If it is no JSON object with annotations.
    pub fn of(object: &[u8]) -> Result<Template, Box<dyn std::error::Error + Send + Sync>> {
        const MARK: &str = "\u{1}mark\u{1}";
        let mut object: Value = serde_json::from_slice(object)?;
        let metadata = object["metadata"].as_object_mut().ok_or("an object without metadata")?;
        // Whatever is there is what it replaces.
        metadata.remove("resourceVersion");
        metadata["annotations"]["example.com/mark"] = MARK.into();
        let text = object.to_string();
        let (before, after) = text.split_once(r"\u0001mark\u0001").ok_or("the mark is lost")?;
        Ok(Template { before: before.into(), after: after.into() })
    }

    pub fn with(&self, mark: usize) -> Bytes {
        format!("{}{mark}{}", self.before, self.after).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_goes_back_as_it_came_but_for_its_mark_and_revision() {
        let mut object: Value = serde_json::from_slice(&pod("a", 1)).unwrap();
        object["metadata"]["resourceVersion"] = "7".into();
        let sent: Value =
            serde_json::from_slice(&Template::of(object.to_string().as_bytes()).unwrap().with(42)).unwrap();
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        object["metadata"]["annotations"]["example.com/mark"] = "42".into();
        assert_eq!(sent, object);
    }
}
