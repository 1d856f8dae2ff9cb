//! `ObjectMeta`: validation, and what rules need to know of it.
//!
//! Upstream: `k8s.io/apimachinery/pkg/api/validation/{objectmeta,generic}.go`,
//! `pkg/apis/meta/v1/validation`.

use crate::field::{FieldErrors, Path, go_quote, is_printable};
use crate::kinds::read::Read;
use crate::names;
use crate::value::Value;

/// Keys and values of all annotations together.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;
/// A field manager's name.
const MANAGER_BYTES_MAX: usize = 128;
/// The subresource of a managed fields entry.
const SUBRESOURCE_BYTES_MAX: usize = 256;
/// A condition's reason.
const REASON_BYTES_MAX: usize = 1 << 10;
/// A condition's message.
const MESSAGE_BYTES_MAX: usize = 32 << 10;

/// What upstream says of a field that may not change.
pub const IMMUTABLE: &str = "field is immutable";
/// What upstream says of a number below zero.
pub const NEGATIVE: &str = "must be greater than or equal to 0";

/// What the names of a kind may look like.
#[derive(Clone, Copy, Debug)]
pub enum NameRule {
    Subdomain,
    Label,
    /// A label that starts with a letter.
    Rfc1035Label,
    /// Anything that fits into a URL's path segment.
    PathSegment,
    /// The same, judged only where nothing else is wrong: upstream's kinds that leave their metadata to it.
    Generic,
    /// Rules of the kind's own, over name and whether more will be appended.
    Own(fn(&str, bool) -> names::Complaints),
}

// === impl NameRule ===

impl NameRule {
    /// What is wrong with a name, or with the prefix of one.
    pub fn complaints(self, name: &str, prefix: bool) -> names::Complaints {
        // A dash at a prefix's end is fine since something follows it; upstream cuts it off
        // together with the byte before it, so that the length is judged one short.
        let masked = match name.len() {
            2.. if prefix && name.ends_with('-') && name.is_char_boundary(name.len() - 2) => {
                Some(format!("{}a", &name[..name.len() - 2]))
            }
            _ => None,
        };
        let shown = masked.as_deref().unwrap_or(name);
        match self {
            NameRule::Subdomain => names::dns1123_subdomain(shown),
            NameRule::Label => names::dns1123_label(shown),
            NameRule::Rfc1035Label => names::dns1035_label(shown),
            NameRule::PathSegment | NameRule::Generic => names::path_segment(name, prefix),
            NameRule::Own(judge) => judge(name, prefix),
        }
    }
}

// === Validation of metadata ===

/// Metadata of a new object; the name is already generated.
pub fn validate(metadata: &Value, namespaced: bool, rule: NameRule, at: &Path<'_>, errors: &mut FieldErrors) {
    let generate_name = metadata.str_at("generateName");
    if !generate_name.is_empty() {
        errors.invalid_each(&at.child("generateName"), generate_name, rule.complaints(generate_name, true));
    }
    match metadata.str_at("name") {
        "" => errors.required(&at.child("name"), "name or generateName is required"),
        name => errors.invalid_each(&at.child("name"), name, rule.complaints(name, false)),
    }
    match (namespaced, metadata.str_at("namespace")) {
        (true, "") => errors.required(&at.child("namespace"), ""),
        (true, namespace) => {
            errors.invalid_each(&at.child("namespace"), namespace, NameRule::Label.complaints(namespace, false))
        }
        (false, "") => {}
        (false, _) => errors.forbidden(&at.child("namespace"), "not allowed on this type"),
    }
    non_negative(metadata.int("generation"), &at.child("generation"), errors);
    common(metadata, at, errors);
    finalizers(metadata, &at.child("finalizers"), errors);
}

