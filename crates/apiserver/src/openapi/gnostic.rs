//! A document of OpenAPI v2 as protobuf: `Document` of github.com/google/gnostic-models, which kubectl and client-go
//! ask for.
//!
//! The messages are tables: which member of the JSON becomes which field. What their schema has and no document of
//! ours, is left out.

use api::codec::yaml;
use api::value::{Map, Value};

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
    /// A list of texts: a field each.
    Texts,
    /// Any value, as YAML.
    Any,
    /// Any values: a field each.
    Anys,
    Message(&'static Message),
    /// A list of messages: a field each.
    Messages(&'static Message),
    /// A text or several, in a message of their own.
    Type,
    /// A value in messages of one field each, the outermost first.
    In(&'static [u64], &'static Shape),
    /// A schema, or whether there may be any.
    SchemaOrFlag,
    /// A parameter, or where it is.
    Parameter,
}

const NONE: &[(&str, u64, Shape)] = &[];

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Shape::Scalar),
        ("info", 2, Shape::Message(&INFO)),
        ("paths", 8, Shape::Message(&PATHS)),
        ("definitions", 9, Shape::Message(&SCHEMAS)),
    ],
    extensions: 16,
    others: None,
};
static INFO: Message =
    Message { fields: &[("title", 1, Shape::Scalar), ("version", 2, Shape::Scalar)], extensions: 7, others: None };
static PATHS: Message = Message { fields: NONE, extensions: 1, others: Some((2, Shape::Message(&PATH_ITEM))) };
static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Shape::Message(&OPERATION)),
        ("put", 3, Shape::Message(&OPERATION)),
        ("post", 4, Shape::Message(&OPERATION)),
        ("delete", 5, Shape::Message(&OPERATION)),
        ("options", 6, Shape::Message(&OPERATION)),
        ("head", 7, Shape::Message(&OPERATION)),
        ("patch", 8, Shape::Message(&OPERATION)),
        ("parameters", 9, Shape::Parameter),
    ],
    extensions: 10,
    others: None,
};
static OPERATION: Message = Message {
    fields: &[
        ("description", 3, Shape::Scalar),
        ("operationId", 5, Shape::Scalar),
        ("parameters", 8, Shape::Parameter),
        ("responses", 9, Shape::Message(&RESPONSES)),
    ],
    extensions: 13,
    others: None,
};
/// A response within the choice between it and a reference.
static RESPONSES: Message =
    Message { fields: NONE, extensions: 2, others: Some((1, Shape::In(&[1], &Shape::Message(&RESPONSE)))) };
static RESPONSE: Message = Message {
    fields: &[("description", 1, Shape::Scalar), ("schema", 2, Shape::In(&[1], &Shape::Message(&SCHEMA)))],
    extensions: 5,
    others: None,
};
/// Path and query parameters have the same fields up to here but one number.
static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Shape::Scalar),
        ("in", 2, Shape::Scalar),
        ("description", 3, Shape::Scalar),
        ("name", 4, Shape::Scalar),
        ("type", 5, Shape::Scalar),
        ("uniqueItems", 19, Shape::Scalar),
    ],
    extensions: 22,
    others: None,
};
static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Shape::Scalar),
        ("in", 2, Shape::Scalar),
        ("description", 3, Shape::Scalar),
        ("name", 4, Shape::Scalar),
        ("type", 6, Shape::Scalar),
        ("uniqueItems", 20, Shape::Scalar),
    ],
    extensions: 23,
    others: None,
};
static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Shape::Scalar),
        ("name", 2, Shape::Scalar),
        ("in", 3, Shape::Scalar),
        ("required", 4, Shape::Scalar),
        ("schema", 5, Shape::Message(&SCHEMA)),
    ],
    extensions: 6,
    others: None,
};
static SCHEMAS: Message = Message { fields: NONE, extensions: 0, others: Some((1, Shape::Message(&SCHEMA))) };
static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Shape::Scalar),
        ("format", 2, Shape::Scalar),
        ("description", 4, Shape::Scalar),
        ("default", 5, Shape::Any),
        ("required", 19, Shape::Texts),
        ("enum", 20, Shape::Anys),
        ("additionalProperties", 21, Shape::SchemaOrFlag),
        ("type", 22, Shape::Type),
        ("items", 23, Shape::In(&[1], &Shape::Message(&SCHEMA))),
        ("allOf", 24, Shape::Messages(&SCHEMA)),
        ("properties", 25, Shape::Message(&SCHEMAS)),
    ],
    extensions: 31,
    others: None,
};

