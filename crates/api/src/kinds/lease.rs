//! Lease and LeaseCandidate.

use super::Rules;
use super::read::Read;
use crate::field::{FieldErrors, Path};
use crate::meta::{self, NameRule, non_negative};
use crate::names;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");

pub const LEASE: Rules = Rules {
    // Strategy and preferred holder belong to a feature that is off.
    prepare_create: |lease, _| {
        lease.remove("spec.strategy");
        lease.remove("spec.preferredHolder");
    },
    prepare_update: |new, old, _| {
        for field in ["spec.strategy", "spec.preferredHolder"] {
            if !old.has(field) {
                new.remove(field);
            }
        }
    },
    validate,
    validate_update: |new, _, errors| validate(new, errors),
    allow_create_on_update: true,
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

pub const CANDIDATE: Rules = Rules {
    name: NameRule::Own(|name, _| names::config_map_key(name)),
    validate: validate_candidate,
    validate_update: |new, old, errors| {
        validate_candidate(new, errors);
        let name = "spec.leaseName";
        meta::immutable(new.at(name), old.at(name), &Path::new(name), errors);
    },
    allow_create_on_update: true,
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

fn validate(lease: &Value, errors: &mut FieldErrors) {
    let spec = lease.at("spec");
    if spec.has("leaseDurationSeconds") && spec.int("leaseDurationSeconds") <= 0 {
        let seconds = spec.int("leaseDurationSeconds");
        errors.invalid(&SPEC.child("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    non_negative(spec.int("leaseTransitions"), &SPEC.child("leaseTransitions"), errors);
    if spec.has("strategy") {
        strategy(spec.str_at("strategy"), &SPEC.child("strategy"), errors);
    }
    if spec.filled("preferredHolder") && !spec.filled("strategy") {
        let message = "may only be specified if `strategy` is defined";
        errors.forbidden(&SPEC.child("preferredHolder"), message);
    }
}

fn strategy(strategy: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    // Upstream names the field twice.
    let at = at.child("strategy");
    if strategy.contains('/') {
        errors.invalid_each(&at, strategy, names::label_key(strategy));
    } else if strategy != "OldestEmulationVersion" {
        errors.not_supported(&at, strategy, &["OldestEmulationVersion"]);
    }
}

fn validate_candidate(candidate: &Value, errors: &mut FieldErrors) {
    let spec = candidate.at("spec");
    if spec.str_at("leaseName").is_empty() {
        errors.required(&SPEC.child("leaseName"), "");
    }
    let mut version = |field: &str| {
        let text = spec.str_at(field);
        let parsed = semver(text);
        if !text.is_empty() && parsed.is_none() {
            errors.invalid(&SPEC.child(field), text, "must be a valid semantic version");
        }
        parsed.unwrap_or_default()
    };
    let emulation = version("emulationVersion");
    let binary = version("binaryVersion");
    match spec.str_at("binaryVersion") {
        "" => errors.required(&SPEC.child("binaryVersion"), ""),
        text if !spec.str_at("emulationVersion").is_empty() && binary < emulation => {
            let message = "must be greater than or equal to `emulationVersion`";
            errors.invalid(&SPEC.child("binaryVersion"), text, message);
        }
        _ => {}
    }
    match spec.str_at("strategy") {
        "" => errors.required(&SPEC.child("strategy"), ""),
        name => {
            if name == "OldestEmulationVersion" && emulation == <[u64; 3]>::default() {
                let message = "must be specified when `strategy` is 'OldestEmulationVersion'";
                errors.required(&SPEC.child("emulationVersion"), message);
            }
            strategy(name, &SPEC.child("strategy"), errors);
        }
    }
}

/// Major, minor and patch; what follows is not compared.
fn semver(text: &str) -> Option<[u64; 3]> {
    let core = text.split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|part| match part {
        "0" => Some(0),
        part if part.starts_with('0') || !part.bytes().all(|b| b.is_ascii_digit()) => None,
        part => part.parse().ok(),
    });
    let version = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"leaseDurationSeconds": 0, "leaseTransitions": -1}),
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0; \
         spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0")]
    #[case(json!({"strategy": "any", "preferredHolder": "x"}), "")]
    fn leases(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let lease = object(true, json!({"spec": spec}));
        assert_eq!(create(&LEASE, true, lease).err().unwrap_or_default().join("; "), expected);
    }

    #[rstest]
    #[case(json!({"leaseName": "a", "binaryVersion": "1.37.0", "emulationVersion": "1.36.0",
        "strategy": "OldestEmulationVersion"}), "")]
    #[case(json!({"leaseName": "a", "binaryVersion": "1.35.0", "emulationVersion": "1.36.0",
        "strategy": "OldestEmulationVersion"}),
        r#"spec.binaryVersion: Invalid value: "1.35.0": must be greater than or equal to `emulationVersion`"#)]
    #[case(json!({"leaseName": "a", "binaryVersion": "x", "strategy": "b"}),
        r#"spec.binaryVersion: Invalid value: "x": must be a valid semantic version; spec.strategy.strategy: Unsupported value: "b": supported values: "OldestEmulationVersion""#)]
    fn candidates(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let candidate = object(true, json!({"spec": spec}));
        assert_eq!(create(&CANDIDATE, true, candidate).err().unwrap_or_default().join("; "), expected);
    }
}
