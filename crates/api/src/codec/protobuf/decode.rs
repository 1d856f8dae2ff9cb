//! Messages into trees: what Go would write as JSON for the object that it read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ProtobufError;
use super::envelope::{Envelope, MAGIC};
use super::wire::{Payload, Reader};
use crate::codec::json;
use crate::decode::{is_omitted, zero_field, zero_value};
use crate::quantity::Quantity;
use crate::schema::{Field, RawKind, Schema, Shape, Struct, StructId, Wire, WireNode, builtin};
use crate::time::Time;
use crate::value::{Map, Value};

type Result<T, E = ProtobufError> = std::result::Result<T, E>;

/// Reads a message, without envelope, as a struct in canonical form. Unknown fields are skipped.
pub fn decode_message(schema: &Schema, root: StructId, message: &[u8]) -> Result<Value> {
    Decoder { schema, depth: 0 }.structure(root, message)
}

/// The values read so far, by the places of their fields; null is none.
#[derive(Default)]
struct Slots(Vec<(usize, Value)>);

struct Decoder<'s> {
    schema: &'s Schema,
    /// How many lists and objects the value lies in: as many may be as in JSON, which it is stored as.
    depth: usize,
}

// === impl Slots ===

impl Slots {
    /// A field's value, null if there is none yet. Items of a list come one after the other.
    fn at(&mut self, place: usize) -> &mut Value {
        let Slots(slots) = self;
        let found = slots.iter().rposition(|(one, _)| *one == place);
        let at = found.unwrap_or_else(|| {
            slots.push((place, Value::Null));
            slots.len() - 1
        });
        &mut slots[at].1
    }
}

// === impl Decoder ===

