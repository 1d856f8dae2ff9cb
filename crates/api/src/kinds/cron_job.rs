//! CronJob.

use super::cron::Schedule;
use super::formats::required_one_of;
use super::read::{Read, default_to, default_zero};
use super::workload::{SPEC, counts, name_warning};
use super::{Generation, Rules, StatusRule, Subresource, job};
use crate::field::{ErrorKind, FieldErrors, Path};
use crate::value::Value;

/// Jobs are named after their CronJob and the minute they are meant for.
const NAME_BYTES_MAX: usize = 52;

pub const RULES: Rules = Rules {
    defaults: |cron| {
        default_zero(cron, "spec.concurrencyPolicy", "Allow");
        default_to(cron, "spec.suspend", false);
        default_to(cron, "spec.successfulJobsHistoryLimit", 3i64);
        default_to(cron, "spec.failedJobsHistoryLimit", 1i64);
        cron.at_or_insert("spec.jobTemplate.spec").make_object();
        job::default_template(cron, "spec.jobTemplate.spec");
    },
    generation: Generation::Spec,
    status: StatusRule::Separate,
    prepare_create: |cron, _| job::drop_disabled_fields(cron, "spec.jobTemplate.spec"),
    prepare_update: |cron, _, _| job::drop_disabled_fields(cron, "spec.jobTemplate.spec"),
    validate: |cron, errors| {
        validate_spec(cron.at("spec"), None, errors);
        let name = cron.str_at("metadata.name");
        if name.len() > NAME_BYTES_MAX {
            errors.invalid(&Path::new("metadata.name"), name, "must be no more than 52 characters");
        }
    },
    validate_update: |new, old, errors| validate_spec(new.at("spec"), Some(old.at("spec")), errors),
    declared: &[("spec.schedule", ErrorKind::Required)],
    subresources: &[Subresource::STATUS],
    warnings: |new, old| {
        let mut warnings = super::workload::template_warnings(new, old, "spec.jobTemplate.spec.template");
        match old {
            None => drop(warnings.splice(0..0, name_warning(new))),
            Some(_) if new.str_at("spec.schedule").contains("TZ") => warnings.push(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                    .to_owned(),
            ),
            Some(_) => {}
        }
        warnings
    },
    ..Rules::DEFAULT
};

fn validate_spec(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    match spec.str_at("schedule") {
        "" => errors.required(&SPEC.child("schedule"), ""),
        text => {
            let zone_allowed = old.is_some_and(|old| old.str_at("schedule").contains("TZ"));
            schedule(text, zone_allowed, spec.has("timeZone"), &SPEC.child("schedule"), errors);
        }
    }
    counts(spec, &["startingDeadlineSeconds"], &SPEC, errors);
    if spec.has("timeZone") && old.is_none_or(|old| old.at("timeZone") != spec.at("timeZone")) {
        time_zone(spec.str_at("timeZone"), &SPEC.child("timeZone"), errors);
    }
    let policy = spec.str_at("concurrencyPolicy");
    required_one_of(policy, &["Allow", "Forbid", "Replace"], &SPEC.child("concurrencyPolicy"), errors);
    let at = SPEC.child("jobTemplate.spec");
    let template = spec.at("jobTemplate.spec");
    job::validate_spec(template, &at, errors);
    if template.has("selector") {
        errors.invalid(&at.child("selector"), template.at("selector"), "`selector` will be auto-generated");
    }
    if template.flag("manualSelector") {
        errors.not_supported(&at.child("manualSelector"), true, &["nil", "false"]);
    }
    counts(spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"], &SPEC, errors);
}

fn schedule(text: &str, zone_allowed: bool, has_zone: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    if let Err(error) = Schedule::parse(text) {
        errors.invalid(at, text, error);
    }
    if text.contains("TZ") {
        if !zone_allowed {
            let message = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.invalid(at, text, message);
        } else if has_zone {
            errors.invalid(at, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        }
    }
}

/// The form of a zone's name. Whether there is such a zone depends on the machine's database,
/// which this crate doesn't read.
fn time_zone(zone: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if zone.is_empty() {
        return errors.invalid(at, zone, "timeZone must be nil or non-empty string");
    }
    let is_part = |part: &str| {
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=14).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
    };
    if !zone.split('/').all(is_part) {
        return errors.invalid(at, zone, format!("unknown time zone {zone}"));
    }
    if zone.eq_ignore_ascii_case("Local") {
        let message = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(at, zone, message);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, tree};

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"spec.schedule": ""}), "spec.schedule: Required value")]
    #[case(json!({"spec.schedule": "", "spec.jobTemplate.spec.template.spec.restartPolicy": "Always"}),
        r#"spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"; spec.schedule: Required value"#)]
    #[case(json!({"spec.schedule": "x"}),
        r#"spec.schedule: Invalid value: "x": expected exactly 5 fields, found 1: [x]"#)]
    #[case(json!({"spec.schedule": "TZ=UTC 0 * * * *"}),
        r#"spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#)]
    #[case(json!({"spec.concurrencyPolicy": "Maybe"}),
        r#"spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace""#)]
    #[case(json!({"spec.timeZone": "Local"}),
        r#"spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"#)]
    #[case(json!({"spec.jobTemplate.spec.template.spec.restartPolicy": "Always"}),
        r#"spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#)]
    fn cron_jobs(#[case] change: serde_json::Value, #[case] expected: &str) {
        let mut cron = object(
            true,
            json!({"spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template":
            {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
        );
        for (path, value) in tree(change).as_object().unwrap().iter() {
            cron.set(path, value);
        }
        assert_eq!(create(&RULES, true, cron).err().unwrap_or_default().join("; "), expected);
    }
}
