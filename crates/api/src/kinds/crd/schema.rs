//! What a schema in OpenAPI v3 may say, beyond being structural.

use super::structural;
use crate::field::{FieldErrors, Path};
use crate::kinds::read::{Read, is_empty};
use crate::value::Value;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// What a root schema may hold if `status` is written on its own: nothing that ties it to the rest.
const ROOT_WITH_STATUS: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum \
                                MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items \
                                Properties ExternalDocs Example XPreserveUnknownFields XValidations]";
const NOT_AT_ROOT_WITH_STATUS: [&str; 23] = [
    "id",
    "$schema",
    "$ref",
    "nullable",
    "default",
    "enum",
    "maxProperties",
    "minProperties",
    "allOf",
    "oneOf",
    "anyOf",
    "not",
    "additionalProperties",
    "patternProperties",
    "dependencies",
    "additionalItems",
    "definitions",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-unions",
];
const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const LIST_MAP_KEYS: &str = "x-kubernetes-list-map-keys";

/// Where a schema stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    is_root: bool,
    in_metadata: bool,
    /// Why there may be no defaults here.
    no_defaults: Option<&'a str>,
}

/// Calls `each` with a schema and all within it.
pub fn each(schema: &Value, each_one: &mut dyn FnMut(&Value)) {
    if !matches!(schema, Value::Object(_)) {
        return;
    }
    each_one(schema);
    for field in ["not", "items", "additionalProperties", "additionalItems"] {
        each(schema.get(field), each_one);
    }
    for field in ["allOf", "anyOf", "oneOf", "items"] {
        schema.get(field).as_array().unwrap_or_default().iter().for_each(|one| each(one, each_one));
    }
    for field in ["properties", "patternProperties", "definitions", "dependencies"] {
        schema.entries(field).for_each(|(_, one)| each(one, each_one));
    }
}

/// A version's `schema`, or the one that all share.
pub fn validate(validation: &Value, has_status: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let schema = validation.get("openAPIV3Schema");
    if schema.is_null() {
        return;
    }
    let at = at.child("openAPIV3Schema");
    if has_status {
        root_with_status(schema, &at, errors);
    }
    if schema.flag("nullable") {
        errors.forbidden(&at.child("nullable"), "nullable cannot be true at the root");
    }
    structural::validate(schema, &at, errors);
    walk(schema, Place { is_root: true, in_metadata: false, no_defaults: None }, &at, errors);
}

fn root_with_status(schema: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let kind = schema.str_at("type");
    if !matches!(kind, "" | "object") {
        let message =
            r#"only "object" is allowed as the type at the root of the schema if the status subresource is enabled"#;
        return errors.invalid(&at.child("type"), kind, message);
    }
    let set = |field: &&str| !is_empty(schema.get(field)) && schema.get(field).as_bool() != Some(false);
    if NOT_AT_ROOT_WITH_STATUS.iter().any(set) {
        let message = format!(
            "only {ROOT_WITH_STATUS} fields are allowed at the root of the schema if the status subresource is enabled"
        );
        errors.invalid(at, schema, message);
    }
}

fn walk(schema: &Value, place: Place<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    if !matches!(schema, Value::Object(_)) {
        return;
    }
    itself(schema, place, at, errors);
    let inner = Place { is_root: false, ..place };
    let additional = schema.get("additionalProperties");
    if !additional.is_null() {
        let closes = additional.as_bool() == Some(false) || additional.as_object().is_some();
        if schema.filled("properties") && closes {
            let message = "additionalProperties and properties are mutual exclusive";
            errors.forbidden(&at.child("additionalProperties"), message);
        }
        let reason = "inside additionalProperties applying to object metadata";
        let no_defaults = if place.in_metadata { Some(reason) } else { place.no_defaults };
        walk(additional, Place { no_defaults, ..inner }, &at.child("additionalProperties"), errors);
    }
    for (name, property) in schema.entries("properties") {
        let is_meta = matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
        let meta_here =
            is_meta && (place.is_root || schema.get("x-kubernetes-embedded-resource").as_bool() == Some(true));
        let reason = format!("in top-level {name}");
        let no_defaults = if is_meta && place.is_root { Some(reason.as_str()) } else { place.no_defaults };
        let below = Place { is_root: false, in_metadata: place.in_metadata || meta_here, no_defaults };
        walk(property, below, &at.child("properties").key(name), errors);
    }
    walk(schema.get("not"), inner, &at.child("not"), errors);
    for list in ["allOf", "oneOf", "anyOf"] {
        for (index, one) in schema.get(list).as_array().unwrap_or_default().iter().enumerate() {
            walk(one, inner, &at.child(list).index(index), errors);
        }
    }
    walk(schema.get("items"), inner, &at.child("items"), errors);
    extensions(schema, at, errors);
    rules(schema, &at.child("x-kubernetes-validations"), errors);
}

