//! One object as caches and answers hand it on: a view and the bytes it came from.

use std::fmt;
use std::ops::Deref;

use api::value::Value;
use bytes::Bytes;
use smol_str::SmolStr;

use crate::error::ClientError;
use crate::json;
use crate::views::{MetaExt, View};

/// Namespace and name: the key of work queues and caches. Namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace.
    pub namespace: SmolStr,
    /// The name.
    pub name: SmolStr,
}

/// A view, the JSON it was read from, and its revision. Shared as `Arc<Object<T>>`; dereferences to the view.
pub struct Object<T> {
    /// The typed form.
    pub view: T,
    /// The object's JSON as the server sent it; empty in caches that were told not to keep it.
    pub bytes: Bytes,
    /// `metadata.resourceVersion` as a number; 0 if the server gave none.
    pub revision: u64,
}

// === impl ObjectKey ===

impl ObjectKey {
    /// The key of an object in a namespace.
    pub fn new(namespace: impl Into<SmolStr>, name: impl Into<SmolStr>) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl Into<SmolStr>) -> ObjectKey {
        ObjectKey::new("", name)
    }

    /// The key of this object.
    pub fn of(object: &impl MetaExt) -> ObjectKey {
        ObjectKey::new(object.namespace(), object.name())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

// === impl Object ===

impl<T: View> Object<T> {
    /// Reads an object.
    ///
    /// # Errors
    /// [`ClientError::Decode`] if it has another shape.
    pub fn decode(bytes: Bytes) -> Result<Object<T>, ClientError> {
        let view = T::decode(&bytes)?;
        let revision = revision_of(view.meta().resource_version.as_deref().unwrap_or_default());
        Ok(Object { view, bytes, revision })
    }

    /// The key of this object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::of(&self.view)
    }
}

impl<T> Object<T> {
    /// The object's tree after `change`, ready for `update`; see [`json::edit`].
    ///
    /// # Errors
    /// [`ClientError::Decode`] if the bytes are no JSON (not kept, for instance).
    pub fn edit(&self, change: impl FnOnce(&mut Value)) -> Result<Value, ClientError> {
        json::edit(&self.bytes, change)
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}

impl<T: fmt::Debug> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.view, self.revision)
    }
}

/// A resourceVersion as a number: they can be compared, within one resource and across. 0 for none or nonsense.
pub fn revision_of(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(0)
}
