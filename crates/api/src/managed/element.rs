//! Path elements: how a field set names a child of an object or a list.
//!
//! Their order is that of upstream's `fieldpath.PathElement.Compare`; FieldsV1 is written in it.

use crate::codec::json;
use crate::patch::gofmt;
use crate::value::{Key, Value};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// One step of a path.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// A field of a struct or a key of a map: `f:spec`.
    Field(Key),
    /// An item of a list, by its key fields in their names' order: `k:{"name":"app"}`.
    Item(Arc<[(Key, Value)]>),
    /// A scalar of a set: `v:"finalizer"`.
    Value(Box<Value>),
    /// A place in a list: `i:0`. No schema makes these; stored sets may hold them.
    Index(i64),
}

/// Why a text is no path element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Shorter than a kind and a colon.
    #[error("key must be 2 characters long:")]
    TooShort,
    /// No colon after the kind.
    #[error("missing colon: {0}")]
    NoColon(String),
    /// What follows is not what the kind says.
    #[error("{0}")]
    Content(String),
}

// === impl PathElement ===

impl PathElement {
    /// The element of a list's item with these key fields, in any order.
    pub fn item(mut keys: Vec<(Key, Value)>) -> PathElement {
        keys.sort_by(|(a, _), (b, _)| a.cmp(b));
        PathElement::Item(keys.into())
    }

    /// The field's name, if this is a field.
    pub fn field_name(&self) -> Option<&str> {
        match self {
            PathElement::Field(name) => Some(name),
            _ => None,
        }
    }

    /// Reads FieldsV1's form. None for a kind of element that is not known: these are ignored, as
    /// a newer server may have written them.
    ///
    /// # Errors
    /// [`ParseError`] for what no server has written.
    pub fn parse(text: &str) -> Result<Option<PathElement>, ParseError> {
        let bytes = text.as_bytes();
        match bytes {
            [] | [_] => return Err(ParseError::TooShort),
            [_, b':', ..] => {}
            _ => return Err(ParseError::NoColon(text.into())),
        }
        let parse = |rest: &str| json::parse(rest.as_bytes()).map_err(|error| ParseError::Content(error.to_string()));
        let rest = text.get(2..).unwrap_or_default();
        Ok(Some(match bytes[0] {
            b'f' => PathElement::Field(Key::new(rest)),
            b'v' => PathElement::Value(Box::new(parse(rest)?)),
            b'k' => match parse(rest)? {
                Value::Object(fields) => PathElement::item(fields.into_iter().collect()),
                Value::Null => PathElement::Item(Arc::default()),
                _ => return Err(ParseError::Content(format!("expect {{ but found {rest}"))),
            },
            b'i' => PathElement::Index(rest.parse().map_err(|_| {
                ParseError::Content(format!("strconv.Atoi: parsing {}: invalid syntax", gofmt::quoted(rest)))
            })?),
            _ => return Ok(None),
        }))
    }

    /// FieldsV1's form.
    pub fn to_key(&self) -> Key {
        if let PathElement::Field(name) = self {
            return Key::from_iter(["f:", name.as_str()]);
        }
        Key::from(String::from_utf8_lossy(&self.key_text()))
    }

    /// Appends FieldsV1's form as a JSON string.
    pub(super) fn write_key(&self, out: &mut Vec<u8>) {
        match self {
            PathElement::Field(name) => PathElement::write_field_key(name, out),
            _ => json::write_string(&String::from_utf8_lossy(&self.key_text()), out),
        }
    }

    /// The same for the field of this name.
    pub(super) fn write_field_key(name: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"f:");
        json::write_escaped(name, out);
        out.push(b'"');
    }

    fn key_text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(64);
        match self {
            PathElement::Field(name) => {
                text.extend_from_slice(b"f:");
                text.extend_from_slice(name.as_bytes());
            }
            PathElement::Item(keys) => {
                text.extend_from_slice(b"k:{");
                for (at, (name, value)) in keys.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    json::write_string(name, &mut text);
                    text.push(b':');
                    json::write(value, &mut text);
                }
                text.push(b'}');
            }
            PathElement::Value(value) => {
                text.extend_from_slice(b"v:");
                json::write(value, &mut text);
            }
            PathElement::Index(at) => text.extend_from_slice(format!("i:{at}").as_bytes()),
        }
        text
    }
}

/// `.spec`, `[name="app",protocol="TCP"]`, `[="x"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(f, ".{name}"),
            PathElement::Item(keys) => {
                f.write_str("[")?;
                for (at, (name, value)) in keys.iter().enumerate() {
                    write!(f, "{}{name}={}", if at > 0 { "," } else { "" }, readable(value))?;
                }
                f.write_str("]")
            }
            PathElement::Value(value) => write!(f, "[={}]", readable(value)),
            PathElement::Index(at) => write!(f, "[{at}]"),
        }
    }
}