impl Decoder<'_> {
    fn structure(&mut self, id: StructId, message: &[u8]) -> Result<Value> {
        let of = self.schema.get(id);
        let mut slots = Slots::default();
        self.nested(|decoder| decoder.message(of.fields(), of.wire(), message, &mut slots))?;
        Ok(self.assemble(of, slots))
    }

    /// Reads what lies in a list or an object.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == json::DEPTH_MAX {
            return Err(ProtobufError::TooDeep);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// The fields that Go would write, in its order.
    fn assemble(&self, of: &Struct, Slots(mut slots): Slots) -> Value {
        slots.sort_unstable_by_key(|(place, _)| *place);
        let mut fields = Map::with_capacity(slots.len());
        let mut always = of.always().peekable();
        for (place, mut value) in slots {
            while let Some(missing) = always.next_if(|&next| next < place) {
                self.push_zero(of, missing, &mut fields);
            }
            let field = &of.fields()[place];
            if let (Shape::Map(_), Value::Object(entries)) = (&field.shape, &mut value) {
                settle_keys(entries);
            }
            match value {
                Value::Null => continue,
                value if is_omitted(field, &value) => {}
                value => fields.push_unchecked(field.name.clone(), value),
            }
            always.next_if_eq(&place);
        }
        always.for_each(|missing| self.push_zero(of, missing, &mut fields));
        Value::Object(fields)
    }

    fn push_zero(&self, of: &Struct, place: usize, fields: &mut Map) {
        let field = &of.fields()[place];
        fields.push_unchecked(field.name.clone(), zero_field(self.schema, field));
    }

    /// Reads the fields of a message into the struct's slots, those of inlined structs too.
    fn message(&mut self, fields: &[Field], wire: &[Wire], message: &[u8], slots: &mut Slots) -> Result<()> {
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            let Ok(at) = wire.binary_search_by_key(&number, |one| one.number) else { continue };
            match &wire[at].node {
                WireNode::Inlined(inner) => self.message(fields, inner, payload.bytes("inlined")?, slots)?,
                WireNode::Field(place) => self.field(&fields[*place], payload, slots.at(*place))?,
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, payload: Payload<'_>, slot: &mut Value) -> Result<()> {
        match &field.shape {
            Shape::Array(array) if field.wrapped => {
                *slot = self.nested(|decoder| decoder.wrapped(&array.item, payload, &field.name))?;
            }
            Shape::Array(array) => {
                if slot.is_null() {
                    *slot = Value::Array(Vec::new());
                }
                let Value::Array(items) = slot else { return Ok(()) };
                self.nested(|decoder| decoder.items(&array.item, payload, &field.name, items))?;
            }
            Shape::Map(map) => {
                self.nested(|decoder| decoder.entry(&map.value, payload, &field.name, slot.make_object()))?;
            }
            shape => *slot = self.value(shape, payload, &field.name)?,
        }
        Ok(())
    }

    /// One item, or several packed numbers, which upstream accepts but never writes.
    fn items(&mut self, item: &Shape, payload: Payload<'_>, name: &str, items: &mut Vec<Value>) -> Result<()> {
        match (item, payload) {
            (Shape::Bool | Shape::Int32 | Shape::Int64, Payload::Bytes(packed)) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    items.push(self.value(item, Payload::Varint(reader.varint()?), name)?);
                }
            }
            _ => items.push(self.value(item, payload, name)?),
        }
        Ok(())
    }

    /// A message that only holds the items of a list, as its field 1.
    fn wrapped(&mut self, item: &Shape, payload: Payload<'_>, name: &str) -> Result<Value> {
        let mut items = Vec::new();
        let mut reader = Reader::new(payload.bytes(name)?);
        while let Some((number, payload)) = reader.field()? {
            if number == 1 {
                self.items(item, payload, name, &mut items)?;
            }
        }
        Ok(Value::Array(items))
    }

    /// A map's entry: key and value, each possibly absent.
    fn entry(&mut self, shape: &Shape, payload: Payload<'_>, name: &str, entries: &mut Map) -> Result<()> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(payload.bytes(name)?);
        while let Some((number, payload)) = reader.field()? {
            match (number, shape) {
                (1, _) => key = String::from_utf8_lossy(payload.bytes(name)?).into_owned(),
                (2, Shape::Array(array)) => {
                    value = Some(self.nested(|decoder| decoder.wrapped(&array.item, payload, name))?);
                }
                (2, shape) => value = Some(self.value(shape, payload, name)?),
                _ => {}
            }
        }
        let value = value.unwrap_or_else(|| zero_value(self.schema, shape));
        entries.push_unchecked(key.into(), value);
        Ok(())
    }

    fn value(&mut self, shape: &Shape, payload: Payload<'_>, name: &str) -> Result<Value> {
        match shape {
            Shape::Struct(id) => self.structure(*id, payload.bytes(name)?),
            Shape::Raw(kind) => self.raw(*kind, payload.bytes(name)?),
            leaf => leaf_value(leaf, payload, name),
        }
    }

    fn raw(&mut self, kind: RawKind, message: &[u8]) -> Result<Value> {
        match kind {
            RawKind::RawExtension | RawKind::FieldsV1 | RawKind::Json => self.raw_json(kind, message),
            RawKind::JsonSchemaPropsOrBool => self.schema_or_bool(message),
            RawKind::JsonSchemaPropsOrArray => self.schema_or_list(message, Self::schema_props),
            RawKind::JsonSchemaPropsOrStringArray => {
                self.schema_or_list(message, |_, payload| Ok(text(payload.bytes("Property")?)))
            }
        }
    }

    /// The JSON that a raw extension carries as bytes; an object in protobuf with its envelope is decoded.
    fn raw_json(&mut self, kind: RawKind, message: &[u8]) -> Result<Value> {
        let mut raw: &[u8] = b"";
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            if number == 1 {
                raw = payload.bytes("Raw")?;
            }
        }
        if raw.is_empty() {
            return Ok(Value::Null);
        }
        if raw.starts_with(MAGIC) {
            let envelope = Envelope::parse(raw)?;
            let Some(id) = envelope.builtin_kind() else {
                let Envelope { api_version, kind, .. } = envelope;
                return Err(ProtobufError::Content(format!(
                    "no kind \"{kind}\" is registered for version \"{api_version}\""
                )));
            };
            let mut value = Decoder { schema: builtin(), depth: self.depth }.structure(id, envelope.raw)?;
            envelope.name(&mut value);
            return Ok(value);
        }
        let parse = if kind == RawKind::FieldsV1 { json::parse_fields } else { json::parse };
        let value = parse(raw).map_err(|error| ProtobufError::Content(error.to_string()))?;
        match self.depth + value.depth() {
            depth if depth > json::DEPTH_MAX => Err(ProtobufError::TooDeep),
            _ => Ok(value),
        }
    }

    fn schema_or_bool(&mut self, message: &[u8]) -> Result<Value> {
        let mut union = Value::Bool(false);
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            match (number, &union) {
                (1, Value::Bool(_)) => union = Value::Bool(payload.varint("Allows")? != 0),
                (2, _) => union = self.schema_props(payload)?,
                _ => {}
            }
        }
        Ok(union)
    }

    fn schema_or_list(&mut self, message: &[u8], item: fn(&mut Self, Payload<'_>) -> Result<Value>) -> Result<Value> {
        let (mut schema, mut items) = (Value::Null, Vec::new());
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            match number {
                1 => schema = self.schema_props(payload)?,
                2 => items.push(self.nested(|decoder| item(decoder, payload))?),
                _ => {}
            }
        }
        Ok(if items.is_empty() { schema } else { Value::Array(items) })
    }

    fn schema_props(&mut self, payload: Payload<'_>) -> Result<Value> {
        match self.schema.json_schema() {
            Some(id) => self.structure(id, payload.bytes("Schema")?),
            None => Ok(Value::Null),
        }
    }
}

