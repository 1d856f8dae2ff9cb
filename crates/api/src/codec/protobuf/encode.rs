//! Trees into messages, byte for byte as gogo's generated code writes them.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::ProtobufError;
use super::wire::{FIXED64, VARINT, put_bytes, put_int, put_nested, put_tag, put_varint};
use crate::codec::json;
use crate::schema::{Field, RawKind, Schema, Shape, StructId, Wire, WireNode};
use crate::time::Time;
use crate::value::Value;

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

type Result<T = (), E = ProtobufError> = std::result::Result<T, E>;

/// Writes a decoded tree as a message, without envelope.
pub fn encode_message(schema: &Schema, root: StructId, value: &Value, out: &mut Vec<u8>) -> Result {
    Encoder { schema }.structure(root, value, out)
}

struct Encoder<'s> {
    schema: &'s Schema,
}

/// The values of a struct's fields, by place.
type Slots<'v> = [Option<&'v Value>];

impl Encoder<'_> {
    fn structure(&self, id: StructId, value: &Value, out: &mut Vec<u8>) -> Result {
        let of = self.schema.get(id);
        let mut slots = vec![None; of.fields().len()];
        let mut guess = 0;
        for (name, value) in value.as_object().into_iter().flat_map(|fields| fields.iter()) {
            let found = match of.fields().get(guess) {
                Some(field) if field.name == *name => Some(guess),
                _ => of.position(name),
            };
            let Some(place) = found else { continue };
            guess = place + 1;
            slots[place] = Some(value).filter(|value| !value.is_null());
        }
        self.message(of.fields(), of.wire(), &slots, out)
    }

    fn message(&self, fields: &[Field], wire: &[Wire], slots: &Slots<'_>, out: &mut Vec<u8>) -> Result {
        for Wire { number, node } in wire {
            match node {
                WireNode::Inlined(inner) => {
                    put_nested(*number, out, |out| self.message(fields, inner, slots, out))?;
                }
                WireNode::Field(place) => self.field(&fields[*place], slots[*place], out)?,
            }
        }
        Ok(())
    }

    fn field(&self, field: &Field, value: Option<&Value>, out: &mut Vec<u8>) -> Result {
        let number = field.number;
        match (&field.shape, value) {
            (Shape::Array(array), Some(Value::Array(items))) if field.wrapped => {
                self.wrapped(number, &array.item, items, out)
            }
            (Shape::Array(array), Some(Value::Array(items))) => {
                items.iter().try_for_each(|item| self.value(number, &array.item, item, out))
            }
            (Shape::Map(map), Some(Value::Object(entries))) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by_key(|(key, _)| *key);
                sorted.into_iter().try_for_each(|(key, value)| {
                    put_nested(number, out, |out| {
                        put_bytes(1, key.as_bytes(), out);
                        self.entry_value(&map.value, value, out)
                    })
                })
            }
            (Shape::Array(_) | Shape::Map(_), _) => Ok(()),
            (shape, Some(value)) => self.value(number, shape, value, out),
            (Shape::Bytes, None) => Ok(()),
            (_, None) if field.pointer => Ok(()),
            (shape, None) => self.value(number, shape, &Value::Null, out),
        }
    }

    fn entry_value(&self, shape: &Shape, value: &Value, out: &mut Vec<u8>) -> Result {
        match (shape, value) {
            (Shape::Array(array), _) => self.wrapped(2, &array.item, value.as_array().unwrap_or_default(), out),
            (Shape::Bytes, Value::Null) => Ok(()),
            _ => self.value(2, shape, value, out),
        }
    }

    fn wrapped(&self, number: u32, item: &Shape, items: &[Value], out: &mut Vec<u8>) -> Result {
        put_nested(number, out, |out| items.iter().try_for_each(|one| self.value(1, item, one, out)))
    }

    /// Writes one value; null is the type's zero.
    fn value(&self, number: u32, shape: &Shape, value: &Value, out: &mut Vec<u8>) -> Result {
        match shape {
            Shape::Bool => {
                put_tag(number, VARINT, out);
                out.push(u8::from(value.as_bool().unwrap_or_default()));
            }
            Shape::Int32 | Shape::Int64 => put_int(number, value.as_i64().unwrap_or_default(), out),
            Shape::Float64 => {
                put_tag(number, FIXED64, out);
                out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
            }
            Shape::String => put_bytes(number, value.as_str().unwrap_or_default().as_bytes(), out),
            Shape::Bytes => {
                let bytes = BASE64.decode(value.as_str().unwrap_or_default());
                put_bytes(number, &bytes.map_err(|error| ProtobufError::Content(error.to_string()))?, out);
            }
            Shape::Time => put_time(number, value, false, out)?,
            Shape::MicroTime => put_time(number, value, true, out)?,
            Shape::Quantity => {
                let text = value.as_str().unwrap_or("0");
                put_nested(number, out, |out| {
                    put_bytes(1, text.as_bytes(), out);
                    Ok::<(), ProtobufError>(())
                })?;
            }
            Shape::IntOrString => put_int_or_string(number, value, out)?,
            Shape::Raw(kind) => put_nested(number, out, |out| self.raw(*kind, value, out))?,
            Shape::Struct(id) => put_nested(number, out, |out| self.structure(*id, value, out))?,
            Shape::Array(_) | Shape::Map(_) => unreachable!("lists and maps are no single values in protobuf"),
        }
        Ok(())
    }

    fn raw(&self, kind: RawKind, value: &Value, out: &mut Vec<u8>) -> Result {
        match (kind, value) {
            (RawKind::JsonSchemaPropsOrBool, Value::Object(_)) => {
                put_int(1, 1, out);
                self.schema_props(2, value, out)
            }
            (RawKind::JsonSchemaPropsOrBool, _) => {
                put_int(1, value.as_bool().unwrap_or_default().into(), out);
                Ok(())
            }
            (_, Value::Null) => Ok(()),
            (RawKind::RawExtension | RawKind::FieldsV1 | RawKind::Json, _) => put_nested(1, out, |out| {
                json::write(value, out);
                Ok(())
            }),
            (RawKind::JsonSchemaPropsOrArray, Value::Array(items)) => {
                items.iter().try_for_each(|item| self.schema_props(2, item, out))
            }
            (RawKind::JsonSchemaPropsOrStringArray, Value::Array(items)) => {
                items.iter().try_for_each(|item| self.value(2, &Shape::String, item, out))
            }
            (RawKind::JsonSchemaPropsOrArray | RawKind::JsonSchemaPropsOrStringArray, _) => {
                self.schema_props(1, value, out)
            }
        }
    }

    fn schema_props(&self, number: u32, value: &Value, out: &mut Vec<u8>) -> Result {
        match self.schema.json_schema() {
            Some(id) => put_nested(number, out, |out| self.structure(id, value, out)),
            None => Ok(()),
        }
    }
}

/// Seconds and nanoseconds; nothing at all for no time.
fn put_time(number: u32, value: &Value, micro: bool, out: &mut Vec<u8>) -> Result {
    let time = match value.as_str() {
        None => Time::ZERO,
        Some(text) => {
            let parsed = if micro { Time::parse_micro(text) } else { Time::parse(text) };
            parsed.map_err(|error| ProtobufError::Content(error.to_string()))?
        }
    };
    put_nested(number, out, |out| {
        if !time.is_zero() {
            put_int(1, time.seconds, out);
            put_int(2, if micro { (time.nanos / 1000 * 1000).into() } else { 0 }, out);
        }
        Ok(())
    })
}

fn put_int_or_string(number: u32, value: &Value, out: &mut Vec<u8>) -> Result {
    let (is_text, number_value, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        other => (0, other.as_i64().unwrap_or_default(), ""),
    };
    put_nested(number, out, |out| {
        put_int(1, is_text, out);
        put_int(2, number_value, out);
        put_tag(3, super::wire::BYTES, out);
        put_varint(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
        Ok(())
    })
}
