//! What happens to every object before it is stored, around the rules of its kind.
//!
//! Upstream: `k8s.io/apiserver/pkg/registry/rest/{create,update}.go`.

use super::read::{copy, same};
use super::{Context, Generation, Rules, StatusRule};
use crate::field::{FieldErrors, Path};
use crate::meta::{self, NameRule};
use crate::value::Value;

const METADATA: Path<'static> = Path::new("metadata");

/// Prepares and validates a new object: status dropped, generation 1, the kind's rules.
/// Name, namespace, uid and creation time are already filled in. Gives warnings.
///
/// # Errors
/// What is invalid.
pub fn before_create(
    rules: &Rules,
    namespaced: bool,
    object: &mut Value,
    context: &Context<'_>,
) -> Result<Vec<String>, FieldErrors> {
    if rules.status == StatusRule::Separate {
        object.remove("status");
    }
    match rules.generation {
        Generation::None => {
            if let Some(metadata) = object.at_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("generation");
            }
        }
        _ => object.set("metadata.generation", 1i64),
    }
    (rules.prepare_create)(object, context);

    let mut errors = FieldErrors::new();
    if !matches!(rules.name, NameRule::Generic) {
        meta::validate(object.at("metadata"), namespaced, rules.name, &METADATA, &mut errors);
    }
    (rules.validate)(object, &mut errors);
    if errors.is_empty() && matches!(rules.name, NameRule::Generic | NameRule::Own(_)) {
        meta::validate(object.at("metadata"), namespaced, NameRule::Generic, &METADATA, &mut errors);
    }
    errors.dedup();
    errors.put_last(rules.declared);
    if !errors.is_empty() {
        return Err(errors);
    }
    let warnings = (rules.warnings)(object, None);
    (rules.canonicalize)(object);
    Ok(warnings)
}

/// Prepares and validates an update through the main resource: status stays, the generation
/// moves where the kind says so. Gives warnings.
///
/// # Errors
/// What is invalid.
pub fn before_update(
    rules: &Rules,
    namespaced: bool,
    new: &mut Value,
    old: &Value,
    context: &Context<'_>,
) -> Result<Vec<String>, FieldErrors> {
    copy(new, old, "metadata.generation");
    if rules.status != StatusRule::None {
        copy(new, old, "status");
    }
    (rules.prepare_update)(new, old, context);
    if moves(rules.generation, new, old) {
        new.set("metadata.generation", old.i64_at("metadata.generation").unwrap_or_default() + 1);
    }
    keep_system_fields(new, old);

    let mut errors = common_fields(namespaced, new, old);
    (rules.validate_update)(new, old, &mut errors);
    finish(rules, new, old, errors)
}

/// Prepares and validates a write through a subresource: `status`, or another of the kind's.
/// A subresource without rules of its own is taken as `status`.
///
/// # Errors
/// What is invalid.
pub fn before_subresource_update(
    rules: &Rules,
    subresource: &str,
    namespaced: bool,
    new: &mut Value,
    old: &Value,
    context: &Context<'_>,
) -> Result<Vec<String>, FieldErrors> {
    let subresource = rules.subresource(subresource).unwrap_or(&super::Subresource::STATUS);
    copy(new, old, "metadata.generation");
    (subresource.prepare)(new, old, context);
    if subresource.generation && moves(rules.generation, new, old) {
        new.set("metadata.generation", old.i64_at("metadata.generation").unwrap_or_default() + 1);
    }
    keep_system_fields(new, old);

    let mut errors = common_fields(namespaced, new, old);
    (subresource.validate)(new, old, &mut errors);
    errors.dedup();
    errors.put_last(rules.declared);
    if !errors.is_empty() {
        return Err(errors);
    }
    (rules.canonicalize)(new);
    Ok(Vec::new())
}

fn finish(rules: &Rules, new: &mut Value, old: &Value, mut errors: FieldErrors) -> Result<Vec<String>, FieldErrors> {
    errors.dedup();
    errors.put_last(rules.declared);
    if !errors.is_empty() {
        return Err(errors);
    }
    let warnings = (rules.warnings)(new, Some(old));
    (rules.canonicalize)(new);
    Ok(warnings)
}

fn common_fields(namespaced: bool, new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    meta::validate(new.at("metadata"), namespaced, NameRule::PathSegment, &METADATA, &mut errors);
    meta::validate_update(new.at("metadata"), old.at("metadata"), &METADATA, &mut errors);
    errors
}

fn moves(generation: Generation, new: &Value, old: &Value) -> bool {
    let differs = |path: &str| !same(new.at(path), old.at(path));
    match generation {
        Generation::None => false,
        Generation::Spec => differs("spec"),
        Generation::SpecOrAnnotations => differs("spec") || differs("metadata.annotations"),
        Generation::Content => content_differs(new, old),
        Generation::ContentOrLabels => content_differs(new, old) || differs("metadata.labels"),
    }
}

/// Whether anything but `metadata`, `status` and the type differs.
fn content_differs(new: &Value, old: &Value) -> bool {
    let strip = |object: &Value| {
        let mut content = object.as_object().cloned().unwrap_or_default();
        content.retain(|key, _| !matches!(key.as_str(), "kind" | "apiVersion" | "metadata" | "status"));
        Value::Object(content)
    };
    !same(&strip(new), &strip(old))
}

/// An update can't change what the system set.
fn keep_system_fields(new: &mut Value, old: &Value) {
    if new.str_at("metadata.uid").is_empty() {
        copy(new, old, "metadata.uid");
    }
    if !old.at("metadata.creationTimestamp").is_null() {
        copy(new, old, "metadata.creationTimestamp");
    }
    if !old.at("metadata.deletionTimestamp").is_null() {
        copy(new, old, "metadata.deletionTimestamp");
    }
    let grace = "metadata.deletionGracePeriodSeconds";
    if !old.at(grace).is_null() && new.at(grace).is_null() {
        copy(new, old, grace);
    }
}
