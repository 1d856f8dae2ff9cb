//! What the tests of this crate share: trees from text, arbitrary trees.

use crate::schema::{Array, Field, ListPatch, ListType, Mapping, RawKind, Schema, Shape, Struct, StructId};
use crate::value::{Key, Value};
use proptest::prelude::*;

/// The tree of a JSON text.
pub(crate) fn json(text: &str) -> Value {
    crate::codec::json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

/// Arbitrary small trees over few names, so that two of them meet often.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0i64..3).prop_map(Value::from),
        Just(Value::Float(1.5)),
        "[a-c]{0,1}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[a-c]", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A schema of one struct that refers to itself, with every patch strategy and list type; the
/// golden vectors' generator (`tools/patchvectors`) has the same struct in Go.
pub(crate) fn item_schema() -> (Schema, StructId) {
    let id = StructId(0);
    let item = || Shape::Struct(id);
    let list = |item, list, patch| Shape::Array(Box::new(Array { item, list, patch }));
    let map = |value, atomic, patch_replaces| Shape::Map(Box::new(Mapping { value, atomic, patch_replaces }));
    let by = |keys: &[&str]| ListType::Map(keys.iter().map(Key::new).collect());
    let merge_by = |key: &str| ListPatch::MergeBy(key.into());
    let fields = vec![
        Field::new("name", Shape::String),
        Field::new("value", Shape::String),
        Field::new("number", Shape::Int64),
        Field { default: Some("TCP".into()), ..Field::new("protocol", Shape::String) },
        Field::new("mergingList", list(item(), by(&["name"]), merge_by("name"))),
        Field::new("portList", list(item(), by(&["number", "protocol"]), merge_by("number"))),
        Field::new("replacingList", list(item(), ListType::Atomic, ListPatch::Replace)),
        Field::new("keylessList", list(item(), ListType::Atomic, ListPatch::Merge)),
        Field::new("mergingNumbers", list(Shape::Int64, ListType::Set, ListPatch::Merge)),
        Field::new("replacingNumbers", list(Shape::Int64, ListType::Atomic, ListPatch::Replace)),
        Field { pointer: true, ..Field::new("pointer", item()) },
        Field { patch_replaces: true, pointer: true, ..Field::new("replaced", item()) },
        Field { atomic: Some(true), pointer: true, ..Field::new("atomic", item()) },
        Field { retain_keys: true, pointer: true, ..Field::new("retaining", item()) },
        Field { retain_keys: true, ..Field::new("retainingList", list(item(), by(&["name"]), merge_by("name"))) },
        Field::new("labels", map(Shape::String, false, false)),
        Field::new("atomicLabels", map(Shape::String, true, false)),
        Field::new("items", map(item(), false, false)),
        Field::new("raw", Shape::Raw(RawKind::RawExtension)),
    ];
    (Schema::new(vec![Struct::new("test.Item", fields)]), id)
}

/// Arbitrary small trees of a shape, of few names and values; structs lie in one another `depth` times at most.
pub(crate) fn of_shape(schema: &Schema, shape: &Shape, depth: usize) -> BoxedStrategy<Value> {
    match shape {
        Shape::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Int32 | Shape::Int64 | Shape::Float64 => (0i64..3).prop_map(Value::from).boxed(),
        Shape::Struct(_) if depth == 0 => Just(Value::object()).boxed(),
        Shape::Struct(id) => {
            let fields: Vec<_> = schema.get(*id).fields().iter().collect();
            // Items mostly have the fields that they are told apart by.
            let often = |shape: &Shape| if matches!(shape, Shape::String | Shape::Int64) { 0.8 } else { 0.2 };
            let value =
                |field: &&Field| prop::option::weighted(often(&field.shape), of_shape(schema, &field.shape, depth - 1));
            let values: Vec<_> = fields.iter().map(value).collect();
            let names: Vec<Key> = fields.iter().map(|field| field.name.clone()).collect();
            let of_some = move |values: Vec<Option<Value>>| {
                names.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
            };
            values.prop_map(move |values| Value::Object(of_some(values))).boxed()
        }
        Shape::Array(array) => {
            prop::collection::vec(of_shape(schema, &array.item, depth), 0..3).prop_map(Value::Array).boxed()
        }
        Shape::Map(map) => prop::collection::vec(("[a-c]", of_shape(schema, &map.value, depth)), 0..3)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
            .boxed(),
        Shape::Raw(_) => value().boxed(),
        _ => "[a-c]{0,1}".prop_map(Value::from).boxed(),
    }
}

mod vectors;
