//! When a job fails, succeeds and replaces pods.

use super::indexes;
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{one_of, qualified_name};
use crate::kinds::read::{Read, as_internal};
use crate::meta::non_negative;
use crate::value::Value;

const FAILURE_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const SUCCESS_RULES_MAX: usize = 20;
const SUCCEEDED_INDEXES_BYTES_MAX: usize = 64 << 10;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

pub fn validate(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if spec.has("podFailurePolicy") {
        failure_policy(spec, &at.child("podFailurePolicy.rules"), errors);
    }
    if spec.has("successPolicy") {
        match spec.str_at("completionMode") {
            "Indexed" => success_policy(spec, &at.child("successPolicy.rules"), errors),
            _ => {
                let message = "requires indexed completion mode";
                errors.invalid(&at.child("successPolicy"), shown(spec.at("successPolicy")), message);
            }
        }
    }
    if spec.has("podReplacementPolicy") {
        let supported: &[&str] =
            if spec.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
        one_of(spec.str_at("podReplacementPolicy"), supported, &at.child("podReplacementPolicy"), errors);
    }
}

fn failure_policy(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let rules = spec.array_at("podFailurePolicy.rules");
    if rules.len() > FAILURE_RULES_MAX {
        errors.too_many(at, rules.len(), FAILURE_RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        failure_rule(spec, rule, &at.index(index), errors);
    }
}

fn failure_rule(spec: &Value, rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at_action = at.child("action");
    match rule.str_at("action") {
        "" => errors.required(&at_action, values(&ACTIONS)),
        "FailIndex" if !spec.has("backoffLimitPerIndex") => {
            errors.invalid(&at_action, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
        action => one_of(action, &ACTIONS, &at_action, errors),
    }
    if rule.has("onExitCodes") {
        exit_codes(spec, rule.at("onExitCodes"), &at.child("onExitCodes"), errors);
    }
    let conditions = rule.array_at("onPodConditions");
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(&at.child("onPodConditions"), conditions.len(), CONDITIONS_MAX);
    }
    for (index, pattern) in conditions.iter().enumerate() {
        let at = at.child("onPodConditions");
        let at = at.index(index);
        qualified_name(pattern.str_at("type"), &at.child("type"), errors);
        const STATES: [&str; 3] = ["False", "True", "Unknown"];
        match pattern.str_at("status") {
            "" => errors.required(&at.child("status"), values(&STATES)),
            status => one_of(status, &STATES, &at.child("status"), errors),
        }
    }
    match (rule.has("onExitCodes"), conditions.is_empty()) {
        (true, false) => {
            errors.invalid_omitted(at, "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (false, true) => {
            errors.invalid_omitted(at, "specifying one of OnExitCodes and OnPodConditions is required");
        }
        _ => {}
    }
}

fn values(supported: &[&str]) -> String {
    let quoted: Vec<String> = supported.iter().map(|one| format!("\"{one}\"")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

fn exit_codes(spec: &Value, requirement: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const OPERATORS: [&str; 2] = ["In", "NotIn"];
    let operator = requirement.str_at("operator");
    match operator {
        "" => errors.required(&at.child("operator"), values(&OPERATORS)),
        operator => one_of(operator, &OPERATORS, &at.child("operator"), errors),
    }
    if requirement.has("containerName") {
        let name = requirement.str_at("containerName");
        let known = ["containers", "initContainers"]
            .iter()
            .flat_map(|list| spec.at("template.spec").array_at(list))
            .any(|container| container.str_at("name") == name);
        if !known {
            let message = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&at.child("containerName"), name, message);
        }
    }
    let at = at.child("values");
    let codes: Vec<i64> = requirement.array_at("values").iter().filter_map(Value::as_i64).collect();
    match codes.len() {
        0 => errors.invalid(&at, requirement.at("values"), "at least one value is required"),
        count if count > EXIT_CODES_MAX => errors.too_many(&at, count, EXIT_CODES_MAX),
        _ => {}
    }
    for (index, code) in codes.iter().enumerate() {
        if operator == "In" && *code == 0 {
            errors.invalid(&at.index(index), *code, "must not be 0 for the In operator");
        }
        if codes[..index].contains(code) {
            errors.duplicate(&at.index(index), *code);
        }
    }
    if !codes.is_sorted() {
        errors.invalid(&at, requirement.at("values"), "must be ordered");
    }
}

/// A success policy as Go's types name it.
fn shown(policy: &Value) -> Value {
    let fields =
        [("SucceededIndexes", "succeededIndexes", Value::Null), ("SucceededCount", "succeededCount", Value::Null)];
    let rules: Vec<Value> = policy.array_at("rules").iter().map(|rule| as_internal(rule, &fields)).collect();
    crate::value::Map::from_iter([("Rules", rules)]).into()
}

fn success_policy(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let rules = spec.array_at("successPolicy.rules");
    if rules.is_empty() {
        errors.required(at, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > SUCCESS_RULES_MAX {
        errors.too_many(at, rules.len(), SUCCESS_RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        success_rule(spec.int("completions"), rule, &at.index(index), errors);
    }
}

fn success_rule(completions: i64, rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let list = rule.at("succeededIndexes").as_str();
    let count = rule.i64_at("succeededCount");
    if list.is_none() && count.is_none() {
        errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut named = 0;
    if let Some(list) = list {
        let at = at.child("succeededIndexes");
        if list.len() > SUCCEEDED_INDEXES_BYTES_MAX {
            errors.too_long(&at, SUCCEEDED_INDEXES_BYTES_MAX);
        }
        match indexes::count(list, completions) {
            Ok(count) => named = count,
            Err(error) => errors.invalid(&at, list, format!("error parsing succeededIndexes: {error}")),
        }
    }
    let Some(count) = count else { return };
    let at = at.child("succeededCount");
    non_negative(count, &at, errors);
    if count > completions {
        let message = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&at, count, message);
    }
    if list.is_some() && count > named {
        let message = format!(
            "must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&at, count, message);
    }
}
