//! What the tests of this crate share: trees from text, arbitrary trees.

use crate::value::{Map, Value};
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
            prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
