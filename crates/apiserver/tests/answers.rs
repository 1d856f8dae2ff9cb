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

/// Discovery of the first releases: documents of the core group lack their own version; `/` is JSON for everybody.
#[tokio::test]
async fn old_documents_have_no_version() {
    let server = server().await;
    for (path, kind) in [("/api", "APIVersions"), ("/api/v1", "APIResourceList")] {
        let (_, document) = ask(&server, "GET", path, JSON, "").await;
        let document = json::parse(document.as_bytes()).unwrap();
        assert_eq!((document.str_at("kind"), document.str_at("apiVersion")), (kind, ""));
    }
    let (code, paths) = ask(&server, "GET", "/", ("accept", "application/vnd.kubernetes.protobuf"), "").await;
    let paths = json::parse(paths.as_bytes()).unwrap();
    assert!(code == 200 && paths.array_at("paths").iter().any(|path| path.as_str() == Some("/readyz/etcd")));
}

/// `kubectl get componentstatuses`.
#[tokio::test]
async fn components_say_how_they_are() {
    let server = server().await;
    let path = "/api/v1/componentstatuses";
    let (_, etcd) = ask(&server, "GET", &format!("{path}/etcd-0"), JSON, "").await;
    let etcd = json::parse(etcd.as_bytes()).unwrap();
    assert_eq!(etcd.array_at("conditions")[0].str_at("status"), "True");
    let (code, other) = ask(&server, "GET", &format!("{path}/other"), JSON, "").await;
    let other = json::parse(other.as_bytes()).unwrap();
    assert_eq!((code, other.str_at("message")), (404, "componentstatus \"other\" not found"));
    let selected = format!("{path}?fieldSelector=metadata.name%3Detcd-0");
    let (_, table) = ask(&server, "GET", &selected, TABLE, "").await;
    let table = json::parse(table.as_bytes()).unwrap();
    assert_eq!(table.array_at("rows")[0].array_at("cells")[..2], ["etcd-0".into(), "Healthy".into()]);
}

/// A new object with a revision is judged first, as the store refuses it last.
#[tokio::test]
async fn a_revision_is_refused_after_all_else() {
    let server = server().await;
    let create = async |name: &str| {
        let body = format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"5"}}}}"#);
        let (code, refused) = ask(&server, "POST", "/api/v1/namespaces/default/configmaps", JSON, body).await;
        (code, json::parse(refused.as_bytes()).unwrap().str_at("message").to_owned())
    };
    assert_eq!(create("a").await, (500, "resourceVersion should not be set on objects to be created".to_owned()));
    assert_eq!(create("A").await.0, 422);
}

/// A watch of tables says the columns once.
#[tokio::test]
async fn a_watch_of_tables_says_its_columns_once() {
    let server = server().await;
    let watch = "/api/v1/namespaces?watch=1&timeoutSeconds=1";
    let (_, events) = ask(&server, "GET", watch, TABLE, "").await;
    let events: Vec<_> = events.lines().map(|line| json::parse(line.as_bytes()).unwrap()).collect();
    let told = |event: &api::value::Value| !event.at("object.columnDefinitions").is_null();
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), [true, false, false, false]);
}
