//! FieldsV1: the form in which sets are stored and served.
//!
//! In a tree it is an object of objects whose keys are path elements; `.` marks an entry that is
//! a member and has members below it, and `{}` one that is a member only. The questions that an
//! update asks of every manager ([`meets`], [`covers`]) are answered on that form, without
//! building the set.

use super::element::{ParseError, PathElement};
use super::set::{Entry, Set};
use crate::value::{Key, Map, Value};

/// Why a value is no FieldsV1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is no object.
    #[error("expected an object of fields")]
    NotAnObject,
    /// A key is no path element.
    #[error("parsing key as path element: {0}")]
    Element(#[from] ParseError),
}

/// The set that a FieldsV1 value stands for. Elements of unknown kinds are left out.
///
/// # Errors
/// See [`Error`].
pub fn read(fields: &Value) -> Result<Set, Error> {
    Ok(read_children(fields)?.1)
}

/// Whether the entry itself is a member, and what is below it.
fn read_children(fields: &Value) -> Result<(bool, Set), Error> {
    let mut set = Set::new();
    let mut member = false;
    let fields = match fields {
        Value::Object(fields) => fields,
        Value::Null => return Ok((true, set)),
        _ => return Err(Error::NotAnObject),
    };
    set.entries.reserve(fields.len());
    for (key, value) in fields.iter() {
        if key == "." {
            member = true;
            continue;
        }
        let Some(element) = PathElement::parse(key)? else { continue };
        let (is_member, children) = read_children(value)?;
        let entry = set.entry(element);
        entry.member |= is_member;
        if !children.is_empty() {
            entry.children = children;
        }
    }
    Ok((member || set.is_empty(), set))
}

/// The FieldsV1 of a set.
pub fn write(set: &Set) -> Value {
    Value::Object(write_entries(&set.entries, false))
}

fn write_entries(entries: &[Entry], member: bool) -> Map {
    let mut fields = Map::with_capacity(entries.len() + usize::from(member));
    if member {
        fields.push_unchecked(Key::new_static("."), Value::object());
    }
    for entry in entries {
        let below = entry.member && !entry.children.is_empty();
        let value = write_entries(&entry.children.entries, below);
        fields.push_unchecked(entry.element.to_key(), Value::Object(value));
    }
    fields
}

/// Whether taking `difference` out of the stored set could change it: some path of the difference
/// is a member, or ends where the stored set goes on (which a schema that changed may leave).
pub fn meets(stored: &Value, difference: &Set) -> bool {
    let Value::Object(stored) = stored else { return false };
    if stored.is_empty() {
        return false;
    }
    difference
        .entries
        .iter()
        .any(|entry| find(stored, &entry.element).is_some_and(|below| entry.member || meets(below, &entry.children)))
}

/// Takes a difference out of the stored set, in place. False where the set has to be read for
/// that; it may then have lost a part of the difference already.
pub fn subtract(stored: &mut Map, difference: &Set) -> bool {
    for entry in &difference.entries {
        let key = entry.element.to_key();
        let Some(below) = stored.get_mut(&key) else { continue };
        let Value::Object(fields) = below else { return false };
        let leaf = fields.is_empty();
        let member = (leaf || fields.contains_key(".")) && !entry.member;
        if entry.member && !leaf {
            // What goes on below a path that is taken as one may be from before it became one.
            return false;
        }
        if !subtract(fields, &entry.children) {
            return false;
        }
        let goes_on = fields.keys().any(|key| key != ".");
        match (member, goes_on) {
            (true, false) => *fields = Map::new(),
            (false, false) => drop(stored.remove(&key)),
            _ => {}
        }
    }
    true
}

/// Whether all paths are members of the stored set.
pub fn covers(stored: &Value, paths: &Set) -> bool {
    let Value::Object(stored) = stored else { return paths.is_empty() };
    paths.entries.iter().all(|entry| {
        find(stored, &entry.element).is_some_and(|below| {
            let member = || match below {
                Value::Object(fields) => fields.is_empty() || fields.contains_key("."),
                _ => true,
            };
            (!entry.member || member()) && (entry.children.is_empty() || covers(below, &entry.children))
        })
    })
}

/// The value stored under an element. Stored keys are in canonical form: what clients send is
/// written anew before it is stored.
fn find<'a>(stored: &'a Map, element: &PathElement) -> Option<&'a Value> {
    match element {
        PathElement::Field(name) => {
            let mut fields = stored.iter();
            fields.find(|(key, _)| key.strip_prefix("f:") == Some(name)).map(|(_, value)| value)
        }
        element => stored.get(&element.to_key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json::to_vec;
    use crate::managed::set::tests::set;
    use crate::testing::{json, value};
    use proptest::prelude::*;
    use rstest::rstest;

    fn rewritten(text: &str) -> Result<String, Error> {
        Ok(String::from_utf8(to_vec(&write(&read(&json(text))?))).unwrap())
    }

    #[rstest]
    #[case::empty("{}")]
    #[case::nested(r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{}}}"#)]
    #[case::items(r#"{"f:l":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}},"k:{\"name\":\"b\"}":{}}}"#)]
    #[case::values(r#"{"f:finalizers":{".":{},"v:\"x/y\"":{}}}"#)]
    fn stays_as_it_is(#[case] text: &str) {
        assert_eq!(rewritten(text), Ok(text.into()));
    }

    #[rstest]
    #[case::sorted(r#"{"f:b":{},"f:a":{}}"#, r#"{"f:a":{},"f:b":{}}"#)]
    #[case::dot_alone(r#"{"f:a":{".":{}}}"#, r#"{"f:a":{}}"#)]
    #[case::dot_at_the_root(r#"{".":{},"f:a":{}}"#, r#"{"f:a":{}}"#)]
    #[case::unknown_kind(r#"{"x:b":{},"f:a":{"y:z":{}}}"#, r#"{"f:a":{}}"#)]
    #[case::null(r#"{"f:a":null}"#, r#"{"f:a":{}}"#)]
    fn is_made_canonical(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(rewritten(text), Ok(expected.into()));
    }

    #[rstest]
    #[case(r#"{"a":{}}"#, "parsing key as path element: key must be 2 characters long:")]
    #[case(r#"{"spec":{}}"#, "parsing key as path element: missing colon: spec")]
    #[case(r#"{"f:a":1}"#, "expected an object of fields")]
    fn refuses(#[case] text: &str, #[case] why: &str) {
        assert_eq!(rewritten(text).unwrap_err().to_string(), why);
    }

    proptest! {
        #[test]
        fn comes_back_the_same(a in set()) {
            prop_assert_eq!(read(&write(&a)), Ok(a));
        }

        #[test]
        fn questions_are_answered_as_on_the_set(a in set(), b in set()) {
            let stored = write(&a);
            prop_assert_eq!(covers(&stored, &b), b.is_subset(&a));
            if let Value::Object(mut stored) = stored.clone()
                && subtract(&mut stored, &b)
            {
                prop_assert_eq!(&Value::Object(stored), &write(&a.difference(&b)));
            }
            // May say yes too often (where the difference ends above what is stored), never no.
            prop_assert!(meets(&stored, &b) || a.intersection(&b).is_empty());
        }

        #[test]
        fn any_tree_is_read_or_refused(tree in value()) {
            if let Ok(set) = read(&tree) {
                prop_assert_eq!(read(&write(&set)), Ok(set));
            }
        }
    }
}
