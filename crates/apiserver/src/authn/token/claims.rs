//! Issuing tokens: what stands in them, and in which order.
//!
//! Upstream: pkg/serviceaccount/claims.go and legacy.go. Go writes the claims sorted by name.

use api::value::{Map, Value};

use super::jwt;
use super::keys::key_id;
use crate::pki::PkiError;
use crate::pki::key::PrivateKey;

/// Issuer of tokens in Secrets, which never expire.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Signs tokens for service accounts.
pub struct Issuer {
    url: String,
    key: PrivateKey,
    key_id: String,
}

/// A name and a uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    /// Empty if not known (a pod's node that is not there yet).
    pub uid: String,
}

/// With which object a token's validity ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    #[default]
    None,
    /// A pod, and the node it runs on.
    Pod {
        pod: Reference,
        node: Option<Reference>,
    },
    Node(Reference),
    Secret(Reference),
}

/// What a token is to say.
#[derive(Clone, Debug, Default)]
pub struct TokenClaims {
    pub namespace: String,
    pub service_account: Reference,
    pub binding: Binding,
    pub audiences: Vec<String>,
    pub expiration_seconds: i64,
    /// After how many seconds its use is to be warned of; 0 for never.
    pub warn_after_seconds: i64,
}

/// A token and the id under which its uses are traced.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub token: String,
    /// `JTI=…`, for the audit annotation `authentication.kubernetes.io/issued-credential-id`.
    pub credential_id: String,
}

// === impl Issuer ===

impl Issuer {
    /// Signs with a key in the name of an issuer (`--service-account-issuer`).
    pub fn new(url: impl Into<String>, key: PrivateKey) -> Issuer {
        let key_id = key_id(&key.public());
        Issuer { url: url.into(), key, key_id }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Issues a token at a time (seconds since 1970) with an id of its own.
    pub fn issue(&self, claims: &TokenClaims, now: i64) -> Result<IssuedToken, PkiError> {
        let id = uuid::Uuid::new_v4().to_string();
        let value = claims.to_value(&self.url, &id, now);
        let token = jwt::sign(&value, &self.key, &self.key_id)?;
        Ok(IssuedToken { token, credential_id: format!("JTI={id}") })
    }

    /// Issues the token that a Secret of a service account holds.
    pub fn issue_legacy(&self, namespace: &str, account: &Reference, secret: &str) -> Result<String, PkiError> {
        let claim = |name: &str| format!("kubernetes.io/serviceaccount/{name}");
        let fields = [
            ("iss".to_owned(), LEGACY_ISSUER.to_owned()),
            (claim("namespace"), namespace.to_owned()),
            (claim("secret.name"), secret.to_owned()),
            (claim("service-account.name"), account.name.clone()),
            (claim("service-account.uid"), account.uid.clone()),
            ("sub".to_owned(), format!("system:serviceaccount:{namespace}:{}", account.name)),
        ];
        jwt::sign(&Value::Object(Map::from_iter(fields)), &self.key, &self.key_id)
    }
}

// === impl TokenClaims ===

impl TokenClaims {
    fn to_value(&self, issuer: &str, id: &str, now: i64) -> Value {
        let mut kubernetes = Map::new();
        kubernetes.insert("namespace", self.namespace.as_str());
        let (node, pod, secret) = match &self.binding {
            Binding::None => (None, None, None),
            Binding::Pod { pod, node } => (node.as_ref(), Some(pod), None),
            Binding::Node(node) => (Some(node), None, None),
            Binding::Secret(secret) => (None, None, Some(secret)),
        };
        for (name, bound) in
            [("node", node), ("pod", pod), ("secret", secret), ("serviceaccount", Some(&self.service_account))]
        {
            if let Some(bound) = bound {
                kubernetes.insert(name, bound.to_value());
            }
        }
        if self.warn_after_seconds != 0 {
            kubernetes.insert("warnafter", now + self.warn_after_seconds);
        }
        let mut claims = Map::new();
        if !self.audiences.is_empty() {
            claims.insert("aud", self.audiences.clone());
        }
        claims.insert("exp", now + self.expiration_seconds);
        claims.insert("iat", now);
        claims.insert("iss", issuer);
        claims.insert("jti", id);
        claims.insert("kubernetes.io", kubernetes);
        claims.insert("nbf", now);
        claims.insert("sub", format!("system:serviceaccount:{}:{}", self.namespace, self.service_account.name));
        Value::Object(claims)
    }
}

// === impl Reference ===

impl Reference {
    pub fn new(name: impl Into<String>, uid: impl Into<String>) -> Reference {
        Reference { name: name.into(), uid: uid.into() }
    }

    /// To an object by its metadata.
    pub fn of(object: &Value) -> Reference {
        Reference::new(object.str_at("metadata.name"), object.str_at("metadata.uid"))
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [("name", &self.name), ("uid", &self.uid)] {
            if !text.is_empty() {
                map.insert(key, text.as_str());
            }
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::parse;

    #[test]
    fn claims_stand_as_upstream_writes_them() {
        let claims = TokenClaims {
            namespace: "myns".into(),
            service_account: Reference::new("mysvcacct", "mysvcacct-uid"),
            binding: Binding::Pod {
                pod: Reference::new("mypod", "mypod-uid"),
                node: Some(Reference::new("mynode", "mynode-uid")),
            },
            audiences: vec!["1".into(), "2".into()],
            expiration_seconds: 100,
            warn_after_seconds: 200,
        };
        let expected = r#"{"aud":["1","2"],"exp":1514764900,"iat":1514764800,"iss":"https://issuer","jti":"fixed",
            "kubernetes.io":{"namespace":"myns","node":{"name":"mynode","uid":"mynode-uid"},
            "pod":{"name":"mypod","uid":"mypod-uid"},"serviceaccount":{"name":"mysvcacct","uid":"mysvcacct-uid"},
            "warnafter":1514765000},"nbf":1514764800,"sub":"system:serviceaccount:myns:mysvcacct"}"#;
        let value = claims.to_value("https://issuer", "fixed", 1_514_764_800);
        assert_eq!(value, parse(expected).unwrap());
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(|key| key.as_str()).collect();
        assert!(keys.is_sorted());
    }
}
