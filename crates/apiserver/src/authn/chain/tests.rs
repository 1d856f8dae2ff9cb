use rustls_pki_types::CertificateDer;

use super::*;
use crate::authn::token::claims::{Issuer, Reference, TokenClaims};
use crate::authn::token::keys::KeySet;
use crate::authn::{Bound, BoundSecret};
use crate::pki::key::PrivateKey;
use crate::pki::usage::Usages;
use crate::pki::{Authority, Template, der};

const NOW: i64 = 1_800_000_000;

struct OneAccount;

impl BoundObjects for OneAccount {
    fn service_account(&self, namespace: &str, name: &str) -> Option<Bound> {
        ((namespace, name) == ("ns", "sa")).then(|| Bound { uid: "uid".into(), deleted_at: None })
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

struct Cluster {
    authenticator: Authenticator,
    ca: Authority,
    proxy_ca: Authority,
    issuer: Issuer,
}

fn cluster(anonymous: bool) -> Cluster {
    let authority = |name| Authority::generate(name, NOW - 100, NOW + 1_000_000).unwrap();
    let (ca, proxy_ca, key) = (authority("ca"), authority("front-proxy-ca"), PrivateKey::generate().unwrap());
    let verifier = |authority: &Authority| CertificateVerifier::new(&authority.to_pem()).unwrap();
    let api_audiences = vec!["https://api".to_owned()];
    let settings = Settings {
        client_ca: Some(verifier(&ca)),
        front_proxy: Some(FrontProxy::new(verifier(&proxy_ca), vec!["front-proxy-client".into()])),
        service_accounts: Some(ServiceAccountTokens {
            issuers: vec!["https://issuer".into()],
            api_audiences: api_audiences.clone(),
            keys: KeySet::new([key.public()]),
            legacy: true,
        }),
        token_file: Some(TokenFile::parse("f", "static,carol,3").unwrap()),
        bootstrap_tokens: true,
        anonymous,
        api_audiences,
    };
    let authenticator = Authenticator::new(settings, Arc::new(OneAccount));
    Cluster { authenticator, ca, proxy_ca, issuer: Issuer::new("https://issuer", key) }
}

fn client(authority: &Authority, name: &str) -> Peer {
    let template = Template {
        subject: der::name(name, &["system:masters"]),
        spki: PrivateKey::generate().unwrap().public().spki(),
        not_before: NOW - 10,
        not_after: NOW + 10,
        usages: Usages::client(),
        ..Template::default()
    };
    Peer::new(vec![CertificateDer::from(authority.issue(&template).unwrap())])
}

impl Cluster {
    /// User and groups, or the status' code.
    fn who(&self, pairs: &[(&'static str, &str)], peer: &Peer) -> Result<(String, String), u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let found = self.authenticator.authenticate(&mut headers, peer, Timestamp::from_second(NOW).unwrap());
        if found.is_ok() {
            assert!(!headers.contains_key("authorization") && !headers.contains_key("x-remote-user"));
        }
        found.map(|found| (found.user.name.clone(), found.user.groups.join(","))).map_err(|status| status.code)
    }

    fn token(&self) -> String {
        let claims = TokenClaims {
            namespace: "ns".into(),
            service_account: Reference::new("sa", "uid"),
            audiences: vec!["https://api".into()],
            expiration_seconds: 600,
            ..TokenClaims::default()
        };
        format!("Bearer {}", self.issuer.issue(&claims, NOW).unwrap().token)
    }
}

fn is(user: &str, groups: &str) -> Result<(String, String), u16> {
    Ok((user.to_owned(), groups.to_owned()))
}

#[test]
fn each_kind_of_credential() {
    let cluster = cluster(true);
    let none = Peer::default();
    assert_eq!(cluster.who(&[], &none), is("system:anonymous", "system:unauthenticated"));
    let admin = client(&cluster.ca, "admin");
    assert_eq!(cluster.who(&[], &admin), is("admin", "system:masters,system:authenticated"));
    let account =
        is("system:serviceaccount:ns:sa", "system:serviceaccounts,system:serviceaccounts:ns,system:authenticated");
    assert_eq!(cluster.who(&[("authorization", &cluster.token())], &none), account);
    assert_eq!(cluster.who(&[("authorization", "Bearer static")], &none), is("carol", "system:authenticated"));
    let proxy = client(&cluster.proxy_ca, "front-proxy-client");
    let named = [("x-remote-user", "dave"), ("x-remote-group", "dev")];
    assert_eq!(cluster.who(&named, &proxy), is("dave", "dev,system:authenticated"));
    let socket = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c3RhdGlj, v4.channel.k8s.io"),
    ];
    assert_eq!(cluster.who(&socket, &none), is("carol", "system:authenticated"));
}

#[test]
fn bad_credentials_are_not_anonymous_but_good_ones_beside_them_count() {
    let cluster = cluster(true);
    let stranger = client(&Authority::generate("ca", NOW - 100, NOW + 100).unwrap(), "admin");
    assert_eq!(cluster.who(&[], &stranger), Err(401));
    assert_eq!(cluster.who(&[("authorization", "Bearer nonsense")], &Peer::default()), Err(401));
    assert_eq!(cluster.who(&[("authorization", "Bearer static")], &stranger), is("carol", "system:authenticated"));
    let named = [("x-remote-user", "dave")];
    // A client that is no proxy can't name users: the certificate counts, the header does not.
    let admin = client(&cluster.ca, "admin");
    assert_eq!(cluster.who(&named, &admin), is("admin", "system:masters,system:authenticated"));
    assert_eq!(cluster.who(&named, &Peer::default()), is("system:anonymous", "system:unauthenticated"));
    assert_eq!(
        cluster.who(&[("authorization", "Basic YTpi")], &Peer::default()),
        is("system:anonymous", "system:unauthenticated")
    );
}

#[test]
fn without_anonymous_access_credentials_are_needed() {
    assert_eq!(cluster(false).who(&[], &Peer::default()), Err(401));
}

#[test]
fn settings_change_in_place() {
    let cluster = cluster(true);
    let admin = client(&cluster.ca, "admin");
    assert!(cluster.who(&[], &admin).is_ok());
    cluster.authenticator.set(Settings { anonymous: true, ..Settings::default() });
    assert_eq!(cluster.who(&[], &admin), is("system:anonymous", "system:unauthenticated"));
}
