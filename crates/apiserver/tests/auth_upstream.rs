//! Held against the real thing: upstream's kube-apiserver v1.37.2 runs with certificates and keys
//! made here, and both sides answer the same questions.
//!
//! Needs upstream's `kube-apiserver` and `etcd` in `~/.cache/upstream-v1.37.2` (or where
//! `UPSTREAM_BIN` says), so it is not part of the usual run:
//! `cargo test -p apiserver --test auth_upstream -- --ignored`.

#![allow(clippy::unwrap_used)] // tests and their helpers

mod auth_client;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::codec::json;
use api::user::UserInfo;
use api::value::Value;
use apiserver::authn::token::claims::{Reference, TokenClaims};
use apiserver::authn::token::{Issuer, KeySet, ServiceAccountTokens, discovery};
use apiserver::authn::{Bound, BoundObjects, BoundSecret};
use apiserver::authz::noderestriction::{self, Objects, Operation, Request};
use apiserver::authz::{Authorizer, Change, Mode, WATCHED, review};
use apiserver::bootstrap::{flowcontrol, objects, rbac};
use apiserver::pki::{Identity as Holder, Issued, Pki, ServerNames};
use auth_client::{Door, free_port, now};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const READY_TIME_MAX: Duration = Duration::from_secs(120);

