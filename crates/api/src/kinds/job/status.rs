//! Writes to a job's status. Several controllers may own jobs (`managedBy`), so that clients
//! can rely on transitions only because they are checked here; what a write doesn't touch is
//! not held against it.

use super::indexes;
use crate::field::{FieldErrors, Path};
use crate::kinds::read::{Read, same};
use crate::kinds::workload::counts;
use crate::value::Value;

const STATUS: Path<'static> = Path::new("status");

/// Whether a condition is true.
pub fn has(job: &Value, kind: &str) -> bool {
    condition(job, kind) == "True"
}

fn condition<'a>(job: &'a Value, kind: &str) -> &'a str {
    let found = job.array_at("status.conditions").iter().find(|one| one.str_at("type") == kind);
    found.map(|one| one.str_at("status")).unwrap_or_default()
}

fn is_finished(job: &Value) -> bool {
    has(job, "Complete") || has(job, "Failed")
}

pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    counts(new.at("status"), &["active", "succeeded", "failed", "ready", "terminating"], &STATUS, errors);
    uncounted_pods(new, errors);
    conditions(new, old, errors);
    times(new, old, errors);
    finished(new, old, errors);
    index_lists(new, old, errors);
    transitions(new, old, errors);
}

fn uncounted_pods(job: &Value, errors: &mut FieldErrors) {
    let at = STATUS.child("uncountedTerminatedPods");
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        let at = at.child(list);
        for (index, uid) in job.at("status.uncountedTerminatedPods").strings(list).enumerate() {
            match uid {
                "" => errors.invalid(&at.index(index), "", "must not be empty"),
                uid if seen.contains(&uid) => errors.duplicate(&at.index(index), uid),
                uid => seen.push(uid),
            }
        }
    }
}

fn conditions(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = STATUS.child("conditions");
    let changed = |kind: &str| has(new, kind) != has(old, kind);
    let both = |a: &str, b: &str| has(new, a) && has(new, b);
    let mut complain = |wrong: bool, message: &str| {
        if wrong {
            errors.invalid_omitted(&at, message);
        }
    };
    let complete = changed("Complete");
    complain(
        (complete || changed("Failed")) && both("Complete", "Failed"),
        "cannot set Complete=True and Failed=true conditions",
    );
    complain(
        (complete || changed("FailureTarget")) && both("Complete", "FailureTarget"),
        "cannot set Complete=True and FailureTarget=true conditions",
    );
    complain(
        (changed("Failed") || new.at("status.failedIndexes") != old.at("status.failedIndexes"))
            && has(new, "Failed")
            && !has(new, "FailureTarget"),
        "cannot set Failed=True condition without the FailureTarget=true condition",
    );
    complain(
        (complete || changed("SuccessCriteriaMet")) && has(new, "Complete") && !has(new, "SuccessCriteriaMet"),
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    );
    complain(both("SuccessCriteriaMet", "Failed"), "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    complain(
        both("SuccessCriteriaMet", "FailureTarget"),
        "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
    );
    complain(
        new.has("spec.successPolicy") && !has(new, "SuccessCriteriaMet") && has(new, "Complete"),
        "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
    );
}

fn times(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = STATUS.child("completionTime");
    let (completion, start) = (new.at("status.completionTime"), new.at("status.startTime"));
    let moved = |field: &str| new.at("status").at(field) != old.at("status").at(field);
    let complete = has(new, "Complete");
    if has(old, "Complete") != complete || moved("completionTime") {
        if !completion.is_null() && !complete {
            let message = "cannot set completionTime when there is no Complete=True condition";
            errors.invalid(&at, completion, message);
        }
        if completion.is_null() && complete {
            errors.required(&at, "completionTime is required for Complete jobs");
        }
    }
    // Times of one format compare as texts do.
    let before = matches!((completion.as_str(), start.as_str()), (Some(end), Some(start)) if end < start);
    if (moved("startTime") || moved("completionTime")) && before {
        errors.invalid(&at, completion, "must be equal to or after `startTime`");
    }
}

