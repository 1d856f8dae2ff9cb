//! Job: defaults, the generated selector, validation.
//!
//! Upstream: `pkg/apis/batch`, `pkg/registry/batch/job`.

mod indexes;
mod policies;
mod status;
mod update;

use smol_str::ToSmolStr;

use super::formats::{domain_prefixed_path, one_of};
use super::pod::{defaults, template};
use super::read::{Read, default_to, default_zero, each_mut, with_mut};
use super::workload::{SPEC, counts, name_warning, selector_matches_template};
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::names;
use crate::value::{Map, Value};

/// Labels that tie pods to their job; the unprefixed ones are older.
pub const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
pub const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

const BACKOFF_LIMIT: i64 = 6;
const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// More completions than this need a limit of failed indexes.
const COMPLETIONS_SOFT_MAX: i64 = 100_000;
const PARALLELISM_MAX_OF_MANY: i64 = 10_000;
const FAILED_INDEXES_MAX_OF_MANY: i64 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;

pub const RULES: Rules = Rules {
    defaults: |job| {
        default_spec(job, "spec");
        // A job not yet prepared gets them later, with the generated ones.
        if job.filled("metadata.uid") {
            share_labels(job);
        }
    },
    generation: Generation::Spec,
    status: StatusRule::Separate,
    prepare_create: |job, _| {
        let has_labels = job.filled("spec.template.metadata.labels");
        if !job.flag("spec.manualSelector") {
            generate_selector(job);
        }
        // Labels that are all generated reach the job only as it is stored.
        if has_labels {
            share_labels(job);
        }
        drop_disabled_fields(job, "spec");
    },
    prepare_update: |job, _, _| {
        share_labels(job);
        drop_disabled_fields(job, "spec");
    },
    validate: |job, errors| {
        validate_generated_selector(job, errors);
        validate_spec_with_selector(job.at("spec"), errors);
        validate_name(job, errors);
    },
    validate_update: update::validate,
    canonicalize: share_labels,
    subresources: &[Subresource { validate: status::validate, ..Subresource::STATUS }],
    warnings: |new, old| {
        let mut warnings = super::workload::template_warnings(new, old, "spec.template");
        if old.is_none() {
            warnings.splice(0..0, name_warning(new));
        }
        warnings
    },
    selectable: &[("status.successful", |job| job.int("status.succeeded").to_smolstr())],
    ..Rules::DEFAULT
};

/// Defaults of the JobSpec at `path` of a Job.
/// A job without labels has its pods'.
fn share_labels(job: &mut Value) {
    if !job.filled("metadata.labels") && job.filled("spec.template.metadata.labels") {
        let labels = job.at("spec.template.metadata.labels").clone();
        job.set("metadata.labels", labels);
    }
}