fn readable(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => gofmt::quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(readable).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => fields.iter().map(|(key, value)| format!("{key}={}", readable(value))).collect(),
        scalar => gofmt::Plain(scalar).to_string(),
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &PathElement) -> Ordering {
        use PathElement::{Field, Index, Item, Value};
        match (self, other) {
            (Field(a), Field(b)) => a.as_str().cmp(b),
            (Item(a), Item(b)) => {
                let pairs = a.iter().zip(b.iter());
                let mut orders = pairs.map(|((a, x), (b, y))| a.as_str().cmp(b).then_with(|| compare(x, y)));
                orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Value(a), Value(b)) => compare(a, b),
            (Index(a), Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PathElement {
    fn rank(&self) -> u8 {
        match self {
            PathElement::Field(_) => 0,
            PathElement::Item(_) => 1,
            PathElement::Value(_) => 2,
            PathElement::Index(_) => 3,
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &PathElement) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &PathElement) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PathElement {}

// === values ===

/// Upstream's total order of values: numbers, strings, bools, lists, maps, null. Whole numbers
/// and floats compare by what they amount to.
pub(crate) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            a.total_cmp(&b)
        }
        (Value::String(a), Value::String(b)) => a.as_str().cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let mut orders = a.iter().zip(b).map(|(a, b)| compare(a, b));
            orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let sorted = |map: &crate::value::Map| {
                let mut entries: Vec<(Key, Value)> = map.clone().into_iter().collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                entries
            };
            let (a, b) = (sorted(a), sorted(b));
            let mut orders = a.iter().zip(&b).map(|((a, x), (b, y))| a.as_str().cmp(b).then_with(|| compare(x, y)));
            orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Int(_) | Value::Float(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) | Value::Json(_) => 4,
        Value::Null => 5,
    }
}

/// Upstream's equality: whole numbers equal floats of the same amount, fields have no order.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && super::zip(a, b).all(|(_, a, b)| matches!((a, b), (Some(a), Some(b)) if equal(a, b)))
        }
        (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("f:spec", ".spec")]
    #[case("f:", ".")]
    #[case(r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#)]
    #[case(r#"v:"a\"b""#, r#"[="a\"b"]"#)]
    #[case("v:1.5", "[=1.5]")]
    #[case("v:true", "[=true]")]
    #[case("v:null", "[=null]")]
    #[case(r#"k:{"a":"\u003cb\u003e"}"#, r#"[a="<b>"]"#)]
    #[case("i:-3", "[-3]")]
    fn reads_and_writes(#[case] text: &str, #[case] shown: &str) {
        let element = PathElement::parse(text).unwrap().unwrap();
        assert_eq!((element.to_key().as_str(), element.to_string().as_str()), (text, shown));
    }

    #[test]
    fn keys_are_sorted_and_compact() {
        let element = PathElement::parse(r#"k:{ "b" : 1.0, "a":"x" }"#).unwrap().unwrap();
        assert_eq!(element.to_key(), r#"k:{"a":"x","b":1}"#);
    }

    #[rstest]
    #[case("", "key must be 2 characters long:")]
    #[case("f", "key must be 2 characters long:")]
    #[case("spec", "missing colon: spec")]
    #[case("i:x", r#"strconv.Atoi: parsing "x": invalid syntax"#)]
    fn refuses(#[case] text: &str, #[case] why: &str) {
        assert_eq!(PathElement::parse(text).unwrap_err().to_string(), why);
    }

    #[test]
    fn unknown_kinds_are_passed_over() {
        assert_eq!(PathElement::parse("x:y"), Ok(None));
    }

    #[test]
    fn order_is_upstreams() {
        let texts = [
            "f:a",
            "f:b",
            r#"k:{"a":1}"#,
            r#"k:{"a":1,"b":1}"#,
            r#"k:{"a":2}"#,
            r#"k:{"a":"1"}"#,
            r#"k:{"b":0}"#,
            "v:1",
            "v:1.5",
            "v:2",
            r#"v:"a""#,
            "v:false",
            "v:true",
            "v:[1]",
            "v:{}",
            "v:null",
            "i:0",
            "i:1",
        ];
        let mut elements: Vec<PathElement> =
            texts.iter().rev().map(|text| PathElement::parse(text).unwrap().unwrap()).collect();
        elements.sort();
        assert_eq!(elements.iter().map(PathElement::to_key).collect::<Vec<_>>(), texts);
    }
}
