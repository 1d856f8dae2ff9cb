//! Reading and defaulting trees the way Go reads its structs: what is absent is zero.

use crate::schema::{Field, Schema, Shape, StructId};
use crate::value::{Key, Value};

/// Reads at dotted paths, with Go's zero values for what is absent.
pub trait Read {
    /// Whether there is something, not null: a set pointer.
    fn has(&self, path: &str) -> bool;
    /// Whether a non-empty string, list, map or object is there.
    fn filled(&self, path: &str) -> bool;
    fn flag(&self, path: &str) -> bool;
    fn int(&self, path: &str) -> i64;
    fn len_at(&self, path: &str) -> usize;
    fn strings<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a str>;
    /// A map's entries, none where there is no map.
    fn entries<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a Key, &'a Value)>;
    /// An object's field by a name that may hold dots (labels, resources).
    fn entry<'a>(&'a self, path: &str, key: &str) -> &'a Value;
}

impl Read for Value {
    fn has(&self, path: &str) -> bool {
        !self.at(path).is_null()
    }

    fn filled(&self, path: &str) -> bool {
        !is_empty(self.at(path))
    }

    fn flag(&self, path: &str) -> bool {
        self.at(path).as_bool().unwrap_or_default()
    }

    fn int(&self, path: &str) -> i64 {
        self.i64_at(path).unwrap_or_default()
    }

    fn len_at(&self, path: &str) -> usize {
        match self.at(path) {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }

    fn strings<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a str> {
        self.array_at(path).iter().map(|item| item.as_str().unwrap_or_default())
    }

    fn entries<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        self.at(path).as_object().into_iter().flat_map(|map| map.iter())
    }

    fn entry<'a>(&'a self, path: &str, key: &str) -> &'a Value {
        self.at(path).get(key)
    }
}

/// Null, `""`, `[]` or `{}`.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Upstream's semantic equality: an absent list, map or struct equals an empty one.
/// Scalars that Go would leave out are expected to be left out of both.
pub fn same(a: &Value, b: &Value) -> bool {
    let absent = |value: &Value| !matches!(value, Value::String(_)) && is_empty(value);
    match (a, b) {
        // Mostly nothing distinguishes them, which shows faster than that nothing of weight does.
        _ if a == b => true,
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(key, value)| y.get(key).map_or_else(|| absent_deep(value), |theirs| same(value, theirs)))
                && y.iter().all(|(key, value)| x.contains_key(key) || absent_deep(value))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        _ if absent(a) => absent_deep(b),
        _ if absent(b) => absent_deep(a),
        _ => false,
    }
}

/// Absent, or a struct of which every field is.
fn absent_deep(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(absent_deep),
        _ => false,
    }
}

/// Sets what is absent or null.
pub fn default_to(object: &mut Value, path: &str, value: impl Into<Value>) {
    if object.at(path).is_null() {
        object.set(path, value);
    }
}

/// Sets what is absent, `""` or 0: how upstream defaults fields that are no pointers.
pub fn default_zero(object: &mut Value, path: &str, value: impl Into<Value>) {
    let current = object.at(path);
    if current.is_null() || current.as_str() == Some("") || current.as_i64() == Some(0) {
        object.set(path, value);
    }
}

/// Calls `each` with every item of a list, if there is one.
pub fn each_mut(object: &mut Value, path: &str, each: impl FnMut(&mut Value)) {
    if let Some(items) = object.at_mut(path).and_then(Value::as_array_mut) {
        items.iter_mut().for_each(each);
    }
}

/// Calls `with` with what is at the path, if it is there and not null.
pub fn with_mut(object: &mut Value, path: &str, with: impl FnOnce(&mut Value)) {
    if let Some(value) = object.at_mut(path).filter(|value| !value.is_null()) {
        with(value);
    }
}

/// Copies what is at a path from another object; absent there means absent here.
pub fn copy(to: &mut Value, from: &Value, path: &str) {
    match from.at(path) {
        Value::Null => {
            to.remove(path);
        }
        value => to.set(path, value.clone()),
    }
}

/// A struct as upstream's messages show it: with the names of its internal Go type, zero values
/// included. Each field is named in Go and in JSON, with its zero.
pub fn as_internal(object: &Value, fields: &[(&str, &str, Value)]) -> Value {
    let field = |(go, json, zero): &(&str, &str, Value)| {
        let value = object.at(json);
        ((*go).to_owned(), if value.is_null() { zero.clone() } else { value.clone() })
    };
    fields.iter().map(field).collect::<crate::value::Map>().into()
}

/// The same of a whole tree without maps, whose Go names only start with a capital.
pub fn with_go_names(value: &Value) -> Value {
    let go_name = |key: &Key| key[..1].to_uppercase() + &key[1..];
    match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (go_name(key), with_go_names(value))).collect::<crate::value::Map>().into()
        }
        Value::Array(items) => items.iter().map(with_go_names).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// A struct of a built-in type as upstream's messages show it: by its Go names in Go's order, zeros included.
pub fn as_go(value: &Value, schema: &Schema, id: StructId) -> Value {
    let field = |field: &Field| {
        let name = field.name[..1].to_uppercase() + &field.name[1..];
        (name, shaped(value.get(&field.name), &field.shape, field.pointer, schema))
    };
    schema.get(id).fields().iter().map(field).collect::<crate::value::Map>().into()
}

fn shaped(value: &Value, shape: &Shape, pointer: bool, schema: &Schema) -> Value {
    match (value, shape) {
        (Value::Null, _) if pointer => Value::Null,
        (Value::Null | Value::Object(_), Shape::Struct(id)) => as_go(value, schema, *id),
        (Value::Null, Shape::Bool) => false.into(),
        (Value::Null, Shape::Int32 | Shape::Int64) => 0i64.into(),
        (Value::Null, Shape::String) => "".into(),
        (Value::Array(items), Shape::Array(array)) => {
            items.iter().map(|item| shaped(item, &array.item, false, schema)).collect::<Vec<_>>().into()
        }
        (Value::Object(map), Shape::Map(of)) => {
            let each = map.iter().map(|(key, value)| (key.clone(), shaped(value, &of.value, false, schema)));
            each.collect::<crate::value::Map>().into()
        }
        (other, _) => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &[(&str, Value)]) -> Value {
        fields.iter().map(|(key, value)| (*key, value.clone())).collect::<crate::value::Map>().into()
    }

    #[test]
    fn empty_equals_absent_but_zero_does_not() {
        let absent = Value::object();
        assert!(same(&absent, &object(&[("resources", object(&[("limits", Value::object())]))])));
        assert!(same(&absent, &object(&[("a", Value::Array(vec![])), ("b", Value::Null)])));
        assert!(!same(&absent, &object(&[("replicas", 0i64.into())])));
        assert!(!same(&object(&[("a", 1i64.into())]), &object(&[("a", 2i64.into())])));
    }
}
