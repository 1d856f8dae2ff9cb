//! Who may speak for a signer, through the whole pipeline: rights on `signers` beside those on the objects.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use api::codec::json;
use api::user::UserInfo;
use api::value::Value;
use apiserver::server::{Server, own_user};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Client, ClientError, Resource, WriteOptions};
use support::server;

const REQUESTS: Resource =
    Resource::fixed("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false);
const ROLES: Resource = Resource::fixed("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false);
const BINDINGS: Resource =
    Resource::fixed("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false);

fn tree(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap()
}

/// A user with these rules, as soon as the server knows them.
async fn user_with(server: &Server, name: &str, rules: &str) -> Client {
    let (admin, options) = (server.client(own_user()), WriteOptions::default());
    let role = format!(r#"{{"metadata":{{"name":"{name}"}},"rules":{rules}}}"#);
    admin.all(&ROLES).create_tree(tree(&role), &options).await.unwrap();
    let group = "rbac.authorization.k8s.io";
    let binding = format!(
        r#"{{"metadata":{{"name":"{name}"}},"roleRef":{{"apiGroup":"{group}","kind":"ClusterRole","name":"{name}"}},
        "subjects":[{{"apiGroup":"{group}","kind":"User","name":"{name}"}}]}}"#
    );
    admin.all(&BINDINGS).create_tree(tree(&binding), &options).await.unwrap();
    let user = server.client(UserInfo::authenticated(name, &[]));
    let known = async {
        while user.all(&REQUESTS).get("none").await.unwrap_err().is_forbidden() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), known).await.unwrap();
    user
}

const ON_REQUESTS: &str = r#"{"apiGroups":["certificates.k8s.io"],"resources":["certificatesigningrequests","certificatesigningrequests/approval","certificatesigningrequests/status"],"verbs":["*"]}"#;

async fn make_request(client: &Client, name: &str, signer: &str, organization: &str) -> Result<Value, ClientError> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "someone");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    let pem = STANDARD.encode(params.serialize_request(&key).unwrap().pem().unwrap());
    let request = format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{"request":"{pem}","signerName":"{signer}","usages":["client auth"]}}}}"#
    );
    client.all(&REQUESTS).create_tree(tree(&request), &WriteOptions::default()).await?.tree()
}

async fn approve(client: &Client, request: &Value) -> Result<Value, ClientError> {
    let mut approved = request.clone();
    let condition = r#"[{"type":"Approved","status":"True","reason":"r","message":"m"}]"#;
    approved.set("status.conditions", tree(condition));
    client.all(&REQUESTS).update_subresource(approved, "approval", &WriteOptions::default()).await?.tree()
}

#[tokio::test]
async fn approval_needs_a_right_on_the_signer() {
    let server = server().await;
    let plain = user_with(&server, "plain", &format!("[{ON_REQUESTS}]")).await;
    let request = make_request(&plain, "r", "example.com/one", "people").await.unwrap();
    let refused = approve(&plain, &request).await.unwrap_err();
    assert!(refused.is_forbidden(), "{refused}");
    let why = "user not permitted to approve requests with signerName \"example.com/one\"";
    assert!(refused.to_string().contains(why), "{refused}");

    let by_domain = r#"{"apiGroups":["certificates.k8s.io"],"resources":["signers"],"resourceNames":["example.com/*"],"verbs":["approve"]}"#;
    let approver = user_with(&server, "approver", &format!("[{ON_REQUESTS},{by_domain}]")).await;
    let approved = approve(&approver, &request).await.unwrap();

    // Who approves does not sign.
    let mut signed = approved.clone();
    signed.set("status.certificate", STANDARD.encode("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"));
    let refused =
        approver.all(&REQUESTS).update_subresource(signed, "status", &WriteOptions::default()).await.unwrap_err();
    assert!(refused.is_forbidden() || refused.is_invalid(), "{refused}");
    let mut failed = approved;
    let condition = r#"{"type":"Failed","status":"True","reason":"r","message":"m"}"#;
    failed.at_mut("status.conditions").unwrap().as_array_mut().unwrap().push(tree(condition));
    let refused =
        approver.all(&REQUESTS).update_subresource(failed, "status", &WriteOptions::default()).await.unwrap_err();
    let why = "user not permitted to sign requests with signerName \"example.com/one\"";
    assert!(refused.is_forbidden() && refused.to_string().contains(why), "{refused}");
}

#[tokio::test]
async fn no_client_certificate_makes_an_administrator() {
    let server = server().await;
    let admin = server.client(own_user());
    let signer = "kubernetes.io/kube-apiserver-client";
    make_request(&admin, "people", signer, "people").await.unwrap();
    let refused = make_request(&admin, "masters", signer, "system:masters").await.unwrap_err();
    let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
    assert!(refused.is_forbidden() && refused.to_string().contains(why), "{refused}");
}

#[tokio::test]
async fn a_bundle_of_a_signer_needs_attest() {
    const BUNDLES: Resource =
        Resource::fixed("certificates.k8s.io", "v1", "clustertrustbundles", "ClusterTrustBundle", false);
    let server = server().await;
    let on_bundles = r#"{"apiGroups":["certificates.k8s.io"],"resources":["clustertrustbundles"],"verbs":["*"]}"#;
    let user = user_with(&server, "user", &format!("[{ON_REQUESTS},{on_bundles}]")).await;
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let bundle = |name: &str, signer: &str| {
        let mut bundle = tree("{}");
        bundle.set("metadata.name", name);
        if !signer.is_empty() {
            bundle.set("spec.signerName", signer);
        }
        bundle.set("spec.trustBundle", authority.as_str());
        bundle
    };
    let (bundles, options) = (user.all(&BUNDLES), WriteOptions::default());
    bundles.create_tree(bundle("free", ""), &options).await.unwrap();
    let refused = bundles.create_tree(bundle("example.com:one:b", "example.com/one"), &options).await.unwrap_err();
    let why = "user not permitted to attest for signerName \"example.com/one\"";
    assert!(refused.is_forbidden() && refused.to_string().contains(why), "{refused}");
    let admin = server.client(own_user()).all(&BUNDLES);
    admin.create_tree(bundle("example.com:one:b", "example.com/one"), &options).await.unwrap();
}
