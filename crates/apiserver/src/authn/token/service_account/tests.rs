use std::collections::BTreeMap;

use rstest::rstest;

use super::*;
use crate::authn::bound::BoundSecret;
use crate::authn::token::claims::{Binding, Issuer, Reference, TokenClaims};
use crate::pki::key::PrivateKey;

const NOW: i64 = 1_800_000_000;
const API: &str = "https://api";

/// Objects by `kind/namespace/name`.
#[derive(Clone, Default)]
struct Objects {
    plain: BTreeMap<String, Bound>,
    secrets: BTreeMap<String, BoundSecret>,
}

impl Objects {
    fn with(mut self, key: &str, uid: &str, deleted_at: Option<i64>) -> Objects {
        self.plain.insert(key.into(), Bound { uid: uid.into(), deleted_at });
        self
    }

    fn with_secret(mut self, key: &str, uid: &str, token: &str) -> Objects {
        let data = BTreeMap::from([("token".to_owned(), token.as_bytes().to_vec())]);
        let bound = Bound { uid: uid.into(), deleted_at: None };
        self.secrets.insert(key.into(), BoundSecret { bound, data, ..BoundSecret::default() });
        self
    }
}

impl BoundObjects for Objects {
    fn service_account(&self, namespace: &str, name: &str) -> Option<Bound> {
        self.plain.get(&format!("sa/{namespace}/{name}")).cloned()
    }
    fn pod(&self, namespace: &str, name: &str) -> Option<Bound> {
        self.plain.get(&format!("pod/{namespace}/{name}")).cloned()
    }
    fn node(&self, name: &str) -> Option<Bound> {
        self.plain.get(&format!("node/{name}")).cloned()
    }
    fn secret(&self, namespace: &str, name: &str) -> Option<BoundSecret> {
        self.secrets.get(&format!("{namespace}/{name}")).cloned()
    }
}

fn tokens(keys: &[&PrivateKey]) -> ServiceAccountTokens {
    ServiceAccountTokens {
        issuers: vec!["https://issuer".into(), "https://old".into()],
        api_audiences: vec![API.into()],
        keys: KeySet::new(keys.iter().map(|key| key.public())),
        legacy: true,
    }
}

fn copy(key: &PrivateKey) -> PrivateKey {
    PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap()
}

fn claims(binding: Binding) -> TokenClaims {
    TokenClaims {
        namespace: "ns".into(),
        service_account: Reference::new("sa", "sa-uid"),
        binding,
        audiences: vec![API.into()],
        expiration_seconds: 3600,
        warn_after_seconds: 0,
    }
}

fn pod(node: Option<Reference>) -> Binding {
    Binding::Pod { pod: Reference::new("p", "p-uid"), node }
}

#[test]
fn a_token_comes_back_as_its_account() {
    let key = PrivateKey::generate().unwrap();
    let issued =
        Issuer::new("https://issuer", copy(&key)).issue(&claims(pod(Some(Reference::new("n", "n-uid")))), NOW).unwrap();
    let objects = Objects::default().with("sa/ns/sa", "sa-uid", None).with("pod/ns/p", "p-uid", None);
    let found = tokens(&[&key]).verify(&issued.token, &[], &objects, NOW).unwrap().unwrap();
    assert_eq!(found.audiences, [API]);
    assert_eq!((found.user.name.as_str(), found.user.uid.as_str()), ("system:serviceaccount:ns:sa", "sa-uid"));
    assert_eq!(found.user.groups, ["system:serviceaccounts", "system:serviceaccounts:ns"]);
    let extra = |key: &str| found.user.extra[&format!("authentication.kubernetes.io/{key}")].join(",");
    assert_eq!((extra("pod-name"), extra("pod-uid"), extra("node-name")), ("p".into(), "p-uid".into(), "n".into()));
    assert_eq!(extra("credential-id"), issued.credential_id);
}

/// `kube-controller-manager` and kubeadm make RSA keys, in PKCS#1.
#[test]
fn rsa_keys_of_kubeadm_are_accepted() {
    let key = PrivateKey::from_pem(include_bytes!("../../../../tests/data/sa-rsa.key")).unwrap();
    let public = crate::pki::key::PublicKey::all_from_pem(include_bytes!("../../../../tests/data/sa-rsa.pub")).unwrap();
    assert_eq!(public, [key.public()]);
    let issued = Issuer::new("https://issuer", copy(&key)).issue(&claims(Binding::None), NOW).unwrap();
    let objects = Objects::default().with("sa/ns/sa", "sa-uid", None);
    assert!(tokens(&[&key]).verify(&issued.token, &[], &objects, NOW).unwrap().is_some());
}

#[rstest]
#[case::now(0, Ok(()))]
#[case::within_leeway(3600 + 60, Ok(()))]
#[case::expired(3600 + 61, Err("service account token has expired"))]
#[case::clock_a_little_behind(-60, Ok(()))]
#[case::not_yet(-61, Err("service account token is not valid yet"))]
fn times(#[case] later: i64, #[case] expected: Result<(), &str>) {
    let key = PrivateKey::generate().unwrap();
    let issued = Issuer::new("https://issuer", copy(&key)).issue(&claims(Binding::None), NOW).unwrap();
    let objects = Objects::default().with("sa/ns/sa", "sa-uid", None);
    let found = tokens(&[&key]).verify(&issued.token, &[], &objects, NOW + later);
    assert_eq!(found.map(drop), expected.map_err(String::from));
}