/// A value without parts that the schema knows.
fn leaf_value(shape: &Shape, payload: Payload<'_>, name: &str) -> Result<Value> {
    Ok(match shape {
        Shape::Bool => Value::Bool(payload.varint(name)? != 0),
        Shape::Int32 => Value::Int(i64::from(payload.varint(name)? as i32)),
        Shape::Int64 => Value::Int(payload.varint(name)? as i64),
        Shape::Float64 => number(payload.double(name)?)?,
        Shape::String => text(payload.bytes(name)?),
        Shape::Bytes => Value::from(STANDARD.encode(payload.bytes(name)?)),
        Shape::Time => time(payload.bytes(name)?, false)?,
        Shape::MicroTime => time(payload.bytes(name)?, true)?,
        Shape::Quantity => quantity(payload.bytes(name)?)?,
        Shape::IntOrString => int_or_string(payload.bytes(name)?)?,
        Shape::Struct(_) | Shape::Raw(_) | Shape::Array(_) | Shape::Map(_) => {
            unreachable!("structs are no leaves, and lists and maps no single values in protobuf")
        }
    })
}

fn text(bytes: &[u8]) -> Value {
    Value::from(&*String::from_utf8_lossy(bytes))
}

/// Whole floats are whole numbers, as they would be read from JSON, which has no others than finite ones.
fn number(float: f64) -> Result<Value> {
    const EXACT_MAX: f64 = (1u64 << 53) as f64;
    match float.fract() == 0.0 && float.abs() <= EXACT_MAX {
        true => Ok(Value::Int(float as i64)),
        false if float.is_finite() => Ok(Value::Float(float)),
        false => Err(ProtobufError::Content(format!("json: unsupported value: {float}"))),
    }
}

/// Keys come sorted from upstream; other writers may order and repeat them as they like, and the last one counts.
fn settle_keys(map: &mut Map) {
    let entries = map.entries_mut();
    if entries.is_sorted_by(|(a, _), (b, _)| a < b) {
        return;
    }
    entries.reverse();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.dedup_by(|(later, _), (kept, _)| later == kept);
}

fn time(message: &[u8], micro: bool) -> Result<Value> {
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        match number {
            1 => seconds = payload.varint("Seconds")? as i64,
            2 if micro => nanos = payload.varint("Nanos")? as i32,
            _ => {}
        }
    }
    // As Go's `time.Unix` takes seconds and nanoseconds beyond one.
    const SECOND: i32 = 1_000_000_000;
    let nanos = nanos / 1000 * 1000;
    let time = Time {
        seconds: i64::saturating_add(seconds, nanos.div_euclid(SECOND).into()),
        nanos: nanos.rem_euclid(SECOND).unsigned_abs(),
    };
    if !time.is_writable() {
        return Err(ProtobufError::Content("Time.MarshalJSON: year outside of range [0,9999]".to_owned()));
    }
    Ok(match micro {
        _ if time.is_zero() => Value::Null,
        true => Value::String(time.to_micro_text()),
        false => Value::String(time.to_text()),
    })
}

fn quantity(message: &[u8]) -> Result<Value> {
    let mut quantity = Quantity::ZERO;
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        if number == 1 {
            let text = String::from_utf8_lossy(payload.bytes("String")?);
            quantity = text.parse().map_err(|error| ProtobufError::Content(format!("{error}")))?;
        }
    }
    Ok(Value::String(smol_str::format_smolstr!("{quantity}")))
}

