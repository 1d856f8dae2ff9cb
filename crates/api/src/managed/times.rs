//! Times of entries that a write which changes nothing else would move.

use super::element::equal;
use super::update::entries;
use super::zip;
use crate::value::{Map, Value};

/// Gives the entries their old times back if nothing but times distinguishes the objects, so that
/// the write changes nothing. Called with the object that is about to be stored.
///
/// Upstream: `IgnoreManagedFieldsTimestampsTransformer`.
pub fn keep_times_if_unchanged(old: &Value, new: &mut Value) {
    let (Some(before), Some(after)) = (entries(old).as_array(), entries(new).as_array()) else { return };
    let time = |entry: &Value| entry.get("time").clone();
    let moved = before.len() == after.len() && before.iter().zip(after).any(|(a, b)| time(a) != time(b));
    // What mostly distinguishes objects comes first. Who writes unconditionally sends no revision.
    let same = moved
        && same_without(old.get("metadata"), new.get("metadata"), &["managedFields", "resourceVersion"])
        && before.iter().zip(after).all(|(a, b)| same_without(a, b, &["time"]))
        && same_without(old, new, &["metadata"]);
    if !same {
        return;
    }
    let before = before.to_vec();
    let Some(Value::Array(after)) = new.at_mut("metadata.managedFields") else { return };
    for (entry, old) in after.iter_mut().zip(before) {
        match (old.get("time"), entry.as_object_mut()) {
            (Value::Null, Some(entry)) => drop(entry.remove("time")),
            (time, Some(entry)) => drop(entry.insert("time", time.clone())),
            _ => {}
        }
    }
}

/// Equality of all but some fields.
fn same_without(a: &Value, b: &Value, skipped: &[&str]) -> bool {
    static NOTHING: std::sync::LazyLock<Map> = std::sync::LazyLock::new(Map::new);
    let (a, b) = (a.as_object().unwrap_or(&NOTHING), b.as_object().unwrap_or(&NOTHING));
    zip(a, b).filter(|(key, _, _)| !skipped.contains(&key.as_str())).all(|(_, a, b)| match (a, b) {
        (Some(a), Some(b)) => equal(a, b),
        _ => false,
    })
}