/// What stands within other messages.
static A_SCHEMA: Shape = Shape::Message(&SCHEMA);
static A_BODY_PARAMETER: Shape = Shape::Message(&BODY_PARAMETER);
static A_PATH_PARAMETER: Shape = Shape::Message(&PATH_PARAMETER);
static A_QUERY_PARAMETER: Shape = Shape::Message(&QUERY_PARAMETER);

/// Field numbers of the wire's own messages: a name and its value, YAML in an `Any`, the choices of a parameter.
const NAME: u64 = 1;
const VALUE: u64 = 2;
const YAML: u64 = 2;
const PARAMETER: u64 = 1;
const BODY: u64 = 1;
const NON_BODY: u64 = 2;
const QUERY: u64 = 3;
const PATH: u64 = 4;

/// Wire types.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// Writes a document.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(document) = document.as_object() {
        DOCUMENT.write(document, &mut out);
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
                (None, Some(true)) => flag(number, out),
                _ => {}
            },
            Shape::Texts => each(value, |text| Shape::Scalar.write(number, text, out)),
            Shape::Any => {
                let (mut text, mut any) = (Vec::new(), Vec::new());
                yaml::write(value, &mut text);
                bytes(YAML, &text, &mut any);
                bytes(number, &any, out);
            }
            Shape::Anys => each(value, |one| Shape::Any.write(number, one, out)),
            Shape::Message(message) => {
                let mut inner = Vec::new();
                if let Some(object) = value.as_object() {
                    message.write(object, &mut inner);
                }
                bytes(number, &inner, out);
            }
            Shape::Messages(message) => each(value, |one| Shape::Message(message).write(number, one, out)),
            Shape::Type => {
                let mut texts = Vec::new();
                Shape::Scalar.write(1, value, &mut texts);
                bytes(number, &texts, out);
            }
            Shape::In([], shape) => shape.write(number, value, out),
            Shape::In([first, rest @ ..], shape) => {
                let mut inner = Vec::new();
                Shape::In(rest, shape).write(*first, value, &mut inner);
                bytes(number, &inner, out);
            }
            Shape::SchemaOrFlag => match value.as_bool() {
                Some(_) => Shape::In(&[2], &Shape::Scalar).write(number, value, out),
                None => Shape::In(&[1], &A_SCHEMA).write(number, value, out),
            },
            Shape::Parameter => each(value, |one| match one.str_at("in") {
                "body" => Shape::In(&[PARAMETER, BODY], &A_BODY_PARAMETER).write(number, one, out),
                "path" => Shape::In(&[PARAMETER, NON_BODY, PATH], &A_PATH_PARAMETER).write(number, one, out),
                _ => Shape::In(&[PARAMETER, NON_BODY, QUERY], &A_QUERY_PARAMETER).write(number, one, out),
            }),
        }
    }
}

fn each(list: &Value, write: impl FnMut(&Value)) {
    list.as_array().unwrap_or_default().iter().for_each(write);
}

fn flag(number: u64, out: &mut Vec<u8>) {
    varint(number << 3 | VARINT, out);
    varint(1, out);
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
    use super::*;
    use crate::testing::parse;

    /// What gnostic's `ParseDocument` and protobuf make of the same document.
    #[test]
    fn as_gnostic_writes_it() {
        let document = parse(include_str!("../../tests/data/openapi-v2.json")).unwrap();
        let expected = include_bytes!("../../tests/data/openapi-v2.pb");
        assert_eq!(encode(&document), expected);
    }
}
