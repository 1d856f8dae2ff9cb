//! Who someone is a client certificate or a token tells, which the API server reviews; what one may the API server
//! decides. Its answers are kept for a while, with the times of upstream's delegated authenticator and authorizer.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use client::{Client, WriteOptions, resources};
use http::{HeaderMap, header::AUTHORIZATION};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::peer::User;

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

/// What someone may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed<'a> {
    /// With a part of a node.
    Node {
        /// The request's verb.
        verb: &'a str,
        /// The part (`metrics`).
        subresource: &'a str,
        /// The node's name.
        name: &'a str,
    },
    /// With a path that is no object's.
    Path {
        /// The request's verb.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// Asks the API server, and remembers.
pub struct Reviews {
    client: Client,
    tokens: Answers<[u8; 32], Option<User>>,
    verdicts: Answers<(String, Vec<String>, String), bool>,
}

/// Answers by question, each for a time.
struct Answers<K, V>(Mutex<HashMap<K, (Instant, V)>>);

// === impl Deed ===

impl Deed<'_> {
    /// Its part of a SubjectAccessReview's spec: the field and its value.
    fn attributes(&self) -> (&'static str, Value) {
        match self {
            Deed::Node { verb, subresource, name } => (
                "resourceAttributes",
                json!({"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": name}),
            ),
            Deed::Path { verb, path } => ("nonResourceAttributes", json!({"verb": verb, "path": path})),
        }
    }
}

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

// === impl Reviews ===

impl Reviews {
    /// Asks as `client`.
    pub fn new(client: Client) -> Self {
        Reviews { client, tokens: Answers::new(), verdicts: Answers::new() }
    }

    /// Who asks: whom the connection's certificate names, else whom the request's token does.
    pub async fn user(&self, peer: Option<&User>, headers: &HeaderMap) -> Option<User> {
        match peer {
            Some(user) => Some(user.clone()),
            None => self.by_token(headers).await,
        }
    }

    /// Whether the user may do that.
    ///
    /// # Errors
    /// Why the API server could not be asked.
    pub async fn may(&self, user: &User, deed: Deed<'_>) -> Result<bool, String> {
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(true);
        }
        let (field, attributes) = deed.attributes();
        let key = (user.username.clone(), user.groups.clone(), attributes.to_string());
        if let Some(known) = self.verdicts.get(&key, Instant::now()) {
            return Ok(known);
        }
        let mut review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
            "spec": {"user": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra}});
        review["spec"][field] = attributes;
        let allowed = self.ask(&resources::SUBJECT_ACCESS_REVIEWS, &review).await?["allowed"] == true;
        self.verdicts.keep(key, allowed, Instant::now(), if allowed { ALLOWED_TIME } else { DENIED_TIME });
        Ok(allowed)
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
                tracing::warn!(%error, "a token could not be reviewed");
                None
            }
        }
    }

    /// The status that answers a review.
    async fn ask(&self, resource: &client::Resource, review: &Value) -> Result<Value, String> {
        let answer = self.client.all(resource).create(review.to_string(), &WriteOptions::default()).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_slice(answer.bytes()).map_err(|error| error.to_string())?;
        Ok(answer["status"].take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_for_their_time() {
        let (answers, now) = (Answers::new(), Instant::now());
        answers.keep("a", 1, now, Duration::from_secs(10));
        assert_eq!(answers.get(&"a", now + Duration::from_secs(9)), Some(1));
        assert_eq!(answers.get(&"a", now + Duration::from_secs(10)), None);
    }
}