/// Metadata of an update against what is stored.
pub fn validate_update(new: &Value, old: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if old.has("deletionTimestamp") {
        no_new_finalizers(new, old, &at.child("finalizers"), errors);
    }
    if new.str_at("resourceVersion").is_empty() {
        errors.invalid(&at.child("resourceVersion"), "", "must be specified for an update");
    }
    let generation = new.int("generation");
    non_negative(generation, &at.child("generation"), errors);
    if generation < old.int("generation") {
        errors.invalid(&at.child("generation"), generation, "must not be decremented");
    }
    for field in ["name", "namespace", "uid"] {
        if new.str_at(field) != old.str_at(field) {
            errors.invalid(&at.child(field), new.str_at(field), IMMUTABLE);
        }
    }
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        immutable(new.at(field), old.at(field), &at.child(field), errors);
    }
    common(new, at, errors);
}

/// Reports a change of a field that may not change.
pub fn immutable(new: &Value, old: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !crate::kinds::read::same(new, old) {
        errors.invalid(at, new, IMMUTABLE);
    }
}

/// As [`immutable`], without the value: how upstream's declarative validation has it.
pub fn fixed(new: &Value, old: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !crate::kinds::read::same(new, old) {
        errors.invalid(at, Value::Null, IMMUTABLE);
    }
}

/// Takes back what a write of the status subresource may not change in metadata, for kinds
/// young enough to be so strict.
pub fn keep_for_status(new: &mut Value, old: &Value) {
    for field in
        ["deletionTimestamp", "generation", "selfLink", "labels", "annotations", "finalizers", "ownerReferences"]
    {
        crate::kinds::read::copy(new, old, &format!("metadata.{field}"));
    }
}

/// Reports a number below zero.
pub fn non_negative(value: i64, at: &Path<'_>, errors: &mut FieldErrors) {
    if value < 0 {
        errors.invalid(at, value, NEGATIVE);
    }
}

fn common(metadata: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    labels(metadata.at("labels"), &at.child("labels"), errors);
    annotations(metadata.at("annotations"), &at.child("annotations"), errors);
    owner_references(metadata.at("ownerReferences"), &at.child("ownerReferences"), errors);
    managed_fields(metadata.array_at("managedFields"), &at.child("managedFields"), errors);
}

/// A map of labels.
pub fn labels(labels: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    for (key, value) in labels.as_object().into_iter().flat_map(|map| map.iter()) {
        label_key(key, at, errors);
        let value = value.as_str().unwrap_or_default();
        errors.invalid_each(at, value, names::label_value(value));
    }
}

/// One label's key.
pub fn label_key(key: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    errors.invalid_each(at, key, names::label_key(key));
}

/// A map of annotations: keys like labels' but in any case, all of it within 256 KiB.
pub fn annotations(annotations: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flat_map(|map| map.iter()) {
        errors.invalid_each(at, key, names::label_key(&key.to_lowercase()));
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS_BYTES_MAX {
        errors.too_long(at, ANNOTATIONS_BYTES_MAX);
    }
}

fn owner_references(references: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let mut controller: Option<String> = None;
    for (index, reference) in references.as_array().unwrap_or_default().iter().enumerate() {
        owner_reference(reference, &at.index(index), errors);
        if reference.flag("controller") {
            let this = format!("{}/{}", reference.str_at("kind"), reference.str_at("name"));
            match &controller {
                Some(first) => errors.invalid(
                    at,
                    references,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {this}"
                    ),
                ),
                None => controller = Some(this),
            }
        }
    }
}

fn owner_reference(reference: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let version = reference.str_at("apiVersion");
    if version.is_empty() {
        errors.required(&at.child("apiVersion"), "must not be empty");
    } else if !is_group_version(version) {
        errors.invalid(&at.child("apiVersion"), version, "must be <group>/<version> or <version>");
    }
    for field in ["kind", "name", "uid"] {
        if reference.str_at(field).is_empty() {
            errors.required(&at.child(field), "must not be empty");
        }
    }
    if version == "v1" && reference.str_at("kind") == "Event" {
        errors.invalid(at, reference, "/v1, Kind=Event is disallowed from being an owner");
    }
}

fn is_group_version(text: &str) -> bool {
    match text.split_once('/') {
        None => true,
        Some((_, version)) => !version.is_empty() && !version.contains('/'),
    }
}

