//! Deployment.

use super::pod::{defaults, template};
use super::read::{Read, copy, default_to, default_zero, with_go_names};
use super::workload::{
    SPEC, STATUS, amount, at_most, at_most_100_percent, collision_count, counts, int_or_percent, lasting_template,
    name_warning, required_selector, selector_matches_template, template_warnings,
};
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::value::Value;

pub const RULES: Rules = Rules {
    defaults: |deployment| {
        default_to(deployment, "spec.replicas", 1i64);
        default_zero(deployment, "spec.strategy.type", "RollingUpdate");
        if deployment.str_at("spec.strategy.type") == "RollingUpdate" {
            default_to(deployment, "spec.strategy.rollingUpdate.maxUnavailable", "25%");
            default_to(deployment, "spec.strategy.rollingUpdate.maxSurge", "25%");
        }
        default_to(deployment, "spec.revisionHistoryLimit", 10i64);
        default_to(deployment, "spec.progressDeadlineSeconds", 600i64);
        defaults::template(deployment, "spec.template");
    },
    generation: Generation::SpecOrAnnotations,
    status: StatusRule::Separate,
    prepare_create: |deployment, _| template::drop_disabled_fields(deployment, "spec.template"),
    prepare_update: |deployment, _, _| template::drop_disabled_fields(deployment, "spec.template"),
    validate: |deployment, errors| validate_spec(deployment.at("spec"), errors),
    validate_update: |new, old, errors| {
        validate_spec(new.at("spec"), errors);
        meta::immutable(new.at("spec.selector"), old.at("spec.selector"), &SPEC.child("selector"), errors);
    },
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            copy(new, old, "metadata.labels");
        },
        validate: validate_status,
        ..Subresource::STATUS
    }],
    warnings: |new, old| {
        let mut warnings = template_warnings(new, old, "spec.template");
        if old.is_none() {
            warnings.splice(0..0, name_warning(new));
        }
        warnings
    },
    ..Rules::DEFAULT
};

fn validate_spec(spec: &Value, errors: &mut FieldErrors) {
    meta::non_negative(spec.int("replicas"), &SPEC.child("replicas"), errors);
    required_selector(spec, "deployment", &SPEC.child("selector"), errors);
    let at = SPEC.child("template");
    match selector_matches_template(spec.at("selector"), spec.at("template"), &at, errors) {
        true => lasting_template(spec.at("template"), "ReplicaSet", &at, errors),
        false => errors.invalid(&SPEC.child("selector"), spec.at("selector"), "invalid label selector"),
    }
    strategy(spec.at("strategy"), &SPEC.child("strategy"), errors);
    counts(spec, &["minReadySeconds", "revisionHistoryLimit"], &SPEC, errors);
    if let Some(deadline) = spec.i64_at("progressDeadlineSeconds") {
        let at = SPEC.child("progressDeadlineSeconds");
        meta::non_negative(deadline, &at, errors);
        if deadline <= spec.int("minReadySeconds") {
            errors.invalid(&at, deadline, "must be greater than minReadySeconds");
        }
    }
}

