//! What may change in a job's spec: counts and deadlines; the template only while the job is
//! suspended and nothing runs.

use super::{validate_name, validate_spec_with_selector};
use crate::field::FieldErrors;
use crate::kinds::read::{Read, copy, same};
use crate::kinds::workload::SPEC;
use crate::meta;
use crate::value::Value;

pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    validate_spec_with_selector(new.at("spec"), errors);
    completions(new.at("spec"), old.at("spec"), errors);
    meta::immutable(new.at("spec.selector"), old.at("spec.selector"), &SPEC.child("selector"), errors);
    pod_template(new, old, errors);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        meta::immutable(new.at("spec").at(field), old.at("spec").at(field), &SPEC.child(field), errors);
    }
    validate_name(new, errors);
}

/// Completions of indexed jobs may change together with parallelism.
fn completions(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("completions");
    if new.str_at("completionMode") != "Indexed" {
        return meta::immutable(new.at("completions"), old.at("completions"), &at, errors);
    }
    let changed = new.at("completions") != old.at("completions") && new.has("completions");
    if changed && new.int("completions") != new.int("parallelism") {
        errors.invalid(&at, new.at("completions"), "can only be modified in tandem with spec.parallelism");
    }
}

fn pod_template(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("template");
    let now = new.at("spec.template");
    let mut was = old.at("spec.template").clone();
    let suspended = old.flag("spec.suspend");
    let never_ran = !old.has("status.startTime") || super::status::has(old, "Suspended");
    let mutable = suspended && never_ran && old.int("status.active") == 0;
    if mutable {
        take_over_directives(&mut was, now);
        take_over_resources(&mut was, now);
        if !same(now.at("spec"), was.at("spec")) {
            errors.invalid(&at.child("spec"), now.at("spec"), meta::IMMUTABLE);
        }
        return;
    }
    if !same(now, &was) {
        errors.invalid(&at, now, meta::IMMUTABLE);
    }
}

fn take_over_directives(was: &mut Value, now: &Value) {
    let node_affinity = "spec.affinity.nodeAffinity";
    if now.has("spec.affinity") || was.has("spec.affinity") {
        copy(was, now, node_affinity);
        if !now.has("spec.affinity") && was.entries("spec.affinity").next().is_none() {
            was.remove("spec.affinity");
        }
    }
    for field in
        ["spec.nodeSelector", "spec.tolerations", "spec.schedulingGates", "metadata.annotations", "metadata.labels"]
    {
        copy(was, now, field);
    }
}

fn take_over_resources(was: &mut Value, now: &Value) {
    for list in ["containers", "initContainers"] {
        let now = now.at("spec").array_at(list);
        let Some(was) = was.at_mut("spec").and_then(|spec| spec.at_mut(list)).and_then(Value::as_array_mut) else {
            continue;
        };
        if was.len() == now.len() {
            for (was, now) in was.iter_mut().zip(now).filter(|(was, now)| was.str_at("name") == now.str_at("name")) {
                copy(was, now, "resources");
            }
        }
    }
}
