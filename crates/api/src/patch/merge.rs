//! JSON merge patch, RFC 7386, as upstream's `evanphx/json-patch` v4 applies it.
//!
//! It differs from the RFC in one place, kept here: where the current value is an object and the
//! patch is an array, nulls inside the array's objects stay.

use crate::status::Status;
use crate::value::{Map, Value};

/// Why a merge patch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is neither an object nor an array.
    #[error("Invalid JSON Patch")]
    BadPatch,
}

/// Merges `patch` into `current`.
///
/// Objects that the patch reaches come out sorted by name, as from upstream: the text of the
/// outcome is shown in errors.
///
/// An array as the patch replaces the whole document; decoding it as an object then fails, with
/// the decoder's error.
///
/// # Errors
/// [`Error::BadPatch`] for a patch that is a scalar or null.
pub fn apply(current: Value, patch: Value) -> Result<Value, Error> {
    match (current, patch) {
        (Value::Object(mut fields), Value::Object(patch)) => {
            merge_fields(&mut fields, patch);
            Ok(Value::Object(fields))
        }
        (_, mut patch @ (Value::Object(_) | Value::Array(_))) => {
            prune_nulls(&mut patch);
            Ok(patch)
        }
        _ => Err(Error::BadPatch),
    }
}

fn merge_fields(fields: &mut Map, patch: Map) {
    for (key, mut value) in patch {
        if value.is_null() {
            fields.remove(&key);
            continue;
        }
        match (fields.get_mut(&key), &mut value) {
            (Some(Value::Object(current)), Value::Object(patch)) => merge_fields(current, std::mem::take(patch)),
            (Some(current @ Value::Object(_)), _) => *current = value,
            (Some(current), _) => {
                prune_nulls(&mut value);
                *current = value;
            }
            (None, _) => {
                prune_nulls(&mut value);
                fields.push_unchecked(key, value);
            }
        }
    }
    fields.sort();
}

/// Removes null fields at every depth; null items of arrays stay.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|_, value| {
            prune_nulls(value);
            !value.is_null()
        }),
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        Status::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{json, value};
    use proptest::prelude::*;
    use rstest::rstest;

    /// The first group is RFC 7386, appendix A; the rest is what upstream's library answered.
    #[rstest]
    #[case(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#)]
    #[case(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#)]
    #[case(r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#)]
    #[case(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#)]
    #[case(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#)]
    #[case(r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#)]
    #[case(r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#)]
    #[case(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#)]
    #[case(r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#)]
    #[case(r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#)]
    #[case(r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#)]
    #[case(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#)]
    #[case(r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#)]
    #[case::nulls_in_new_arrays(r#"{"a":1}"#, r#"{"a":[{"b":null},null]}"#, r#"{"a":[{},null]}"#)]
    #[case::nulls_in_arrays_over_objects(r#"{"a":{}}"#, r#"{"a":[{"b":null}]}"#, r#"{"a":[{"b":null}]}"#)]
    fn merges(#[case] current: &str, #[case] patch: &str, #[case] expected: &str) {
        assert_eq!(apply(json(current), json(patch)), Ok(json(expected)));
    }

    #[rstest]
    #[case("null")]
    #[case("1")]
    #[case(r#""a""#)]
    fn refuses_scalars(#[case] patch: &str) {
        let error = apply(json("{}"), json(patch)).unwrap_err();
        assert_eq!(Status::from(error), Status::bad_request("Invalid JSON Patch"));
    }

    proptest! {
        #[test]
        fn merging_twice_changes_nothing_more(current in value(), patch in value()) {
            if let Ok(once) = apply(current, patch.clone()) {
                prop_assert_eq!(apply(once.clone(), patch), Ok(once));
            }
        }
    }
}
