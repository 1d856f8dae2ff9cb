//! `kubectl apply` without `--server-side`: the annotation in which it keeps what it applied.
//!
//! Only the manager `kubectl` has to do with it: its first server-side apply takes over what the
//! annotation says it had applied, and every one keeps the annotation up to date.

use super::request::Request;
use super::set::Set;
use super::typed::{Duplicates, compare, to_set, validate};
use crate::codec::json;
use crate::meta::ANNOTATIONS_BYTES_MAX;
use crate::value::{Map, Value};

/// The manager name of kubectl's server-side apply.
pub(super) const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that client-side apply owns: those of the annotation that the live object still
/// has so. None where there is no annotation that says so.
pub(super) fn allowed(request: &Request<'_>, live: &Value) -> Option<Set> {
    let text = annotation(live).filter(|text| !text.is_empty())?;
    let of = request.root();
    validate(of, live, Duplicates::Forbidden).ok()?;
    let applied = json::parse(text.as_bytes()).ok()?;
    if applied.str_at("apiVersion") != request.api_version || applied.str_at("kind").is_empty() {
        return None;
    }
    validate(of, &applied, Duplicates::Forbidden).ok()?;
    let mut set = to_set(of, &applied);
    let difference = compare(of, &applied, live).ok()?;
    for changed in [&difference.modified, &difference.added, &difference.removed] {
        set.subtract(changed);
    }
    Some(set)
}

/// Writes the configuration into the annotation, if the object has one and it fits.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config.at_mut("metadata.annotations") {
        annotations.remove(ANNOTATION);
    }
    sort(&mut config);
    let mut text = json::to_vec(&config);
    text.push(b'\n');
    let Some(Value::Object(annotations)) = object.at_mut("metadata.annotations") else { return };
    annotations.insert(ANNOTATION, String::from_utf8_lossy(&text).into_owned());
    let bytes = |(key, value): (&crate::value::Key, &Value)| key.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(bytes).sum::<usize>() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object.at("metadata.annotations").get(ANNOTATION).as_str()
}

/// Sorts all objects by name, as Go writes maps.
fn sort(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            Map::sort(fields);
            fields.iter_mut().for_each(|(_, value)| sort(value));
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}
