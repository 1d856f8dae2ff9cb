//! StorageVersionMigration.

use super::read::{Read, copy};
use super::{Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::value::Value;
use crate::{meta, names};

const RESOURCE: Path<'static> = Path::new("spec.resource");

pub const RULES: Rules = Rules {
    status: StatusRule::Separate,
    validate,
    validate_update: |new, old, errors| {
        validate(new, errors);
        meta::immutable(new.at("spec"), old.at("spec"), &Path::new("spec"), errors);
    },
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            meta::keep_for_status(new, old);
        },
        validate: validate_status,
        ..Subresource::STATUS
    }],
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

fn validate(migration: &Value, errors: &mut FieldErrors) {
    let resource = migration.at("spec.resource");
    match resource.str_at("resource") {
        "" => errors.required(&RESOURCE.child("resource"), "resource is required to be set"),
        name => joined(name, names::dns1035_label(name), &RESOURCE.child("resource"), errors),
    }
    match resource.str_at("group") {
        "" => {}
        group => joined(group, names::dns1123_subdomain(group), &RESOURCE.child("group"), errors),
    }
}

fn joined(text: &str, complaints: names::Complaints, at: &Path<'_>, errors: &mut FieldErrors) {
    if !complaints.is_empty() {
        errors.invalid(at, text, complaints.join(","));
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let (version, at) = ("status.resourceVersion", Path::new("status.resourceVersion"));
    let (conditions, at_conditions) = (new.at("status.conditions"), Path::new("status.conditions"));
    meta::conditions(new.array_at("status.conditions"), &at_conditions, errors);
    if old.filled(version) && old.str_at(version) != new.str_at(version) {
        errors.invalid(&at, new.str_at(version), meta::IMMUTABLE);
    }
    let is = |migration: &Value, kind: &str| {
        let mut conditions = migration.array_at("status.conditions").iter();
        conditions.any(|condition| condition.str_at("type") == kind && condition.str_at("status") == "True")
    };
    if is(new, "Succeeded") && is(new, "Failed") {
        let message = "Both success and failed conditions cannot be true at the same time";
        errors.invalid(&at_conditions, conditions, message);
    }
    for (kind, name) in [("Succeeded", "Success"), ("Failed", "Failed")] {
        if is(old, kind) && !is(new, kind) {
            let message = format!("{name} condition cannot be set to false once it is true");
            errors.invalid(&at_conditions, conditions, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    #[test]
    fn a_migration_names_its_resource() {
        let migration = |resource| object(false, json!({"spec": {"resource": resource}}));
        assert!(create(&RULES, false, migration(json!({"resource": "pods"}))).is_ok());
        assert_eq!(
            create(&RULES, false, migration(json!({}))).unwrap_err(),
            ["spec.resource.resource: Required value: resource is required to be set"]
        );
    }
}
