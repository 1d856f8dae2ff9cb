//! Trees from JSON and back, and edits of stored bytes.

use api::value::{Map, Value};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::error::ClientError;

/// The tree of a JSON text.
///
/// # Errors
/// [`ClientError::Decode`] if it is no JSON.
pub fn parse(bytes: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice::<Tree>(bytes).map(|tree| tree.0).map_err(|error| ClientError::decode("JSON", error))
}

/// A tree's JSON text.
pub fn write(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(512);
    // Writing to memory can't fail, and every tree has string keys.
    let _ = serde_json::to_writer(&mut out, &Node(value));
    out.into()
}

/// The tree of anything that serde can write: a status built from typed structs, put into the tree of an object.
///
/// # Errors
/// [`ClientError::Decode`] for what JSON can't express (a map whose keys are no strings).
pub fn to_tree<T: Serialize>(value: &T) -> Result<Value, ClientError> {
    let text = serde_json::to_vec(value).map_err(|error| ClientError::decode("a typed value", error))?;
    parse(&text)
}

/// The typed form of (a part of) a tree.
///
/// # Errors
/// [`ClientError::Decode`] if the tree has another shape.
pub fn from_tree<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, ClientError> {
    serde_json::from_slice(&write(value)).map_err(|error| ClientError::decode(std::any::type_name::<T>(), error))
}

/// An object's tree after `change`: how every update is made, so that fields which a view doesn't show survive.
/// The resourceVersion in the bytes stays, so a conflict is seen.
///
/// # Errors
/// [`ClientError::Decode`] if the bytes are no JSON.
pub fn edit(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Result<Value, ClientError> {
    let mut tree = parse(bytes)?;
    change(&mut tree);
    Ok(tree)
}

/// A string field of an object's `metadata`, without reading the rest.
pub fn metadata_str(bytes: &[u8], field: &str) -> Option<String> {
    use sonic_rs::JsonValueTrait;
    let found = sonic_rs::get_from_slice(bytes, &["metadata", field]).ok()?;
    found.as_str().map(str::to_owned)
}

struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Tree(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Tree(value))) = fields.next_entry::<smol_str::SmolStr, Tree>()? {
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

struct Node<'a>(&'a Value);

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(&Node(item)))?;
                seq.end()
            }
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(key, value)| map.serialize_entry(key.as_str(), &Node(value)))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        let text = r#"{"a":[1,-2.5,true,null,"x\n"],"b":{"c":{}}}"#;
        assert_eq!(write(&parse(text.as_bytes()).unwrap()), text);
    }

    #[test]
    fn an_edit_keeps_unknown_fields() {
        let tree = edit(br#"{"metadata":{"resourceVersion":"7"},"new":1}"#, |tree| tree.set("spec.x", 2i64)).unwrap();
        assert_eq!(write(&tree), r#"{"metadata":{"resourceVersion":"7"},"new":1,"spec":{"x":2}}"#);
    }

    #[test]
    fn metadata_is_read_alone() {
        let bytes = br#"{"spec":{"metadata":{"uid":"no"}},"metadata":{"uid":"yes","a\"b":1}}"#;
        assert_eq!(metadata_str(bytes, "uid").as_deref(), Some("yes"));
        assert_eq!(metadata_str(bytes, "name"), None);
    }
}
