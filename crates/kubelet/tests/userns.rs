//! User namespaces with a real containerd: 2.x makes them, 1.6 can't.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{IMAGE, Node};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_users_of_its_own_or_is_told_why_not() {
    let node = Node::start().await;
    let script = "cat /proc/self/uid_map; cat /map/k; stat -c %u /map/k /empty; touch /empty/x && stat -c %u /empty/x";
    node.create(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"k": "value\n"}}),
    )
    .await;
    node.pod(
        "users",
        json!({"hostUsers": false, "restartPolicy": "Never",
        "containers": [{"name": "a", "image": IMAGE, "command": ["/bin/sh", "-c", script],
            "volumeMounts": [{"name": "map", "mountPath": "/map"}, {"name": "empty", "mountPath": "/empty"}]}],
        "volumes": [{"name": "map", "configMap": {"name": "map"}}, {"name": "empty", "emptyDir": {}}]}),
    )
    .await;
    let supported = node.kubelet.as_ref().unwrap().health.read().handlers.get("").is_some_and(|(_, users)| *users);
    // The other runtime that counts is one that has them.
    assert!(supported || std::env::var_os("KUBELET_TEST_RUNTIME").is_none());
    if supported {
        node.until_phase("users", "Succeeded").await;
        let log = node.log("users", "a").await;
        let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [vec!["0", "65536", "65536"], vec!["value"], vec!["0"], vec!["0"], vec!["0"]], "{log}");
    } else {
        let why = "FailedCreatePodSandBox: Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces";
        let mut tries = 0;
        while !node.events("users").await.iter().any(|event| event == why) {
            tries += 1;
            assert!(tries < 200, "not refused: {:#?}", node.events("users").await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    node.finish().await;
}