/// The schema's own fields.
fn itself(schema: &Value, place: Place<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let kind = schema.str_at("type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.not_supported(&at.child("type"), kind, &TYPES);
    }
    if let Some(reason) = place.no_defaults.filter(|_| schema.has("default")) {
        errors.forbidden(&at.child("default"), format!("must not be set {reason}"));
    }
    for field in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if !is_empty(schema.get(field)) {
            errors.forbidden(&at.child(field), format!("{field} is not supported"));
        }
    }
    if kind == "null" {
        errors.forbidden(&at.child("type"), "type cannot be set to null, use nullable as an alternative");
    }
    if schema.get("items").as_array().is_some_and(|items| !items.is_empty()) {
        errors.forbidden(&at.child("items"), "items must be a schema object and not an array");
    }
    let embedded = "x-kubernetes-embedded-resource";
    if place.in_metadata && schema.get(embedded).as_bool() == Some(true) {
        errors.forbidden(&at.child(embedded), "must not be used inside of resource meta");
    }
    if schema.flag("uniqueItems") {
        let message = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&at.child("uniqueItems"), message);
    }
}

fn extensions(schema: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let preserve = "x-kubernetes-preserve-unknown-fields";
    if schema.get(preserve).as_bool() == Some(false) {
        errors.invalid(&at.child(preserve), false, "must be true or undefined");
    }
    let kind = schema.str_at("type");
    let wrong_type = |wanted: &str, extension: &str, errors: &mut FieldErrors| {
        let message = format!("must be {wanted} if {extension} is specified");
        match kind {
            "" => errors.required(&at.child("type"), message),
            kind => errors.invalid(&at.child("type"), kind, message),
        }
    };
    let (map_type, list_type) = (schema.get(MAP_TYPE).as_str(), schema.get(LIST_TYPE).as_str());
    if map_type.is_some() && kind != "object" {
        wrong_type("object", MAP_TYPE, errors);
    }
    if let Some(other) = map_type.filter(|map_type| !matches!(*map_type, "atomic" | "granular")) {
        errors.not_supported(&at.child(MAP_TYPE), other, &["atomic", "granular"]);
    }
    let items = schema.get("items");
    if list_type.is_some() && kind != "array" {
        wrong_type("array", LIST_TYPE, errors);
    } else if list_type == Some("set") && !items.is_null() {
        let message = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let nested = items.get(LIST_TYPE);
        match items.str_at("type") {
            "array" if !matches!(nested.as_str(), None | Some("atomic")) => {
                errors.invalid(&at.child("items").child(LIST_TYPE), nested, message);
            }
            "object" if items.get(MAP_TYPE).as_str() != Some("atomic") => {
                errors.invalid(&at.child("items").child(MAP_TYPE), nested, message);
            }
            _ => {}
        }
    }
    if let Some(other) = list_type.filter(|list_type| !matches!(*list_type, "atomic" | "set" | "map")) {
        errors.not_supported(&at.child(LIST_TYPE), other, &["atomic", "set", "map"]);
    }
    if schema.filled(LIST_MAP_KEYS) {
        let message = "must be map if x-kubernetes-list-map-keys is non-empty";
        match list_type {
            None => errors.required(&at.child(LIST_TYPE), message),
            Some("map") => {}
            Some(other) => errors.invalid(&at.child(LIST_TYPE), other, message),
        }
    }
    if list_type == Some("map") {
        keyed_list(schema, at, errors);
    }
    items_are_there(schema, at, errors);
}