fn strategy(strategy: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at_rolling = at.child("rollingUpdate");
    let rolling = strategy.at("rollingUpdate");
    match strategy.str_at("type") {
        "Recreate" if !rolling.is_null() => {
            errors.forbidden(&at_rolling, "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" if rolling.is_null() => {
            errors.required(&at_rolling, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            let at_unavailable = at_rolling.child("maxUnavailable");
            int_or_percent(unavailable, &at_unavailable, errors);
            int_or_percent(surge, &at_rolling.child("maxSurge"), errors);
            if amount(unavailable) == 0 && amount(surge) == 0 {
                errors.invalid(&at_unavailable, unavailable, "may not be 0 when `maxSurge` is 0");
            }
            at_most_100_percent(unavailable, &at_unavailable, errors);
        }
        _ => errors.not_supported(at, with_go_names(strategy), &["Recreate", "RollingUpdate"]),
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let status = new.at("status");
    const COUNTS: [&str; 8] = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    counts(status, &COUNTS, &STATUS, errors);
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        at_most(status, field, "replicas", "cannot be greater than status.replicas", &STATUS, errors);
    }
    let message = "cannot be greater than readyReplicas";
    at_most(status, "availableReplicas", "readyReplicas", message, &STATUS, errors);
    collision_count(new, old, errors);
}

#[cfg(test)]
pub mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, tree, update};

    /// A sound workload with changes at dotted paths.
    pub fn workload(change: serde_json::Value) -> Value {
        let mut object = object(
            true,
            json!({"spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}),
        );
        for (path, value) in tree(change).as_object().unwrap().iter() {
            object.set(path, value);
        }
        object
    }

    #[rstest]
    #[case::sound(json!({}), "")]
    #[case::no_selector(json!({"spec.selector": null}),
        r#"spec.selector: Required value; spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`"#)]
    #[case::empty_selector(json!({"spec.selector": {}}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment")]
    #[case::mismatch(json!({"spec.template.metadata.labels": {"a": "c"}}),
        r#"spec.template.metadata.labels: Invalid value: {"a":"c"}: `selector` does not match template `labels`"#)]
    #[case::replicas(json!({"spec.replicas": -1}), "spec.replicas: Invalid value: -1: must be greater than or equal to 0")]
    #[case::restart_policy(json!({"spec.template.spec.restartPolicy": "Never"}),
        r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#)]
    #[case::both_zero(json!({"spec.strategy.rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}),
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0")]
    #[case::too_unavailable(json!({"spec.strategy.rollingUpdate.maxUnavailable": "101%"}),
        r#"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#)]
    #[case::recreate(json!({"spec.strategy": {"type": "Recreate", "rollingUpdate": {}}}),
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'")]
    #[case::deadline(json!({"spec.minReadySeconds": 600}),
        "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds")]
    #[case::no_containers(json!({"spec.template.spec.containers": []}), "spec.template.spec.containers: Required value")]
    fn deployments(#[case] change: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&RULES, true, workload(change)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn defaults_are_those_of_apps_v1() {
        let created = create(&RULES, true, workload(json!({}))).unwrap();
        let spec = created.at("spec");
        assert_eq!(
            spec.at("strategy"),
            &tree(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}))
        );
        assert_eq!(
            (spec.int("replicas"), spec.int("revisionHistoryLimit"), spec.int("progressDeadlineSeconds")),
            (1, 10, 600)
        );
        assert_eq!(spec.int("template.spec.terminationGracePeriodSeconds"), 30);
    }

    #[rstest]
    #[case::same(json!({}), 1)]
    #[case::scaled(json!({"spec.replicas": 2}), 2)]
    #[case::annotated(json!({"metadata.annotations": {"a": "b"}}), 2)]
    #[case::labeled(json!({"metadata.labels": {"a": "b"}}), 1)]
    fn the_generation_moves_with_spec_and_annotations(#[case] change: serde_json::Value, #[case] expected: i64) {
        let old = create(&RULES, true, workload(json!({}))).unwrap();
        let mut new = old.clone();
        for (path, value) in tree(change).as_object().unwrap().iter() {
            new.set(path, value);
        }
        assert_eq!(update(&RULES, true, new, old).unwrap().int("metadata.generation"), expected);
    }

    #[test]
    fn the_selector_stays() {
        let old = create(&RULES, true, workload(json!({}))).unwrap();
        let mut new = old.clone();
        new.set("spec.selector.matchLabels.c", "d");
        new.set("spec.template.metadata.labels.c", "d");
        assert_eq!(
            update(&RULES, true, new, old).unwrap_err(),
            [r#"spec.selector: Invalid value: {"matchLabels":{"a":"b","c":"d"}}: field is immutable"#]
        );
    }
}