fn finished(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let ends = is_finished(new) != is_finished(old);
    let moved = |field: &str| !same(new.at("status").at(field), old.at("status").at(field));
    if is_finished(new) {
        let active = new.int("status.active");
        if (ends || moved("active")) && active > 0 {
            errors.invalid(&STATUS.child("active"), active, "active>0 is invalid for finished job");
        }
        let nothing_to_do = new.flag("spec.suspend") && new.i64_at("spec.completions") == Some(0);
        if (ends || moved("startTime")) && !nothing_to_do && !new.has("status.startTime") {
            errors.required(&STATUS.child("startTime"), "startTime is required for finished job");
        }
        let uncounted = new.at("status.uncountedTerminatedPods");
        let pending = uncounted.filled("succeeded") || uncounted.filled("failed");
        if (ends || moved("uncountedTerminatedPods")) && pending {
            errors.invalid(&STATUS.child("uncountedTerminatedPods"), uncounted, "must be empty for finished job");
        }
        let terminating = new.int("status.terminating");
        if (ends || moved("terminating")) && terminating > 0 {
            errors.invalid(&STATUS.child("terminating"), terminating, "terminating>0 is invalid for finished job");
        }
    }
    let (ready, active) = (new.int("status.ready"), new.int("status.active"));
    if (moved("ready") || moved("active")) && ready > active {
        errors.invalid(&STATUS.child("ready"), ready, "cannot set more ready pods than active");
    }
}

fn index_lists(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let (at_completed, at_failed) = (STATUS.child("completedIndexes"), STATUS.child("failedIndexes"));
    let completed = new.str_at("status.completedIndexes");
    let failed = new.at("status.failedIndexes").as_str();
    let completed_moved = completed != old.str_at("status.completedIndexes");
    let failed_moved = new.at("status.failedIndexes") != old.at("status.failedIndexes");
    let completions = new.i64_at("spec.completions");
    let per_index = new.has("spec.backoffLimitPerIndex");
    if let Some(completions) = completions {
        if let Some(Err(error)) = completed_moved.then(|| indexes::count(completed, completions)) {
            errors.invalid(&at_completed, completed, format!("error parsing completedIndexes: {error}"));
        }
        if let Some(failed) = failed.filter(|_| failed_moved && per_index)
            && let Err(error) = indexes::count(failed, completions)
        {
            errors.invalid(&at_failed, failed, format!("error parsing failedIndexes: {error}"));
        }
    }
    if completed_moved && !completed.is_empty() && new.str_at("spec.completionMode") != "Indexed" {
        let message = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(&at_completed, completed, message);
    }
    if let Some(failed) = failed.filter(|_| failed_moved && !per_index) {
        let message = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(&at_failed, failed, message);
    }
    if let (Some(failed), Some(completions), true) = (failed, completions, failed_moved || completed_moved)
        && let Some(index) = indexes::overlap(completed, failed, completions)
    {
        let message = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.invalid(&at_failed, failed, message);
    }
}

fn transitions(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let conditions = STATUS.child("conditions");
    let indexed = new.str_at("spec.completionMode") == "Indexed";
    let scalable = indexed && new.at("spec.completions") == new.at("spec.parallelism");
    for kind in ["Failed", "Complete", "FailureTarget"].into_iter().filter(|kind| has(old, kind) && !has(new, kind)) {
        errors.invalid_omitted(&conditions, format!("cannot disable the terminal {kind}=True condition"));
    }
    for (field, may_shrink) in [("failed", false), ("succeeded", scalable)] {
        let (now, was) = (new.at("status").int(field), old.at("status").int(field));
        if now < was && !may_shrink {
            errors.invalid(&STATUS.child(field), now, format!("cannot decrease the {field} counter"));
        }
    }
    let field = "status.completionTime";
    if new.has(field) && old.has(field) && new.at(field) != old.at(field) {
        errors.invalid(&Path::new(field), new.at(field), "field is immutable");
    }
    let field = "status.startTime";
    let resuming = has(old, "Suspended") && condition(new, "Suspended") == "False";
    if old.has(field) && new.at(field) != old.at(field) && !resuming && !new.flag("spec.suspend") {
        let message = "field is immutable for unsuspended job once set";
        errors.invalid(&Path::new(field), new.at(field), message);
    }
    if has(old, "SuccessCriteriaMet") && !has(new, "SuccessCriteriaMet") {
        errors.invalid_omitted(&conditions, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if has(old, "Complete") && !has(old, "SuccessCriteriaMet") && has(new, "SuccessCriteriaMet") {
        let message = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        errors.invalid_omitted(&conditions, message);
    }
}
