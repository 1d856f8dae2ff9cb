//! Writing parts of typed objects into trees.

use api::value::Value;
use client::{ClientError, json};
use jiff::Timestamp;

/// Sets a count as Go writes one that is `omitempty`: zero is absent.
pub fn set_count(tree: &mut Value, path: &str, count: i64) {
    if count == 0 {
        tree.remove(path);
    } else {
        tree.set(path, count);
    }
}

/// Sets what is there, removes what is not.
pub fn set_option(tree: &mut Value, path: &str, value: Option<impl Into<Value>>) {
    match value {
        Some(value) => tree.set(path, value),
        None => drop(tree.remove(path)),
    }
}

/// Sets a typed list; an empty one is absent.
///
/// # Errors
/// [`ClientError::Decode`] for what JSON can't express.
pub fn set_list<T: serde::Serialize>(tree: &mut Value, path: &str, list: &[T]) -> Result<(), ClientError> {
    if list.is_empty() {
        tree.remove(path);
    } else {
        tree.set(path, json::to_tree(&list)?);
    }
    Ok(())
}

/// A time as the API writes it.
pub fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
