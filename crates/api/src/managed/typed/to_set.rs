//! The set of fields that a tree holds.

use super::{Atom, Fields, List, Type};
use crate::managed::{PathElement, Set};
use crate::value::{Map, Value};

/// Every leaf of the tree, every item of its lists and every key of its maps. Fields of structs
/// that hold more are no members themselves.
///
/// The tree has been validated; items that can't be told apart and unknown fields are left out.
pub fn to_set(of: Type<'_>, value: &Value) -> Set {
    collect(of, value).1
}

/// Whether the value itself is a member, and what is below it.
fn collect(of: Type<'_>, value: &Value) -> (bool, Set) {
    match of.atom(Some(value)) {
        Atom::Scalar(_) => (true, Set::new()),
        Atom::List(list) if list.is_atomic() => (true, Set::new()),
        Atom::List(list) => (false, value.as_array().map(|items| collect_items(list, items)).unwrap_or_default()),
        Atom::Map(fields) if fields.atomic => (true, Set::new()),
        Atom::Map(fields) => (false, value.as_object().map(|map| collect_fields(fields, map)).unwrap_or_default()),
    }
}

fn collect_fields(fields: Fields<'_>, map: &Map) -> Set {
    let mut set = Set::new();
    let mut walk = fields.walk();
    for (key, value) in map.iter() {
        let named = walk.named(key);
        let Some(of) = named.or(fields.element) else { continue };
        let (leaf, children) = collect(of, value);
        let empty = match value {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let member = leaf || empty || named.is_none();
        if member || !children.is_empty() {
            let entry = set.entry(PathElement::Field(key.clone()));
            entry.member = member;
            entry.children = children;
        }
    }
    set
}

/// Items of a key that comes more than once are owned as a whole.
fn collect_items(list: List<'_>, items: &[Value]) -> Set {
    let mut set = Set::new();
    for item in items {
        let Ok(element) = list.element(item) else { continue };
        let entry = set.entry(element);
        if entry.member {
            entry.children = Set::new();
            continue;
        }
        entry.member = true;
        entry.children = collect(list.item, item).1;
    }
    set
}
