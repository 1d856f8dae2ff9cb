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
    !difference.is_empty() && Reader { text: stored, at: 0 }.meets(difference)
}

/// Whether all paths are members of the stored set.
pub fn covers(stored: &str, paths: &Set) -> bool {
    Reader { text: stored, at: 0 }.covers(paths).1
}

/// The entry whose element has this key. Stored keys are in canonical form: what clients send is
/// written anew before it is stored.
fn find<'s>(set: &'s Set, key: &str) -> Option<&'s Entry> {
    let is_key = |element: &PathElement| {
        let mut text = Vec::with_capacity(64);
        element.write_key(&mut text);
        text.get(1..text.len() - 1) == Some(key.as_bytes())
    };
    set.entries.iter().find(|entry| match (&entry.element, key.strip_prefix("f:")) {
        // Escapes make a name longer.
        (PathElement::Field(name), Some(rest)) if name.len() == rest.len() => name == rest && !rest.contains('\\'),
        (PathElement::Field(name), Some(rest)) => {
            name.len() < rest.len() && rest.contains('\\') && is_key(&entry.element)
        }
        (PathElement::Field(_), None) | (_, Some(_)) => false,
        (element, None) => is_key(element),
    })
}

/// Reads compact JSON objects of objects in place. What is none of these has no fields.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn meets(&mut self, difference: &Set) -> bool {
        if !self.enter() {
            return false;
        }
        while let Some(key) = self.next_key() {
            match find(difference, key) {
                Some(entry) if entry.member || self.meets(&entry.children) => return true,
                Some(_) => {}
                None => self.skip_value(),
            }
        }
        false
    }

    /// Whether what is stored here makes its element a member, and whether the paths below are covered.
    fn covers(&mut self, paths: &Set) -> (bool, bool) {
        let (mut missing, mut fields, mut member) = (paths.entries.len(), 0, false);
        if !self.enter() {
            return (true, missing == 0);
        }
        while let Some(key) = self.next_key() {
            fields += 1;
            member |= key == ".";
            match find(paths, key) {
                Some(entry) => {
                    let (is_member, covered) = self.covers(&entry.children);
                    missing = missing.saturating_sub(usize::from(covered && (is_member || !entry.member)));
                }
                None => self.skip_value(),
            }
        }
        (member || fields == 0, missing == 0)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Into an object; past anything else.
    fn enter(&mut self) -> bool {
        let is_object = self.peek() == Some(b'{');
        match is_object {
            true => self.at += 1,
            false => self.skip_value(),
        }
        is_object
    }

    /// The next key as it is written between its quotes, the reader then at its value; none, the reader behind the
    /// object.
    fn next_key(&mut self) -> Option<&'t str> {
        if self.peek() == Some(b',') {
            self.at += 1;
        }
        if self.peek() != Some(b'"') {
            self.at += 1;
            return None;
        }
        let start = self.at + 1;
        self.skip_string();
        let key = self.text.get(start..self.at - 1);
        self.at += 1;
        key
    }

    /// Past a string, on whose opening quote this stands.
    fn skip_string(&mut self) {
        self.at += 1;
        self.at += json::end_of_string(self.text.as_bytes().get(self.at..).unwrap_or_default());
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
