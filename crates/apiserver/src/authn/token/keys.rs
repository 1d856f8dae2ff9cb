//! The public keys that verify service account tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::jwt::{Jwt, algorithm};
use crate::pki::key::PublicKey;

/// Keys by id (`--service-account-key-file`; the signing key's public half among them).
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<(String, PublicKey)>,
}

/// A key's id as upstream computes it: SHA-256 of its SubjectPublicKeyInfo, base64url.
pub fn key_id(key: &PublicKey) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &key.spki()))
}

// === impl KeySet ===

impl KeySet {
    /// A set of these keys, each once.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> KeySet {
        let mut set = KeySet::default();
        for key in keys {
            if !set.keys.iter().any(|(_, known)| *known == key) {
                set.keys.push((key_id(&key), key));
            }
        }
        set
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        self.keys.iter().map(|(id, key)| (id.as_str(), key))
    }

    /// Whether one of the keys signed the token: that of its `kid`, any if it has none.
    pub(super) fn verify(&self, token: &Jwt<'_>) -> Result<(), String> {
        let mut fitting = self.iter().filter(|(id, _)| token.key_id.is_empty() || *id == token.key_id).peekable();
        if fitting.peek().is_none() {
            return Err("invalid signature, no keys found".into());
        }
        let mut verified = fitting.map(|(_, key)| {
            algorithm(key.kind) == token.algorithm && key.verifies_jws(token.signed.as_bytes(), &token.signature)
        });
        match verified.any(|verified| verified) {
            true => Ok(()),
            false => Err("square/go-jose: error in cryptographic primitive".into()),
        }
    }
}
