//! Service-account tokens, kept until most of their life is over. Upstream: pkg/kubelet/token.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{ObjectError, Objects, Token};

/// A token is renewed once it is this old, however long it lasts; seconds.
const AGE_SECONDS_MAX: i64 = 24 * 3600;
/// A token is renewed when this share of its life is left; percent.
const LEFT_PERCENT_MIN: i64 = 20;

/// Which token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// Of the service account and the pod.
    pub namespace: String,
    /// The service account.
    pub account: String,
    /// Who is to take it; empty means the API server.
    pub audience: String,
    /// How long it is to last.
    pub seconds: i64,
    /// The pod it is bound to.
    pub pod_name: String,
    /// The pod it is bound to.
    pub pod_uid: String,
}

/// The tokens of this node's pods.
#[derive(Debug, Default)]
pub struct Tokens {
    known: Mutex<HashMap<TokenKey, Token>>,
}

impl Tokens {
    /// A token with enough life left. One that can't be renewed serves to its end.
    ///
    /// # Errors
    /// Where there is none and none can be had.
    pub async fn get(&self, objects: &dyn Objects, key: TokenKey, now: i64) -> Result<String, ObjectError> {
        let known = self.known.lock().get(&key).cloned();
        if let Some(token) = known.as_ref().filter(|token| !is_due(token, key.seconds, now)) {
            return Ok(token.token.clone());
        }
        match (objects.token(&key).await, known) {
            (Ok(fresh), _) => {
                let token = fresh.token.clone();
                self.known.lock().insert(key, fresh);
                Ok(token)
            }
            (Err(error), None) => Err(ObjectError::Other(format!("failed to fetch token: {error}"))),
            (Err(error), Some(old)) if old.expires_at <= now => Err(ObjectError::Other(format!(
                "token {}/{} expired and refresh failed: {error}",
                key.namespace, key.account
            ))),
            (Err(error), Some(old)) => {
                tracing::warn!(pod = key.pod_uid, %error, "a token could not be renewed");
                Ok(old.token)
            }
        }
    }

    /// The pod is gone.
    pub fn forget(&self, pod_uid: &str) {
        self.known.lock().retain(|key, _| key.pod_uid != pod_uid);
    }
}

/// Whether a token is to be renewed.
fn is_due(token: &Token, seconds: i64, now: i64) -> bool {
    let issued = token.expires_at - seconds;
    now > issued + AGE_SECONDS_MAX || now > token.expires_at - seconds * LEFT_PERCENT_MIN / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(3600, 0, false)]
    #[case(3600, 2880, false)]
    #[case(3600, 2881, true)]
    #[case(1_000_000, 86_400, false)]
    #[case(1_000_000, 86_401, true)]
    fn renewed_at_four_fifths_or_a_day(#[case] seconds: i64, #[case] age: i64, #[case] due: bool) {
        let token = Token { token: String::new(), expires_at: seconds };
        assert_eq!(is_due(&token, seconds, age), due);
    }
}
