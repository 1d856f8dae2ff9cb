//! What an update or an apply needs to know besides the objects.

use super::entries::{Identity, Operation};
use super::filter::Filter;
use super::set::Set;
use super::typed::Type;
use crate::decode;
use crate::field::is_printable;
use crate::schema::{Schema, StructId};
use crate::value::{Key, Map, Value};
use std::borrow::Cow;
use std::sync::LazyLock;

/// A field manager's name, in bytes.
const MANAGER_BYTES_MAX: usize = 128;

/// A write, as field management sees it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where the struct is from.
    pub schema: &'a Schema,
    /// The struct that objects are of; None for those without a schema.
    pub of: Option<StructId>,
    /// The version that the objects are in, as they state it: `apps/v1`.
    pub api_version: &'a str,
    /// `Deployment`.
    pub kind: &'a str,
    /// Empty for the resource itself.
    pub subresource: &'a str,
    /// The fields that this endpoint writes: see [`Filter::of`].
    pub filter: &'a Filter,
    /// The kind's other versions.
    pub versions: &'a dyn Versions,
    /// Who writes; see [`manager_or_user_agent`].
    pub manager: &'a str,
    /// The time of the write: RFC 3339 in UTC, whole seconds.
    pub now: &'a str,
}

/// What becomes of owners who wrote in another version of the API.
pub trait Versions: Sync {
    /// The object in another version.
    fn in_version<'v>(&'v self, object: &'v Value, version: &str) -> InVersion<'v>;
}

/// An object in another version of the API.
pub enum InVersion<'v> {
    /// The fields' paths are the same there.
    Same,
    /// It is another tree there.
    #[allow(missing_docs)] // The object, its type and what the endpoint writes, there.
    Other { object: Cow<'v, Value>, of: Type<'v>, filter: &'v Filter },
    /// There is no such version (any more): its owners lose what they own.
    Unknown,
}

/// Versions that differ in no path: right for all kinds but few (autoscaling/v1 against v2).
/// Holds the versions that are served; none means any.
pub struct SamePaths<'a>(pub &'a [&'a str]);

impl Versions for SamePaths<'_> {
    fn in_version<'v>(&'v self, _: &'v Value, version: &str) -> InVersion<'v> {
        match self.0.is_empty() || self.0.contains(&version) {
            true => InVersion::Same,
            false => InVersion::Unknown,
        }
    }
}

/// The fields that no entry lists: they belong to the server.
pub(super) static STRIPPED: LazyLock<Set> = LazyLock::new(|| {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// The manager that a request names, or the program's name in its User-Agent.
pub fn manager_or_user_agent(manager: &str, user_agent: &str) -> String {
    if !manager.is_empty() {
        return manager.into();
    }
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > MANAGER_BYTES_MAX {
            break;
        }
        name.push(c);
    }
    name
}

// === impl Request ===

impl<'a> Request<'a> {
    /// The type of the objects.
    pub(super) fn root(&self) -> Type<'a> {
        match self.of {
            Some(id) => Type::of(self.schema, id),
            None => Type::deduced(self.schema),
        }
    }

    /// Who owns what this request writes.
    pub(super) fn identity(&self, operation: Operation) -> Identity {
        Identity {
            manager: Key::new(if self.manager.is_empty() { "unknown" } else { self.manager }),
            operation,
            version: Key::new(self.api_version),
            subresource: Key::new(self.subresource),
        }
    }

    /// What a created object is compared with: the empty Go struct of its kind.
    pub(super) fn empty(&self) -> Value {
        let mut object = Map::new();
        object.insert("kind", self.kind);
        object.insert("apiVersion", self.api_version);
        if let Some(Value::Object(fields)) = self.of.map(|id| decode::zero(self.schema, id)) {
            for (key, value) in fields {
                object.insert(key, value);
            }
        }
        Value::Object(object)
    }
}
