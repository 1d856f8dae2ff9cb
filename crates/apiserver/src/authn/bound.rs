//! The objects that tokens are bound to, as authentication needs to see them.

use std::collections::BTreeMap;

use api::value::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// Looks up what tokens are bound to. Answers from caches: it is asked on the way of a request.
pub trait BoundObjects: Send + Sync {
    fn service_account(&self, namespace: &str, name: &str) -> Option<Bound>;
    fn pod(&self, namespace: &str, name: &str) -> Option<Bound>;
    fn node(&self, name: &str) -> Option<Bound>;
    fn secret(&self, namespace: &str, name: &str) -> Option<BoundSecret>;
}

/// Who an object is and whether it is being deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub uid: String,
    /// `metadata.deletionTimestamp`, in seconds since 1970.
    pub deleted_at: Option<i64>,
}

/// A Secret that holds or backs a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundSecret {
    pub bound: Bound,
    /// `type`.
    pub kind: String,
    /// Decoded.
    pub data: BTreeMap<String, Vec<u8>>,
    /// The label `kubernetes.io/legacy-token-invalid-since`, empty without it.
    pub invalid_since: String,
}

/// A cluster without objects: every token that is bound to one is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObjects;

// === impl Bound ===

impl Bound {
    pub fn of(object: &Value) -> Bound {
        let deleted = object.str_at("metadata.deletionTimestamp");
        let deleted_at = deleted.parse().ok().map(Timestamp::as_second);
        Bound { uid: object.str_at("metadata.uid").to_owned(), deleted_at }
    }
}

// === impl BoundSecret ===

impl BoundSecret {
    pub fn of(secret: &Value) -> BoundSecret {
        let entries = secret.at("data").as_object().into_iter().flat_map(|data| data.iter());
        let decoded = entries.filter_map(|(key, value)| {
            let bytes = STANDARD.decode(value.as_str()?).ok()?;
            Some((key.to_string(), bytes))
        });
        let label = secret.at("metadata.labels").get("kubernetes.io/legacy-token-invalid-since");
        BoundSecret {
            bound: Bound::of(secret),
            kind: secret.str_at("type").to_owned(),
            data: decoded.collect(),
            invalid_since: label.as_str().unwrap_or_default().to_owned(),
        }
    }

    /// An entry as text, empty where there is none.
    pub(super) fn text(&self, key: &str) -> &str {
        self.data.get(key).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl BoundObjects for NoObjects {
    fn service_account(&self, _: &str, _: &str) -> Option<Bound> {
        None
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
