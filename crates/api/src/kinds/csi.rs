//! CSIDriver, CSINode and CSIStorageCapacity.

use super::formats::{dns_subdomain, one_of, qualified_name};
use super::pod::volume_sources::csi_driver_name;
use super::read::{Read, copy, default_to, same};
use super::resources::quantity;
use super::storage_class::selector_warnings;
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta::{self, IMMUTABLE, NEGATIVE, non_negative};
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const NODE_ID_BYTES_MAX: usize = 256;
const TOKEN_SECONDS_MIN: i64 = 10 * 60;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

pub const DRIVER: Rules = Rules {
    defaults: |driver| {
        for (field, value) in [
            ("spec.attachRequired", true),
            ("spec.podInfoOnMount", false),
            ("spec.storageCapacity", false),
            ("spec.requiresRepublish", false),
            ("spec.seLinuxMount", false),
            ("spec.preventPodSchedulingIfMissing", false),
        ] {
            default_to(driver, field, value);
        }
        default_to(driver, "spec.fsGroupPolicy", "ReadWriteOnceWithFSType");
        if !driver.filled("spec.volumeLifecycleModes") {
            driver.set("spec.volumeLifecycleModes", vec!["Persistent"]);
        }
    },
    generation: Generation::Spec,
    // Upstream counts changes only: a new driver has no generation.
    prepare_create: |driver, _| drop(driver.remove("metadata.generation")),
    validate: |driver, errors| validate_driver(driver.at("spec"), errors),
    validate_update: |new, old, errors| {
        validate_driver(new.at("spec"), errors);
        let (required, modes) = ("spec.attachRequired", "spec.volumeLifecycleModes");
        meta::immutable(new.at(required), old.at(required), &SPEC.child("attachedRequired"), errors);
        meta::immutable(new.at(modes), old.at(modes), &SPEC.child("volumeLifecycleModes"), errors);
    },
    warnings: |driver, old| {
        let tokens = "spec.tokenRequests";
        let changed = old.is_none_or(|old| !same(old.at(tokens), driver.at(tokens)));
        if changed && driver.filled(tokens) && !driver.has("spec.serviceAccountTokenInSecrets") {
            return vec![
                "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
                 possible logging of tokens in volume attributes"
                    .to_owned(),
            ];
        }
        Vec::new()
    },
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

pub const NODE: Rules = Rules {
    status: StatusRule::Separate,
    validate: validate_node,
    validate_update: |new, old, errors| {
        validate_node(new, errors);
        let drivers = "spec.drivers";
        for old in old.array_at(drivers) {
            for new in new.array_at(drivers).iter().filter(|new| new.str_at("name") == old.str_at("name")) {
                let (mut new, mut old) = (new.clone(), old.clone());
                new.remove("allocatable");
                old.remove("allocatable");
                meta::immutable(&new, &old, &Path::new(drivers), errors);
            }
        }
    },
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            meta::keep_for_status(new, old);
            // The health of volumes is behind a feature that is off.
            if !old.filled("status.storageHealth") {
                new.remove("status.storageHealth");
            }
        },
        ..Subresource::STATUS
    }],
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

pub const STORAGE_CAPACITY: Rules = Rules {
    validate: validate_capacity,
    validate_update: |new, old, errors| {
        validate_capacity(new, errors);
        for field in ["nodeTopology", "storageClassName"] {
            if !same(new.at(field), old.at(field)) {
                errors.invalid(&Path::new(field), new.at(field), IMMUTABLE);
            }
        }
    },
    warnings: |capacity, _| selector_warnings(capacity.at("nodeTopology"), &Path::new("nodeTopology")),
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

// === CSIDriver ===

fn validate_driver(spec: &Value, errors: &mut FieldErrors) {
    for (field, shown) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if !spec.has(field) {
            errors.required(&SPEC.child(shown), "");
        }
    }
    if spec.has("fsGroupPolicy") {
        let known = ["File", "None", "ReadWriteOnceWithFSType"];
        one_of(spec.str_at("fsGroupPolicy"), &known, &SPEC.child("fsGroupPolicy"), errors);
    }
    token_requests(spec, errors);
    for mode in spec.strings("volumeLifecycleModes") {
        one_of(mode, &["Persistent", "Ephemeral"], &SPEC.child("volumeLifecycleModes"), errors);
    }
    for field in ["seLinuxMount", "preventPodSchedulingIfMissing"] {
        if !spec.has(field) {
            errors.required(&SPEC.child(field), "");
        }
    }
    let period = "nodeAllocatableUpdatePeriodSeconds";
    if spec.has(period) && spec.int(period) < 10 {
        errors.invalid(&SPEC.child(period), spec.int(period), "must be greater than or equal to 10 seconds");
    }
    let in_secrets = "serviceAccountTokenInSecrets";
    if spec.has(in_secrets) && !spec.filled("tokenRequests") {
        let message = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&SPEC.child(in_secrets), spec.at(in_secrets), message);
    }
}

