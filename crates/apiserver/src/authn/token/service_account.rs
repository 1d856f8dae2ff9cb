//! Verifying service account tokens.
//!
//! Upstream: pkg/serviceaccount/{jwt,claims,legacy}.go. Errors are for logs and token reviews; a
//! client sees 401.

use std::collections::BTreeMap;

use api::user::UserInfo;
use api::value::Value;

use super::claims::LEGACY_ISSUER;
use super::jwt::{self, Jwt};
use super::keys::KeySet;
use crate::authn::bootstrap_token::same;
use crate::authn::bound::{Bound, BoundObjects};
use crate::authn::{Attempt, CREDENTIAL_ID};
use crate::authz::{quoted, quoted_list};

/// Which tokens are ours.
pub struct ServiceAccountTokens {
    /// `--service-account-issuer`: the first signs, all are accepted.
    pub issuers: Vec<String>,
    /// What tokens without an audience are for: this server.
    pub api_audiences: Vec<String>,
    pub keys: KeySet,
    /// Accept tokens of Secrets (issuer `kubernetes/serviceaccount`).
    pub legacy: bool,
}

/// A user, and for which of the requested audiences the token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub user: UserInfo,
    pub audiences: Vec<String>,
}

/// How far clocks may differ, and for how long after its deletion an object still backs tokens.
const LEEWAY_SECONDS: i64 = 60;

// === impl ServiceAccountTokens ===

impl ServiceAccountTokens {
    /// The service account of a token; `None` if the token is not of our issuers.
    pub fn verify(&self, token: &str, audiences: &[String], objects: &dyn BoundObjects, now: i64) -> Attempt<Verified> {
        let Some(parsed) = jwt::parse(token) else { return Ok(None) };
        let issuer = parsed.claims.str_at("iss");
        let legacy = self.legacy && issuer == LEGACY_ISSUER;
        if !legacy && !self.issuers.iter().any(|own| own == issuer) {
            return Ok(None);
        }
        self.keys.verify(&parsed)?;
        let audiences = self.audiences(&parsed, audiences)?;
        let user = match legacy {
            true => validate_legacy(token, &parsed.claims, objects)?,
            false => validate(&parsed.claims, objects, now)?,
        };
        Ok(Some(Verified { user, audiences }))
    }

    /// Those of the requested audiences that the token is for.
    fn audiences(&self, token: &Jwt<'_>, requested: &[String]) -> Result<Vec<String>, String> {
        let own: Vec<String> = match token.claims.get("aud") {
            Value::String(one) => vec![one.to_string()],
            Value::Array(many) => many.iter().filter_map(Value::as_str).map(String::from).collect(),
            _ => Vec::new(),
        };
        let own = if own.is_empty() { self.api_audiences.clone() } else { own };
        let requested = if requested.is_empty() { &self.api_audiences } else { requested };
        let common: Vec<String> = own.iter().filter(|audience| requested.contains(audience)).cloned().collect();
        if common.is_empty() && !self.api_audiences.is_empty() {
            return Err(format!(
                "token audiences {} is invalid for the target audiences {}",
                quoted_list(&own),
                quoted_list(requested)
            ));
        }
        Ok(common)
    }
}

