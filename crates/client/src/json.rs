//! Trees from JSON and back, and edits of stored bytes.

use api::codec::json;
use api::value::Value;
use bytes::Bytes;
use serde::Serialize;

use crate::error::ClientError;

/// The tree of a JSON text.
///
/// # Errors
/// [`ClientError::Decode`] if it is no JSON.
pub fn parse(bytes: &[u8]) -> Result<Value, ClientError> {
    json::parse(bytes).map_err(|error| ClientError::decode("JSON", error))
}

/// A tree's JSON text.
pub fn write(value: &Value) -> Bytes {
    json::to_vec(value).into()
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
