//! Structural schemas: every value has one known type, whatever else is said about it.
//!
//! Upstream: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema`.

use crate::field::{FieldErrors, Path};
use crate::kinds::read::{Read, is_empty};
use crate::value::Value;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Reports in the order of texts, as upstream does.
pub fn validate(schema: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let mut found = FieldErrors::new();
    invariants(schema, Level::Root, at, &mut found);
    complete(schema, Some(schema), &at.to_string(), &at.to_string(), &mut found);
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_cached_key(ToString::to_string);
    for error in found {
        errors.add(error);
    }
}

fn is_set(schema: &Value, extension: &str) -> bool {
    schema.get(extension).as_bool() == Some(true)
}

fn list<'a>(schema: &'a Value, field: &str) -> &'a [Value] {
    schema.get(field).as_array().unwrap_or_default()
}

// === Invariants ===

fn invariants(schema: &Value, level: Level, at: &Path<'_>, errors: &mut FieldErrors) {
    if schema.as_object().is_none() {
        return;
    }
    let kind = schema.str_at("type");
    let (embedded, preserve) = (is_set(schema, EMBEDDED), is_set(schema, PRESERVE));
    if kind == "array" && schema.get("items").is_null() {
        errors.required(&at.child("items"), "must be specified");
    }
    invariants(schema.get("items"), Level::Item, &at.child("items"), errors);
    for (name, property) in schema.entries("properties") {
        invariants(property, Level::Field, &at.child("properties").key(name), errors);
    }
    let (additional, at_additional) = (schema.get("additionalProperties"), at.child("additionalProperties"));
    if !additional.is_null() && level == Level::Root {
        errors.forbidden(&at_additional, "must not be used at the root");
    }
    invariants(additional, Level::Field, &at_additional, errors);
    if is_set(schema, INT_OR_STRING) {
        for extension in [PRESERVE, EMBEDDED] {
            if is_set(schema, extension) {
                errors.invalid(&at.child(extension), true, "must be false if x-kubernetes-int-or-string is true");
            }
        }
    }
    let any_of = is_int_or_string(list(schema, "anyOf"));
    let first_all_of = list(schema, "allOf").first().is_some_and(|first| is_int_or_string(list(first, "anyOf")));
    values(schema, any_of, first_all_of, at, errors);

    if embedded && kind != "object" {
        let message = "must be object if x-kubernetes-embedded-resource is true";
        match kind {
            "" => errors.required(&at.child("type"), message),
            kind => errors.invalid(&at.child("type"), kind, message),
        }
    } else if kind.is_empty() && !is_set(schema, INT_OR_STRING) && !preserve {
        let place = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        errors.required(&at.child("type"), format!("must not be empty {place}"));
    }
    if embedded && !additional.is_null() {
        errors.forbidden(&at_additional, "must not be used if x-kubernetes-embedded-resource is set");
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        errors.invalid(&at.child("type"), kind, "must be object at the root");
    }
    metadata(schema, level, &at.child("properties"), errors);
    if embedded && !preserve && !schema.filled("properties") {
        let message = "must not be empty if x-kubernetes-embedded-resource is true without \
                       x-kubernetes-preserve-unknown-fields";
        errors.required(&at.child("properties"), message);
    }
}

/// Of what every object has, only names can be restricted.
fn metadata(schema: &Value, level: Level, at: &Path<'_>, errors: &mut FieldErrors) {
    let checked = level == Level::Root || is_set(schema, EMBEDDED);
    let properties = schema.get("properties");
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let property = properties.get(name);
        let kind = property.str_at("type");
        if checked && !property.is_null() && kind != wanted {
            errors.invalid(&at.key(name).child("type"), kind, format!("must be {wanted}"));
        }
    }
    if let (Level::Root, Some(fields)) = (level, properties.get("metadata").as_object()) {
        let allowed = fields.iter().all(|(field, value)| match field.as_str() {
            "type" | "default" => true,
            "properties" => value
                .as_object()
                .is_none_or(|names| names.keys().all(|name| matches!(name.as_str(), "name" | "generateName"))),
            _ => is_empty(value) || value.as_bool() == Some(false),
        });
        if !allowed {
            let message =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.forbidden(&at.key("metadata"), message);
        }
    }
}

