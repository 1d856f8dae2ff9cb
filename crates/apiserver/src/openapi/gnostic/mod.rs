//! Documents of OpenAPI as protobuf: `Document` of github.com/google/gnostic-models, which kubectl and client-go ask
//! for, in version [2](v2) and [3](v3).
//!
//! The messages are tables: which member of the JSON becomes which field. What their schema has and no document of
//! ours, is left out.

mod v2;
mod v3;

use api::codec::yaml;
use api::value::{Map, Value};

use super::types::Dialect;

/// How a JSON object becomes a message.
struct Message {
    /// Member, field number, shape.
    fields: &'static [(&'static str, u64, Shape)],
    /// Where members `x-…` go.
    extensions: u64,
    /// Where all others go, each with its name.
    others: Option<(u64, Shape)>,
}

/// How a value becomes a field.
#[derive(Clone, Copy)]
enum Shape {
    /// Texts and flags by themselves.
    Scalar,
    /// Any value, as YAML.
    Any,
    /// A list: a field each.
    Each(&'static Shape),
    /// A list in a message of its own, whose fields 1 are its texts.
    Texts,
    Message(&'static Message),
    /// A value in messages of one field each, the outermost first.
    In(&'static [u64], &'static Shape),
    /// One of two messages: the thing itself, or a reference to it.
    OrReference(&'static Shape, &'static Message),
    /// One of two messages: the thing itself, or whether there may be any.
    OrFlag(&'static Shape),
    /// What a member says it is.
    Choice(&'static str, &'static [(&'static str, Shape)]),
    /// A number, flag or text in a message that tells them apart; nothing else is told.
    Default,
}

const NONE: &[(&str, u64, Shape)] = &[];
const TEXTS: Shape = Shape::Each(&Shape::Scalar);

/// Field numbers of the wire's own messages: a name and its value, YAML in an `Any`.
const NAME: u64 = 1;
const VALUE: u64 = 2;
const YAML: u64 = 2;
/// Of choices.
const ITSELF: u64 = 1;
const REFERENCE: u64 = 2;
const FLAG: u64 = 2;
/// Of defaults.
const NUMBER: u64 = 1;
const BOOLEAN: u64 = 2;
const TEXT: u64 = 3;

/// Wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;

/// Writes a document.
pub fn encode(document: &Value, dialect: Dialect) -> Vec<u8> {
    let message = match dialect {
        Dialect::V2 => &v2::DOCUMENT,
        Dialect::V3 => &v3::DOCUMENT,
    };
    let mut out = Vec::new();
    if let Some(document) = document.as_object() {
        message.write(document, &mut out);
    }
    out
}

// === impl Message ===

impl Message {
    fn write(&self, object: &Map, out: &mut Vec<u8>) {
        for (name, number, shape) in self.fields {
            if let Some(value) = object.get(name) {
                shape.write(*number, value, out);
            }
        }
        for (name, value) in object.iter().filter(|(name, _)| !self.fields.iter().any(|(known, ..)| name == known)) {
            let placed = match name.starts_with("x-") && self.extensions > 0 {
                true => Some((self.extensions, Shape::Any)),
                false => self.others,
            };
            if let Some((number, shape)) = placed {
                let mut named = Vec::new();
                bytes(NAME, name.as_bytes(), &mut named);
                shape.write(VALUE, value, &mut named);
                bytes(number, &named, out);
            }
        }
    }
}

// === impl Shape ===

impl Shape {
    fn write(self, number: u64, value: &Value, out: &mut Vec<u8>) {
        match self {
            Shape::Scalar => match (value.as_str(), value.as_bool()) {
                (Some(text), _) => bytes(number, text.as_bytes(), out),
                (None, Some(true)) => flag(number, true, out),
                _ => {}
            },
            Shape::Any => {
                let (mut text, mut any) = (Vec::new(), Vec::new());
                yaml::write(value, &mut text);
                bytes(YAML, &text, &mut any);
                bytes(number, &any, out);
            }
            Shape::Each(shape) => {
                value.as_array().unwrap_or_default().iter().for_each(|one| shape.write(number, one, out));
            }
            Shape::Texts => {
                let mut texts = Vec::new();
                TEXTS.write(1, value, &mut texts);
                bytes(number, &texts, out);
            }
            Shape::Message(message) => {
                let mut inner = Vec::new();
                if let Some(object) = value.as_object() {
                    message.write(object, &mut inner);
                }
                bytes(number, &inner, out);
            }
            Shape::In([], shape) => shape.write(number, value, out),
            Shape::In([first, rest @ ..], shape) => {
                let mut inner = Vec::new();
                Shape::In(rest, shape).write(*first, value, &mut inner);
                bytes(number, &inner, out);
            }
            Shape::OrReference(shape, reference) => {
                let mut inner = Vec::new();
                match value.field("$ref") {
                    Some(_) => Shape::Message(reference).write(REFERENCE, value, &mut inner),
                    None => shape.write(ITSELF, value, &mut inner),
                }
                bytes(number, &inner, out);
            }
            Shape::OrFlag(shape) => {
                let mut inner = Vec::new();
                match value.as_bool() {
                    Some(value) => flag(FLAG, value, &mut inner),
                    None => shape.write(ITSELF, value, &mut inner),
                }
                bytes(number, &inner, out);
            }
            Shape::Choice(member, shapes) => {
                let is = value.str_at(member);
                if let Some((_, shape)) = shapes.iter().find(|(name, _)| *name == is) {
                    shape.write(number, value, out);
                }
            }
            Shape::Default => {
                let mut inner = Vec::new();
                match (value.as_f64(), value.as_bool(), value.as_str()) {
                    (Some(value), ..) => double(NUMBER, value, &mut inner),
                    (_, Some(value), _) => flag(BOOLEAN, value, &mut inner),
                    (.., Some(text)) => bytes(TEXT, text.as_bytes(), &mut inner),
                    _ => {}
                }
                bytes(number, &inner, out);
            }
        }
    }
}

fn flag(number: u64, value: bool, out: &mut Vec<u8>) {
    varint(number << 3 | VARINT, out);
    varint(value.into(), out);
}

fn double(number: u64, value: f64, out: &mut Vec<u8>) {
    varint(number << 3 | FIXED_64, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(number: u64, content: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | BYTES, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::parse;

    /// What gnostic's `ParseDocument` and protobuf make of the same documents.
    #[rstest]
    #[case(Dialect::V2, include_str!("../../../tests/data/openapi-v2.json"), include_bytes!("../../../tests/data/openapi-v2.pb"))]
    #[case(Dialect::V3, include_str!("../../../tests/data/openapi-v3.json"), include_bytes!("../../../tests/data/openapi-v3.pb"))]
    fn as_gnostic_writes_it(#[case] dialect: Dialect, #[case] document: &str, #[case] expected: &[u8]) {
        let written = encode(&parse(document).unwrap(), dialect);
        let at = written.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let rest = |bytes: &[u8]| String::from_utf8_lossy(&bytes[at..]).chars().take(80).collect::<String>();
        assert!(written == expected, "at {at}: {:?} instead of {:?}", rest(&written), rest(expected));
    }
}
