//! Who may use the kubelet's server. Who someone is a client certificate or a token tells, which the API server
//! reviews; what one may the API server decides. Its answers are kept for a while. Upstream: pkg/kubelet/server/auth.go.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use client::{Client, WriteOptions, resources};
use http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::peer::User;

/// The group that may do everything: the API server asks no authorizer about it either.
const MASTERS: &str = "system:masters";
/// How long an answer about a token counts: `authentication.webhook.cacheTTL`.
const TOKEN_TIME: Duration = Duration::from_secs(120);
/// How long a yes counts: `authorization.webhook.cacheAuthorizedTTL`.
const ALLOWED_TIME: Duration = Duration::from_secs(300);
/// How long a no counts: `authorization.webhook.cacheUnauthorizedTTL`.
const DENIED_TIME: Duration = Duration::from_secs(30);
/// Answers kept of each kind.
const ANSWERS_MAX: usize = 4096;

/// What a path belongs to beside the node's own part in `nodes/proxy`: parts that are asked about first.
const FINE: [(&str, &str); 5] = [
    ("/allocatedPods", "pods"),
    ("/pods", "pods"),
    ("/healthz", "healthz"),
    ("/configz", "configz"),
    ("/runningpods", "pods"),
];
/// Paths that belong to a part of their own alone.
const COARSE: [(&str, &str); 6] = [
    ("/stats", "stats"),
    ("/metrics", "metrics"),
    ("/logs", "log"),
    ("/checkpoint", "checkpoint"),
    ("/statusz", "statusz"),
    ("/flagz", "configz"),
];

/// Why a request is not answered.
pub type Refusal = (StatusCode, String);

/// Asks the API server, and remembers.
pub struct Gate {
    client: Client,
    node: String,
    tokens: Answers<[u8; 32], Option<User>>,
    verdicts: Answers<(String, Vec<String>, String, &'static str), bool>,
}

/// Answers by question, each for a time.
struct Answers<K, V>(Mutex<HashMap<K, (Instant, V)>>);

// === impl Answers ===

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    fn new() -> Self {
        Answers(Mutex::new(HashMap::new()))
    }

    fn get(&self, key: &K, now: Instant) -> Option<V> {
        self.0.lock().get(key).filter(|(until, _)| *until > now).map(|(_, value)| value.clone())
    }

    fn keep(&self, key: K, value: V, now: Instant, time: Duration) {
        let mut known = self.0.lock();
        if known.len() >= ANSWERS_MAX {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() >= ANSWERS_MAX {
            known.clear();
        }
        known.insert(key, (now + time, value));
    }
}

// === impl Gate ===

impl Gate {
    /// For the server of one node.
    pub fn new(client: Client, node: &str) -> Self {
        Gate { client, node: node.to_owned(), tokens: Answers::new(), verdicts: Answers::new() }
    }

    /// Whether a request may go on; `peer` is whom the connection's certificate names.
    ///
    /// # Errors
    /// 401, 403 or 500, in upstream's words.
    pub async fn check(
        &self,
        peer: Option<&User>,
        headers: &HeaderMap,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        let user = match peer {
            Some(user) => user.clone(),
            None => self.by_token(headers).await.ok_or((StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()))?,
        };
        let (verb, parts) = (verb(method), subresources(path));
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        for part in &parts {
            match self.may(&user, verb, part).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(user = user.username, verb, part, %error, "kubelet server: not authorized");
                    let name = &user.username;
                    let text =
                        format!("Authorization error (user={name}, verb={verb}, resource=nodes, subresource={part})");
                    return Err((StatusCode::INTERNAL_SERVER_ERROR, text));
                }
            }
        }
        let (name, parts) = (&user.username, parts.join(" "));
        let text = format!("Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{parts}])\n");
        Err((StatusCode::FORBIDDEN, text))
    }

    async fn by_token(&self, headers: &HeaderMap) -> Option<User> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return None;
        }
        let key: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        if let Some(known) = self.tokens.get(&key, Instant::now()) {
            return known;
        }
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "metadata": {}, "spec": {"token": token.trim()}});
        match self.ask(&resources::TOKEN_REVIEWS, &review).await {
            Ok(status) => {
                let authenticated = status["authenticated"] == true;
                let user = authenticated.then(|| serde_json::from_value(status["user"].clone()).ok()).flatten();
                self.tokens.keep(key, user.clone(), Instant::now(), TOKEN_TIME);
                user
            }
            Err(error) => {
                tracing::warn!(%error, "kubelet server: a token could not be reviewed");
                None
            }
        }
    }

    async fn may(&self, user: &User, verb: &str, part: &'static str) -> Result<bool, String> {
        let key = (user.username.clone(), user.groups.clone(), verb.to_owned(), part);
        if let Some(known) = self.verdicts.get(&key, Instant::now()) {
            return Ok(known);
        }
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {
            "user": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra,
            "resourceAttributes": {"verb": verb, "version": "v1", "resource": "nodes", "subresource": part, "name": self.node},
        }});
        let allowed = self.ask(&resources::SUBJECT_ACCESS_REVIEWS, &review).await?["allowed"] == true;
        self.verdicts.keep(key, allowed, Instant::now(), if allowed { ALLOWED_TIME } else { DENIED_TIME });
        Ok(allowed)
    }

    /// The status that answers a review.
    async fn ask(&self, resource: &client::Resource, review: &Value) -> Result<Value, String> {
        let answer = self.client.all(resource).create(review.to_string(), &WriteOptions::default()).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_slice(answer.bytes()).map_err(|error| error.to_string())?;
        Ok(answer["status"].take())
    }
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The parts of `nodes` that a path belongs to; one of them is enough.
fn subresources(path: &str) -> Vec<&'static str> {
    let is_below = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let find = |table: &[(&str, &'static str)]| table.iter().find(|(base, _)| is_below(base)).map(|(_, part)| *part);
    find(&FINE).into_iter().chain([find(&COARSE).unwrap_or("proxy")]).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/stats/summary", &["stats"])]
    #[case("/metrics", &["metrics"])]
    #[case("/metrics/cadvisor", &["metrics"])]
    #[case("/metricsx", &["proxy"])]
    #[case("/logs/x", &["log"])]
    #[case("/pods", &["pods", "proxy"])]
    #[case("/runningpods/", &["pods", "proxy"])]
    #[case("/healthz/ping", &["healthz", "proxy"])]
    #[case("/configz", &["configz", "proxy"])]
    #[case("/exec/a/b/c", &["proxy"])]
    #[case("/containerLogs/a/b/c", &["proxy"])]
    fn parts(#[case] path: &str, #[case] expected: &[&str]) {
        assert_eq!(subresources(path), expected);
    }

    #[test]
    fn answers_count_for_their_time() {
        let (answers, now) = (Answers::new(), Instant::now());
        answers.keep("a", 1, now, Duration::from_secs(10));
        assert_eq!(answers.get(&"a", now + Duration::from_secs(9)), Some(1));
        assert_eq!(answers.get(&"a", now + Duration::from_secs(10)), None);
    }
}
