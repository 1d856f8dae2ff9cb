//! Identity through the real door: TLS with certificates of the directory, tokens, impersonation,
//! reviews; a client that speaks HTTP/1.1 by hand.

#![allow(clippy::unwrap_used)] // tests and their helpers

mod auth_client;

use std::sync::Arc;

use api::codec::json;
use api::value::Value;
use apiserver::authz::Mode;
use apiserver::launch::{Config, Running, launch};
use apiserver::pki::{Identity as Holder, Issued, Pki, ServerNames};
use apiserver::server::Datastore;
use apiserver::settings::Settings;
use auth_client::{Door, free_port, now};
use client::{Resource, SystemClock, WriteOptions};
use tokio_util::sync::CancellationToken;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const ACCOUNTS: Resource = Resource::fixed("", "v1", "serviceaccounts", "ServiceAccount", true);
const PODS: Resource = Resource::fixed("", "v1", "pods", "Pod", true);

/// A server on a port of its own, with a directory of its own.
struct Cluster {
    running: Running,
    stop: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn cluster() -> Cluster {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        pki: directory.path().join("pki"),
        datastore: Datastore::Memory,
        bind_address: "127.0.0.1".parse().unwrap(),
        settings: Settings {
            // Only published; the connections go to the loopback address.
            advertise_address: "10.0.0.1".parse().unwrap(),
            secure_port: free_port(),
            service_cluster_ip_range: "10.96.0.0/16".parse().unwrap(),
            service_node_port_range: (30_000, 32_767),
            service_account_issuer: ISSUER.into(),
            disabled_admission_plugins: Vec::new(),
        },
        hostname: "localhost".into(),
        kubeconfigs: Vec::new(),
        public_url: "https://127.0.0.1".into(),
        authorization_modes: vec![Mode::Node, Mode::Rbac],
        provided: Default::default(),
    };
    let stop = CancellationToken::new();
    let running = launch(config, Arc::new(SystemClock), stop.clone()).await.unwrap();
    Cluster { running, stop, _directory: directory }
}

impl Cluster {
    fn issue(&self, holder: &Holder) -> Issued {
        self.running.pki.issue(holder, now()).unwrap()
    }

    async fn send(
        &self,
        by: Option<&Issued>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let door = Door { address: self.running.address, ca: self.running.pki.ca.der().to_vec() };
        door.send(by, method, path, headers, body).await
    }

