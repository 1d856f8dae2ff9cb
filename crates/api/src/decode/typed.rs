//! Structs, lists and maps.

use super::frame::{Frame, Step};
use super::{leaf, raw};
use crate::schema::{Field, Omit, Schema, Shape, Struct, StructId};
use crate::value::{Key, Map, Value, is_same};

pub(super) struct Decoder<'s> {
    pub schema: &'s Schema,
    /// Whether anybody wants to know of unknown fields.
    reports: bool,
    /// What protobuf does not tell from nothing becomes nothing: empty lists and maps that are always written.
    through_protobuf: bool,
    unknown: Vec<String>,
    /// The places of the fields kept so far, rising: of the struct at hand behind those that it lies in.
    places: Vec<u16>,
    /// The first value of a wrong type. Go goes on after it and fails at the end.
    mismatch: Option<String>,
}

/// An error that Go stops at: a type that reads its own JSON failed.
pub(super) type Stop<T = ()> = Result<T, String>;

// === impl Decoder ===

impl<'s> Decoder<'s> {
    pub fn new(schema: &'s Schema, reports: bool) -> Decoder<'s> {
        Decoder { schema, reports, through_protobuf: false, unknown: Vec::new(), places: Vec::new(), mismatch: None }
    }

    /// Decodes as if the tree had been protobuf in between.
    pub fn through_protobuf(schema: &'s Schema) -> Decoder<'s> {
        Decoder { through_protobuf: true, ..Decoder::new(schema, false) }
    }

    /// Decodes the whole tree.
    pub fn root(&mut self, root: StructId, value: &mut Value) -> Result<(), String> {
        self.in_place(&Shape::Struct(root), "", value, &Frame::ROOT)?;
        match self.mismatch.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The paths of unknown fields, each once, in the text's order.
    pub fn into_unknown(self) -> Vec<String> {
        self.unknown
    }

    /// Runs without reporting: what types that read their own JSON hold is not strict.
    pub fn unreported(&mut self, run: impl FnOnce(&mut Self) -> Stop) -> Stop {
        let reports = std::mem::replace(&mut self.reports, false);
        let result = run(self);
        self.reports = reports;
        result
    }

    /// Brings a value into its shape. `go_type` is the Go type where the shape does not tell it.
    pub fn in_place(&mut self, shape: &Shape, go_type: &str, value: &mut Value, frame: &Frame<'_>) -> Stop {
        match (shape, &mut *value) {
            (Shape::Struct(id), Value::Object(fields)) => self.fields(self.schema.get(*id), fields, frame),
            (Shape::Array(array), Value::Array(items)) => self.items(&array.item, go_type, items, frame),
            (Shape::Map(map), Value::Object(entries)) => self.entries(&map.value, go_type, entries, frame),
            (Shape::Raw(kind), _) => raw::in_place(self, *kind, value, frame),
            (_, Value::Json(_)) => self.in_place(shape, go_type, value.open(), frame),
            _ => self.leaf(shape, go_type, value, frame),
        }
    }

    fn items(&mut self, item: &Shape, go_type: &str, items: &mut [Value], frame: &Frame<'_>) -> Stop {
        let item_type = go_type.strip_prefix("[]").unwrap_or_default();
        for (at, value) in items.iter_mut().enumerate() {
            self.in_place(item, item_type, value, &frame.then(Step::Index(at)))?;
        }
        Ok(())
    }

    fn entries(&mut self, shape: &Shape, go_type: &str, entries: &mut Map, frame: &Frame<'_>) -> Stop {
        let value_type = go_type.split_once(']').map_or("", |(_, value_type)| value_type);
        for (key, value) in entries.iter_mut() {
            self.in_place(shape, value_type, value, &frame.then(Step::Key(key)))?;
        }
        sort(entries);
        Ok(())
    }

    /// Values without parts, and values of a wrong type.
    fn leaf(&mut self, shape: &Shape, go_type: &str, value: &mut Value, frame: &Frame<'_>) -> Stop {
        match (shape, &mut *value) {
            (Shape::String, Value::String(_)) | (Shape::Bool, Value::Bool(_)) | (Shape::Int64, Value::Int(_)) => Ok(()),
            (Shape::Int32, Value::Int(number)) if i32::try_from(*number).is_ok() => Ok(()),
            (_, Value::Null) => {
                *value = zero(self.schema, shape);
                Ok(())
            }
            (Shape::Quantity, _) => leaf::quantity(value),
            (Shape::IntOrString, _) => leaf::int_or_string(value, frame),
            (Shape::Time, _) => leaf::time(value, frame, false),
            (Shape::MicroTime, _) => leaf::time(value, frame, true),
            (Shape::Bytes, Value::String(_)) => {
                if let Err(error) = leaf::bytes(value) {
                    self.saved(error);
                    *value = Value::Null;
                }
                Ok(())
            }
            (Shape::Bytes, Value::Array(items)) => {
                let (text, wrong) = leaf::bytes_of_numbers(items, frame);
                wrong.into_iter().for_each(|error| self.saved(error));
                *value = text;
                Ok(())
            }
            (Shape::Float64, Value::Int(_) | Value::Float(_)) => {
                leaf::float(value);
                Ok(())
            }
            _ => {
                self.mismatched(shape, go_type, value, frame);
                Ok(())
            }
        }
    }

    #[cold]
    fn mismatched(&mut self, shape: &Shape, go_type: &str, value: &mut Value, frame: &Frame<'_>) {
        if self.mismatch.is_none() {
            let found = leaf::described(value, shape);
            let type_name = if go_type.is_empty() { type_name(self.schema, shape) } else { go_type.to_owned() };
            self.saved(frame.mismatch(&found, &type_name));
        }
        *value = zero(self.schema, shape);
    }

    fn saved(&mut self, error: String) {
        self.mismatch.get_or_insert(error);
    }

    /// Decodes a struct's fields: unknown ones dropped, the others in order, always-written ones added.
    fn fields(&mut self, of: &Struct, fields: &mut Map, frame: &Frame<'_>) -> Stop {
        let entries = fields.entries_mut();
        let first = self.places.len();
        let mut guess = 0;
        let mut kept = 0;
        for at in 0..entries.len() {
            let Some(place) = self.place(of, &entries[at].0, &mut guess, frame) else { continue };
            let field = &of.fields()[place];
            if self.field(of, field, &mut entries[at].1, frame)? {
                entries[at].0 = field.name.clone();
                entries.swap(kept, at);
                self.sort_in(first, place, &mut entries[..=kept]);
                kept += 1;
            }
        }
        entries.truncate(kept);
        self.add_always_written(of, first, entries);
        self.places.truncate(first);
        Ok(())
    }

    /// Moves the last entry to where its place belongs.
    fn sort_in(&mut self, first: usize, place: usize, entries: &mut [(Key, Value)]) {
        let place = place as u16;
        let places = &self.places[first..];
        if places.last().is_none_or(|&before| before < place) {
            self.places.push(place);
            return;
        }
        let at = places.partition_point(|&before| before < place);
        self.places.insert(first + at, place);
        entries[at..].rotate_right(1);
    }

    /// Decodes a field's value; false if the field is left out.
    fn field(&mut self, of: &Struct, field: &Field, value: &mut Value, frame: &Frame<'_>) -> Stop<bool> {
        if !value.is_null() {
            self.in_place(&field.shape, &field.go_type, value, &frame.then(Step::Field(of, field)))?;
            let kept = !is_omitted(field, value);
            if kept
                && self.through_protobuf
                && is_empty(value)
                && matches!(field.shape, Shape::Array(_) | Shape::Map(_))
            {
                *value = Value::Null;
            }
            return Ok(kept);
        }
        if field.pointer || !field.is_always_written() {
            // As if it had not come; a pointer that is always written is added at the end.
            return Ok(false);
        }
        *value = zero_field(self.schema, field);
        Ok(true)
    }

    fn add_always_written(&mut self, of: &Struct, first: usize, entries: &mut Vec<(Key, Value)>) {
        for place in of.always() {
            if let Err(at) = self.places[first..].binary_search(&(place as u16)) {
                let field = &of.fields()[place];
                entries.insert(at, (field.name.clone(), zero_field(self.schema, field)));
                self.places.insert(first + at, place as u16);
            }
        }
    }

    /// Where a name stands in the struct. Fields that come in the schema's order are found at the first guess.
    fn place(&mut self, of: &Struct, name: &str, guess: &mut usize, frame: &Frame<'_>) -> Option<usize> {
        if of.fields().get(*guess).is_some_and(|field| is_same(&field.name, name)) {
            *guess += 1;
            return Some(*guess - 1);
        }
        match of.position(name) {
            Some(place) => {
                *guess = place + 1;
                Some(place)
            }
            None => {
                if self.reports && self.has_room() {
                    self.report(frame.path_of(name));
                }
                None
            }
        }
    }

    /// Whether more unknown fields are to be told of. Paths may be as long as the text.
    fn has_room(&self) -> bool {
        let told: usize = self.unknown.iter().map(String::len).sum();
        self.unknown.len() < super::STRICT_ERRORS_MAX && told < super::STRICT_ERRORS_BYTES_MAX
    }

    #[cold]
    fn report(&mut self, path: String) {
        if !self.unknown.contains(&path) {
            self.unknown.push(path);
        }
    }
}

fn sort(entries: &mut Map) {
    let sorted = entries.entries_mut().is_sorted_by(|(a, _), (b, _)| a <= b);
    if !sorted {
        entries.sort();
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Whether Go's encoder leaves a field with this value out.
pub(crate) fn is_omitted(field: &Field, value: &Value) -> bool {
    match field.omit {
        Omit::Never => false,
        _ if field.pointer => false,
        Omit::Empty if field.shape.is_go_struct() => false,
        Omit::Empty | Omit::Zero => match value {
            Value::Null => true,
            Value::Bool(set) => !set,
            Value::Int(number) => *number == 0,
            Value::Float(number) => *number == 0.0,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Json(text) => matches!(text.as_str(), "{}" | "[]"),
        },
    }
}

/// What Go writes for a field that was not set.
pub(crate) fn zero_field(schema: &Schema, field: &Field) -> Value {
    if field.pointer { Value::Null } else { zero(schema, &field.shape) }
}

/// What Go writes for a type's zero value.
pub(crate) fn zero(schema: &Schema, shape: &Shape) -> Value {
    match shape {
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::IntOrString => Value::Int(0),
        Shape::String => Value::from(""),
        Shape::Quantity => Value::from("0"),
        Shape::Struct(id) => zero_struct(schema, *id),
        Shape::Bytes | Shape::Time | Shape::MicroTime | Shape::Raw(_) | Shape::Array(_) | Shape::Map(_) => Value::Null,
    }
}

pub(super) fn zero_struct(schema: &Schema, id: StructId) -> Value {
    let of = schema.get(id);
    let mut fields = Map::new();
    for place in of.always() {
        let field = &of.fields()[place];
        fields.push_unchecked(field.name.clone(), zero_field(schema, field));
    }
    Value::Object(fields)
}

/// The Go type of a shape, where no name of its own is known.
fn type_name(schema: &Schema, shape: &Shape) -> String {
    match shape {
        Shape::Bool => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Float64 => "float64".to_owned(),
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Raw(_) => "runtime.RawExtension".to_owned(),
        Shape::Struct(id) => schema.get(*id).go_type().to_owned(),
        Shape::Array(array) => format!("[]{}", type_name(schema, &array.item)),
        Shape::Map(map) => format!("map[string]{}", type_name(schema, &map.value)),
    }
}

/// Whether a path leads to a field of the typed object: what lies in unknown fields, or in types
/// that read their own JSON, is not looked at for duplicates.
pub(super) fn is_typed(schema: &Schema, root: StructId, path: &str) -> bool {
    let mut shape = Shape::Struct(root);
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (Some((_, after)), Shape::Array(array)) = (after.split_once(']'), &shape) else { return false };
            (rest, shape) = (after, array.item.clone());
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        match &shape {
            Shape::Struct(id) => {
                let (name, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
                let Some(field) = schema.get(*id).field(name) else { return false };
                (rest, shape) = (after, field.shape.clone());
            }
            // Keys may contain anything; the rest of the path is not taken apart.
            Shape::Map(_) => return true,
            _ => return false,
        }
    }
    true
}
