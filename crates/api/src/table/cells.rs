//! Cells that many tables share.

use jiff::Timestamp;

use super::age;
use crate::selector::LabelSelector;
use crate::value::Value;

pub const NONE: &str = "<none>";
pub const UNSET: &str = "<unset>";
/// Items of a list before `+ n more...`.
const SHOWN: usize = 3;

pub fn name(object: &Value) -> Value {
    object.str_at("metadata.name").into()
}

pub fn age(object: &Value, now: Timestamp) -> Value {
    age::since(object.at("metadata.creationTimestamp"), now).into()
}

/// A text field, or what stands for its absence.
pub fn or<'a>(object: &'a Value, path: &str, absent: &'a str) -> &'a str {
    match object.str_at(path) {
        "" => absent,
        text => text,
    }
}

/// A pointer to a text: what is set shows, even empty.
pub fn pointer<'a>(object: &'a Value, path: &str, absent: &'a str) -> &'a str {
    object.at(path).as_str().unwrap_or(absent)
}

/// `a=b,c=d`.
pub fn labels(labels: &Value) -> String {
    let mut pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flat_map(|map| map.iter())
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_unstable();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// A `LabelSelector` in selector notation.
pub fn selector(selector: &Value) -> String {
    match LabelSelector::from_object(selector).map(|selector| selector.to_string()) {
        Ok(text) if text.is_empty() => NONE.to_owned(),
        Ok(text) => text,
        Err(_) => "<error>".to_owned(),
    }
}

/// Names and images of the containers of the pod template at `path`.
pub fn containers(object: &Value, path: &str) -> [Value; 2] {
    let containers = object.at(path).array_at("spec.containers");
    ["name", "image"].map(|field| {
        let all: Vec<&str> = containers.iter().map(|container| container.str_at(field)).collect();
        all.join(",").into()
    })
}

/// The first items of a list, and how many there are beyond them.
pub fn shortened(items: &[String], absent: &str) -> String {
    let shown = items[..items.len().min(SHOWN)].join(",");
    match items.len() {
        0 => absent.to_owned(),
        count if count > SHOWN => format!("{shown} + {} more...", count - SHOWN),
        _ => shown,
    }
}

/// A number or a text, as Go prints an `IntOrString`.
pub fn int_or_string(value: &Value, absent: &str) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::String(text) => text.to_string(),
        _ => absent.to_owned(),
    }
}
