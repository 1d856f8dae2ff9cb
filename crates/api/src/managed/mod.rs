//! Managed fields: who owns which fields of an object, and server-side apply.
//!
//! The semantics are those of upstream's `sigs.k8s.io/structured-merge-diff` (merging, comparing,
//! the algebra of sets) and `apimachinery/pkg/util/managedfields` (the entries in
//! `metadata.managedFields`).
//!
//! Start at [`update()`] and [`apply()`]; below them [`typed`] walks trees along a schema, [`Set`]
//! is what it yields, [`fields`] the stored form of a set.

mod apply;
mod conflict;
#[cfg(test)]
pub(crate) use element::equal;

mod element;
mod entries;
pub mod fields;
mod filter;
mod last_applied;
mod request;
mod scale;
mod set;
mod settle;
mod times;
pub mod typed;
mod update;
mod versions;

pub use apply::{Applied, apply};
pub use conflict::Conflict;
pub use element::{ParseError, PathElement};
pub use entries::{Identity, Operation, UPDATERS_MAX, validate_entries};
pub use filter::Filter;
pub use request::{InVersion, Request, SamePaths, Versions, manager_or_user_agent};
pub use scale::{ReplicasPath, from_scale, to_scale};
pub use set::{Set, display};
pub use times::keep_times_if_unchanged;
pub use update::update;
pub use versions::BuiltinVersions;

use crate::value::{Key, Map, Value};

/// Walks two objects together: every name of either with its values, those of the first in its
/// order before those only the second has. Objects in one order are walked without searching.
pub(crate) fn zip<'a>(
    left: &'a Map,
    right: &'a Map,
) -> impl Iterator<Item = (&'a Key, Option<&'a Value>, Option<&'a Value>)> {
    let mut place = 0;
    let mut matched = 0;
    let entries = right.entries();
    let mut ours = left.iter();
    let mut theirs = right.iter();
    std::iter::from_fn(move || {
        if let Some((key, value)) = ours.next() {
            let found = match entries.get(place) {
                Some((name, _)) if name == key => Some(place),
                _ => entries.iter().position(|(name, _)| name == key),
            };
            if let Some(at) = found {
                place = at + 1;
                matched += 1;
            }
            return Some((key, Some(value), found.map(|at| &entries[at].1)));
        }
        if matched == right.len() {
            return None;
        }
        theirs.find(|(key, _)| !left.contains_key(key)).map(|(key, value)| (key, None, Some(value)))
    })
}

#[cfg(test)]
mod tests;