fn validate(claims: &Value, objects: &dyn BoundObjects, now: i64) -> Result<UserInfo, String> {
    let time = |name: &str| claims.get(name).as_f64().map(|seconds| seconds as i64);
    if time("nbf").is_some_and(|from| now + LEEWAY_SECONDS < from) {
        return Err("service account token is not valid yet".into());
    }
    if time("exp").is_some_and(|end| now - LEEWAY_SECONDS > end) {
        return Err("service account token has expired".into());
    }
    if time("iat").is_some_and(|at| now + LEEWAY_SECONDS < at) {
        return Err("service account token is issued in the future".into());
    }
    let kubernetes = claims.get("kubernetes.io");
    let namespace = kubernetes.str_at("namespace");
    let account = kubernetes.get("serviceaccount");
    let name = account.str_at("name");
    let gone = |object: &Bound| object.deleted_at.is_some_and(|at| at < now - LEEWAY_SECONDS);

    let stored = objects.service_account(namespace, name);
    let stored = stored.ok_or_else(|| format!("serviceaccounts {} not found", quoted(name)))?;
    let uid = account.str_at("uid");
    if stored.uid != uid {
        return Err(format!("service account UID ({}) does not match claim ({uid})", stored.uid));
    }
    if gone(&stored) {
        return Err(format!("service account {namespace}/{name} has been deleted"));
    }
    let check = |what: &str, claim: &Value, stored: Option<Bound>| {
        let stored = stored.ok_or("service account token has been invalidated")?;
        let uid = claim.str_at("uid");
        if stored.uid != uid {
            return Err(format!("{what} UID ({}) does not match service account {what} ref claim ({uid})", stored.uid));
        }
        if gone(&stored) { Err("service account token has been invalidated".to_owned()) } else { Ok(()) }
    };
    let mut extra = BTreeMap::new();
    let mut note = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    if let Some(secret) = kubernetes.field("secret") {
        let stored = objects.secret(namespace, secret.str_at("name")).map(|secret| secret.bound);
        check("secret", secret, stored)?;
    }
    let pod = kubernetes.field("pod");
    if let Some(pod) = pod {
        check("pod", pod, objects.pod(namespace, pod.str_at("name")))?;
        if !pod.str_at("name").is_empty() && !pod.str_at("uid").is_empty() {
            note("pod-name", pod.str_at("name"));
            note("pod-uid", pod.str_at("uid"));
        }
    }
    if let Some(node) = kubernetes.field("node") {
        // A pod's token says where the pod runs; it is bound to the pod alone.
        if pod.is_none() {
            check("node", node, objects.node(node.str_at("name")))?;
        }
        note("node-name", node.str_at("name"));
        if !node.str_at("name").is_empty() {
            note("node-uid", node.str_at("uid"));
        }
    }
    for webhook in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        if kubernetes.field(webhook).is_some() {
            return Err(
                "feature gate \"APIServerWebhookAuthenticationToken\" is disabled, but token is webhook bound".into()
            );
        }
    }
    let id = claims.str_at("jti");
    if !id.is_empty() {
        extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    Ok(user(namespace, name, uid, extra))
}

/// Tokens of Secrets live as long as the Secret holds them.
fn validate_legacy(token: &str, claims: &Value, objects: &dyn BoundObjects) -> Result<UserInfo, String> {
    let claim = |name: &str| claims.get(&format!("kubernetes.io/serviceaccount/{name}")).as_str().unwrap_or_default();
    let (subject, namespace, secret) = (claims.str_at("sub"), claim("namespace"), claim("secret.name"));
    let (name, uid) = (claim("service-account.name"), claim("service-account.uid"));
    for (text, what) in [
        (subject, "sub"),
        (namespace, "namespace"),
        (secret, "secretName"),
        (name, "serviceAccountName"),
        (uid, "serviceAccountUID"),
    ] {
        if text.is_empty() {
            return Err(format!("{what} claim is missing"));
        }
    }
    if subject != format!("system:serviceaccount:{namespace}:{name}") {
        return Err("sub claim is invalid".into());
    }
    let stored = objects.secret(namespace, secret).filter(|secret| secret.bound.deleted_at.is_none());
    let stored = stored.ok_or("Token has been invalidated")?;
    if !same(stored.text("token"), token) {
        return Err("Token does not match server's copy".into());
    }
    let account = objects.service_account(namespace, name);
    let account = account.ok_or_else(|| format!("serviceaccounts {} not found", quoted(name)))?;
    if account.deleted_at.is_some() {
        return Err(format!("ServiceAccount {namespace}/{name} has been deleted"));
    }
    if account.uid != uid {
        return Err(format!("ServiceAccount UID ({}) does not match claim ({uid})", account.uid));
    }
    if !stored.invalid_since.is_empty() {
        return Err(format!(
            "the token in secret {namespace}/{secret} for service account {namespace}/{name} has been marked invalid. \
             Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
             'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token"
        ));
    }
    Ok(user(namespace, name, uid, BTreeMap::new()))
}

fn user(namespace: &str, name: &str, uid: &str, extra: BTreeMap<String, Vec<String>>) -> UserInfo {
    UserInfo {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
        extra,
    }
}

#[cfg(test)]
mod tests;
