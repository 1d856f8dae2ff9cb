//! Tokens that were found good a moment ago.
//!
//! A signature takes 50–100 µs to verify, and clients send the same token with each request.
//! Upstream: k8s.io/apiserver/pkg/authentication/token/cache. Only successes are kept, for as
//! long as upstream's kube-apiserver does; so long may a deleted pod's token still work.

use std::collections::HashMap;
use std::sync::Arc;

use api::user::UserInfo;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;

/// Remembers verified tokens by a keyed hash: tokens themselves stay out of memory.
pub struct TokenCache {
    key: hmac::Key,
    stripes: [Mutex<HashMap<Hash, Entry>>; STRIPES],
}

/// What a token was found to be.
#[derive(Clone, Debug)]
pub struct Cached {
    pub user: Arc<UserInfo>,
    pub audiences: Arc<[String]>,
}

type Hash = [u8; 32];

struct Entry {
    /// Seconds since 1970.
    until: i64,
    found: Cached,
}

/// How long a success is believed.
const TTL_SECONDS: i64 = 10;
/// Locks, so that requests don't wait for each other.
const STRIPES: usize = 32;
/// Entries of a stripe; 32 × 1,024 are twice the tokens of a cluster of 5,000 nodes and 10,000 namespaces.
const STRIPE_ENTRIES_MAX: usize = 1024;

// === impl TokenCache ===

impl TokenCache {
    /// An empty cache with a random key.
    pub fn new() -> TokenCache {
        // Without randomness no TLS would have come this far; a fixed key costs the defence
        // against chosen collisions, which SHA-256 does not have.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, b"no randomness"));
        TokenCache { key, stripes: std::array::from_fn(|_| Mutex::default()) }
    }

    /// What the token was found to be for these audiences; else asks `verify` and remembers a success.
    ///
    /// # Errors
    /// Those of `verify`.
    pub fn get_or_verify(
        &self,
        token: &str,
        audiences: &[String],
        now: i64,
        verify: impl FnOnce() -> Result<Option<Cached>, String>,
    ) -> Result<Option<Cached>, String> {
        let hash = self.hash(token, audiences);
        let stripe = &self.stripes[usize::from(hash[0]) % STRIPES];
        let known = stripe.lock().get(&hash).filter(|entry| now < entry.until).map(|entry| entry.found.clone());
        if known.is_some() {
            return Ok(known);
        }
        let found = verify()?;
        if let Some(found) = &found {
            let mut stripe = stripe.lock();
            if stripe.len() >= STRIPE_ENTRIES_MAX {
                stripe.retain(|_, entry| now < entry.until);
            }
            // A full stripe of live tokens: those that come later are verified each time.
            if stripe.len() < STRIPE_ENTRIES_MAX {
                stripe.insert(hash, Entry { until: now + TTL_SECONDS, found: found.clone() });
            }
        }
        Ok(found)
    }

    fn hash(&self, token: &str, audiences: &[String]) -> Hash {
        let mut context = hmac::Context::with_key(&self.key);
        let mut add = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        add(token);
        audiences.iter().for_each(|audience| add(audience));
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }
}

impl Default for TokenCache {
    fn default() -> TokenCache {
        TokenCache::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Result<Option<Cached>, String> {
        let user = Arc::new(UserInfo { name: name.into(), ..UserInfo::default() });
        Ok(Some(Cached { user, audiences: Arc::from([]) }))
    }

    fn name(found: Result<Option<Cached>, String>) -> String {
        found.unwrap().unwrap().user.name.clone()
    }

    #[test]
    fn successes_are_remembered_for_ten_seconds_by_token_and_audiences() {
        let cache = TokenCache::new();
        assert_eq!(name(cache.get_or_verify("t", &[], 100, || found("first"))), "first");
        assert_eq!(name(cache.get_or_verify("t", &[], 109, || found("second"))), "first");
        assert_eq!(name(cache.get_or_verify("t", &["a".into()], 109, || found("second"))), "second");
        assert_eq!(name(cache.get_or_verify("u", &[], 109, || found("third"))), "third");
        assert_eq!(name(cache.get_or_verify("t", &[], 110, || found("fourth"))), "fourth");
    }

    #[test]
    fn failures_are_not_remembered() {
        let cache = TokenCache::new();
        assert!(cache.get_or_verify("t", &[], 0, || Err("bad".into())).is_err());
        assert!(cache.get_or_verify("t", &[], 0, || Ok(None)).unwrap().is_none());
        assert_eq!(name(cache.get_or_verify("t", &[], 0, || found("now"))), "now");
    }

    #[test]
    fn memory_is_bounded() {
        let cache = TokenCache::new();
        for at in 0..STRIPES * STRIPE_ENTRIES_MAX + 5000 {
            cache.get_or_verify(&at.to_string(), &[], 0, || found("x")).unwrap();
        }
        assert!(cache.stripes.iter().all(|stripe| stripe.lock().len() <= STRIPE_ENTRIES_MAX));
    }
}
