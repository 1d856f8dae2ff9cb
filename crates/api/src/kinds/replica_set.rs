//! ReplicaSet and ReplicationController.

use smol_str::ToSmolStr;

use super::pod::{defaults, template};
use super::read::{Read, copy, default_to};
use super::workload::{
    SPEC, STATUS, at_most, counts, labels_match, lasting_template, name_warning, required_selector,
    selector_matches_template, template_warnings,
};
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::FieldErrors;
use crate::meta;
use crate::selector::LabelSelector;
use crate::value::Value;

pub const REPLICA_SET: Rules = Rules {
    defaults: |set| {
        default_to(set, "spec.replicas", 1i64);
        defaults::template(set, "spec.template");
    },
    generation: Generation::Spec,
    status: StatusRule::Separate,
    prepare_create: |set, _| template::drop_disabled_fields(set, "spec.template"),
    prepare_update: |set, _, _| template::drop_disabled_fields(set, "spec.template"),
    validate: |set, errors| validate_set(set.at("spec"), errors),
    validate_update: |new, old, errors| {
        validate_set(new.at("spec"), errors);
        meta::immutable(new.at("spec.selector"), old.at("spec.selector"), &SPEC.child("selector"), errors);
    },
    subresources: &[Subresource { validate: |new, _, errors| validate_status(new, errors), ..Subresource::STATUS }],
    warnings,
    ..Rules::DEFAULT
};

pub const REPLICATION_CONTROLLER: Rules = Rules {
    defaults: |controller| {
        let labels = controller.at("spec.template.metadata.labels").clone();
        if !labels.is_null() {
            for path in ["spec.selector", "metadata.labels"] {
                if !controller.filled(path) {
                    controller.set(path, labels.clone());
                }
            }
        }
        default_to(controller, "spec.replicas", 1i64);
        defaults::template(controller, "spec.template");
    },
    validate: |controller, errors| validate_controller(controller.at("spec"), errors),
    validate_update: |new, _, errors| validate_controller(new.at("spec"), errors),
    // Upstream's apps/v1 has no conversion of field labels.
    selectable: &[("status.replicas", |controller| controller.int("status.replicas").to_smolstr())],
    ..REPLICA_SET
};

fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = template_warnings(new, old, "spec.template");
    if old.is_none() {
        warnings.splice(0..0, name_warning(new));
    }
    warnings
}

fn validate_set(spec: &Value, errors: &mut FieldErrors) {
    counts(spec, &["replicas", "minReadySeconds"], &SPEC, errors);
    // Upstream says "deployment" here, too.
    required_selector(spec, "deployment", &SPEC.child("selector"), errors);
    let at = SPEC.child("template");
    match selector_matches_template(spec.at("selector"), spec.at("template"), &at, errors) {
        true => lasting_template(spec.at("template"), "ReplicaSet", &at, errors),
        false => errors.invalid(&SPEC.child("selector"), spec.at("selector"), "invalid label selector"),
    }
}

/// A ReplicationController's selector is a plain map of labels.
fn validate_controller(spec: &Value, errors: &mut FieldErrors) {
    counts(spec, &["minReadySeconds"], &SPEC, errors);
    if !spec.filled("selector") {
        errors.required(&SPEC.child("selector"), "");
    }
    match spec.i64_at("replicas") {
        None => errors.required(&SPEC.child("replicas"), ""),
        Some(replicas) => meta::non_negative(replicas, &SPEC.child("replicas"), errors),
    }
    let at = SPEC.child("template");
    if !spec.has("template") {
        return errors.required(&at, "");
    }
    labels_match(&LabelSelector::from_labels(spec.at("selector")), spec.at("template"), &at, errors);
    lasting_template(spec.at("template"), "ReplicationController", &at, errors);
}

fn validate_status(set: &Value, errors: &mut FieldErrors) {
    let status = set.at("status");
    const COUNTS: [&str; 6] = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    counts(status, &COUNTS, &STATUS, errors);
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        at_most(status, field, "replicas", "cannot be greater than status.replicas", &STATUS, errors);
    }
    let message = "cannot be greater than readyReplicas";
    at_most(status, "availableReplicas", "readyReplicas", message, &STATUS, errors);
}

/// The replica count that a write of the `scale` subresource asks for, put into the object.
pub fn apply_scale(object: &mut Value, scale: &Value) {
    copy(object, scale, "spec.replicas");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::deployment::tests::workload;
    use crate::kinds::testing::{create, object, tree};

    #[test]
    fn a_mismatch_is_refused() {
        let said = create(&REPLICA_SET, true, workload(json!({"spec.template.metadata.labels": {}}))).unwrap_err();
        assert_eq!(
            said,
            ["spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"]
        );
    }

    #[test]
    fn a_replication_controller_selects_its_template() {
        let template =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let created =
            create(&REPLICATION_CONTROLLER, true, object(true, json!({"spec": {"template": template}}))).unwrap();
        assert_eq!(created.at("spec.selector"), &tree(json!({"a": "b"})));
        assert_eq!(created.at("metadata.labels"), &tree(json!({"a": "b"})));
    }

    #[test]
    fn status_counts_add_up() {
        let mut errors = FieldErrors::new();
        validate_status(
            &tree(json!({"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}})),
            &mut errors,
        );
        assert_eq!(
            crate::kinds::testing::said(&errors),
            [
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
            ]
        );
    }
}
