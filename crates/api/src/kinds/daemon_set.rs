//! DaemonSet.

use super::pod::{defaults, template};
use super::read::{Read, copy, default_to, default_zero, same, with_go_names};
use super::workload::{
    SPEC, STATUS, always_restarts, amount, at_most_100_percent, collision_count, counts, int_or_percent,
    selector_matches_template, template_warnings,
};
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::value::Value;

/// Counts the template's changes; v1 doesn't show it in `spec` but as this annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub const RULES: Rules = Rules {
    defaults: |set| {
        default_zero(set, "spec.updateStrategy.type", "RollingUpdate");
        if set.str_at("spec.updateStrategy.type") == "RollingUpdate" {
            default_to(set, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1i64);
            default_to(set, "spec.updateStrategy.rollingUpdate.maxSurge", 0i64);
        }
        default_to(set, "spec.revisionHistoryLimit", 10i64);
        defaults::template(set, "spec.template");
        // Upstream's conversion always says it, so that whoever writes the object owns it.
        if set.entry("metadata.annotations", TEMPLATE_GENERATION).is_null() {
            set_template_generation(set, 0);
        }
    },
    generation: Generation::Spec,
    status: StatusRule::Separate,
    prepare_create: |set, _| {
        let asked = template_generation(set).max(1);
        set_template_generation(set, asked);
        template::drop_disabled_fields(set, "spec.template");
    },
    prepare_update: |new, old, _| {
        template::drop_disabled_fields(new, "spec.template");
        let changed = !same(new.at("spec.template"), old.at("spec.template"));
        set_template_generation(new, template_generation(old) + i64::from(changed));
    },
    validate: |set, errors| validate_spec(set.at("spec"), errors),
    validate_update: |new, old, errors| {
        meta::immutable(new.at("spec.selector"), old.at("spec.selector"), &SPEC.child("selector"), errors);
        validate_spec(new.at("spec"), errors);
    },
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            set_template_generation(new, template_generation(old));
        },
        validate: validate_status,
        ..Subresource::STATUS
    }],
    warnings: |new, old| template_warnings(new, old, "spec.template"),
    ..Rules::DEFAULT
};

fn template_generation(set: &Value) -> i64 {
    let annotation = set.entry("metadata.annotations", TEMPLATE_GENERATION).as_str();
    annotation.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn set_template_generation(set: &mut Value, generation: i64) {
    let annotations = set.at_or_insert("metadata.annotations").make_object();
    annotations.insert(TEMPLATE_GENERATION, generation.to_string());
    annotations.sort();
}

fn validate_spec(spec: &Value, errors: &mut FieldErrors) {
    let (at_selector, at_template) = (SPEC.child("selector"), SPEC.child("template"));
    let selector = spec.at("selector");
    meta::label_selector(selector, &at_selector, errors);
    if selector.is_null() {
        // Go's nil selector matches nothing.
        let message = "`selector` does not match template `labels`";
        errors.invalid(&at_template.child("metadata.labels"), spec.at("template.metadata.labels"), message);
    } else {
        selector_matches_template(selector, spec.at("template"), &at_template, errors);
        if !selector.filled("matchLabels") && !selector.filled("matchExpressions") {
            errors.invalid(&at_selector, selector, "empty selector is invalid for daemonset");
        }
    }
    template::validate(spec.at("template"), &at_template, errors);
    always_restarts(spec.at("template"), "DaemonSet", &at_template, errors);
    counts(spec, &["minReadySeconds"], &SPEC, errors);
    update_strategy(spec.at("updateStrategy"), &SPEC.child("updateStrategy"), errors);
    counts(spec, &["revisionHistoryLimit"], &SPEC, errors);
}

fn update_strategy(strategy: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at_rolling = at.child("rollingUpdate");
    let rolling = strategy.at("rollingUpdate");
    match strategy.str_at("type") {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_null() => errors.required(&at_rolling, ""),
        "RollingUpdate" => {
            let fields = ["maxUnavailable", "maxSurge"];
            for field in fields {
                int_or_percent(rolling.at(field), &at_rolling.child(field), errors);
            }
            for field in fields {
                at_most_100_percent(rolling.at(field), &at_rolling.child(field), errors);
            }
            match fields.map(|field| amount(rolling.at(field)) != 0) {
                [true, true] => {
                    let message = "may not be set when maxUnavailable is non-zero";
                    errors.invalid(&at_rolling.child("maxSurge"), rolling.at("maxSurge"), message);
                }
                [false, false] => {
                    errors.required(&at_rolling.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
                }
                _ => {}
            }
        }
        _ => errors.not_supported(at, with_go_names(strategy), &["RollingUpdate", "OnDelete"]),
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut FieldErrors) {
    const COUNTS: [&str; 9] = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    counts(new.at("status"), &COUNTS, &STATUS, errors);
    collision_count(new, old, errors);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::deployment::tests::workload;
    use crate::kinds::testing::{create, update};

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"spec.updateStrategy.rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}),
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero")]
    #[case(json!({"spec.updateStrategy.rollingUpdate": {"maxUnavailable": 0}}),
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0")]
    #[case(json!({"spec.selector": {}}), "spec.selector: Invalid value: {}: empty selector is invalid for daemonset")]
    fn daemon_sets(#[case] change: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&RULES, true, workload(change)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn the_count_is_there_before_it_counts() {
        let mut set = workload(json!({}));
        (RULES.defaults)(&mut set);
        assert_eq!(set.entry("metadata.annotations", TEMPLATE_GENERATION).as_str(), Some("0"));
    }

    #[test]
    fn a_new_template_is_counted() {
        let old = create(&RULES, true, workload(json!({}))).unwrap();
        assert_eq!(template_generation(&old), 1);
        let mut new = old.clone();
        new.set("spec.template.metadata.labels.x", "y");
        let updated = update(&RULES, true, new, old).unwrap();
        assert_eq!((template_generation(&updated), updated.int("metadata.generation")), (2, 2));
    }
}
