//! Answers that users of kubectl see, in the words of kube-apiserver v1.37.2.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use api::codec::json;
use support::{ask, server};

const JSON: (&str, &str) = ("content-type", "application/json");
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");

/// `kubectl get --subresource=scale`.
#[tokio::test]
async fn a_scale_is_shown_with_its_replicas() {
    let server = server().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = r#"{"metadata":{"name":"d"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},
        "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#;
    let (code, made) = ask(&server, "POST", deployments, JSON, deployment).await;
    assert_eq!(code, 201, "{made}");
    let (_, table) = ask(&server, "GET", &format!("{deployments}/d/scale"), TABLE, "").await;
    let table = json::parse(table.as_bytes()).unwrap();
    let names: Vec<&str> = table.array_at("columnDefinitions").iter().map(|column| column.str_at("name")).collect();
    assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
    let row = &table.array_at("rows")[0];
    assert_eq!(row.array_at("cells")[..3], ["d".into(), 3.into(), 0.into()]);
    assert_eq!(row.str_at("object.metadata.name"), "d");
}

/// `kubectl describe replicaset` shows why no pod is made; its name is not made yet.
#[tokio::test]
async fn a_refused_pod_is_called_by_the_beginning_of_its_name() {
    let server = server().await;
    // Nobody has made the namespace's service account here.
    let why = "error looking up service account default/default: serviceaccount \"default\" not found";
    let spec = r#""spec":{"containers":[{"name":"c","image":"i"}]}"#;
    for (metadata, name) in [(r#"{"name":"n"}"#, "n"), (r#"{"generateName":"g-"}"#, "g-"), ("{}", "Unknown")] {
        let pod = format!(r#"{{"metadata":{metadata},{spec}}}"#);
        let (code, refused) = ask(&server, "POST", "/api/v1/namespaces/default/pods", JSON, pod).await;
        let refused = json::parse(refused.as_bytes()).unwrap();
        let expected = format!("pods \"{name}\" is forbidden: {why}");
        assert_eq!((code, refused.str_at("message"), refused.str_at("details.name")), (403, expected.as_str(), name));
    }
}
