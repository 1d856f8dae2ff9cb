//! Where authentication finds what tokens are bound to: in memory.

use api::codec::json;
use api::value::Value;
use client::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use store::Store;

use crate::authn::token::{KeySet, discovery};
use crate::authn::{Bound, BoundObjects, BoundSecret};
use crate::respond;

/// Looks objects up in the store.
pub struct StoredObjects(pub Store);

impl StoredObjects {
    fn get(&self, key: &str) -> Option<Value> {
        json::parse(&self.0.get(key)?.value).ok()
    }
}

impl BoundObjects for StoredObjects {
    fn service_account(&self, namespace: &str, name: &str) -> Option<Bound> {
        self.get(&format!("/registry/serviceaccounts/{namespace}/{name}")).as_ref().map(Bound::of)
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Bound> {
        self.get(&format!("/registry/pods/{namespace}/{name}")).as_ref().map(Bound::of)
    }

    fn node(&self, name: &str) -> Option<Bound> {
        self.get(&format!("/registry/minions/{name}")).as_ref().map(Bound::of)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<BoundSecret> {
        self.get(&format!("/registry/secrets/{namespace}/{name}")).as_ref().map(BoundSecret::of)
    }
}

/// The documents by which others verify our tokens.
#[derive(Default)]
pub struct IssuerDocuments {
    configuration: Vec<u8>,
    keys: Vec<u8>,
}

// === impl IssuerDocuments ===

impl IssuerDocuments {
    /// Empty where the issuer is no URL that OpenID allows.
    pub fn new(issuer: &str, keys_uri: &str, keys: &KeySet) -> IssuerDocuments {
        match discovery::configuration(issuer, keys_uri, keys) {
            Ok(configuration) => IssuerDocuments { configuration, keys: discovery::key_set(keys) },
            Err(why) => {
                tracing::info!(%why, "the issuer's documents are not served");
                IssuerDocuments::default()
            }
        }
    }

    pub fn answer(&self, path: &str) -> Option<Response<Body>> {
        let (bytes, media_type) = match path {
            "/.well-known/openid-configuration" => (&self.configuration, "application/json"),
            discovery::KEYS_PATH => (&self.keys, discovery::KEYS_TYPE),
            _ => return None,
        };
        if bytes.is_empty() {
            return None;
        }
        let mut answer = respond::document(StatusCode::OK, bytes.clone(), media_type);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(discovery::CACHE_CONTROL));
        Some(answer)
    }
}
