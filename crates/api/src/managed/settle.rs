//! What a change takes from the owners of what it changes.

use super::conflict::Conflict;
use super::entries::{Managed, Operation, Owner, Stored};
use super::filter::Filter;
use super::request::{InVersion, Request};
use super::set::Set;
use super::typed::{Problems, Type, compare, reconcile};
use crate::value::{Key, Value};

/// A difference as owners meet it.
pub(super) struct Delta {
    /// Added and modified.
    pub gained: Set,
    pub removed: Set,
}

impl Delta {
    /// The difference between two objects of a type, as far as the endpoint writes it.
    pub fn between(of: Type<'_>, old: &Value, new: &Value, filter: &Filter) -> Result<Delta, Problems> {
        let (gained, removed) = compare(of, old, new)?.filtered(filter).split();
        Ok(Delta { gained, removed })
    }
}

/// Takes what changed from all owners except `own`. Unless forced, gives the conflicts instead,
/// and changes nothing.
///
/// # Errors
/// The objects can't be compared in an owner's version.
pub(super) fn settle(
    request: &Request<'_>,
    delta: &Delta,
    (old, new): (&Value, &Value),
    managed: &mut Managed,
    own: Option<usize>,
    force: bool,
) -> Result<Vec<Conflict>, Problems> {
    let mut others: Vec<(Key, Option<Delta>)> = Vec::new();
    for owner in &managed.owners {
        let version = &owner.id.version;
        if version == request.api_version || others.iter().any(|(known, _)| known == version) {
            continue;
        }
        let found = match (request.versions.in_version(old, version), request.versions.in_version(new, version)) {
            (InVersion::Same, _) | (_, InVersion::Same) => continue,
            (InVersion::Other { object: old, of, filter }, InVersion::Other { object: new, .. }) => {
                Some(Delta::between(of, &old, &new, filter)?)
            }
            _ => None,
        };
        others.push((version.clone(), found));
    }
    let delta_of = |owner: &Owner| match others.iter().find(|(version, _)| *version == owner.id.version) {
        Some((_, found)) => found.as_ref(),
        None => Some(delta),
    };
    let root = request.root();
    if !force {
        let conflicts = conflicts(root, managed, own, delta_of);
        if !conflicts.is_empty() {
            return Ok(conflicts);
        }
    }
    let mut at = 0;
    managed.owners.retain_mut(|owner| {
        let is_own = own == Some(at);
        at += 1;
        match delta_of(owner) {
            _ if is_own => true,
            Some(delta) => take(root, owner, delta),
            None => false,
        }
    });
    Ok(Vec::new())
}

fn conflicts<'d>(
    root: Type<'_>,
    managed: &Managed,
    own: Option<usize>,
    delta_of: impl Fn(&Owner) -> Option<&'d Delta>,
) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (at, owner) in managed.owners.iter().enumerate() {
        let Some(delta) = delta_of(owner).filter(|delta| own != Some(at) && owner.meets(&delta.gained)) else {
            continue;
        };
        let mut owned = owner.read();
        reconcile(root, &mut owned);
        let met = owned.intersection(&delta.gained);
        met.for_each(&mut |path| conflicts.push(Conflict { owner: owner.id.clone(), path: path.to_vec() }));
    }
    conflicts.sort_by_cached_key(|conflict| conflict.owner.text());
    conflicts
}

/// Takes a difference from an owner; false when nothing is left to it.
fn take(root: Type<'_>, owner: &mut Owner, delta: &Delta) -> bool {
    if !owner.meets(&delta.gained) && !owner.meets(&delta.removed) {
        return true;
    }
    let set = owner.set();
    reconcile(root, set);
    set.subtract(&delta.gained);
    set.subtract(&delta.removed);
    !is_void(owner)
}

/// Whether an owner has nothing left; upstream drops such entries with every write.
pub(super) fn is_void(owner: &Owner) -> bool {
    match &owner.fields {
        Stored::Set(set) => set.is_empty(),
        Stored::Text(text) => text == "{}" || !text.starts_with('{'),
    }
}

/// The index of the owner of an operation, added without fields if it is not there.
pub(super) fn owner_of(managed: &mut Managed, request: &Request<'_>, operation: Operation) -> usize {
    let id = request.identity(operation);
    managed.find(&id).unwrap_or_else(|| {
        managed.owners.push(Owner { id, time: None, fields: Stored::Set(Set::new()) });
        managed.owners.len() - 1
    })
}