fn int_or_string(message: &[u8]) -> Result<Value> {
    let (mut is_text, mut number_value, mut text_value) = (false, 0, Value::from(""));
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        match number {
            1 => is_text = payload.varint("Type")? == 1,
            2 => number_value = payload.varint("IntVal")? as i32,
            3 => text_value = text(payload.bytes("StrVal")?),
            _ => {}
        }
    }
    Ok(if is_text { text_value } else { Value::from(number_value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::protobuf::wire::{put_bytes, put_int};

    fn lease(seconds: i64, nanos: i64) -> Result<Value> {
        let (mut time, mut spec, mut message) = (Vec::new(), Vec::new(), Vec::new());
        put_int(1, seconds, &mut time);
        put_int(2, nanos, &mut time);
        put_bytes(3, &time, &mut spec);
        put_bytes(2, &spec, &mut message);
        decode_message(builtin(), builtin().find("io.k8s.api.coordination.v1.Lease").unwrap(), &message)
    }

    /// Found by fuzzing: such an object could be stored, and then no list that held it could be encoded.
    #[test]
    fn a_time_that_no_text_can_say_is_refused() {
        for seconds in [i64::MIN, -62_167_219_201, 253_402_300_800, i64::MAX] {
            assert!(lease(seconds, 0).is_err());
        }
        let time = |seconds, nanos| lease(seconds, nanos).unwrap().str_at("spec.acquireTime").to_owned();
        assert_eq!(time(253_402_300_799, 999_999_999), "9999-12-31T23:59:59.999999Z");
        assert_eq!(time(5, -1_000), "1970-01-01T00:00:04.999999Z");
        assert_eq!(time(5, 2_000_001_000), "1970-01-01T00:00:07.000001Z");
    }

    fn revision(data: &[u8]) -> Vec<u8> {
        let (mut raw, mut message) = (Vec::new(), Vec::new());
        put_bytes(1, data, &mut raw);
        put_bytes(2, &raw, &mut message);
        message
    }

    fn decoded(name: &str, message: &[u8]) -> Result<Value> {
        decode_message(builtin(), builtin().find(name).unwrap(), message)
    }

    /// Found by fuzzing: the stack ran over, and with it the server ended.
    #[test]
    fn objects_within_objects_end() {
        const NAME: &str = "io.k8s.api.apps.v1.ControllerRevision";
        let mut message = Vec::new();
        for level in 1..2_000 {
            let mut within = Vec::from(MAGIC);
            put_bytes(1, b"\x0a\x07apps/v1\x12\x12ControllerRevision", &mut within);
            put_bytes(2, &message, &mut within);
            message = revision(&within);
            if level == json::DEPTH_MAX / 2 {
                let text = json::to_vec(&decoded(NAME, &message).unwrap());
                assert!(json::parse(&text).is_ok(), "what was decoded can be stored");
            }
        }
        assert_eq!(decoded(NAME, &message), Err(ProtobufError::TooDeep));
        let tower = |levels: usize| revision(&[b"[".repeat(levels), b"]".repeat(levels)].concat());
        assert!(decoded(NAME, &tower(json::DEPTH_MAX - 1)).is_ok());
        assert_eq!(decoded(NAME, &tower(json::DEPTH_MAX)), Err(ProtobufError::TooDeep));
    }

    /// Found by fuzzing: in JSON they were null.
    #[test]
    fn numbers_that_are_none_are_refused() {
        let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5] {
            let message = [&[9 << 3 | super::super::wire::FIXED64][..], &float.to_le_bytes()].concat();
            assert_eq!(decoded(name, &message).is_ok(), float == 1.5);
        }
    }

    #[test]
    fn of_repeated_keys_the_last_one_counts() {
        let mut message = Vec::new();
        for (key, value) in [("b", "1"), ("a", "2"), ("b", "3"), ("a", "4")] {
            let mut entry = Vec::new();
            put_bytes(1, key.as_bytes(), &mut entry);
            put_bytes(2, value.as_bytes(), &mut entry);
            put_bytes(2, &entry, &mut message);
        }
        let id = builtin().find("io.k8s.api.core.v1.ConfigMap").unwrap_or(StructId(0));
        let value = decode_message(builtin(), id, &message).unwrap();
        assert_eq!(json::to_vec(value.get("data")), br#"{"a":"4","b":"3"}"#);
    }
}
