//! Sets that were written under an older schema.

use super::{Atom, Type};
use crate::managed::{PathElement, Set};

/// Where the schema now has one value, members below it become that value. The other way round
/// nothing is done: the set is then taken as if it had always been so. Says whether anything changed.
pub fn reconcile(of: Type<'_>, set: &mut Set) -> bool {
    let atom = of.atom(None);
    let mut changed = false;
    for entry in &mut set.entries {
        let below = match (atom, &entry.element) {
            (Atom::Map(_), _) if of.is_deduced() => None,
            (Atom::Map(fields), PathElement::Field(name)) => fields.field(name),
            (Atom::Map(fields), _) => fields.element,
            (Atom::List(list), _) => Some(list.item),
            (Atom::Scalar(_), _) => None,
        };
        let Some(below) = below.filter(|_| !entry.children.is_empty()) else { continue };
        let atomic = match below.atom(None) {
            Atom::List(list) => list.is_atomic(),
            Atom::Map(fields) => fields.atomic,
            Atom::Scalar(_) => false,
        };
        if atomic {
            entry.member = true;
            entry.children = Set::new();
            changed = true;
        } else {
            changed |= reconcile(below, &mut entry.children);
        }
    }
    changed
}
