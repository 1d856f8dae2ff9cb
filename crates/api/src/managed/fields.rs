//! FieldsV1: the form in which sets are stored and served.
//!
//! It is an object of objects whose keys are path elements; `.` marks an entry that is
//! a member and has members below it, and `{}` one that is a member only. An update mostly leaves
//! it the text that it is: the questions that it asks of every manager ([`meets`], [`covers`]) are
//! answered on the text, without a tree or a set.

use smol_str::SmolStr;

use super::element::{ParseError, PathElement};
use super::set::{Entry, Set};
use crate::codec::json;
use crate::value::Value;

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
    Ok(read_children(&fields.opened())?.1)
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
    Value::Json(text(set))
}

/// The FieldsV1 of a set, as compact JSON.
pub fn text(set: &Set) -> SmolStr {
    let mut out = Vec::with_capacity(512);
    write_entries(&set.entries, false, &mut out);
    SmolStr::from(String::from_utf8_lossy(&out))
}

fn write_entries(entries: &[Entry], member: bool, out: &mut Vec<u8>) {
    out.push(b'{');
    if member {
        out.extend_from_slice(b"\".\":{}");
    }
    for (at, entry) in entries.iter().enumerate() {
        if member || at > 0 {
            out.push(b',');
        }
        entry.element.write_key(out);
        out.push(b':');
        let below = entry.member && !entry.children.is_empty();
        write_entries(&entry.children.entries, below, out);
    }
    out.push(b'}');
}

/// Whether taking `difference` out of the stored set could change it: some path of the difference
/// is a member, or ends where the stored set goes on (which a schema that changed may leave).
pub fn meets(stored: &str, difference: &Set) -> bool {
    !difference.is_empty()
        && Members::of(stored).any(|(key, below)| {
            find(difference, key).is_some_and(|entry| entry.member || meets(below, &entry.children))
        })
}

/// Whether all paths are members of the stored set.
pub fn covers(stored: &str, paths: &Set) -> bool {
    let mut missing = paths.entries.len();
    for (key, below) in Members::of(stored) {
        if missing == 0 {
            break;
        }
        let Some(entry) = find(paths, key) else { continue };
        if entry.member && !is_member(below) || !covers(below, &entry.children) {
            return false;
        }
        missing -= 1;
    }
    missing == 0
}

/// Whether what is stored under an element makes the element a member.
fn is_member(below: &str) -> bool {
    below == "{}" || !below.starts_with('{') || Members::of(below).any(|(key, _)| key == ".")
}

/// The entry whose element has this key. Stored keys are in canonical form: what clients send is
/// written anew before it is stored.
fn find<'s>(set: &'s Set, key: &str) -> Option<&'s Entry> {
    let is_key_of = |element: &PathElement| match (element, key.strip_prefix("f:")) {
        (PathElement::Field(name), Some(rest)) if !key.contains('\\') => name == rest,
        _ => {
            let mut text = Vec::with_capacity(64);
            element.write_key(&mut text);
            text.get(1..text.len() - 1) == Some(key.as_bytes())
        }
    };
    set.entries.iter().find(|entry| is_key_of(&entry.element))
}

/// The keys of a compact JSON object, as they are written between their quotes, and the texts of their values.
/// A text that is no object has none.
struct Members<'t> {
    text: &'t str,
    at: usize,
}

// === impl Members ===

impl<'t> Members<'t> {
    fn of(text: &'t str) -> Members<'t> {
        let at = if text.starts_with('{') { 1 } else { text.len() };
        Members { text, at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Past a string, on whose opening quote this stands.
    fn skip_string(&mut self) {
        self.at += 1;
        self.at += json::end_of_string(&self.text.as_bytes()[self.at..]);
    }

    /// Past a value, up to the comma or brace behind it.
    fn skip_value(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b'}' | b',' if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }
}

impl<'t> Iterator for Members<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<(&'t str, &'t str)> {
        if self.peek() == Some(b',') {
            self.at += 1;
        }
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        self.skip_string();
        let key = self.text.get(start..self.at.checked_sub(1)?)?;
        self.at += 1;
        let start = self.at;
        self.skip_value();
        Some((key, self.text.get(start..self.at)?))
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
        Ok(super::text(&read(&json(text))?).into())
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
            let text = super::text(&a);
            prop_assert_eq!(to_vec(&json(&text)), text.as_bytes());
            prop_assert_eq!(read(&write(&a)), Ok(a));
        }

        #[test]
        fn questions_are_answered_as_on_the_set(a in set(), b in set()) {
            let stored = super::text(&a);
            prop_assert_eq!(covers(&stored, &b), b.is_subset(&a));
            prop_assert!(covers(&stored, &a.intersection(&b)));
            // May say yes too often (where the difference ends above what is stored), never no.
            prop_assert!(meets(&stored, &b) || a.intersection(&b).is_empty());
        }

        #[test]
        fn any_tree_is_read_or_refused(tree in value(), b in set()) {
            let text = SmolStr::from(String::from_utf8(to_vec(&tree)).unwrap());
            // Whatever is stored, the questions have answers.
            meets(&text, &b);
            covers(&text, &b);
            if let Ok(set) = read(&tree) {
                prop_assert_eq!(read(&write(&set)), Ok(set));
            }
        }
    }
}