    async fn who(&self, by: Option<&Issued>, headers: &[(&str, &str)]) -> (u16, Value) {
        const REVIEW: &str = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#;
        self.send(by, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", headers, REVIEW).await
    }
}

fn groups(answer: &Value) -> Vec<&str> {
    answer.array_at("status.userInfo.groups").iter().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn certificates_over_tls() {
    let cluster = cluster().await;
    let admin = cluster.issue(&Holder::client("kubernetes-admin", &["system:masters", "ops"]));
    let (code, answer) = cluster.who(Some(&admin), &[]).await;
    assert_eq!(code, 201, "{answer:?}");
    assert_eq!(answer.str_at("status.userInfo.username"), "kubernetes-admin");
    let mut found = groups(&answer);
    found.sort_unstable();
    assert_eq!(found, ["ops", "system:authenticated", "system:masters"]);

    // Bad certificates end in a 401, not in the handshake.
    let old = cluster
        .running
        .pki
        .issue(&Holder::client("kubernetes-admin", &["system:masters"]), now() - 800 * 24 * 3600)
        .unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Pki::open(elsewhere.path(), now()).unwrap();
    let foreign = foreign.issue(&Holder::client("kubernetes-admin", &["system:masters"]), now()).unwrap();
    let server = cluster.issue(&Holder::api_server(&ServerNames::default()));
    for (what, bad) in [("expired", old), ("foreign", foreign), ("for servers", server)] {
        let (code, answer) = cluster.send(Some(&bad), "GET", "/api/v1/namespaces", &[], "").await;
        assert_eq!(
            (code, answer.str_at("message"), answer.str_at("reason")),
            (401, "Unauthorized", "Unauthorized"),
            "{what}"
        );
    }

    let (code, answer) = cluster.send(None, "GET", "/api/v1/namespaces", &[], "").await;
    let expected = "namespaces is forbidden: User \"system:anonymous\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope";
    assert_eq!((code, answer.str_at("message")), (403, expected));
}

#[tokio::test]
async fn tokens_are_issued_reviewed_and_accepted() {
    let cluster = cluster().await;
    let account = json::parse(br#"{"metadata":{"name":"sa"}}"#).unwrap();
    let accounts = cluster.running.own_client().namespaced(&ACCOUNTS, "default");
    accounts.create_tree(account, &WriteOptions::default()).await.unwrap();

    let admin = cluster.issue(&Holder::client("kubernetes-admin", &["system:masters"]));
    const ASKED: &str =
        r#"{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"expirationSeconds":600}}"#;
    let path = "/api/v1/namespaces/default/serviceaccounts/sa/token";
    let (code, answer) = cluster.send(Some(&admin), "POST", path, &[], ASKED).await;
    assert_eq!(code, 201, "{answer:?}");
    let token = answer.str_at("status.token").to_owned();

    let bearer = format!("Bearer {token}");
    let (code, own) = cluster.who(None, &[("Authorization", &bearer)]).await;
    assert_eq!((code, own.str_at("status.userInfo.username")), (201, "system:serviceaccount:default:sa"));
    let (code, _) = cluster.who(None, &[("Authorization", &format!("{bearer}x"))]).await;
    assert_eq!(code, 401);

    let review =
        format!(r#"{{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{{"token":"{token}"}}}}"#);
    let (code, answer) =
        cluster.send(Some(&admin), "POST", "/apis/authentication.k8s.io/v1/tokenreviews", &[], &review).await;
    assert_eq!((code, answer.at("status.authenticated").as_bool()), (201, Some(true)), "{answer:?}");
    assert_eq!(answer.array_at("status.audiences"), [Value::from(ISSUER)]);

    let (code, answer) = cluster.send(Some(&admin), "GET", "/.well-known/openid-configuration", &[], "").await;
    assert_eq!((code, answer.str_at("issuer")), (200, ISSUER));
    let (code, answer) = cluster.send(Some(&admin), "GET", "/openid/v1/jwks", &[], "").await;
    assert_eq!((code, answer.array_at("keys").len()), (200, 1));
}

#[tokio::test]
async fn impersonation_front_proxy_and_access_reviews() {
    let cluster = cluster().await;
    let admin = cluster.issue(&Holder::client("kubernetes-admin", &["system:masters"]));
    let as_bob =
        [("Impersonate-User", "bob"), ("Impersonate-Group", "dev"), ("Impersonate-Extra-Acme.com%2fTeam", "x")];
    let (code, answer) = cluster.who(Some(&admin), &as_bob).await;
    assert_eq!((code, answer.str_at("status.userInfo.username")), (201, "bob"));
    assert_eq!(groups(&answer), ["dev", "system:authenticated"]);
    assert_eq!(answer.at("status.userInfo.extra").get("acme.com/team"), &Value::from(vec!["x"]));

    let carol = cluster.issue(&Holder::client("carol", &[]));
    let (code, answer) = cluster.who(Some(&carol), &as_bob[..1]).await;
    assert_eq!(code, 403, "{answer:?}");
    let (code, _) = cluster.who(Some(&admin), &as_bob[1..2]).await;
    assert_eq!(code, 400);

    let proxy = cluster.issue(&Holder::front_proxy_client());
    let named = [("X-Remote-User", "dave"), ("X-Remote-Group", "dev")];
    let (code, answer) = cluster.who(Some(&proxy), &named).await;
    assert_eq!((code, answer.str_at("status.userInfo.username")), (201, "dave"));
    let (_, answer) = cluster.who(Some(&carol), &named).await;
    assert_eq!(answer.str_at("status.userInfo.username"), "carol");

    const REVIEW: &str = r#"{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"resourceAttributes":{"verb":"list","resource":"secrets"}}}"#;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, answer) = cluster.send(Some(&carol), "POST", path, &[], REVIEW).await;
    assert_eq!((code, answer.at("status.allowed").as_bool()), (201, Some(false)), "{answer:?}");
    let (_, answer) = cluster.send(Some(&admin), "POST", path, &[], REVIEW).await;
    assert_eq!(answer.at("status.allowed").as_bool(), Some(true));
}

#[tokio::test]
async fn kubelets_get_tokens_for_their_own_pods_only() {
    let cluster = cluster().await;
    let client = cluster.running.own_client();
    let account = json::parse(br#"{"metadata":{"name":"default"}}"#).unwrap();
    client.namespaced(&ACCOUNTS, "default").create_tree(account, &WriteOptions::default()).await.unwrap();
    let mut uids = Vec::new();
    for node in ["n1", "n2"] {
        let pod = format!(
            r#"{{"metadata":{{"name":"p-{node}"}},"spec":{{"nodeName":"{node}","containers":[{{"name":"c","image":"i"}}],
            "volumes":[{{"name":"t","projected":{{"sources":[{{"serviceAccountToken":{{"path":"token"}}}}]}}}}]}}}}"#
        );
        let pod = json::parse(pod.as_bytes()).unwrap();
        let made = client.namespaced(&PODS, "default").create_tree(pod, &WriteOptions::default()).await.unwrap();
        uids.push(made.tree().unwrap().str_at("metadata.uid").to_owned());
    }
    let kubelet = cluster.issue(&Holder::client("system:node:n1", &["system:nodes"]));
    let ask = async |bound: &str| {
        let body = format!(r#"{{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{{{bound}}}}}"#);
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        cluster.send(Some(&kubelet), "POST", path, &[], &body).await
    };
    let bound = |node: &str, uid: &str| {
        format!(r#""boundObjectRef":{{"apiVersion":"v1","kind":"Pod","name":"p-{node}","uid":"{uid}"}}"#)
    };
    // The authorizer hears of the pods by watch events.
    let own = bound("n1", &uids[0]);
    let mut found = ask(&own).await;
    for _ in 0..100 {
        if found.0 != 403 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        found = ask(&own).await;
    }
    assert_eq!(found.0, 201, "{:?}", found.1);
    let (code, answer) = ask(&bound("n2", &uids[1])).await;
    assert_eq!(code, 403, "{answer:?}");
    assert!(answer.str_at("message").ends_with("node requested token bound to a pod scheduled on a different node"));
    let (code, answer) = ask("").await;
    assert_eq!(code, 403, "{answer:?}");
    let (code, answer) = cluster.send(Some(&kubelet), "GET", "/api/v1/pods", &[], "").await;
    let why = "node: can only list/watch pods with spec.nodeName field selector";
    assert_eq!((code, answer.str_at("message").ends_with(why)), (403, true), "{answer:?}");
    let (code, answer) =
        cluster.send(Some(&kubelet), "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", &[], "").await;
    assert_eq!((code, answer.array_at("items").len()), (200, 1), "{answer:?}");
}
