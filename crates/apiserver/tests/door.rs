//! The door, in process: requests of many kinds through the whole pipeline, over the memory engine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use api::codec::json;
use api::user::UserInfo;
use api::value::Value;
use apiserver::authn;
use apiserver::authn::token::{Issuer, KeySet};
use apiserver::authz::Mode;
use apiserver::bootstrap::objects::AuthenticationTrust;
use apiserver::pki::key::PrivateKey;
use apiserver::server::{Datastore, Identity, Server, own_user};
use apiserver::settings::Settings;
use client::{Client, DeleteOptions, Patch, Resource, SystemClock, WriteOptions};
use tokio_util::sync::CancellationToken;

const CONFIG_MAPS: Resource = Resource::fixed("", "v1", "configmaps", "ConfigMap", true);
const EVENTS: Resource = Resource::fixed("events.k8s.io", "v1", "events", "Event", true);
const PODS: Resource = Resource::fixed("", "v1", "pods", "Pod", true);
const SERVICES: Resource = Resource::fixed("", "v1", "services", "Service", true);
const ACCOUNTS: Resource = Resource::fixed("", "v1", "serviceaccounts", "ServiceAccount", true);

async fn server() -> Server {
    let settings = Settings {
        advertise_address: "10.0.0.1".parse().unwrap(),
        secure_port: 6443,
        service_cluster_ip_range: "10.96.0.0/16".parse().unwrap(),
        service_node_port_range: (30_000, 32_767),
        service_account_issuer: "https://kubernetes.default.svc.cluster.local".into(),
        disabled_admission_plugins: Vec::new(),
    };
    let modes = vec![Mode::Node, Mode::Rbac];
    let server = Server::open(Datastore::Memory, settings, identity(), Arc::new(SystemClock), modes).await.unwrap();
    server.seed(&AuthenticationTrust::default(), &CancellationToken::new()).await.unwrap();
    server
}

fn identity() -> Identity {
    let key = PrivateKey::generate().unwrap();
    let keys = KeySet::new([key.public()]);
    Identity { authentication: authn::Settings::default(), issuer: Issuer::new("https://issuer.example", key), keys }
}

fn admin(server: &Server) -> Client {
    server.client(own_user())
}

