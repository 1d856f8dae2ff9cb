//! Removing fields of a set from a tree.

use super::{Atom, Type};
use crate::managed::{PathElement, Set, set::Entry};
use crate::value::{Map, Value};

/// The tree without the members of `set` and what lies below them. A list or map that loses all
/// its items becomes null, as upstream's does.
pub fn remove(of: Type<'_>, value: &Value, set: &Set) -> Value {
    match (of.atom(Some(value)), value) {
        (Atom::Scalar(_), scalar) => scalar.clone(),
        (Atom::List(list), Value::Array(items)) if !list.is_atomic() => {
            let keep = |item: &Value| match list.element(item).ok().and_then(|element| set.find(&element)) {
                None => Some(item.clone()),
                Some(entry) if entry.member => None,
                Some(entry) => Some(remove(list.item, item, &entry.children)),
            };
            let items: Vec<Value> = items.iter().filter_map(keep).collect();
            if items.is_empty() { Value::Null } else { Value::Array(items) }
        }
        (Atom::Map(fields), Value::Object(map)) if !fields.atomic => {
            let mut kept = Map::with_capacity(map.len());
            for (key, value) in map.iter() {
                let value = match (set.field(key), fields.field(key)) {
                    (Some(entry), _) if entry.member => continue,
                    (Some(entry), Some(of)) => remove(of, value, &entry.children),
                    _ => value.clone(),
                };
                kept.push_unchecked(key.clone(), value);
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        // Nothing lies below an atomic value: upstream gives it up together with what is claimed there.
        _ => Value::Null,
    }
}

/// The set with the named fields of structs that have members below them as members.
pub fn ensure_named(of: Type<'_>, set: &Set) -> Set {
    let atom = of.atom(None);
    let entry = |entry: &Entry| {
        let mut member = entry.member;
        let below = match (&entry.element, atom) {
            (PathElement::Field(name), Atom::Map(fields)) => {
                member |= !entry.children.is_empty() && fields.named(name).is_some();
                fields.field(name)
            }
            (PathElement::Item(_), Atom::List(list)) => Some(list.item),
            _ => None,
        };
        let children = below.map_or_else(|| entry.children.clone(), |of| ensure_named(of, &entry.children));
        Entry { element: entry.element.clone(), member, children }
    };
    Set { entries: set.entries.iter().map(entry).collect() }
}
