//! Types that read their own JSON: arbitrary JSON, and the unions of apiextensions.

use super::frame::{Frame, Step};
use super::typed::{Decoder, Stop};
use crate::schema::{RawKind, Shape};
use crate::value::Value;

pub(super) fn in_place(decoder: &mut Decoder<'_>, kind: RawKind, value: &mut Value, frame: &Frame<'_>) -> Stop {
    if kind != RawKind::FieldsV1 {
        value.open();
    }
    match (kind, &mut *value) {
        (RawKind::RawExtension | RawKind::FieldsV1 | RawKind::Json, _) => Ok(()),
        (
            RawKind::JsonSchemaPropsOrArray | RawKind::JsonSchemaPropsOrBool | RawKind::JsonSchemaPropsOrStringArray,
            Value::Object(_),
        ) => schema(decoder, value, frame),
        (RawKind::JsonSchemaPropsOrBool, Value::Bool(_)) => Ok(()),
        (RawKind::JsonSchemaPropsOrBool, _) => Err("boolean or JSON schema expected".to_owned()),
        // Upstream reads an empty list as none at all.
        (_, Value::Array(items)) if items.is_empty() => {
            *value = Value::Null;
            Ok(())
        }
        (RawKind::JsonSchemaPropsOrArray, Value::Array(items)) => {
            for (at, item) in items.iter_mut().enumerate() {
                schema(decoder, item, &frame.then(Step::Index(at)))?;
            }
            Ok(())
        }
        (RawKind::JsonSchemaPropsOrStringArray, Value::Array(items)) => decoder.unreported(|decoder| {
            for (at, item) in items.iter_mut().enumerate() {
                decoder.in_place(&Shape::String, "", item, &frame.then(Step::Index(at)))?;
            }
            Ok(())
        }),
        (RawKind::JsonSchemaPropsOrArray | RawKind::JsonSchemaPropsOrStringArray, _) => {
            *value = Value::Null;
            Ok(())
        }
    }
}

fn schema(decoder: &mut Decoder<'_>, value: &mut Value, frame: &Frame<'_>) -> Stop {
    let Some(id) = decoder.schema.json_schema() else { return Ok(()) };
    decoder.unreported(|decoder| decoder.in_place(&Shape::Struct(id), "", value, frame))
}