/// `anyOf: [{type: integer}, {type: string}]`.
fn is_int_or_string(any_of: &[Value]) -> bool {
    let is_just = |schema: &Value, kind: &str| {
        schema.str_at("type") == kind && schema.as_object().is_some_and(|fields| fields.len() == 1)
    };
    matches!(any_of, [first, second] if is_just(first, "integer") && is_just(second, "string"))
}

/// What is said about values beyond structure: in it, nothing structural.
fn values(schema: &Value, skip_any_of: bool, skip_first_any_of: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, one) in list(schema, "anyOf").iter().enumerate().filter(|_| !skip_any_of) {
        nested(one, false, &at.child("anyOf").index(index), errors);
    }
    for (index, one) in list(schema, "allOf").iter().enumerate() {
        nested(one, skip_first_any_of && index == 0, &at.child("allOf").index(index), errors);
    }
    for (index, one) in list(schema, "oneOf").iter().enumerate() {
        nested(one, false, &at.child("oneOf").index(index), errors);
    }
    nested(schema.get("not"), false, &at.child("not"), errors);
}

fn nested(schema: &Value, skip_any_of: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    if schema.as_object().is_none() {
        return;
    }
    values(schema, skip_any_of, false, at, errors);
    nested(schema.get("items"), false, &at.child("items"), errors);
    for (name, property) in schema.entries("properties") {
        nested(property, false, &at.child("properties").key(name), errors);
    }
    for (field, wanted) in [
        ("type", "empty"),
        ("additionalProperties", "undefined"),
        ("default", "undefined"),
        ("title", "empty"),
        ("description", "empty"),
        ("nullable", "false"),
        (PRESERVE, "false"),
        (EMBEDDED, "false"),
        (INT_OR_STRING, "false"),
        ("x-kubernetes-list-map-keys", "empty"),
        ("x-kubernetes-list-type", "undefined"),
        ("x-kubernetes-map-type", "undefined"),
        ("x-kubernetes-validations", "empty"),
    ] {
        let value = schema.get(field);
        let absent = match wanted {
            "undefined" => value.is_null(),
            _ => is_empty(value) || value.as_bool() == Some(false),
        };
        if !absent {
            errors.forbidden(&at.child(field), format!("must be {wanted} to be structural"));
        }
    }
    if !schema.get("properties").get("metadata").is_null() {
        let at = at.child("properties");
        errors.forbidden(&at.key("metadata"), "must not be specified in a nested context");
    }
}

// === Completeness ===

/// Whatever is said about a value, its structure has to be known.
fn complete(values: &Value, structure: Option<&Value>, at: &str, said_at: &str, errors: &mut FieldErrors) {
    let each = |one: &Value, said_at: String, errors: &mut FieldErrors| {
        complete_nested(one, structure, at, &said_at, errors);
    };
    each(values.get("not"), format!("{said_at}.not"), errors);
    for field in ["allOf", "anyOf", "oneOf"] {
        for (index, one) in list(values, field).iter().enumerate() {
            each(one, format!("{said_at}.{field}[{index}]"), errors);
        }
    }
}

fn complete_nested(values: &Value, structure: Option<&Value>, at: &str, said_at: &str, errors: &mut FieldErrors) {
    if values.as_object().is_none() {
        return;
    }
    let Some(schema) = structure.filter(|schema| schema.as_object().is_some()) else {
        return errors.required(&Path::new(at), format!("because it is defined in {said_at}"));
    };
    complete(values, structure, at, said_at, errors);
    let below = |path: &str, step: &str| format!("{path}.{step}");
    complete_nested(
        values.get("items"),
        Some(schema.get("items")),
        &below(at, "items"),
        &below(said_at, "items"),
        errors,
    );
    for (name, property) in values.entries("properties") {
        let step = format!("properties[{name}]");
        let found = schema.get("properties").get(name);
        complete_nested(property, Some(found), &below(at, &step), &below(said_at, &step), errors);
    }
}
