//! Any object of any built-in type survives every encoding.
#![allow(clippy::unwrap_used)]

use api::codec::{json, protobuf, yaml};
use api::decode::{FieldValidation, canonicalize, decode};
use api::schema::{self, RawKind, Schema, Shape, StructId};
use api::value::{Map, Value};
use proptest::prelude::*;

/// Chooses what to put where; the same bytes choose the same.
struct Choices<'a> {
    bytes: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    /// Values that may still be made.
    budget: usize,
    /// Whether some of them are to be wrong.
    wrong: bool,
}

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_default()
    }

    fn one_in(&mut self, many: u8) -> bool {
        self.next().is_multiple_of(many)
    }

    fn text(&mut self) -> String {
        const TEXTS: [&str; 8] =
            ["", "a", "yes", "a: b", "é\n<x>", "1", "2024-01-01", "a text of more than twenty-three bytes"];
        TEXTS[usize::from(self.next()) % TEXTS.len()].to_owned()
    }

    fn structure(&mut self, schema: &Schema, id: StructId) -> Value {
        let mut fields = Map::new();
        for field in schema.get(id).fields() {
            if self.one_in(3) && self.budget > 0 {
                self.budget -= 1;
                fields.insert(field.name.clone(), self.value(schema, &field.shape));
            }
        }
        if self.wrong && self.one_in(8) {
            fields.insert("unknown", Value::Int(1));
        }
        Value::Object(fields)
    }

    fn wrong_value(&mut self) -> Value {
        match self.next() % 10 {
            0..3 => Value::Null,
            3 => Value::Int(5_000_000_000),
            4 => Value::Float(1.5),
            5 => Value::from("x y"),
            6 => Value::Array(vec![Value::Null, Value::Int(300)]),
            7 => Value::object(),
            8 => Value::Bool(true),
            _ => Value::from(""),
        }
    }

    fn value(&mut self, schema: &Schema, shape: &Shape) -> Value {
        if self.wrong && self.one_in(16) {
            return self.wrong_value();
        }
        let choice = self.next();
        match shape {
            Shape::Bool => Value::Bool(choice & 1 == 0),
            Shape::Int32 => Value::Int([0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN)][usize::from(choice) % 5]),
            Shape::Int64 => Value::Int([0, 1, -1, i64::MAX, i64::MIN][usize::from(choice) % 5]),
            Shape::Float64 => {
                [Value::Int(0), Value::Float(1.5), Value::Float(-1e-7), Value::Int(3)][usize::from(choice) % 4].clone()
            }
            Shape::String => Value::from(self.text()),
            Shape::Bytes => Value::from(["", "aGk=", "AAEC/w=="][usize::from(choice) % 3]),
            Shape::Time => Value::from(["2024-01-02T03:04:05Z", "1969-01-02T03:04:05+02:00"][usize::from(choice) % 2]),
            Shape::MicroTime => Value::from("2024-01-02T03:04:05.678900Z"),
            Shape::Quantity => Value::from(["0", "100m", "1.5Gi", "1e3", "-5"][usize::from(choice) % 5]),
            Shape::IntOrString => [Value::Int(80), Value::from("http"), Value::Int(0)][usize::from(choice) % 3].clone(),
            Shape::Raw(RawKind::JsonSchemaPropsOrBool) => Value::Bool(choice & 1 == 0),
            Shape::Raw(RawKind::JsonSchemaPropsOrStringArray) => Value::Array(vec![Value::from(self.text())]),
            Shape::Raw(_) => {
                let object = [("b", Value::from(self.text())), ("a", Value::Int(1))];
                Value::Object(object.into_iter().collect())
            }
            Shape::Struct(id) => self.structure(schema, *id),
            Shape::Array(array) => Value::Array((0..choice % 3).map(|_| self.value(schema, &array.item)).collect()),
            Shape::Map(map) => {
                let entries = (0..choice % 3).map(|at| (format!("k{}", 9 - at), self.value(schema, &map.value)));
                Value::Object(entries.collect::<Vec<_>>().into_iter().collect())
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_object_survives(bytes in prop::collection::vec(any::<u8>(), 8..200)) {
        let schema = schema::builtin();
        let message = |name: &str| name.starts_with("io.k8s.api.") || name.contains("apiextensions");
        for (id, of) in schema.iter().filter(|(_, of)| message(&of.name)) {
            let mut choices = Choices { bytes: bytes.iter().cycle(), budget: 60, wrong: false };
            let raw = choices.structure(schema, id);
            let value = decode(schema, id, raw.clone(), FieldValidation::Strict)
                .unwrap_or_else(|error| panic!("{}: {error} in {raw:?}", of.name)).value;

            let text = json::to_vec(&value);
            let shown = || String::from_utf8_lossy(&text).into_owned();
            let again = decode(schema, id, json::parse(&text).unwrap(), FieldValidation::Strict).unwrap().value;
            prop_assert_eq!(json::to_vec(&again), text.as_slice(), "{}: {}", of.name, shown());

            let mut canonical = value.clone();
            canonicalize(schema, id, &mut canonical).unwrap();
            prop_assert_eq!(json::to_vec(&canonical), text.as_slice(), "{}: {}", of.name, shown());

            let mut document = Vec::new();
            yaml::write(&value, &mut document);
            prop_assert_eq!(&yaml::parse(&document).unwrap(), &value, "{}: {}", of.name, shown());

            // Protobuf can't tell an empty list from none, so one trip comes first.
            let trip = |value: &Value| {
                let mut bytes = Vec::new();
                protobuf::encode_message(schema, id, value, &mut bytes).unwrap();
                (protobuf::decode_message(schema, id, &bytes).unwrap(), bytes)
            };
            let (once, _) = trip(&value);
            let (twice, bytes) = trip(&once);
            prop_assert_eq!(json::to_vec(&twice), json::to_vec(&once), "{}: {}", of.name, shown());
            prop_assert_eq!(trip(&twice).1, bytes);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let schema = schema::builtin();
        let pod = schema.find("io.k8s.api.core.v1.Pod").unwrap();
        let _ = protobuf::decode_message(schema, pod, &bytes);
        let _ = protobuf::decode(schema, pod, &[protobuf::MAGIC.as_slice(), &bytes].concat());
        let _ = yaml::parse(&bytes);
    }
}

/// Writes objects, right and wrong ones, and what we make of them, for `schema-gen -compare` to hold against Go.
#[test]
#[ignore = "only writes the file that XEBEC_CASES names"]
fn cases_for_upstream() {
    use api::registry::Registry;
    use std::fmt::Write;
    const CASES: usize = 300;
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let (schema, mut cases) = (schema::builtin(), String::new());
    // Nobody sends tables, whose cells Go alone sorts.
    for (kind, id) in Registry::builtin().kinds().iter().filter(|(kind, _)| kind.kind != "Table") {
        for _ in 0..CASES {
            let bytes: Vec<u8> = (0..997).map(|_| random()).collect();
            let object = Choices { bytes: bytes.iter().cycle(), budget: 60, wrong: true }.structure(schema, *id);
            let text = String::from_utf8(json::to_vec(&object)).unwrap();
            let result = match decode(schema, *id, object, FieldValidation::Warn) {
                Ok(decoded) => format!(
                    "{}\t{}",
                    decoded.warnings.join(", "),
                    String::from_utf8(json::to_vec(&decoded.value)).unwrap()
                ),
                Err(error) => format!("error\t{error}"),
            };
            writeln!(cases, "{}\t{}\t{}\t{text}\t{result}", kind.group, kind.version, kind.kind).unwrap();
        }
    }
    std::fs::write(std::env::var("XEBEC_CASES").unwrap(), cases).unwrap();
}

/// The stack of a thread is 2 MiB, and every tree that is read must be walked in it.
#[test]
fn the_deepest_schema_is_decoded_and_written() {
    let schema = schema::builtin();
    let root = schema.find("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps").unwrap();
    let depth = json::DEPTH_MAX - 1;
    let text = format!("{}{{}}{}", r#"{"items":"#.repeat(depth), "}".repeat(depth));
    let value = decode(schema, root, json::parse(text.as_bytes()).unwrap(), FieldValidation::Strict).unwrap().value;
    assert_eq!(json::to_vec(&value), text.as_bytes());
    let mut message = Vec::new();
    protobuf::encode_message(schema, root, &value, &mut message).unwrap();
    assert_eq!(protobuf::decode_message(schema, root, &message).unwrap(), value);
}