#[rstest]
#[case::alive(pod(None), &[("sa/ns/sa", "sa-uid", None), ("pod/ns/p", "p-uid", None)], Ok(()))]
#[case::account_is_gone(Binding::None, &[], Err("serviceaccounts \"sa\" not found"))]
#[case::account_is_another(Binding::None, &[("sa/ns/sa", "x", None)], Err("service account UID (x) does not match claim (sa-uid)"))]
#[case::account_going(Binding::None, &[("sa/ns/sa", "sa-uid", Some(NOW - 60))], Ok(()))]
#[case::account_long_deleted(Binding::None, &[("sa/ns/sa", "sa-uid", Some(NOW - 61))], Err("service account ns/sa has been deleted"))]
#[case::pod_is_gone(pod(None), &[("sa/ns/sa", "sa-uid", None)], Err("service account token has been invalidated"))]
#[case::pod_is_another(pod(None), &[("sa/ns/sa", "sa-uid", None), ("pod/ns/p", "x", None)], Err("pod UID (x) does not match service account pod ref claim (p-uid)"))]
#[case::pod_going_for_long(pod(None), &[("sa/ns/sa", "sa-uid", None), ("pod/ns/p", "p-uid", Some(NOW - 61))], Err("service account token has been invalidated"))]
#[case::pods_node_need_not_exist(pod(Some(Reference::new("n", ""))), &[("sa/ns/sa", "sa-uid", None), ("pod/ns/p", "p-uid", None)], Ok(()))]
#[case::node(Binding::Node(Reference::new("n", "n-uid")), &[("sa/ns/sa", "sa-uid", None), ("node/n", "n-uid", None)], Ok(()))]
#[case::node_is_another(Binding::Node(Reference::new("n", "n-uid")), &[("sa/ns/sa", "sa-uid", None), ("node/n", "x", None)], Err("node UID (x) does not match service account node ref claim (n-uid)"))]
#[case::secret_is_gone(Binding::Secret(Reference::new("s", "s-uid")), &[("sa/ns/sa", "sa-uid", None)], Err("service account token has been invalidated"))]
fn bound_objects(
    #[case] binding: Binding,
    #[case] there: &[(&str, &str, Option<i64>)],
    #[case] expected: Result<(), &str>,
) {
    let key = PrivateKey::generate().unwrap();
    let issued = Issuer::new("https://issuer", copy(&key)).issue(&claims(binding), NOW).unwrap();
    let objects = there.iter().fold(Objects::default(), |all, (key, uid, deleted)| all.with(key, uid, *deleted));
    let found = tokens(&[&key]).verify(&issued.token, &[], &objects, NOW);
    assert_eq!(found.map(drop), expected.map_err(String::from));
}

#[test]
fn issuers_keys_and_audiences() {
    let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let objects = Objects::default().with("sa/ns/sa", "sa-uid", None);
    let issue = |issuer: &str, key: &PrivateKey| {
        Issuer::new(issuer, copy(key)).issue(&claims(Binding::None), NOW).unwrap().token
    };
    let verify = |token: &str, audiences: &[String]| tokens(&[&key]).verify(token, audiences, &objects, NOW);
    assert!(verify(&issue("https://old", &key), &[]).unwrap().is_some());
    assert_eq!(verify(&issue("https://stranger", &key), &[]), Ok(None));
    assert_eq!(verify(&issue("https://issuer", &other), &[]).unwrap_err(), "invalid signature, no keys found");
    let foreign = verify(&issue("https://issuer", &key), &["vault".to_owned()]).unwrap_err();
    assert_eq!(foreign, "token audiences [\"https://api\"] is invalid for the target audiences [\"vault\"]");
    for nonsense in ["", "a", "a.b", "a.b.c", "{}", "e30.e30.e30", &"x".repeat(100_000)] {
        assert_eq!(verify(nonsense, &[]), Ok(None), "{nonsense:.20}");
    }
}

#[test]
fn a_changed_token_is_refused() {
    let key = PrivateKey::generate().unwrap();
    let objects = Objects::default().with("sa/ns/sa", "sa-uid", None).with("sa/ns/sb", "sb-uid", None);
    let token = Issuer::new("https://issuer", copy(&key)).issue(&claims(Binding::None), NOW).unwrap().token;
    let mut parts: Vec<&str> = token.split('.').collect();
    let mut other = claims(Binding::None);
    other.service_account = Reference::new("sb", "sb-uid");
    let stranger = PrivateKey::generate().unwrap();
    let forged = Issuer::new("https://issuer", stranger).issue(&other, NOW).unwrap().token;
    parts[1] = forged.split('.').nth(1).unwrap();
    assert!(tokens(&[&key]).verify(&parts.join("."), &[], &objects, NOW).is_err());
}

#[test]
fn tokens_of_secrets_live_with_their_secret() {
    let key = PrivateKey::generate().unwrap();
    let account = Reference::new("sa", "sa-uid");
    let token = Issuer::new("https://issuer", copy(&key)).issue_legacy("ns", &account, "s").unwrap();
    let verify =
        |objects: &Objects| tokens(&[&key]).verify(&token, &[], objects, NOW).map(|found| found.unwrap().user.name);
    let there = Objects::default().with("sa/ns/sa", "sa-uid", None).with_secret("ns/s", "u", &token);
    assert_eq!(verify(&there).unwrap(), "system:serviceaccount:ns:sa");
    let without = Objects::default().with("sa/ns/sa", "sa-uid", None);
    assert_eq!(verify(&without).unwrap_err(), "Token has been invalidated");
    let changed = without.with_secret("ns/s", "u", "other");
    assert_eq!(verify(&changed).unwrap_err(), "Token does not match server's copy");
    let mut invalid = there;
    invalid.secrets.get_mut("ns/s").unwrap().invalid_since = "2026-01-01".into();
    assert!(verify(&invalid).unwrap_err().contains("has been marked invalid"));
}