fn token_requests(spec: &Value, errors: &mut FieldErrors) {
    let requests = spec.array_at("tokenRequests");
    for (index, request) in requests.iter().enumerate() {
        let at = SPEC.child("tokenRequests");
        let at = at.index(index);
        let audience = request.str_at("audience");
        if requests[..index].iter().any(|earlier| earlier.str_at("audience") == audience) {
            errors.duplicate(&at.child("audience"), audience);
            continue;
        }
        let at = at.child("expirationSeconds");
        match request.i64_at("expirationSeconds") {
            Some(seconds) if seconds < TOKEN_SECONDS_MIN => {
                errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
            }
            Some(seconds) if seconds > TOKEN_SECONDS_MAX => {
                errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}

// === CSINode ===

fn validate_node(node: &Value, errors: &mut FieldErrors) {
    let drivers = node.array_at("spec.drivers");
    for (index, driver) in drivers.iter().enumerate() {
        let at = SPEC.child("drivers");
        let at = at.index(index);
        let (name, id) = (driver.str_at("name"), driver.str_at("nodeID"));
        csi_driver_name(name, &at.child("name"), errors);
        match id.len() {
            0 => errors.required(&at.child("nodeID"), ""),
            1..=NODE_ID_BYTES_MAX => {}
            _ => {
                let message = format!("must be {NODE_ID_BYTES_MAX} characters or less");
                errors.invalid(&at.child("nodeID"), id, message);
            }
        }
        non_negative(driver.int("allocatable.count"), &at.child("allocatable.count"), errors);
        if drivers[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.duplicate(&at.child("name"), name);
        }
        let keys: Vec<&str> = driver.strings("topologyKeys").collect();
        for (index, key) in keys.iter().enumerate() {
            if key.is_empty() {
                errors.required(&at, "");
            }
            if keys[..index].contains(key) {
                errors.duplicate(&at, *key);
            }
            qualified_name(key, &at, errors);
        }
    }
}

// === CSIStorageCapacity ===

fn validate_capacity(object: &Value, errors: &mut FieldErrors) {
    meta::label_selector(object.at("nodeTopology"), &Path::new("nodeTopology"), errors);
    dns_subdomain(object.str_at("storageClassName"), &Path::new("storageClassName"), errors);
    let amount = quantity(object.at("capacity"));
    if amount.sign() < 0 {
        errors.invalid(&Path::new("capacity"), amount.to_string(), NEGATIVE);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"fsGroupPolicy": "Any"}),
        r#"spec.fsGroupPolicy: Unsupported value: "Any": supported values: "File", "None", "ReadWriteOnceWithFSType""#)]
    #[case(json!({"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}),
        r#"spec.tokenRequests[1].audience: Duplicate value: "a""#)]
    #[case(json!({"serviceAccountTokenInSecrets": true}),
        "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are specified")]
    fn drivers(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let driver = object(false, json!({"spec": spec}));
        assert_eq!(create(&DRIVER, false, driver).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_driver_counts_its_changes_only() {
        let driver = |seconds: i64| object(false, json!({"spec": {"nodeAllocatableUpdatePeriodSeconds": seconds}}));
        let created = create(&DRIVER, false, driver(10)).unwrap();
        assert_eq!(created.i64_at("metadata.generation"), None);
        assert_eq!(update(&DRIVER, false, driver(20), created).unwrap().i64_at("metadata.generation"), Some(1));
    }

    #[rstest]
    #[case(json!([{"name": "a", "nodeID": "1", "topologyKeys": ["x"]}]), "")]
    #[case(json!([{"name": "a", "nodeID": ""}, {"name": "a", "nodeID": "1"}]),
        r#"spec.drivers[0].nodeID: Required value; spec.drivers[1].name: Duplicate value: "a""#)]
    fn nodes(#[case] drivers: serde_json::Value, #[case] expected: &str) {
        let node = object(false, json!({"spec": {"drivers": drivers}}));
        assert_eq!(create(&NODE, false, node).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn capacities() {
        let capacity = |class| object(true, json!({"storageClassName": class, "capacity": "-1"}));
        let said = update(&STORAGE_CAPACITY, true, capacity("a"), capacity("b")).unwrap_err();
        assert_eq!(
            said,
            [
                r#"capacity: Invalid value: "-1": must be greater than or equal to 0"#,
                r#"storageClassName: Invalid value: "a": field is immutable"#
            ]
        );
    }
}