fn tree(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_fresh_cluster_has_what_it_needs() {
    let server = server().await;
    let client = admin(&server);
    for path in [
        "/api/v1/namespaces/kube-system",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
        "/api/v1/namespaces/default/services/kubernetes",
        "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
    ] {
        client.get(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

#[tokio::test]
async fn a_config_map_lives() {
    let server = server().await;
    let maps = admin(&server).namespaced(&CONFIG_MAPS, "default");
    let options = WriteOptions::default();
    let made = maps.create_tree(tree(r#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#), &options).await.unwrap();
    let made = made.tree().unwrap();
    assert_eq!(made.str_at("kind"), "ConfigMap");
    assert_eq!(made.str_at("data.k"), "v");
    assert!(!made.str_at("metadata.uid").is_empty());
    let mut changed = made.clone();
    changed.set("data.k", "w");
    let updated = maps.update(changed, &options).await.unwrap().tree().unwrap();
    assert_ne!(updated.str_at("metadata.resourceVersion"), made.str_at("metadata.resourceVersion"));
    let conflict = maps.update(made, &options).await.unwrap_err();
    assert!(conflict.is_conflict(), "{conflict}");
    maps.delete("a", &DeleteOptions::default()).await.unwrap();
    assert!(maps.get("a").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_pod_gets_its_defaults_and_account() {
    let server = server().await;
    let client = admin(&server);
    let options = WriteOptions::default();
    client
        .namespaced(&ACCOUNTS, "default")
        .create_tree(tree(r#"{"metadata":{"name":"default"}}"#), &options)
        .await
        .unwrap();
    let pods = client.namespaced(&PODS, "default");
    let pod = tree(r#"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"busybox"}]}}"#);
    let made = pods.create_tree(pod, &options).await.unwrap().tree().unwrap();
    assert_eq!(made.str_at("spec.restartPolicy"), "Always");
    assert_eq!(made.str_at("spec.serviceAccountName"), "default");
    assert_eq!(made.str_at("status.phase"), "Pending");
    assert_eq!(made.array_at("spec.volumes").len(), 1);
    assert_eq!(made.i64_at("metadata.generation"), Some(1));
}

/// A pod is shown as it ends, whether at once or after its grace. What kube-apiserver v1.37.2 answers.
#[tokio::test]
async fn a_deleted_pod_is_answered_as_it_ends() {
    let server = server().await;
    let (client, options) = (admin(&server), WriteOptions::default());
    let account = tree(r#"{"metadata":{"name":"default"}}"#);
    client.namespaced(&ACCOUNTS, "default").create_tree(account, &options).await.unwrap();
    for (nodes, seconds, expected) in
        [("", None, 0), (r#""nodeName":"n","#, Some(0), 0), (r#""nodeName":"n","#, None, 30)]
    {
        let spec = format!(r#"{{{nodes}"containers":[{{"name":"c","image":"i"}}]}}"#);
        let pod = format!(r#"{{"metadata":{{"generateName":"p-"}},"spec":{spec}}}"#);
        let pods = client.namespaced(&PODS, "default");
        let made = pods.create_tree(tree(&pod), &options).await.unwrap().tree().unwrap();
        let name = made.str_at("metadata.name");
        let query = seconds.map(|seconds: i64| format!("?gracePeriodSeconds={seconds}")).unwrap_or_default();
        let path = format!("/api/v1/namespaces/default/pods/{name}{query}");
        let request = http::Request::delete(path).extension(own_user()).body(client::Body::empty()).unwrap();
        let answer = server.pipeline.call(request).await.into_body().collect(1 << 20).await.unwrap();
        let ended = json::parse(&answer).unwrap();
        assert_eq!(ended.str_at("kind"), "Pod");
        assert_eq!(ended.i64_at("metadata.deletionGracePeriodSeconds"), Some(expected));
        assert!(!ended.str_at("metadata.deletionTimestamp").is_empty());
        assert_eq!(ended.i64_at("metadata.generation"), Some(2));
        assert_ne!(ended.str_at("metadata.resourceVersion"), made.str_at("metadata.resourceVersion"));
        assert_eq!(pods.get(name).await.is_ok(), expected > 0);
    }
}

/// Lists that are always written are null where they are empty, as upstream's store has them.
#[tokio::test]
async fn empty_lists_are_null() {
    const ROLES: Resource = Resource::fixed("rbac.authorization.k8s.io", "v1", "roles", "Role", true);
    let server = server().await;
    let roles = admin(&server).namespaced(&ROLES, "default");
    let role = tree(r#"{"metadata":{"name":"r"},"rules":[]}"#);
    let made = roles.create_tree(role, &WriteOptions::default()).await.unwrap().tree().unwrap();
    let rules = |role: &Value| role.as_object().unwrap().get("rules").cloned();
    assert_eq!(rules(&made), Some(Value::Null));
    assert_eq!(rules(&roles.get("r").await.unwrap().tree().unwrap()), Some(Value::Null));
}

#[tokio::test]
async fn services_get_addresses_and_give_them_back() {
    let server = server().await;
    let services = admin(&server).namespaced(&SERVICES, "default");
    let options = WriteOptions::default();
    let body = r#"{"metadata":{"name":"s"},"spec":{"type":"NodePort","selector":{"a":"b"},"clusterIP":"10.96.7.7","ports":[{"port":80}]}}"#;
    let made = services.create_tree(tree(body), &options).await.unwrap().tree().unwrap();
    assert_eq!(made.str_at("spec.clusterIP"), "10.96.7.7");
    let port = made.array_at("spec.ports")[0].i64_at("nodePort").unwrap();
    assert!((30_000..=32_767).contains(&port));
    let taken = services.create_tree(tree(&body.replace("\"s\"", "\"t\"")), &options).await.unwrap_err();
    assert!(taken.to_string().contains("provided IP is already allocated"), "{taken}");
    services.delete("s", &DeleteOptions::default()).await.unwrap();
    services.create_tree(tree(&body.replace("\"s\"", "\"t\"")), &options).await.unwrap();
}

/// Nobody grants what they don't hold, but the server's own administrators.
#[tokio::test]
async fn rights_can_not_be_raised() {
    const ROLES: Resource = Resource::fixed("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false);
    const BINDINGS: Resource =
        Resource::fixed("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false);
    let server = server().await;
    let (admin, options) = (admin(&server), WriteOptions::default());
    let role = r#"{"metadata":{"name":"writer"},"rules":[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"verbs":["create"]}]}"#;
    admin.all(&ROLES).create_tree(tree(role), &options).await.unwrap();
    let binding = r#"{"metadata":{"name":"writer"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"writer"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"mallory"}]}"#;
    admin.all(&BINDINGS).create_tree(tree(binding), &options).await.unwrap();
    let mallory = server.client(UserInfo::authenticated("mallory", &[]));
    let everything = r#"{"metadata":{"name":"all"},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}"#;
    let refused = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        loop {
            let error = mallory.all(&ROLES).create_tree(tree(everything), &options).await.unwrap_err();
            // The new binding takes a moment to be known.
            if !error.to_string().contains("cannot create resource") {
                return error;
            }
            tokio::task::yield_now().await;
        }
    });
    let refused = refused.await.unwrap();
    assert!(
        refused.is_forbidden() && refused.to_string().contains("attempting to grant RBAC permissions"),
        "{refused}"
    );
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = server().await;
    let nobody = server.client(UserInfo::authenticated("nobody", &[]));
    let error = nobody.get("/api/v1/namespaces/default/pods").await.unwrap_err();
    assert!(error.is_forbidden(), "{error}");
    assert!(error.to_string().contains("User \"nobody\" cannot list resource \"pods\""), "{error}");
}

/// Found by upstream's deployment controller writing beside a client: a patch of an object that changed meanwhile was
/// refused, though it named no revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patches_at_the_same_time_all_count() {
    let server = server().await;
    let maps = admin(&server).namespaced(&CONFIG_MAPS, "default");
    let options = WriteOptions::default();
    maps.create_tree(tree(r#"{"metadata":{"name":"a"},"data":{}}"#), &options).await.unwrap();
    let writers = (0..8).map(|writer| {
        let maps = maps.clone();
        tokio::spawn(async move {
            for number in 0..25 {
                let mut change = Value::object();
                change.set("data", [(format!("k{writer}-{number}"), "v")].into_iter().collect::<api::value::Map>());
                maps.patch("a", "", &Patch::Merge(change), &WriteOptions::default()).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let all = maps.get("a").await.unwrap().tree().unwrap();
    assert_eq!(all.at("data").as_object().unwrap().len(), 200);
}

#[tokio::test]
async fn events_are_selected_by_the_names_of_both_groups() {
    let server = server().await;
    let client = admin(&server);
    let event = r#"{"kind":"Event","apiVersion":"events.k8s.io/v1","metadata":{"name":"e","namespace":"default"},
        "regarding":{"kind":"Pod","name":"p","namespace":"default"},"eventTime":"2026-01-01T00:00:00.000000Z",
        "action":"Do","reason":"Test","type":"Normal","reportingController":"me","reportingInstance":"here"}"#;
    let events = client.namespaced(&EVENTS, "default");
    events.create(event, &WriteOptions::default()).await.unwrap();
    for (path, count) in [
        ("/api/v1/events?fieldSelector=source%3Dme", 1),
        ("/api/v1/events?fieldSelector=involvedObject.name%3Dp,reportingComponent%3Dme", 1),
        ("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dp,reportingController%3Dme", 1),
        ("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dq", 0),
        ("/apis/events.k8s.io/v1/events?fieldSelector=metadata.name%3De", 1),
    ] {
        let list = json::parse(&client.get(path).await.unwrap()).unwrap();
        assert_eq!(list.array_at("items").len(), count, "{path}");
    }
    let refused = client.get("/apis/events.k8s.io/v1/events?fieldSelector=involvedObject.name%3Dp").await.unwrap_err();
    assert!(refused.to_string().contains("field label not supported: involvedObject.name"), "{refused}");
}

/// Found by `tests/compare`: what upstream's router says of paths and methods that do not go together.
#[tokio::test]
async fn paths_and_methods_are_told_apart() {
    const NOT_FOUND: &str = "the server could not find the requested resource";
    const NOT_ALLOWED: &str = "the server does not allow this method on the requested resource";
    const REVISION: &str = r#"resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#;
    let server = server().await;
    for (method, path, code, message) in [
        ("GET", "/api/v1/nothing", 404, NOT_FOUND),
        ("GET", "/apis/apps/v9", 404, NOT_FOUND),
        ("GET", "/api/v1/namespaces/default/secrets/a/scale", 404, NOT_FOUND),
        ("GET", "/api/v1/namespaces/default/nodes/a", 404, NOT_FOUND),
        ("POST", "/api/v1/namespaces/default/configmaps/a", 405, NOT_ALLOWED),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405, NOT_ALLOWED),
        ("POST", "/api/v1/configmaps", 405, NOT_ALLOWED),
        ("POST", "/api/v1", 405, NOT_ALLOWED),
        ("GET", "/api/v1/namespaces/default/configmaps/a?resourceVersion=x", 500, REVISION),
        ("GET", "/api/v1/configmaps?resourceVersion=x", 400, &format!("invalid resource version: {REVISION}")),
    ] {
        let request = http::Request::builder().method(method).uri(path).extension(own_user());
        let answer = server.pipeline.call(request.body(client::Body::full("{}")).unwrap()).await;
        assert_eq!(answer.status(), code, "{method} {path}");
        let body = answer.into_body().collect(1 << 20).await.unwrap();
        assert_eq!(json::parse(&body).unwrap().str_at("message"), message, "{method} {path}");
    }
    let request = http::Request::builder().uri("/api/v1/endpoints").extension(own_user());
    let answer = server.pipeline.call(request.body(client::Body::empty()).unwrap()).await;
    let warning = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    assert_eq!(answer.headers()[http::header::WARNING], warning);
}
