//! Namespace: its phase, its own finalizers, the label with its name.

use super::read::{Read, copy, default_zero};
use super::{Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta::NameRule;
use crate::names;
use crate::value::Value;

const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const KUBERNETES: &str = "kubernetes";

pub const RULES: Rules = Rules {
    name: NameRule::Label,
    status: StatusRule::Separate,
    defaults: |namespace| {
        label_with_name(namespace);
        default_zero(namespace, "status.phase", "Active");
    },
    prepare_create: |namespace, _| {
        namespace.set("status.phase", "Active");
        if namespace.strings("spec.finalizers").all(|one| one != KUBERNETES) {
            let finalizers = namespace.at_or_insert("spec.finalizers");
            match finalizers.as_array_mut() {
                Some(list) => list.push(KUBERNETES.into()),
                None => *finalizers = vec![KUBERNETES].into(),
            }
        }
    },
    prepare_update: |new, old, _| copy(new, old, "spec.finalizers"),
    validate,
    validate_update: |new, _, errors| validate(new, errors),
    canonicalize: label_with_name,
    subresources: &[
        Subresource { validate: |new, _, errors| validate_status(new, errors), ..Subresource::STATUS },
        Subresource {
            name: "finalize",
            prepare: |new, old, _| copy(new, old, "status"),
            validate: |new, _, errors| {
                let at = Path::new("spec.finalizers");
                for (index, finalizer) in new.strings("spec.finalizers").enumerate() {
                    validate_finalizer(finalizer, &at.index(index), errors);
                }
            },
            generation: false,
        },
    ],
    selectable: &[
        ("status.phase", |namespace| namespace.str_at("status.phase").into()),
        // A mistake of upstream's that clients came to rely on.
        ("name", |namespace| namespace.str_at("metadata.name").into()),
    ],
    ..Rules::DEFAULT
};

fn label_with_name(namespace: &mut Value) {
    let name = namespace.str_at("metadata.name").to_owned();
    if !name.is_empty() {
        let labels = namespace.at_or_insert("metadata.labels").make_object();
        if labels.get(NAME_LABEL).and_then(Value::as_str) != Some(&name) {
            labels.insert(NAME_LABEL, name);
            labels.sort();
        }
    }
}

fn validate(namespace: &Value, errors: &mut FieldErrors) {
    for finalizer in namespace.strings("spec.finalizers") {
        validate_finalizer(finalizer, &Path::new("spec.finalizers"), errors);
    }
}

fn validate_finalizer(finalizer: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    errors.invalid_each(at, finalizer, names::label_key(finalizer));
    if !finalizer.contains('/') && !matches!(finalizer, KUBERNETES | "orphan" | "foregroundDeletion") {
        errors.invalid(at, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

fn validate_status(namespace: &Value, errors: &mut FieldErrors) {
    let phase = namespace.str_at("status.phase");
    let (expected, message) = match namespace.has("metadata.deletionTimestamp") {
        false => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
        true => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
    };
    if phase != expected {
        errors.invalid(&Path::new("status.Phase"), phase, message);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[test]
    fn a_new_namespace_is_active_finalized_and_labeled() {
        let created = create(&RULES, false, object(false, json!({"status": {"phase": "Terminating"}}))).unwrap();
        assert_eq!(created.str_at("status.phase"), "Active");
        assert_eq!(created.array_at("spec.finalizers"), ["kubernetes".into()]);
        assert_eq!(created.entry("metadata.labels", NAME_LABEL).as_str(), Some("a"));
    }

    #[test]
    fn finalizers_stay_on_update() {
        let old = object(false, json!({"spec": {"finalizers": ["kubernetes"]}}));
        let updated = update(&RULES, false, object(false, json!({"spec": {"finalizers": []}})), old).unwrap();
        assert_eq!(updated.array_at("spec.finalizers"), ["kubernetes".into()]);
    }

    #[test]
    fn odd_finalizers_are_refused() {
        let said = create(&RULES, false, object(false, json!({"spec": {"finalizers": ["mine"]}}))).unwrap_err();
        assert_eq!(
            said,
            [
                r#"spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified"#
            ]
        );
    }
}
