//! `/pods`: the node's pods with the statuses known here. `/runningpods/`: those the runtime runs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::{
    cri::{Error, v1},
    kubelet::Kubelet,
    labels,
};

/// A `PodList` of all that are to run here.
pub fn pods(kubelet: &Kubelet) -> Value {
    let pods = kubelet.workers.pods();
    let pods = pods.iter().map(|pod| {
        let mut pod = (**pod).clone();
        pod.status = Some(kubelet.pod_status(&pod));
        pod
    });
    list(pods.collect::<Vec<Pod>>())
}

/// A `PodList` of what runs, with names and images alone.
///
/// # Errors
/// What the runtime says.
pub async fn running(kubelet: &Kubelet) -> Result<Value, Error> {
    Ok(list(assemble(&crate::pleg::running(&kubelet.runtime).await?)))
}

fn list(pods: impl serde::Serialize) -> Value {
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
}

fn assemble(containers: &[v1::Container]) -> Vec<Value> {
    let mut pods: BTreeMap<&str, Value> = BTreeMap::new();
    for container in containers {
        let label = |key: &str| container.labels.get(key).map_or("", String::as_str);
        let image = container.image.as_ref().map_or("", |image| image.image.as_str());
        let pod = pods.entry(label(labels::POD_UID)).or_insert_with(|| {
            json!({
                "metadata": {"name": label(labels::POD_NAME), "namespace": label(labels::POD_NAMESPACE),
                    "uid": label(labels::POD_UID)},
                "spec": {"containers": []},
                "status": {},
            })
        });
        if let Some(list) = pod["spec"]["containers"].as_array_mut() {
            list.push(json!({"name": label(labels::CONTAINER_NAME), "image": image, "resources": {}}));
        }
    }
    pods.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_put_together_by_pod() {
        let container = |name: &str| v1::Container {
            labels: [(labels::POD_UID, "u"), (labels::POD_NAME, "p"), (labels::CONTAINER_NAME, name)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..v1::Container::default()
        };
        let pods = assemble(&[container("a"), container("b")]);
        assert_eq!((pods.len(), &pods[0]["metadata"]["name"]), (1, &json!("p")));
        assert_eq!(pods[0]["spec"]["containers"][1]["name"], "b");
    }
}
