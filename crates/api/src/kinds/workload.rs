//! What controllers of pods share: selectors that match their template, replica counts, the
//! limits of rolling updates.
//!
//! Upstream: `pkg/apis/apps/validation`.

use super::pod::{template, warnings};
use super::read::Read;
use crate::field::{FieldErrors, Path};
use crate::meta::{self, non_negative};
use crate::names;
use crate::selector::LabelSelector;
use crate::value::Value;

pub const SPEC: Path<'static> = Path::new("spec");
pub const STATUS: Path<'static> = Path::new("status");

/// Reports each of the counts that is below zero.
pub fn counts(object: &Value, fields: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    for field in fields {
        non_negative(object.int(field), &at.child(field), errors);
    }
}

/// Reports a count that exceeds another.
pub fn at_most(object: &Value, field: &str, bound: &str, message: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if object.int(field) > object.int(bound) {
        errors.invalid(&at.child(field), object.int(field), message);
    }
}

/// A collision count never goes down: revisions' names are made of it.
pub fn collision_count(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let field = "status.collisionCount";
    if old.has(field) && new.int(field) < old.int(field) {
        errors.invalid(&Path::new(field), new.int(field), "cannot be decremented");
    }
}

/// `spec.selector`, which has to be there and select something; `kind` as messages name it.
pub fn required_selector(spec: &Value, kind: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let selector = spec.at("selector");
    if selector.is_null() {
        return errors.required(at, "");
    }
    meta::label_selector(selector, at, errors);
    if !selector.filled("matchLabels") && !selector.filled("matchExpressions") {
        errors.invalid(at, selector, format!("empty selector is invalid for {kind}"));
    }
}

/// The template's labels must satisfy the selector, or pods would be made for ever. Says
/// whether the selector can be read at all.
pub fn selector_matches_template(
    selector: &Value,
    template: &Value,
    at_template: &Path<'_>,
    errors: &mut FieldErrors,
) -> bool {
    let Ok(selector) = LabelSelector::from_object(selector) else { return false };
    labels_match(&selector, template, at_template, errors);
    true
}

pub fn labels_match(selector: &LabelSelector, template: &Value, at_template: &Path<'_>, errors: &mut FieldErrors) {
    let labels = template.at("metadata.labels");
    if !selector.is_empty() && !selector.matches_labels(labels) {
        let message = "`selector` does not match template `labels`";
        errors.invalid(&at_template.child("metadata.labels"), labels, message);
    }
}

/// The template of pods that run for ever.
pub fn lasting_template(pod_template: &Value, kind: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    template::validate(pod_template, at, errors);
    always_restarts(pod_template, kind, at, errors);
}

pub fn always_restarts(pod_template: &Value, kind: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let policy = pod_template.str_at("spec.restartPolicy");
    if policy != "Always" {
        errors.not_supported(&at.child("spec.restartPolicy"), policy, &["Always"]);
    }
    if pod_template.has("spec.activeDeadlineSeconds") {
        let message = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&at.child("spec.activeDeadlineSeconds"), message);
    }
}

// === Numbers or percentages ===

/// A whole number from 0 on, or a percentage.
pub fn int_or_percent(value: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match value {
        Value::String(text) => errors.invalid_each(at, text, names::percent(text)),
        other => non_negative(other.as_i64().unwrap_or_default(), at, errors),
    }
}

pub fn at_most_100_percent(value: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if percent(value).is_some_and(|percent| percent > 100) {
        errors.invalid(at, value, "must not be greater than 100%");
    }
}

/// The number, also of a percentage.
pub fn amount(value: &Value) -> i64 {
    percent(value).or(value.as_i64()).unwrap_or_default()
}

fn percent(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

// === Warnings ===

/// Names of controllers end up in hostnames of pods.
pub fn name_warning(object: &Value) -> Option<String> {
    let complaints = names::dns1123_label(object.str_at("metadata.name"));
    (!complaints.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
             label is recommended: [{}]",
            complaints.join(" ")
        )
    })
}

/// Warnings about the template at `path`: at creation, and where the generation moved.
pub fn template_warnings(new: &Value, old: Option<&Value>, path: &str) -> Vec<String> {
    let moved = old.is_none_or(|old| old.int("metadata.generation") != new.int("metadata.generation"));
    if !moved {
        return Vec::new();
    }
    warnings::warnings(new.at(path), &Path::new(path), true)
}
