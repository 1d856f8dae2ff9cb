//! PriorityClass.

use super::Rules;
use super::read::{Read, default_to};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::value::Value;

/// Values above are Kubernetes' own.
pub const HIGHEST_USER_DEFINABLE: i64 = 1_000_000_000;
/// The classes that every cluster has, with their values.
pub const SYSTEM: [(&str, i64); 2] = [
    ("system-node-critical", 2 * HIGHEST_USER_DEFINABLE + 1000),
    ("system-cluster-critical", 2 * HIGHEST_USER_DEFINABLE),
];

pub const RULES: Rules = Rules {
    defaults: |class| default_to(class, "preemptionPolicy", "PreemptLowerPriority"),
    prepare_create: |class, _| class.set("metadata.generation", 1i64),
    validate,
    validate_update: |new, old, errors| {
        if new.int("value") != old.int("value") {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        let policy = "preemptionPolicy";
        meta::immutable(new.at(policy), old.at(policy), &Path::new(policy), errors);
    },
    ..Rules::DEFAULT
};

fn validate(class: &Value, errors: &mut FieldErrors) {
    let (name, value) = (class.str_at("metadata.name"), class.int("value"));
    if name.starts_with("system-") {
        let error = match SYSTEM.iter().find(|(system, _)| *system == name) {
            None => format!("{name} is not a known system priority class"),
            Some((_, known)) if value != *known => format!("value of {name} PriorityClass must be {known}"),
            Some(_) if class.flag("globalDefault") => format!("globalDefault of {name} PriorityClass must be false"),
            Some(_) => String::new(),
        };
        if !error.is_empty() {
            let message =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {error}");
            errors.forbidden(&Path::new("metadata.name"), message);
        }
    } else if value > HIGHEST_USER_DEFINABLE {
        let message = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_DEFINABLE}");
        errors.forbidden(&Path::new("value"), message);
    }
    preemption_policy(class.str_at("preemptionPolicy"), &Path::new("preemptionPolicy"), errors);
}

fn preemption_policy(policy: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    match policy {
        "PreemptLowerPriority" | "Never" => {}
        "" => errors.required(at, ""),
        other => errors.not_supported(at, other, &["PreemptLowerPriority", "Never"]),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case("a", 100, "")]
    #[case("a", 1_000_000_001, "value: Forbidden: maximum allowed value of a user defined priority is 1000000000")]
    #[case("system-cluster-critical", 2_000_000_000, "")]
    #[case(
        "system-cluster-critical",
        1,
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: \
         value of system-cluster-critical PriorityClass must be 2000000000"
    )]
    #[case(
        "system-a",
        1,
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: \
         system-a is not a known system priority class"
    )]
    fn values(#[case] name: &str, #[case] value: i64, #[case] expected: &str) {
        let class = object(false, json!({"metadata": {"name": name}, "value": value}));
        assert_eq!(create(&RULES, false, class).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_class_keeps_its_value() {
        let class = |value, policy| object(false, json!({"value": value, "preemptionPolicy": policy}));
        let said = update(&RULES, false, class(2, "Never"), class(1, "PreemptLowerPriority")).unwrap_err();
        assert_eq!(
            said,
            [
                "value: Forbidden: may not be changed in an update.",
                r#"preemptionPolicy: Invalid value: "Never": field is immutable"#
            ]
        );
    }
}