fn finalizers(metadata: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    for finalizer in metadata.strings("finalizers") {
        errors.invalid_each(at, finalizer, names::label_key(finalizer));
    }
    let has = |name| metadata.strings("finalizers").any(|one| one == name);
    if has("orphan") && has("foregroundDeletion") {
        errors.invalid(at, metadata.at("finalizers"), "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// An object that is being deleted takes no further finalizers.
pub fn no_new_finalizers(new: &Value, old: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let mut added: Vec<&str> =
        new.strings("finalizers").filter(|one| old.strings("finalizers").all(|known| known != *one)).collect();
    added.sort_unstable();
    added.dedup();
    if !added.is_empty() {
        let quoted: Vec<String> = added.into_iter().map(go_quote).collect();
        errors.forbidden(
            at,
            format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                quoted.join(", ")
            ),
        );
    }
}

fn managed_fields(entries: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, entry) in entries.iter().enumerate() {
        let at = at.index(index);
        match entry.str_at("operation") {
            "Apply" | "Update" => {}
            "" => errors.required(&at.child("operation"), "must not be empty"),
            other => errors.not_supported(&at.child("operation"), other, &["Apply", "Update"]),
        }
        match entry.str_at("fieldsType") {
            "" | "FieldsV1" => {}
            other => errors.invalid(&at.child("fieldsType"), other, "must be `FieldsV1`"),
        }
        field_manager(entry.str_at("manager"), &at.child("manager"), errors);
        if entry.str_at("subresource").len() > SUBRESOURCE_BYTES_MAX {
            errors.too_long(&at.child("subresource"), SUBRESOURCE_BYTES_MAX);
        }
    }
}

/// The name of a field manager, in an object or as a request's parameter.
pub fn field_manager(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if name.len() > MANAGER_BYTES_MAX {
        errors.too_long(at, MANAGER_BYTES_MAX);
    }
    for (position, c) in name.char_indices().filter(|(_, c)| !is_printable(*c)) {
        errors.invalid(at, name, format!("invalid character U+{:04X} (at position {position})", c as u32));
    }
}

// === Other shared types of `meta/v1` ===

/// A `LabelSelector`; nothing where there is none.
pub fn label_selector(selector: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    labels(selector.at("matchLabels"), &at.child("matchLabels"), errors);
    let expressions = at.child("matchExpressions");
    for (index, expression) in selector.array_at("matchExpressions").iter().enumerate() {
        selector_requirement(expression, &expressions.index(index), errors);
    }
}

/// One of a label selector's `matchExpressions`.
pub fn selector_requirement(requirement: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let values = requirement.array_at("values");
    match requirement.str_at("operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&at.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.forbidden(&at.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
    label_key(requirement.str_at("key"), &at.child("key"), errors);
    for (index, value) in requirement.strings("values").enumerate() {
        errors.invalid_each(&at.child("values").index(index), value, names::label_value(value));
    }
}

/// A list of `metav1.Condition`.
pub fn conditions(conditions: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, condition) in conditions.iter().enumerate() {
        let kind = condition.str_at("type");
        if conditions[..index].iter().any(|earlier| earlier.str_at("type") == kind) {
            errors.duplicate(&at.index(index), kind);
        }
        self::condition(condition, &at.index(index), errors);
    }
}

/// One `metav1.Condition`.
pub fn condition(condition: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match condition.str_at("type") {
        "" => errors.required(&at.child("type"), "is required"),
        kind => label_key(kind, &at.child("type"), errors),
    }
    match condition.str_at("status") {
        "True" | "False" | "Unknown" => {}
        "" => errors.required(&at.child("status"), ""),
        other => errors.not_supported(&at.child("status"), other, &["False", "True", "Unknown"]),
    }
    let observed = condition.int("observedGeneration");
    if observed < 0 {
        errors.invalid(&at.child("observedGeneration"), observed, "must be greater than or equal to zero");
    }
    if !condition.has("lastTransitionTime") {
        errors.required(&at.child("lastTransitionTime"), "");
    }
    match condition.str_at("reason") {
        "" => errors.required(&at.child("reason"), ""),
        reason => {
            if !is_condition_reason(reason) {
                errors.invalid(
                    &at.child("reason"),
                    reason,
                    names::regex(
                        "a condition reason must start with alphabetic character, optionally followed by a string of \
                     alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
                        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
                        &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
                    ),
                );
            }
            if reason.len() > REASON_BYTES_MAX {
                errors.too_long(&at.child("reason"), REASON_BYTES_MAX);
            }
        }
    }
    if condition.str_at("message").len() > MESSAGE_BYTES_MAX {
        errors.too_long(&at.child("message"), MESSAGE_BYTES_MAX);
    }
}

fn is_condition_reason(reason: &str) -> bool {
    let bytes = reason.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(|b| word(*b))
        && bytes.iter().all(|b| word(*b) || matches!(b, b',' | b':'))
}

// === Reading ===

/// The reference to the object's managing controller.
pub fn controller_of(object: &Value) -> Option<&Value> {
    object.array_at("metadata.ownerReferences").iter().find(|reference| reference.flag("controller"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{said, tree};

    fn judged(metadata: serde_json::Value, namespaced: bool) -> Vec<String> {
        let mut errors = FieldErrors::new();
        validate(&tree(metadata), namespaced, NameRule::Subdomain, &Path::new("metadata"), &mut errors);
        said(&errors)
    }

    #[rstest]
    #[case(json!({"name": "a", "namespace": "b"}), true, "")]
    #[case(json!({"namespace": "b"}), true, "metadata.name: Required value: name or generateName is required")]
    #[case(json!({"name": "a"}), true, "metadata.namespace: Required value")]
    #[case(json!({"name": "a", "namespace": "b"}), false, "metadata.namespace: Forbidden: not allowed on this type")]
    #[case(json!({"name": "a", "generateName": "a-"}), false, "")]
    #[case(json!({"name": "a", "generation": -1}), false,
        "metadata.generation: Invalid value: -1: must be greater than or equal to 0")]
    #[case(json!({"name": "a", "ownerReferences": [{"apiVersion": "a/b/c", "kind": "K", "name": "n", "uid": "u"}]}), false,
        r#"metadata.ownerReferences[0].apiVersion: Invalid value: "a/b/c": must be <group>/<version> or <version>"#)]
    #[case(json!({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}), false,
        r#"metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set"#)]
    #[case(json!({"name": "a", "managedFields": [{"operation": "Eat", "manager": "a\n"}]}), false,
        "metadata.managedFields[0].operation: Unsupported value: \"Eat\": supported values: \"Apply\", \"Update\"; \
         metadata.managedFields[0].manager: Invalid value: \"a\\n\": invalid character U+000A (at position 1)")]
    fn metadata_of_a_new_object(#[case] metadata: serde_json::Value, #[case] namespaced: bool, #[case] expected: &str) {
        assert_eq!(judged(metadata, namespaced).join("; "), expected);
    }

    #[rstest]
    #[case(json!({"name": "b"}), r#"metadata.name: Invalid value: "b": field is immutable"#)]
    #[case(json!({"resourceVersion": ""}), r#"metadata.resourceVersion: Invalid value: "": must be specified for an update"#)]
    #[case(json!({"uid": "x"}), r#"metadata.uid: Invalid value: "x": field is immutable"#)]
    #[case(json!({"finalizers": ["x"]}),
        r#"metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"x"}"#)]
    #[case(json!({"deletionGracePeriodSeconds": 3}),
        "metadata.deletionGracePeriodSeconds: Invalid value: 3: field is immutable")]
    fn metadata_update(#[case] change: serde_json::Value, #[case] expected: &str) {
        let old =
            tree(json!({"name": "a", "resourceVersion": "1", "uid": "u", "deletionTimestamp": "2020-01-01T00:00:00Z"}));
        let mut new = old.clone();
        for (key, value) in tree(change).as_object().unwrap().iter() {
            new.set(key, value);
        }
        let mut errors = FieldErrors::new();
        validate_update(&new, &old, &Path::new("metadata"), &mut errors);
        assert_eq!(said(&errors).join("; "), expected);
    }
}