/// Upstream's server with its etcd.
struct Upstream {
    door: Door,
    pki: Pki,
    admin: Issued,
    processes: Vec<Child>,
    _directory: tempfile::TempDir,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

fn binary(name: &str) -> PathBuf {
    let home = std::env::var("HOME").unwrap_or_default();
    let directory = std::env::var("UPSTREAM_BIN").unwrap_or(format!("{home}/.cache/upstream-v1.37.2"));
    PathBuf::from(directory).join(name)
}

impl Upstream {
    async fn start() -> Upstream {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open(&directory.path().join("pki"), now()).unwrap();
        let names = ServerNames { ips: vec!["10.96.0.1".parse().unwrap()], ..ServerNames::default() };
        pki.ensure("apiserver", &Holder::api_server(&names), now()).unwrap();
        pki.ensure("apiserver-kubelet-client", &Holder::kubelet_client(), now()).unwrap();
        pki.ensure("front-proxy-client", &Holder::front_proxy_client(), now()).unwrap();
        let [port, etcd, peer] = [free_port(), free_port(), free_port()];
        let spawn = |mut command: Command, log: &str| {
            let log = std::fs::File::create(directory.path().join(log)).unwrap();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
        };
        let mut command = Command::new(binary("etcd"));
        command
            .arg("--data-dir")
            .arg(directory.path().join("etcd"))
            .arg(format!("--listen-client-urls=http://127.0.0.1:{etcd}"))
            .arg(format!("--advertise-client-urls=http://127.0.0.1:{etcd}"))
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"));
        let mut processes = vec![spawn(command, "etcd.log")];
        let mut command = Command::new(binary("kube-apiserver"));
        let file = |flag: &str, name: &str| format!("--{flag}={}", pki.path(name).display());
        command.args([
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=10.0.0.1".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            file("client-ca-file", "ca.crt"),
            file("tls-cert-file", "apiserver.crt"),
            file("tls-private-key-file", "apiserver.key"),
            file("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
            file("kubelet-client-key", "apiserver-kubelet-client.key"),
            format!("--service-account-issuer={ISSUER}"),
            file("service-account-key-file", "sa.pub"),
            file("service-account-signing-key-file", "sa.key"),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            file("requestheader-client-ca-file", "front-proxy-ca.crt"),
            "--requestheader-allowed-names=front-proxy-client".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-uid-headers=X-Remote-Uid".into(),
            file("proxy-client-cert-file", "front-proxy-client.crt"),
            file("proxy-client-key-file", "front-proxy-client.key"),
        ]);
        processes.push(spawn(command, "kube-apiserver.log"));
        let door = Door { address: ([127, 0, 0, 1], port).into(), ca: pki.ca.der().to_vec() };
        let admin = pki.issue(&Holder::client("admin", &["system:masters"]), now()).unwrap();
        let started = Instant::now();
        loop {
            let listening = tokio::net::TcpStream::connect(door.address).await.is_ok();
            if listening && door.send(Some(&admin), "GET", "/readyz", &[], "").await.0 == 200 {
                break;
            }
            assert!(started.elapsed() < READY_TIME_MAX, "upstream did not become ready");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Upstream { door, pki, admin, processes, _directory: directory }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.door.send(Some(&self.admin), method, path, &[], body).await
    }

    /// All objects of a collection.
    async fn list(&self, path: &str) -> Vec<Value> {
        let (code, list) = self.send("GET", path, "").await;
        assert_eq!(code, 200, "{path}: {list:?}");
        list.array_at("items").to_vec()
    }

    async fn create(&self, path: &str, body: &str) -> Value {
        let (code, answer) = self.send("POST", path, body).await;
        assert_eq!(code, 201, "{path} {body}: {answer:?}");
        answer
    }
}

/// Without what the server gives each object of its own.
fn plain(mut object: Value) -> Value {
    for field in ["metadata.uid", "metadata.resourceVersion", "metadata.creationTimestamp", "metadata.managedFields"] {
        object.remove(field);
    }
    for field in ["metadata.generation", "kind", "apiVersion", "status"] {
        object.remove(field);
    }
    object
}

fn by_name(objects: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let name = |object: &Value| format!("{}/{}", object.str_at("metadata.namespace"), object.str_at("metadata.name"));
    objects.into_iter().map(|object| (name(&object), plain(object))).collect()
}

fn plural(group: &str, resource: &str) -> String {
    match group {
        "" => format!("/api/v1/{resource}"),
        group => format!("/apis/{group}/v1/{resource}"),
    }
}

async fn what_upstream_makes_at_its_start_is_in_our_tables(upstream: &Upstream) {
    const RBAC: &str = "rbac.authorization.k8s.io";
    for resource in ["clusterroles", "clusterrolebindings", "roles", "rolebindings"] {
        let theirs = by_name(upstream.list(&plural(RBAC, resource)).await);
        let ours = by_name(rbac::objects().filter(|object| rbac::resource(object) == resource));
        assert_eq!(theirs, ours, "{resource}");
    }
    for resource in ["prioritylevelconfigurations", "flowschemas"] {
        let theirs = by_name(upstream.list(&plural("flowcontrol.apiserver.k8s.io", resource)).await);
        let ours = by_name(flowcontrol::objects().filter(|object| flowcontrol::resource(object) == resource));
        assert_eq!(theirs, ours, "{resource}");
    }
    let theirs = by_name(upstream.list(&plural("scheduling.k8s.io", "priorityclasses")).await);
    assert_eq!(theirs.keys().collect::<Vec<_>>(), by_name(objects::priority_classes()).keys().collect::<Vec<_>>());
    for (name, class) in by_name(objects::priority_classes()) {
        assert_eq!(theirs[&name].at("value"), class.at("value"));
    }
    let (_, map) =
        upstream.send("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", "").await;
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let trust = objects::AuthenticationTrust {
        client_ca: upstream.pki.ca.to_pem(),
        request_header_ca: upstream.pki.front_proxy_ca.to_pem(),
        username_headers: texts(&["X-Remote-User"]),
        uid_headers: texts(&["X-Remote-Uid"]),
        group_headers: texts(&["X-Remote-Group"]),
        extra_header_prefixes: texts(&["X-Remote-Extra-"]),
        allowed_names: texts(&["front-proxy-client"]),
    };
    assert_eq!(map.at("data"), objects::authentication_config_map(&trust, None).at("data"));
    let (_, service) = upstream.send("GET", "/api/v1/namespaces/default/services/kubernetes", "").await;
    let ours = objects::kubernetes_service([10, 96, 0, 1].into(), 443, upstream.door.address.port(), 0);
    for field in
        ["metadata.labels", "spec.ports", "spec.clusterIP", "spec.type", "spec.sessionAffinity", "spec.ipFamilyPolicy"]
    {
        assert_eq!(service.at(field), ours.at(field), "{field}");
    }
}

/// Pods on two nodes with all that they refer to, bindings of many kinds.
async fn populate(upstream: &Upstream) {
    for account in ["default", "sa"] {
        let account = format!(r#"{{"metadata":{{"name":"{account}"}}}}"#);
        upstream.create("/api/v1/namespaces/default/serviceaccounts", &account).await;
    }
    for node in ["n1", "n2"] {
        upstream.create("/api/v1/nodes", &format!(r#"{{"metadata":{{"name":"{node}"}}}}"#)).await;
        let pod = format!(
            r#"{{"metadata":{{"name":"pod-{node}"}},"spec":{{"nodeName":"{node}","serviceAccountName":"sa",
            "imagePullSecrets":[{{"name":"pull-{node}"}}],
            "initContainers":[{{"name":"i","image":"i","env":[{{"name":"A","valueFrom":{{"secretKeyRef":{{"name":"env-{node}","key":"k"}}}}}}]}}],
            "containers":[{{"name":"c","image":"i","envFrom":[{{"configMapRef":{{"name":"from-{node}"}}}},{{"secretRef":{{"name":"shared"}}}}]}}],
            "volumes":[{{"name":"a","secret":{{"secretName":"volume-{node}"}}}},
              {{"name":"b","projected":{{"sources":[{{"configMap":{{"name":"projected-{node}"}}}},{{"serviceAccountToken":{{"path":"t","audience":"vault"}}}}]}}}},
              {{"name":"c","persistentVolumeClaim":{{"claimName":"claim-{node}"}}}},
              {{"name":"scratch","ephemeral":{{"volumeClaimTemplate":{{"spec":{{"accessModes":["ReadWriteOnce"],"resources":{{"requests":{{"storage":"1Gi"}}}}}}}}}}}}],
            "resourceClaims":[{{"name":"x","resourceClaimName":"device-{node}"}}]}}}}"#
        );
        upstream.create("/api/v1/namespaces/default/pods", &pod).await;
        let volume = format!(
            r#"{{"metadata":{{"name":"pv-{node}"}},"spec":{{"capacity":{{"storage":"1Gi"}},"accessModes":["ReadWriteOnce"],
            "claimRef":{{"namespace":"default","name":"claim-{node}"}},"csi":{{"driver":"d","volumeHandle":"h",
            "nodeStageSecretRef":{{"namespace":"default","name":"stage-{node}"}},
            "controllerPublishSecretRef":{{"namespace":"default","name":"controller-{node}"}}}}}}}}"#
        );
        upstream.create("/api/v1/persistentvolumes", &volume).await;
        let attachment = format!(
            r#"{{"metadata":{{"name":"attachment-{node}"}},"spec":{{"attacher":"d","nodeName":"{node}","source":{{"persistentVolumeName":"pv-{node}"}}}}}}"#
        );
        upstream.create("/apis/storage.k8s.io/v1/volumeattachments", &attachment).await;
        let slice = format!(
            r#"{{"metadata":{{"name":"slice-{node}"}},"spec":{{"driver":"d.example.com","nodeName":"{node}","pool":{{"name":"p","generation":1,"resourceSliceCount":1}}}}}}"#
        );
        upstream.create("/apis/resource.k8s.io/v1/resourceslices", &slice).await;
    }
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let binding = |name: &str, kind: &str, role: &str, subjects: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}"}},"roleRef":{{"apiGroup":"rbac.authorization.k8s.io","kind":"{kind}","name":"{role}"}},"subjects":[{subjects}]}}"#
        )
    };
    let user = |name: &str| format!(r#"{{"kind":"User","name":"{name}","apiGroup":"rbac.authorization.k8s.io"}}"#);
    let group = |name: &str| format!(r#"{{"kind":"Group","name":"{name}","apiGroup":"rbac.authorization.k8s.io"}}"#);
    let role = r#"{"metadata":{"name":"named"},"rules":[{"verbs":["get","update"],"apiGroups":["","apps"],"resources":["secrets","*/scale"],"resourceNames":["shared"]}]}"#;
    upstream.create(&format!("{rbac}/namespaces/default/roles"), role).await;
    let path = r#"{"metadata":{"name":"paths"},"rules":[{"verbs":["get"],"nonResourceURLs":["/metrics","/debug/*"]}]}"#;
    upstream.create(&format!("{rbac}/clusterroles"), path).await;
    for (path, body) in [
        (
            "clusterrolebindings",
            binding("paths", "ClusterRole", "paths", &format!("{},{}", user("alice"), group("dev"))),
        ),
        ("clusterrolebindings", binding("lost", "ClusterRole", "gone", &user("eve"))),
        ("namespaces/default/rolebindings", binding("named", "Role", "named", &user("alice"))),
        ("namespaces/default/rolebindings", binding("gone", "Role", "gone", &user("eve"))),
        (
            "namespaces/default/rolebindings",
            binding("editors", "ClusterRole", "system:controller:job-controller", &group("dev")),
        ),
        (
            "namespaces/default/rolebindings",
            binding(
                "local",
                "ClusterRole",
                "system:kube-scheduler",
                r#"{"kind":"ServiceAccount","name":"sa","namespace":"default"}"#,
            ),
        ),
    ] {
        upstream.create(&format!("{rbac}/{path}"), &body).await;
    }
}

/// Our authorizer, fed with upstream's objects.
async fn our_authorizer(upstream: &Upstream) -> Authorizer {
    let authorizer = Authorizer::new(vec![Mode::Node, Mode::Rbac]);
    for (group, resource) in WATCHED {
        for object in upstream.list(&plural(group, resource)).await {
            authorizer.apply(group, resource, Change::Put(&object));
        }
    }
    authorizer
}

/// The questions: users times actions.
fn questions() -> Vec<String> {
    let users = [
        r#""user":"system:node:n1","groups":["system:nodes","system:authenticated"]"#,
        r#""user":"system:node:","groups":["system:nodes"]"#,
        r#""user":"alice","groups":["system:authenticated"]"#,
        r#""user":"bob","groups":["dev","system:authenticated"]"#,
        r#""user":"eve","groups":["system:authenticated"]"#,
        r#""user":"system:kube-controller-manager","groups":["system:authenticated"]"#,
        r#""user":"system:serviceaccount:kube-system:deployment-controller","groups":["system:serviceaccounts","system:serviceaccounts:kube-system","system:authenticated"]"#,
        r#""user":"system:serviceaccount:default:sa","groups":["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"]"#,
        r#""user":"system:anonymous","groups":["system:unauthenticated"]"#,
        r#""user":"root","groups":["system:masters"]"#,
    ];
    let mut actions: Vec<String> = Vec::new();
    for path in ["/api", "/apis/apps", "/healthz", "/metrics", "/debug/pprof", "/debug", "/version/", "/"] {
        actions.push(format!(r#""nonResourceAttributes":{{"verb":"get","path":"{path}"}}"#));
    }
    let resource = |verb: &str, group: &str, resource: &str, namespace: &str, name: &str, more: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        format!(
            r#""resourceAttributes":{{"verb":"{verb}","group":"{group}","resource":"{resource}","subresource":"{subresource}","namespace":"{namespace}","name":"{name}"{more}}}"#
        )
    };
    let named = [
        ("secrets", "pull"),
        ("secrets", "env"),
        ("secrets", "volume"),
        ("secrets", "stage"),
        ("secrets", "controller"),
        ("configmaps", "from"),
        ("configmaps", "projected"),
        ("persistentvolumeclaims", "claim"),
        ("pods", "pod"),
        ("persistentvolumeclaims/status", "claim"),
        ("pods/status", "pod"),
        ("pods/eviction", "pod"),
    ];
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
        for (kind, name) in named {
            for node in ["n1", "n2"] {
                actions.push(resource(verb, "", kind, "default", &format!("{name}-{node}"), ""));
            }
        }
        for (group, kind, namespace, name) in [
            ("", "secrets", "default", "shared"),
            ("", "secrets", "default", ""),
            ("", "secrets", "", ""),
            ("", "pods", "", ""),
            ("", "pods", "kube-system", ""),
            ("", "nodes", "", "n1"),
            ("", "nodes", "", "n2"),
            ("", "nodes", "", ""),
            ("", "nodes/status", "", "n1"),
            ("", "services", "", ""),
            ("", "events", "default", ""),
            ("", "persistentvolumes", "", "pv-n1"),
            ("", "persistentvolumes", "", "pv-n2"),
            ("", "serviceaccounts", "default", "sa"),
            ("", "serviceaccounts/token", "default", "sa"),
            ("", "serviceaccounts/token", "default", "other"),
            ("", "configmaps", "kube-system", "extension-apiserver-authentication"),
            ("apps", "deployments", "default", ""),
            ("apps", "deployments/scale", "default", "shared"),
            ("apps", "replicasets", "", ""),
            ("batch", "jobs", "default", ""),
            ("batch", "jobs/status", "default", "j"),
            ("coordination.k8s.io", "leases", "kube-node-lease", "n1"),
            ("coordination.k8s.io", "leases", "kube-node-lease", "n2"),
            ("coordination.k8s.io", "leases", "default", "n1"),
            ("storage.k8s.io", "csinodes", "", "n1"),
            ("storage.k8s.io", "csinodes", "", "n2"),
            ("storage.k8s.io", "csinodes/status", "", "n1"),
            ("storage.k8s.io", "volumeattachments", "", "attachment-n1"),
            ("storage.k8s.io", "volumeattachments", "", "attachment-n2"),
            ("storage.k8s.io", "storageclasses", "", ""),
            ("resource.k8s.io", "resourceslices", "", "slice-n1"),
            ("resource.k8s.io", "resourceslices", "", "slice-n2"),
            ("resource.k8s.io", "resourceclaims", "default", "device-n1"),
            ("resource.k8s.io", "resourceclaims", "default", "device-n2"),
            ("certificates.k8s.io", "certificatesigningrequests", "", ""),
            ("certificates.k8s.io", "clustertrustbundles", "", ""),
            ("certificates.k8s.io", "podcertificaterequests", "default", ""),
            ("authorization.k8s.io", "subjectaccessreviews", "", ""),
            ("authentication.k8s.io", "tokenreviews", "", ""),
            ("example.com", "things", "default", ""),
        ] {
            actions.push(resource(verb, group, kind, namespace, name, ""));
        }
    }
    for selector in [
        r#","fieldSelector":{"rawSelector":"spec.nodeName=n1"}"#,
        r#","fieldSelector":{"rawSelector":"spec.nodeName=n2"}"#,
        r#","fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"In","values":["n1"]}]}"#,
        r#","fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"Exists"}]}"#,
        r#","fieldSelector":{"rawSelector":"a,b"}"#,
        r#","labelSelector":{"rawSelector":"a in (b"}"#,
    ] {
        for (group, kind) in
            [("", "pods"), ("resource.k8s.io", "resourceslices"), ("certificates.k8s.io", "podcertificaterequests")]
        {
            for verb in ["list", "watch", "deletecollection"] {
                actions.push(resource(verb, group, kind, "", "", selector));
            }
        }
    }
    users
        .iter()
        .flat_map(|user| actions.iter().map(move |action| format!(r#"{{"spec":{{{user},{action}}}}}"#)))
        .collect()
}

async fn access_reviews_are_answered_alike(upstream: &Upstream, authorizer: &Authorizer) {
    let mut differing = Vec::new();
    let questions = questions();
    for question in &questions {
        let (code, theirs) =
            upstream.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", question).await;
        assert_eq!(code, 201, "{question}: {theirs:?}");
        let ours = review::subject_access_review(json::parse(question.as_bytes()).unwrap(), authorizer).unwrap();
        let (theirs, ours) = (theirs.at("status"), ours.at("status"));
        // Several bindings may allow; upstream names whichever its cache lists first.
        let by_rbac = |status: &Value| status.str_at("reason").starts_with("RBAC: allowed by ");
        if theirs != ours && !(by_rbac(theirs) && by_rbac(ours)) {
            differing.push(format!("{question}\n  upstream {theirs:?}\n  ours     {ours:?}"));
        }
    }
    assert!(differing.is_empty(), "{} of {} differ:\n{}", differing.len(), questions.len(), differing.join("\n"));
    println!("{} access reviews answered alike", questions.len());
}

struct NoBound;

impl BoundObjects for NoBound {
    fn service_account(&self, _: &str, _: &str) -> Option<Bound> {
        None
    }
    fn pod(&self, _: &str, _: &str) -> Option<Bound> {
        None
    }
    fn node(&self, _: &str) -> Option<Bound> {
        None
    }
    fn secret(&self, _: &str, _: &str) -> Option<BoundSecret> {
        None
    }
}

/// One account, one pod.
struct These(BTreeMap<&'static str, Bound>);

impl BoundObjects for These {
    fn service_account(&self, _: &str, _: &str) -> Option<Bound> {
        self.0.get("account").cloned()
    }
    fn pod(&self, _: &str, _: &str) -> Option<Bound> {
        self.0.get("pod").cloned()
    }
    fn node(&self, _: &str) -> Option<Bound> {
        NoBound.node("")
    }
    fn secret(&self, _: &str, _: &str) -> Option<BoundSecret> {
        None
    }
}

async fn tokens_go_both_ways(upstream: &Upstream) {
    let (_, account) = upstream.send("GET", "/api/v1/namespaces/default/serviceaccounts/sa", "").await;
    let (_, pod) = upstream.send("GET", "/api/v1/namespaces/default/pods/pod-n1", "").await;
    let (_, node) = upstream.send("GET", "/api/v1/nodes/n1", "").await;
    let ask = format!(
        r#"{{"spec":{{"boundObjectRef":{{"apiVersion":"v1","kind":"Pod","name":"pod-n1","uid":"{}"}}}}}}"#,
        pod.str_at("metadata.uid")
    );
    let theirs = upstream.create("/api/v1/namespaces/default/serviceaccounts/sa/token", &ask).await;
    let their_token = theirs.str_at("status.token");

    let keys = KeySet::new([upstream.pki.service_account.public()]);
    let tokens = ServiceAccountTokens {
        issuers: vec![ISSUER.into()],
        api_audiences: vec![ISSUER.into()],
        keys: keys.clone(),
        legacy: true,
    };
    let these = These(BTreeMap::from([("account", Bound::of(&account)), ("pod", Bound::of(&pod))]));
    let verified = tokens.verify(their_token, &[], &these, now()).unwrap().unwrap();
    let user = |token: &str| {
        const BODY: &str = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#;
        let header = format!("Bearer {token}");
        async move {
            let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
            upstream.door.send(None, "POST", path, &[("Authorization", &header)], BODY).await
        }
    };
    let (code, seen) = user(their_token).await;
    assert_eq!(code, 201);
    let mut with_everybody = verified.user.clone();
    with_everybody.groups.push("system:authenticated".into());
    let shown = Value::Object(apiserver::authn::review::user_info(&with_everybody));
    assert_eq!(seen.at("status.userInfo"), &shown);

    let issuer = Issuer::new(ISSUER, upstream.pki.service_account.clone());
    let claims = TokenClaims {
        namespace: "default".into(),
        service_account: Reference::of(&account),
        binding: apiserver::authn::token::Binding::Pod { pod: Reference::of(&pod), node: Some(Reference::of(&node)) },
        audiences: vec![ISSUER.into()],
        expiration_seconds: 3600,
        warn_after_seconds: 0,
    };
    let ours = issuer.issue(&claims, now()).unwrap();
    let (code, seen) = user(&ours.token).await;
    assert_eq!((code, seen.str_at("status.userInfo.username")), (201, "system:serviceaccount:default:sa"));
    assert_eq!(
        seen.at("status.userInfo.extra").get("authentication.kubernetes.io/credential-id").as_array().unwrap()[0],
        Value::from(ours.credential_id.as_str())
    );
    // The same header and the same claims in the same order, but for times, id and signature.
    let part = |token: &str, at: usize| {
        use base64::Engine;
        let encoded = token.split('.').nth(at).unwrap();
        String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
    };
    assert_eq!(part(their_token, 0), part(&ours.token, 0));
    let masked = |token: &str| {
        let mut claims = json::parse(part(token, 1).as_bytes()).unwrap();
        for claim in ["exp", "iat", "nbf", "jti"] {
            claims.set(claim, 0);
        }
        String::from_utf8(json::to_vec(&claims)).unwrap()
    };
    assert_eq!(masked(their_token), masked(&ours.token));

    let (_, theirs) = upstream.send("GET", discovery::KEYS_PATH, "").await;
    assert_eq!(theirs, json::parse(&discovery::key_set(&keys)).unwrap());
    let (_, theirs) = upstream.send("GET", discovery::CONFIGURATION_PATH, "").await;
    let uri = theirs.str_at("jwks_uri").to_owned();
    assert_eq!(uri, format!("https://10.0.0.1:{}/openid/v1/jwks", upstream.door.address.port()));
    assert_eq!(theirs, json::parse(&discovery::configuration(ISSUER, &uri, &keys).unwrap()).unwrap());
}

async fn certificates_are_taken(upstream: &Upstream) {
    const REVIEW: &str = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let bob = upstream.pki.issue(&Holder::client("bob", &["ops", "dev"]), now()).unwrap();
    let (code, seen) = upstream.door.send(Some(&bob), "POST", path, &[], REVIEW).await;
    assert_eq!((code, seen.str_at("status.userInfo.username")), (201, "bob"));
    let verifier = apiserver::authn::x509::CertificateVerifier::new(&upstream.pki.ca.to_pem()).unwrap();
    let settings = apiserver::authn::Settings { client_ca: Some(verifier), ..apiserver::authn::Settings::default() };
    let authenticator = apiserver::authn::Authenticator::new(settings, Arc::new(NoBound));
    let chain = apiserver::pki::pem::certificates(bob.certificate_pem.as_bytes()).unwrap();
    let peer = apiserver::authn::Peer::new(chain.into_iter().map(Into::into).collect());
    let ours = authenticator.authenticate(&mut http::HeaderMap::new(), &peer, jiff::Timestamp::now()).unwrap();
    assert_eq!(seen.at("status.userInfo"), &Value::Object(apiserver::authn::review::user_info(&ours.user)));
    let old = upstream.pki.issue(&Holder::client("bob", &[]), now() - 800 * 24 * 3600).unwrap();
    let (code, answer) = upstream.door.send(Some(&old), "GET", "/api", &[], "").await;
    assert_eq!((code, answer), (401, api::status::Status::unauthorized().to_value()));
    let proxy = upstream.pki.issue(&Holder::front_proxy_client(), now()).unwrap();
    let named = [("X-Remote-User", "dave"), ("X-Remote-Group", "dev"), ("X-Remote-Uid", "7")];
    let (code, seen) = upstream.door.send(Some(&proxy), "POST", path, &named, REVIEW).await;
    assert_eq!((code, seen.str_at("status.userInfo.username"), seen.str_at("status.userInfo.uid")), (201, "dave", "7"));
}

/// Impersonation: the same users, the same refusals.
async fn impersonation_is_alike(upstream: &Upstream, authorizer: &Authorizer) {
    const REVIEW: &str = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let holders = [("admin", &["system:masters"][..]), ("alice", &[]), ("system:node:n1", &["system:nodes"])];
    let headers: [&[(&'static str, &'static str)]; 8] = [
        &[("Impersonate-User", "x")],
        &[("Impersonate-User", "system:serviceaccount:default:sa")],
        &[("Impersonate-User", "system:node:n2")],
        &[("Impersonate-User", "system:anonymous")],
        &[("Impersonate-User", "x"), ("Impersonate-Group", "system:masters")],
        &[
            ("Impersonate-User", "x"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Extra-acme.com%2fk", "v"),
        ],
        &[("Impersonate-Group", "a")],
        &[("Impersonate-Extra-k", "v")],
    ];
    for (name, groups) in holders {
        let holder = upstream.pki.issue(&Holder::client(name, groups), now()).unwrap();
        for set in headers {
            let (code, theirs) = upstream.door.send(Some(&holder), "POST", path, set, REVIEW).await;
            let mut map = http::HeaderMap::new();
            set.iter().for_each(|(name, value)| {
                map.append(
                    http::HeaderName::from_bytes(name.to_lowercase().as_bytes()).unwrap(),
                    value.parse().unwrap(),
                );
            });
            let user = UserInfo::authenticated(name, groups);
            let request = apiserver::authz::Attributes {
                version: "v1",
                path,
                ..apiserver::authz::Attributes::resource(&user, "create", "authentication.k8s.io", "selfsubjectreviews")
            };
            let ours = apiserver::authn::impersonation::take(&mut map)
                .and_then(|wanted| wanted.unwrap().authorize(&request, |one| authorizer.authorize(one)));
            match ours {
                Ok(acting) => {
                    let request = apiserver::authz::Attributes { user: &acting.user, ..request };
                    let decision = authorizer.authorize(&request);
                    if decision.is_allow() {
                        let shown = Value::Object(apiserver::authn::review::user_info(&acting.user));
                        assert_eq!((code, theirs.at("status.userInfo")), (201, &shown), "{name} {set:?}");
                    } else {
                        let status = apiserver::authz::forbidden(&request, decision.reason());
                        assert_eq!((code, theirs.str_at("message")), (403, status.message.as_str()), "{name} {set:?}");
                    }
                }
                Err(status) => {
                    assert_eq!(
                        (code, theirs.str_at("message")),
                        (status.code, status.message.as_str()),
                        "{name} {set:?}"
                    );
                }
            }
        }
    }
}

/// Other objects by asking upstream beforehand.
struct Fetched(BTreeMap<(String, String, String), Arc<Value>>);

impl Objects for Fetched {
    fn get(&self, _: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(&(resource.into(), namespace.into(), name.into())).cloned()
    }
}

async fn node_restriction_is_alike(upstream: &Upstream, authorizer: &Authorizer) {
    let mut fetched = BTreeMap::new();
    for resource in ["pods", "nodes", "serviceaccounts"] {
        for object in upstream.list(&format!("/api/v1/{resource}")).await {
            let key = (
                resource.to_owned(),
                object.str_at("metadata.namespace").to_owned(),
                object.str_at("metadata.name").to_owned(),
            );
            fetched.insert(key, Arc::new(object));
        }
    }
    let fetched = Fetched(fetched);
    let node_uid = fetched.get("", "nodes", "", "n1").unwrap().str_at("metadata.uid").to_owned();
    let pod_uid = |node: &str| {
        fetched.get("", "pods", "default", &format!("pod-{node}")).unwrap().str_at("metadata.uid").to_owned()
    };
    let token = |node: &str, audience: &str| {
        format!(
            r#"{{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{{"audiences":[{audience}],"boundObjectRef":{{"apiVersion":"v1","kind":"Pod","name":"pod-{node}","uid":"{}"}}}}}}"#,
            pod_uid(node)
        )
    };
    // Mirror pods that refer to the API are refused by the ServiceAccount plugin before.
    let mirror = |annotation: &str, node: &str, uid: &str| {
        format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"m","namespace":"default","annotations":{{"{annotation}":"x"}},
            "ownerReferences":[{{"apiVersion":"v1","kind":"Node","name":"{node}","uid":"{uid}","controller":true}}]}},
            "spec":{{"nodeName":"n1","containers":[{{"name":"c","image":"i"}}]}}}}"#
        )
    };
    let mirrored = "kubernetes.io/config.mirror";
    let node =
        |name: &str, more: &str| format!(r#"{{"kind":"Node","apiVersion":"v1","metadata":{{"name":"{name}"{more}}}}}"#);
    let lease = |name: &str| {
        format!(r#"{{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{{"name":"{name}"}}}}"#)
    };
    let csi = |name: &str| {
        format!(
            r#"{{"kind":"CSINode","apiVersion":"storage.k8s.io/v1","metadata":{{"name":"{name}"}},"spec":{{"drivers":[]}}}}"#
        )
    };
    let cases: Vec<(&str, &str, &str, String)> = vec![
        ("", "pods", "default", mirror("x", "n1", &node_uid)),
        ("", "pods", "default", mirror(mirrored, "n2", &node_uid)),
        ("", "pods", "default", mirror(mirrored, "n1", "old")),
        ("", "nodes", "", node("n3", "")),
        ("", "nodes", "", node("n1", r#","labels":{"node-restriction.kubernetes.io/a":"","foo.k8s.io/b":"","ok":""}"#)),
        ("", "serviceaccounts/token", "default/sa", token("n1", r#""vault""#)),
        ("", "serviceaccounts/token", "default/sa", token("n1", r#""other""#)),
        ("", "serviceaccounts/token", "default/sa", token("n1", r#""a","b""#)),
        ("", "serviceaccounts/token", "default/sa", token("n2", r#""vault""#)),
        (
            "",
            "serviceaccounts/token",
            "default/sa",
            r#"{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{}}"#.into(),
        ),
        ("coordination.k8s.io", "leases", "kube-node-lease", lease("n2")),
        ("storage.k8s.io", "csinodes", "", csi("n2")),
    ];
    let kubelet = upstream.pki.issue(&Holder::client("system:node:n1", &["system:nodes"]), now()).unwrap();
    let user = UserInfo::authenticated("system:node:n1", &["system:nodes"]);
    for (group, resource, place, body) in cases {
        let (namespace, name) = place.split_once('/').unwrap_or((place, ""));
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let mut path = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
        if !namespace.is_empty() {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        path.push_str(&format!("/{resource}"));
        if !name.is_empty() {
            path.push_str(&format!("/{name}/{subresource}"));
        }
        let (code, theirs) = upstream.door.send(Some(&kubelet), "POST", &path, &[], &body).await;
        let object = json::parse(body.as_bytes()).unwrap();
        let request = Request {
            user: &user,
            operation: Operation::Create,
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name,
            new: Some(&object),
            old: None,
        };
        match noderestriction::check(&request, &fetched, authorizer) {
            Ok(()) => assert_eq!(code, 201, "{path} {body}: {theirs:?}"),
            Err(status) => {
                assert_eq!((code, theirs.str_at("message")), (status.code, status.message.as_str()), "{path} {body}")
            }
        }
    }
}

/// Granting: the same refusals, word for word.
async fn escalation_is_alike(upstream: &Upstream, authorizer: &Authorizer) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    // `alice` may write roles and bindings, but holds little.
    for (path, body) in [
        (
            "clusterroles",
            r#"{"metadata":{"name":"granter"},"rules":[{"verbs":["create"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["*"]}]}"#,
        ),
        (
            "clusterrolebindings",
            r#"{"metadata":{"name":"granter"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"granter"},"subjects":[{"kind":"User","name":"alice","apiGroup":"rbac.authorization.k8s.io"}]}"#,
        ),
    ] {
        let made = upstream.create(&format!("{rbac}/{path}"), body).await;
        authorizer.apply("rbac.authorization.k8s.io", path, Change::Put(&made));
    }
    let alice = upstream.pki.issue(&Holder::client("alice", &[]), now()).unwrap();
    let user = UserInfo::authenticated("alice", &[]);
    let role_ref = |kind: &str, name: &str| {
        format!(
            r#"{{"metadata":{{"name":"new"}},"roleRef":{{"apiGroup":"rbac.authorization.k8s.io","kind":"{kind}","name":"{name}"}},"subjects":[]}}"#
        )
    };
    for (resource, namespace, body) in [
        ("clusterroles", "", r#"{"metadata":{"name":"new"},"rules":[{"verbs":["get","list","delete"],"apiGroups":["","apps"],"resources":["pods","deployments/scale"]},{"verbs":["get"],"nonResourceURLs":["/metrics","/logs"]}]}"#.to_owned()),
        ("roles", "default", r#"{"metadata":{"name":"new"},"rules":[{"verbs":["get","update","delete"],"apiGroups":[""],"resources":["secrets"],"resourceNames":["shared","other"]}]}"#.to_owned()),
        ("clusterroles", "", r#"{"metadata":{"name":"new"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]},"rules":[]}"#.to_owned()),
        ("clusterrolebindings", "", role_ref("ClusterRole", "system:kube-dns")),
        ("clusterrolebindings", "", role_ref("ClusterRole", "none")),
        ("rolebindings", "default", role_ref("Role", "none")),
        ("rolebindings", "default", role_ref("ClusterRole", "system:controller:endpoint-controller")),
        ("rolebindings", "default", role_ref("ClusterRole", "paths")),
    ] {
        let path = match namespace {
            "" => format!("{rbac}/{resource}"),
            namespace => format!("{rbac}/namespaces/{namespace}/{resource}"),
        };
        let (code, theirs) = upstream.door.send(Some(&alice), "POST", &path, &[], &body).await;
        let new = json::parse(body.as_bytes()).unwrap();
        let write = apiserver::authz::escalation::Write { user: &user, resource, namespace, name: "", new: &new, old: None };
        match apiserver::authz::escalation::check(&write, authorizer) {
            Ok(()) => assert_eq!(code, 201, "{path} {body}: {theirs:?}"),
            Err(status) => {
                assert_eq!((code, theirs.str_at("message")), (status.code, status.message.as_str()), "{path} {body}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs upstream's binaries"]
async fn upstream_agrees() {
    let upstream = Upstream::start().await;
    what_upstream_makes_at_its_start_is_in_our_tables(&upstream).await;
    certificates_are_taken(&upstream).await;
    populate(&upstream).await;
    tokens_go_both_ways(&upstream).await;
    let authorizer = our_authorizer(&upstream).await;
    impersonation_is_alike(&upstream, &authorizer).await;
    node_restriction_is_alike(&upstream, &authorizer).await;
    escalation_is_alike(&upstream, &authorizer).await;
    access_reviews_are_answered_alike(&upstream, &authorizer).await;
}
