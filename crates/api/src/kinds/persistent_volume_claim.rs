//! PersistentVolumeClaim.
//!
//! Upstream: `pkg/apis/core/validation` (`ValidatePersistentVolumeClaim` …),
//! `pkg/registry/core/persistentvolumeclaim`.

use super::diff::diff;
use super::formats::{dns_label, dns_subdomain, one_of, qualified_name};
use super::read::{Read, copy, default_to, default_zero, same};
use super::resources::{self, is_native, quantity, quantity_value};
use super::{Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
pub const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub const RULES: Rules = Rules {
    defaults: |claim| {
        claim.at_or_insert("spec").make_object();
        default_to(claim, "spec.volumeMode", "Filesystem");
        default_zero(claim, "status.phase", "Pending");
        let amounts =
            ["spec.resources.limits", "spec.resources.requests", "status.capacity", "status.allocatedResources"];
        resources::round(claim, &amounts);
    },
    status: StatusRule::Separate,
    prepare_create: |claim, _| {
        claim.set("status.phase", "Pending");
        drop_legacy_data_source(claim);
        normalize_data_source(claim);
    },
    prepare_update: |new, old, _| {
        if !old.has("spec.dataSource") && !old.has("spec.dataSourceRef") {
            drop_legacy_data_source(new);
        }
        normalize_data_source(new);
    },
    validate: |claim, errors| validate_spec(claim.at("spec"), &SPEC, errors),
    validate_update,
    subresources: &[Subresource { validate: |new, _, errors| validate_status(new, errors), ..Subresource::STATUS }],
    warnings: |claim, _| {
        let mut warnings = Vec::new();
        if !claim.entry("metadata.annotations", CLASS_ANNOTATION).is_null() {
            warnings.push(format!(
                "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute \
                 instead"
            ));
        }
        warnings.extend(spec_warnings(claim.at("spec"), &SPEC));
        warnings
    },
    ..Rules::DEFAULT
};

/// Parts of a byte make no sense.
pub fn spec_warnings(spec: &Value, at: &Path<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for list in ["resources.requests", "resources.limits"] {
        let amount = quantity(spec.entry(list, "storage"));
        if amount.milli_value() % 1000 != 0 {
            let at = at.child(list);
            let at = at.key("storage");
            warnings.push(format!("{at}: fractional byte value \"{amount}\" is invalid, must be an integer"));
        }
    }
    warnings
}

/// Clients who don't know `dataSourceRef` never got more than claims and snapshots: other
/// sources are ignored.
fn drop_legacy_data_source(claim: &mut Value) {
    let source = claim.at("spec.dataSource");
    let known = matches!(
        (source.str_at("apiGroup"), source.str_at("kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    );
    if !known && !claim.has("spec.dataSourceRef") {
        claim.remove("spec.dataSource");
    }
}

/// The two fields for a data source are kept alike where they can be.
fn normalize_data_source(claim: &mut Value) {
    if claim.has("spec.dataSource") && !claim.has("spec.dataSourceRef") {
        let source = claim.at("spec.dataSource").clone();
        claim.set("spec.dataSourceRef", source);
    } else if claim.has("spec.dataSourceRef")
        && !claim.has("spec.dataSource")
        && !claim.filled("spec.dataSourceRef.namespace")
    {
        let mut source = claim.at("spec.dataSourceRef").clone();
        source.remove("namespace");
        claim.set("spec.dataSource", source);
    }
}

/// A claim's spec, also in templates of pods and StatefulSets.
pub fn validate_spec(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let modes = at.child("accessModes");
    if !spec.filled("accessModes") {
        errors.required(&modes, "at least 1 access mode is required");
    }
    meta::label_selector(spec.at("selector"), &at.child("selector"), errors);
    access_modes(spec, &modes, errors);
    let storage = at.child("resources");
    let storage = storage.key("storage");
    match spec.at("resources.requests.storage") {
        Value::Null => errors.required(&storage, ""),
        value if quantity(value).sign() <= 0 => {
            errors.invalid(&storage, quantity(value).to_string(), "must be greater than zero");
        }
        value => quantity_value("storage", value, &storage, errors),
    }
    for class in ["storageClassName", "volumeAttributesClassName"] {
        if class == "volumeAttributesClassName" {
            volume_mode_and_sources(spec, at, errors);
        }
        if spec.filled(class) {
            dns_subdomain(spec.str_at(class), &at.child(class), errors);
        }
    }
}

/// Access modes of claims and volumes: known ones, `ReadWriteOncePod` alone.
pub fn access_modes(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (mut exclusive, mut shared) = (false, false);
    for mode in spec.strings("accessModes") {
        one_of(mode, &ACCESS_MODES, at, errors);
        exclusive |= mode == "ReadWriteOncePod";
        shared |= mode != "ReadWriteOncePod" && ACCESS_MODES.contains(&mode);
    }
    if exclusive && shared {
        errors.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn volume_mode_and_sources(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if spec.has("volumeMode") {
        one_of(spec.str_at("volumeMode"), &["Block", "Filesystem"], &at.child("volumeMode"), errors);
    }
    for field in ["dataSource", "dataSourceRef"].into_iter().filter(|field| spec.has(field)) {
        data_source(spec.at(field), &at.child(field), errors);
    }
    let (source, reference) = (spec.at("dataSource"), spec.at("dataSourceRef"));
    if reference.filled("namespace") {
        if !source.is_null() {
            errors.invalid(at, Value::object(), "may not be specified when dataSourceRef.namespace is specified");
        }
    } else if !source.is_null() && !reference.is_null() {
        let alike = ["apiGroup", "kind", "name"].iter().all(|field| source.at(field) == reference.at(field));
        if !alike {
            errors.invalid(at, Value::object(), "must match dataSourceRef");
        }
    }
}

fn data_source(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    for field in ["name", "kind"].into_iter().filter(|field| !source.filled(field)) {
        errors.required(&at.child(field), "");
    }
    let (group, kind) = (source.str_at("apiGroup"), source.str_at("kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        errors.invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
    if !group.is_empty() {
        dns_subdomain(group, &at.child("apiGroup"), errors);
    }
    if source.filled("namespace") {
        dns_label(source.str_at("namespace"), &at.child("namespace"), errors);
    }
}

/// The spec stays, but for the volume's name (once), the size and the attributes' class.
fn validate_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    validate_spec(new.at("spec"), &SPEC, errors);
    let (mut now, mut was) = (new.at("spec").clone(), old.at("spec").clone());
    if !was.filled("volumeName") {
        let name = now.clone();
        copy(&mut was, &name, "volumeName");
    }
    class_name(new, old, &mut now, errors);
    if new.str_at("status.phase") == "Bound" {
        if now.has("resources.requests") {
            copy(&mut now, &was.clone(), "resources.requests.storage");
        }
        copy(&mut now, &was.clone(), "volumeAttributesClassName");
    }
    if !same(&now, &was) {
        let message = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
             claims\n{}",
            diff(&was, &now)
        );
        errors.forbidden(&SPEC, message);
    }
    let size = |claim: &Value| quantity(claim.at("spec.resources.requests.storage"));
    if size(new) < size(old) && size(new) <= quantity(old.at("status.capacity.storage")) {
        errors.forbidden(&SPEC.child("resources.requests.storage"), "field can not be less than status.capacity");
    }
    meta::immutable(new.at("spec.volumeMode"), old.at("spec.volumeMode"), &Path::new("volumeMode"), errors);
    attributes_class(new, old, errors);
}

/// A class may be filled in from the old annotation or from nothing.
fn class_name(new: &Value, old: &Value, now: &mut Value, errors: &mut FieldErrors) {
    let annotation = |claim: &Value| claim.entry("metadata.annotations", CLASS_ANNOTATION).as_str().map(str::to_owned);
    let field = |claim: &Value| claim.at("spec.storageClassName").as_str().map(str::to_owned);
    let (was_noted, now_noted) = (annotation(old), annotation(new));
    let moved = was_noted.is_some()
        && field(old).is_none()
        && field(new) == was_noted
        && (now_noted.is_none() || now_noted == was_noted);
    if moved {
        now.remove("storageClassName");
        return;
    }
    if was_noted.clone().unwrap_or_default() != now_noted.clone().unwrap_or_default() {
        let at = Path::new("metadata.annotations");
        errors.invalid(&at.key(CLASS_ANNOTATION), now_noted.unwrap_or_default(), meta::IMMUTABLE);
    }
    if field(new).is_some() && field(old).is_none() && (was_noted.is_none() || was_noted == field(new)) {
        now.remove("storageClassName");
    }
}

fn attributes_class(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let field = "spec.volumeAttributesClassName";
    if same(new.at(field), old.at(field)) || !old.has("status.currentVolumeAttributesClassName") {
        return;
    }
    let what = match new.at(field).as_str() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    let message = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
    errors.forbidden(&Path::new(field), message);
}

fn validate_status(claim: &Value, errors: &mut FieldErrors) {
    if !claim.filled("spec.accessModes") {
        errors.required(&Path::new("Spec.accessModes"), "");
    }
    let capacity = Path::new("status.capacity");
    for (name, value) in claim.entries("status.capacity") {
        basic(value, &capacity.key(name), errors);
    }
    const STATES: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let at = Path::new("status.allocatedResourceStatuses");
    for (name, state) in claim.entries("status.allocatedResourceStatuses") {
        resource_key(name, &at, errors);
        if !STATES.contains(&state.as_str().unwrap_or_default()) {
            errors.not_supported(&at, name, &STATES);
        }
    }
    let at = Path::new("status.allocatedResources");
    for (name, value) in claim.entries("status.allocatedResources") {
        let before = errors.len();
        resource_key(name, &at, errors);
        if !errors.grew_since(before) {
            basic(value, &at.key(name), errors);
        }
    }
}

fn basic(value: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let quantity = quantity(value);
    if quantity.sign() < 0 {
        errors.invalid(at, quantity.value(), "must be a valid resource quantity");
    }
}

fn resource_key(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    qualified_name(name, at, errors);
    if !errors.grew_since(before) && is_native(name) && name != "storage" {
        errors.not_supported(at, name, &["storage"]);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    fn claim(change: serde_json::Value) -> Value {
        let mut claim = object(
            true,
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        );
        for (path, value) in crate::kinds::testing::tree(change).as_object().unwrap().iter() {
            claim.set(path, value);
        }
        claim
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"spec.accessModes": []}), "spec.accessModes: Required value: at least 1 access mode is required")]
    #[case(json!({"spec.accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]}),
        "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes")]
    #[case(json!({"spec.resources.requests": {}}), "spec.resources[storage]: Required value")]
    #[case(json!({"spec.resources.requests.storage": "0"}),
        r#"spec.resources[storage]: Invalid value: "0": must be greater than zero"#)]
    #[case(json!({"spec.volumeMode": "Tape"}),
        r#"spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem""#)]
    #[case(json!({"spec.storageClassName": "A"}), "lowercase RFC 1123 subdomain")]
    fn claims(#[case] change: serde_json::Value, #[case] expected: &str) {
        let said = create(&RULES, true, claim(change)).err().unwrap_or_default().join("; ");
        assert!(if expected.is_empty() { said.is_empty() } else { said.contains(expected) }, "{said}");
    }

    #[test]
    fn a_bound_claim_grows_but_does_not_shrink() {
        let old = claim(json!({"status.phase": "Bound", "status.capacity.storage": "1Gi", "spec.volumeName": "v"}));
        let mut grown = old.clone();
        grown.set("spec.resources.requests.storage", "2Gi");
        assert!(update(&RULES, true, grown, old.clone()).is_ok());
        let mut shrunk = old.clone();
        shrunk.set("spec.resources.requests.storage", "512Mi");
        assert_eq!(
            update(&RULES, true, shrunk, old.clone()).unwrap_err(),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
        let mut moved = old.clone();
        moved.set("spec.volumeName", "w");
        assert!(
            update(&RULES, true, moved, old).unwrap_err()[0]
                .starts_with("spec: Forbidden: spec is immutable after creation")
        );
    }
}
