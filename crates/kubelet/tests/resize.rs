//! In-place resize with a real containerd under the real API server.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{IMAGE, Node, is_ready};

/// Amounts change under running containers, all of the way: spec, cgroups, status.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_resized_in_place() {
    let node = Node::start().await;
    let own = |name: &str, resources: serde_json::Value, policy: &str| {
        json!({"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"], "resources": resources,
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}]})
    };
    let small = json!({"requests": {"cpu": "20m", "memory": "20Mi"}, "limits": {"cpu": "40m", "memory": "40Mi"}});
    node.pod(
        "size",
        json!({"restartPolicy": "OnFailure", "containers": [
        own("quiet", small.clone(), "NotRequired"), own("again", small.clone(), "RestartContainer")]}),
    )
    .await;
    let before = node.until_ready("size").await;
    let resize = async |resources: serde_json::Value| {
        let body = json!({"spec": {"containers": [{"name": "quiet", "resources": resources}, {"name": "again", "resources": resources}]}});
        let patch = client::Patch::Strategic(client::json::parse(body.to_string().as_bytes()).unwrap());
        let pods = node.admin.namespaced(&client::resources::PODS, "default");
        pods.patch("size", "resize", &patch, &client::WriteOptions::default()).await.unwrap();
    };
    let large = json!({"requests": {"cpu": "50m", "memory": "30Mi"}, "limits": {"cpu": "100m", "memory": "60Mi"}});
    resize(large.clone()).await;
    let settled = |pod: &k8s_openapi::api::core::v1::Pod| {
        let status = pod.status.as_ref().unwrap();
        status.observed_generation == pod.metadata.generation
            && !status.conditions.iter().flatten().any(|condition| condition.type_.starts_with("PodResize"))
            && is_ready(pod)
    };
    let after = node.until("size", "resized", |pod| settled(pod) && restarts(pod) == [1, 0]).await;
    assert_eq!(after.metadata.generation, before.metadata.generation.map(|generation| generation + 1));
    let statuses = after.status.as_ref().unwrap().container_statuses.clone().unwrap();
    for status in &statuses {
        assert_eq!(json!(status.resources), large, "{}", status.name);
        assert_eq!(json!(status.allocated_resources), large["requests"]);
    }
    let kubelet = node.kubelet.clone().unwrap();
    let pod = kubelet.find_pod("default", "size", None).unwrap();
    let cgroups = kubelet.cgroups.as_ref().unwrap();
    let path = cgroups.pod_path(&pod);
    assert_eq!((cgroups.memory_limit(&path), cgroups.cpu_quota(&path)), (Some(120 << 20), Some(20_000)));
    for name in ["quiet", "again"] {
        let id = kubelet.running_container(&pod, name).await.unwrap().unwrap().id;
        let path = format!("{path}/{id}");
        assert_eq!((cgroups.memory_limit(&path), cgroups.cpu_quota(&path)), (Some(60 << 20), Some(10_000)), "{name}");
    }
    resize(small).await;
    node.until("size", "small again", |pod| settled(pod) && restarts(pod) == [2, 0]).await;
    assert_eq!(cgroups.memory_limit(&path), Some(80 << 20));
    // More than the node has: it waits.
    resize(json!({"requests": {"cpu": "20m", "memory": "20Mi"}, "limits": {"cpu": "40m", "memory": "40Mi"}})).await;
    resize(json!({"requests": {"cpu": "900", "memory": "20Mi"}, "limits": {"cpu": "900", "memory": "40Mi"}})).await;
    let pending = node
        .until("size", "deferred", |pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.clone().any(|own| own.type_ == "PodResizePending" && own.reason.as_deref() == Some("Deferred"))
        })
        .await;
    assert_eq!(restarts(&pending), [2, 0]);
    let events = node.events("size").await.join("\n");
    for expected in [
        "ResizeStarted: Pod resize started: {",
        "ResizeCompleted: Pod resize completed: {",
        "ResizeDeferred: Pod resize Deferred: {",
    ] {
        assert!(events.contains(expected), "{expected}: {events}");
    }
    drop(kubelet);
    node.finish().await;
}

/// By container, sorted by name.
fn restarts(pod: &k8s_openapi::api::core::v1::Pod) -> Vec<i32> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default();
    statuses.iter().map(|status| status.restart_count).collect()
}
