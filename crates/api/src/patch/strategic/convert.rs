//! Whether a patched tree fits its Go type, in the words of upstream's way from a map to a struct
//! (`runtime.DefaultUnstructuredConverter`): strategic merge patch takes it, no other patch does.

use crate::patch::gofmt::{self, Plain};
use crate::schema::{Field, Schema, Shape, StructId};
use crate::value::Value;

/// Checks the kinds of values. What the decoder words the same in any case is left to it.
///
/// # Errors
/// The first value that does not fit, in the struct's order.
pub fn check_types(tree: &Value, schema: &Schema, of: StructId) -> Result<(), String> {
    let fields = match tree {
        Value::Null => return Ok(()),
        Value::Object(fields) => fields,
        other => return Err(format!("cannot restore struct from: {}", kind(other))),
    };
    for field in schema.get(of).fields() {
        if let Some(value) = fields.get(&field.name) {
            check(value, &field.shape, schema, Some(field))?;
        }
    }
    Ok(())
}

/// A patch as messages show it: `map[data:map[a:5]]`.
pub fn shown(patch: &Value) -> String {
    Plain(patch).to_string()
}

fn check(value: &Value, shape: &Shape, schema: &Schema, field: Option<&Field>) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let go_type = |plain: &'static str| match field {
        Some(field) if !field.go_type.is_empty() => field.go_type.trim_start_matches('*').to_owned(),
        _ => plain.to_owned(),
    };
    let cannot = |plain| Err(format!("cannot convert {} to {}", gofmt::type_of(value), go_type(plain)));
    let whole = |number: &f64| number.fract() == 0.0;
    match (shape, value) {
        (Shape::Struct(id), value) => check_types(value, schema, *id),
        (Shape::Array(array), Value::Array(items)) => {
            items.iter().try_for_each(|item| check(item, &array.item, schema, None))
        }
        (Shape::Map(mapping), Value::Object(fields)) => {
            fields.values().try_for_each(|value| check(value, &mapping.value, schema, None))
        }
        (Shape::Map(_), other) => Err(format!("cannot restore map from {}", kind(other))),
        (Shape::Bytes, Value::String(_)) => Ok(()),
        (Shape::Array(_) | Shape::Bytes, other) => Err(format!("cannot restore slice from {}", kind(other))),
        (Shape::Bool, Value::Bool(_)) | (Shape::String, Value::String(_)) => Ok(()),
        (Shape::String, Value::Int(_)) => cannot("string"),
        (Shape::Int32 | Shape::Int64 | Shape::Float64, Value::Int(_)) | (Shape::Float64, Value::Float(_)) => Ok(()),
        (Shape::Int32 | Shape::Int64, Value::Float(number)) if whole(number) => Ok(()),
        (Shape::Int32, Value::Float(_)) => cannot("int32"),
        (Shape::Int64, Value::Float(_)) => cannot("int64"),
        (Shape::Bool, _) => Err("unrecognized type: bool".into()),
        (Shape::String, _) => Err("unrecognized type: string".into()),
        (Shape::Int32, _) => Err("unrecognized type: int32".into()),
        (Shape::Int64, _) => Err("unrecognized type: int64".into()),
        (Shape::Float64, _) => Err("unrecognized type: float64".into()),
        // These have decoders of their own, for JSON.
        _ => Ok(()),
    }
}

/// Go's name of a value's kind.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        scalar => gofmt::type_of(scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::builtin;
    use crate::testing::json;
    use rstest::rstest;

    #[rstest]
    #[case(r#"{"spec":{"replicas":"x"}}"#, "unrecognized type: int32")]
    #[case(r#"{"spec":{"replicas":1.5}}"#, "cannot convert float64 to int32")]
    #[case(r#"{"spec":{"replicas":[]}}"#, "unrecognized type: int32")]
    #[case(r#"{"spec":{"paused":1}}"#, "unrecognized type: bool")]
    #[case(r#"{"spec":[]}"#, "cannot restore struct from: slice")]
    #[case(r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#, "cannot restore slice from map")]
    #[case(r#"{"spec":{"template":{"spec":{"containers":[{"name":5}]}}}}"#, "cannot convert int64 to string")]
    #[case(r#"{"spec":{"template":{"spec":{"restartPolicy":5}}}}"#, "cannot convert int64 to v1.RestartPolicy")]
    #[case(r#"{"metadata":{"labels":"x"}}"#, "cannot restore map from string")]
    #[case(r#"{"metadata":{"labels":{"a":true}}}"#, "unrecognized type: string")]
    fn says_what_does_not_fit(#[case] tree: &str, #[case] why: &str) {
        let id = builtin().find("io.k8s.api.apps.v1.Deployment").unwrap();
        assert_eq!(check_types(&json(tree), builtin(), id), Err(why.into()));
    }

    #[test]
    fn whole_floats_are_numbers() {
        let id = builtin().find("io.k8s.api.apps.v1.Deployment").unwrap();
        assert_eq!(check_types(&json(r#"{"spec":{"replicas":2.0,"paused":null}}"#), builtin(), id), Ok(()));
    }
}