fn default_spec(job: &mut Value, path: &str) {
    job.at_or_insert(path).make_object();
    with_mut(job, path, |spec| {
        if !spec.has("completions") && !spec.has("parallelism") {
            spec.set("completions", 1i64);
        }
        default_to(spec, "parallelism", 1i64);
        let per_index = spec.has("backoffLimitPerIndex");
        default_to(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { BACKOFF_LIMIT });
        default_to(spec, "completionMode", "NonIndexed");
        default_to(spec, "suspend", false);
        let replaces = if spec.has("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
        default_to(spec, "podReplacementPolicy", replaces);
        default_to(spec, "manualSelector", false);
    });
    default_template(job, path);
}

/// Defaults that a Job's template has wherever it stands: pods and failure patterns.
pub fn default_template(job: &mut Value, path: &str) {
    with_mut(job, path, |spec| {
        each_mut(spec, "podFailurePolicy.rules", |rule| {
            each_mut(rule, "onPodConditions", |pattern| default_zero(pattern, "status", "True"));
        });
        defaults::template(spec, "template");
    });
}

/// Takes the fields of features that are off out of the JobSpec at `path`.
pub fn drop_disabled_fields(job: &mut Value, path: &str) {
    with_mut(job, path, |spec| {
        spec.remove("scheduling");
        template::drop_disabled_fields(spec, "template");
    });
}

/// Labels the template with the job's name and UID, and selects by the UID. What the user set
/// stays and is judged.
fn generate_selector(job: &mut Value) {
    let name = job.str_at("metadata.name").to_owned();
    let uid = job.str_at("metadata.uid").to_owned();
    let labels = job.at_or_insert("spec.template.metadata.labels").make_object();
    put_missing(labels, &NAME_LABELS, &name);
    put_missing(labels, &UID_LABELS, &uid);
    labels.sort();
    let selected = job.at_or_insert("spec.selector.matchLabels").make_object();
    put_missing(selected, &UID_LABELS[1..], &uid);
    selected.sort();
}

fn put_missing(labels: &mut Map, keys: &[&str], value: &str) {
    for key in keys {
        if !labels.contains_key(key) {
            labels.insert(*key, value);
        }
    }
}

fn validate_generated_selector(job: &Value, errors: &mut FieldErrors) {
    if job.flag("spec.manualSelector") || !job.has("spec.selector") {
        return;
    }
    let (name, uid) = (job.str_at("metadata.name"), job.str_at("metadata.uid"));
    if uid.is_empty() {
        errors.required(&Path::new("metadata.uid"), "");
    }
    let at = Path::new("spec.template.metadata.labels");
    let labels = job.at("spec.template.metadata.labels");
    let mut expected = Map::new();
    for index in 0..2 {
        for (key, value) in [(UID_LABELS[index], uid), (NAME_LABELS[index], name)] {
            expected.insert(key, value);
            match labels.get(key).as_str() {
                None => errors.required(&at.key(key), format!("must be '{value}'")),
                Some(actual) if actual != value => {
                    errors.invalid(&at.key(key), labels, format!("must be '{value}'"));
                }
                Some(_) => {}
            }
        }
    }
    let selector = crate::selector::LabelSelector::from_object(job.at("spec.selector"));
    if selector.is_ok_and(|selector| !selector.matches_labels(&expected.into())) {
        errors.invalid(&SPEC.child("selector"), job.at("spec.selector"), "`selector` not auto-generated");
    }
}

/// Pods of an indexed job are named after it and their index.
fn validate_name(job: &Value, errors: &mut FieldErrors) {
    let completions = job.int("spec.completions");
    if job.str_at("spec.completionMode") != "Indexed" || completions <= 0 {
        return;
    }
    let name = job.str_at("metadata.name");
    let longest = format!("{name}-{}", completions - 1);
    if !names::dns1123_label(&longest).is_empty() {
        let message = format!("will not able to create pod with invalid DNS label: {longest}");
        errors.invalid(&Path::new("metadata.name"), name, message);
    }
}

fn validate_spec_with_selector(spec: &Value, errors: &mut FieldErrors) {
    validate_spec(spec, &SPEC, errors);
    let selector = spec.at("selector");
    match selector.is_null() {
        true => errors.required(&SPEC.child("selector"), ""),
        false => meta::label_selector(selector, &SPEC.child("selector"), errors),
    }
    selector_matches_template(selector, spec.at("template"), &SPEC.child("template"), errors);
}

/// A JobSpec without its selector, also in a CronJob's template.
pub fn validate_spec(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const COUNTS: [&str; 7] = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    counts(spec, &COUNTS, at, errors);
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        errors.required(&at.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if spec.has("managedBy") {
        let manager = spec.str_at("managedBy");
        domain_prefixed_path(manager, &at.child("managedBy"), errors);
        if manager.len() > MANAGED_BY_BYTES_MAX {
            errors.too_long(&at.child("managedBy"), MANAGED_BY_BYTES_MAX);
        }
    }
    let mode = spec.str_at("completionMode");
    if spec.has("completionMode") {
        one_of(mode, &["NonIndexed", "Indexed"], &at.child("completionMode"), errors);
    }
    match mode {
        "Indexed" => indexed(spec, at, errors),
        "NonIndexed" => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"].into_iter().filter(|field| spec.has(field)) {
                errors.invalid(&at.child(field), spec.int(field), "requires indexed completion mode");
            }
        }
        _ => {}
    }
    policies::validate(spec, at, errors);
    template::validate(spec.at("template"), &at.child("template"), errors);
    restart_policy(spec, &at.child("template.spec.restartPolicy"), errors);
}

fn indexed(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (parallelism, completions) = (spec.i64_at("parallelism"), spec.i64_at("completions"));
    let failed = spec.i64_at("maxFailedIndexes");
    let (at_parallelism, at_failed) = (at.child("parallelism"), at.child("maxFailedIndexes"));
    if completions.is_none() {
        errors.required(&at.child("completions"), "when completion mode is Indexed");
    }
    let mut bound = |value: Option<i64>, max: i64, at: &Path<'_>, message: String| {
        if let Some(value) = value.filter(|value| *value > max) {
            errors.invalid(at, value, message);
        }
    };
    let limit = |max: i64, more: &str| format!("must be less than or equal to {max}{more}");
    bound(parallelism, PARALLELISM_MAX, &at_parallelism, limit(PARALLELISM_MAX, " when completion mode is Indexed"));
    if let Some(completions) = completions {
        bound(failed, completions, &at_failed, "must be less than or equal to completions".to_owned());
    }
    bound(failed, FAILED_INDEXES_MAX, &at_failed, limit(FAILED_INDEXES_MAX, ""));
    if completions.is_some_and(|completions| completions > COMPLETIONS_SOFT_MAX) && spec.has("backoffLimitPerIndex") {
        let many = format!(" when completions are above {COMPLETIONS_SOFT_MAX} and used with backoff limit per index");
        bound(parallelism, PARALLELISM_MAX_OF_MANY, &at_parallelism, limit(PARALLELISM_MAX_OF_MANY, &many));
        bound(failed, FAILED_INDEXES_MAX_OF_MANY, &at_failed, limit(FAILED_INDEXES_MAX_OF_MANY, &many));
        if failed.is_none() {
            let message = format!("must be specified when completions is above {COMPLETIONS_SOFT_MAX}");
            errors.required(&at_failed, message);
        }
    }
}

fn restart_policy(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match spec.str_at("template.spec.restartPolicy") {
        "" | "Always" => errors.required(at, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" => {
            if spec.has("podFailurePolicy") {
                errors.invalid(at, "OnFailure", "only \"Never\" is supported when podFailurePolicy is specified");
            }
        }
        other => errors.not_supported(at, other, &["OnFailure", "Never"]),
    }
}

#[cfg(test)]
mod tests;
