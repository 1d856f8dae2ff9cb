//! What the kubelet reads of other objects for its pods: config maps, secrets, service-account tokens, trust bundles,
//! volume claims.

mod api;
pub mod pem;
mod tokens;

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};

pub use api::ApiObjects;
pub use tokens::{TokenKey, Tokens};

/// Why an object could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// Anything else: asking again may help.
    #[error("{0}")]
    Other(String),
}

/// A token and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself.
    pub token: String,
    /// Seconds since 1970.
    pub expires_at: i64,
}

/// An answer to be waited for.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ObjectError>>;

/// Where such objects come from.
pub trait Objects: Send + Sync {
    /// A config map.
    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, Arc<ConfigMap>>;
    /// A secret.
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, Arc<Secret>>;
    /// A new token of a service account, bound to a pod.
    fn token<'a>(&'a self, key: &'a TokenKey) -> Answer<'a, Token>;
    /// The text of a trust bundle by name, PEM.
    fn trust_bundle<'a>(&'a self, name: &'a str) -> Answer<'a, String>;
    /// The texts of all trust bundles of a signer that have these labels (`a=b,c in (d)`; empty means any), PEM.
    fn signer_bundles<'a>(&'a self, signer: &'a str, labels: &'a str) -> Answer<'a, Vec<String>>;
    /// A volume claim and the volume it is bound to.
    fn claim<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, (PersistentVolumeClaim, PersistentVolume)>;
}