/// A list whose items are told apart by keys.
fn keyed_list(schema: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let items = schema.get("items");
    let keys: Vec<&str> = schema.strings(LIST_MAP_KEYS).collect();
    if keys.is_empty() {
        errors.required(&at.child(LIST_MAP_KEYS), "must not be empty if x-kubernetes-list-type is map");
    }
    match items {
        Value::Null => {
            errors.required(&at.child("items"), "must have a schema if x-kubernetes-list-type is map");
        }
        Value::Array(_) => {
            let message = "must only have a single schema if x-kubernetes-list-type is map";
            errors.invalid(&at.child("items"), items, message);
        }
        _ if items.str_at("type") != "object" => {
            let message = "must be object if parent array's x-kubernetes-list-type is map";
            errors.invalid(&at.child("items.type"), items.str_at("type"), message);
        }
        _ => {
            for (index, key) in keys.iter().enumerate() {
                let property = items.get("properties").get(key);
                if property.is_null() {
                    let message = "entries must all be names of item properties";
                    errors.invalid(&at.child(LIST_MAP_KEYS), schema.get(LIST_MAP_KEYS), message);
                } else if matches!(property.str_at("type"), "array" | "object") {
                    let at = at.child("items.properties");
                    let message = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    errors.invalid(&at.key(key).child("type"), items.str_at("type"), message);
                }
                if keys[..index].contains(key) {
                    let message = "must not contain duplicate entries";
                    errors.invalid(&at.child(LIST_MAP_KEYS), schema.get(LIST_MAP_KEYS), message);
                }
            }
        }
    }
}

/// Items of sets and keyed lists are never null, nor are keys.
fn items_are_there(schema: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (items, list_type) = (schema.get("items"), schema.get(LIST_TYPE).as_str().unwrap_or_default());
    if items.as_object().is_none() || !matches!(list_type, "set" | "map") {
        return;
    }
    let at = at.child("items");
    if items.flag("nullable") {
        let message = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.forbidden(&at.child("nullable"), message);
    }
    if list_type != "map" {
        return;
    }
    for key in schema.strings(LIST_MAP_KEYS) {
        let property = items.get("properties").get(key);
        if property.is_null() {
            continue;
        }
        let at = at.child("properties");
        let at = at.key(key);
        if !items.strings("required").any(|required| required == key) && !property.has("default") {
            let message =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.required(&at.child("default"), message);
        }
        if property.flag("nullable") {
            let message = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&at.child("nullable"), message);
        }
    }
}

/// Rules in expressions, from outside.
fn rules(schema: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const REASONS: [&str; 4] =
        ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    let has_newlines = |text: &str| text.contains(['\n', '\r']);
    let list = schema.get("x-kubernetes-validations").as_array().unwrap_or_default();
    for (index, rule) in list.iter().enumerate() {
        let at = at.index(index);
        let (expression, message) = (rule.str_at("rule").trim(), rule.str_at("message"));
        if expression.is_empty() {
            errors.required(&at.child("rule"), "rule is not specified");
        } else if !message.is_empty() && message.trim().is_empty() {
            errors.invalid(&at.child("message"), message, "must be non-empty if specified");
        } else if has_newlines(message.trim()) {
            errors.invalid(&at.child("message"), message, "must not contain line breaks");
        } else if has_newlines(expression) && message.trim().is_empty() {
            errors.required(&at.child("message"), "message must be specified if rule contains line breaks");
        }
        let text = rule.str_at("messageExpression");
        if !text.is_empty() && text.trim().is_empty() {
            errors.required(&at.child("messageExpression"), "messageExpression must be non-empty if specified");
        }
        if let Some(reason) = rule.at("reason").as_str().filter(|reason| !REASONS.contains(reason)) {
            errors.not_supported(&at.child("reason"), reason, &REASONS);
        }
        let path = rule.str_at("fieldPath");
        if !path.is_empty() && path.trim().is_empty() {
            errors.invalid(&at.child("fieldPath"), path, "must be non-empty if specified");
        }
        if has_newlines(path) {
            errors.invalid(&at.child("fieldPath"), path, "must not contain line breaks");
        }
    }
}
