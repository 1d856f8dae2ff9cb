//! ResourceSlice and DeviceTaintRule: the devices that there are, and what keeps off them.
//!
//! Upstream: `pkg/apis/resource/validation`.

use jiff::Timestamp;

use super::formats::{dns_label, dns_subdomain, one_of};
use super::pod::scheduling::node_selector;
use super::pod::volume_sources::csi_driver_name;
use super::read::{Read, copy, each_mut, same, with_mut};
use super::resource_claim::{pool_name, qualified_name};
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::time::Time;
use crate::value::Value;
use crate::{meta, names};

const SPEC: Path<'static> = Path::new("spec");
const DEVICES_MAX: usize = 128;
/// Where devices have taints, or share counters.
const COMPLEX_DEVICES_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 32;
const ATTRIBUTE_VALUES_MAX: usize = 48;
const ATTRIBUTE_BYTES_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

pub const SLICE: Rules = Rules {
    generation: Generation::Spec,
    defaults: |slice| each_mut(slice, "spec.devices", |device| each_mut(device, "taints", date)),
    validate: |slice, errors| validate(slice.at("spec"), None, errors),
    validate_update: |new, old, errors| {
        let (spec, old) = (new.at("spec"), old.at("spec"));
        validate(spec, Some(old), errors);
        for field in ["pool.name", "driver", "nodeName"] {
            meta::immutable(spec.at(field), old.at(field), &SPEC.child(field), errors);
        }
    },
    selectable: &[
        ("spec.nodeName", |slice| slice.str_at("spec.nodeName").into()),
        ("spec.pool.name", |slice| slice.str_at("spec.pool.name").into()),
        ("spec.driver", |slice| slice.str_at("spec.driver").into()),
    ],
    ..Rules::DEFAULT
};

pub const TAINT_RULE: Rules = Rules {
    generation: Generation::Spec,
    status: StatusRule::Separate,
    defaults: |rule| with_mut(rule, "spec.taint", date),
    prepare_update: |new, old, context| {
        let moved = |field: &str| new.at("spec.taint").at(field) != old.at("spec.taint").at(field);
        if moved("effect") && !moved("timeAdded") {
            new.set("spec.taint.timeAdded", seconds(context.now));
        }
    },
    validate: |rule, errors| validate_rule(rule.at("spec"), errors),
    validate_update: |new, _, errors| validate_rule(new.at("spec"), errors),
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            meta::keep_for_status(new, old);
        },
        validate: |new, _, errors| {
            let conditions = "status.conditions";
            meta::conditions(new.array_at(conditions), &Path::new(conditions), errors);
        },
        ..Subresource::STATUS
    }],
    ..Rules::DEFAULT
};

fn seconds(time: Timestamp) -> Value {
    Time::from_unix(time.as_second(), 0).to_text().into()
}

/// A taint without a time is from now: upstream's default, which is why field managers own it.
fn date(taint: &mut Value) {
    if !taint.has("timeAdded") {
        taint.set("timeAdded", seconds(Timestamp::now()));
    }
}

// === Slices ===

fn validate(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    csi_driver_name(spec.str_at("driver"), &SPEC.child("driver"), errors);
    let (pool, at) = (spec.at("pool"), SPEC.child("pool"));
    pool_name(pool.str_at("name"), &at.child("name"), errors);
    if pool.int("resourceSliceCount") <= 0 {
        let count = pool.int("resourceSliceCount");
        errors.invalid(&at.child("resourceSliceCount"), count, "must be greater than zero");
    }
    if pool.int("generation") < 0 {
        let generation = pool.int("generation");
        errors.invalid(&at.child("generation"), generation, "must be greater than or equal to zero");
    }
    whose(spec, errors);
    if spec.has("sharedCounters") && spec.has("devices") {
        errors.invalid(&SPEC, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let (devices, at) = (spec.array_at("devices"), SPEC.child("devices"));
    let is_complex = |device: &Value| device.filled("taints") || device.filled("consumesCounters");
    let max = if devices.iter().any(is_complex) { COMPLEX_DEVICES_MAX } else { DEVICES_MAX };
    if devices.len() > max {
        return errors.too_many(&at, devices.len(), max);
    }
    let per_device = spec.flag("perDeviceNodeSelection");
    for (index, device) in devices.iter().enumerate() {
        let name = device.str_at("name");
        let known = old.into_iter().flat_map(|old| old.array_at("devices")).find(|old| old.str_at("name") == name);
        validate_device(device, known, per_device, &at.index(index), errors);
    }
    for (index, device) in devices.iter().enumerate() {
        let name = device.str_at("name");
        if devices[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.duplicate(&at.index(index), name);
        }
    }
}

/// On which nodes the devices are: said in one way.
fn whose(spec: &Value, errors: &mut FieldErrors) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut said = Vec::new();
    match spec.at("nodeName").as_str() {
        None => {}
        Some("") => {
            let message = "must be either unset or set to a non-empty string";
            errors.invalid(&SPEC.child("nodeName"), "", message);
        }
        Some(name) => {
            said.push("`nodeName`");
            dns_subdomain(name, &SPEC.child("nodeName"), errors);
        }
    }
    if spec.has("nodeSelector") {
        said.push("`nodeSelector`");
        let (terms, at) = (spec.at("nodeSelector.nodeSelectorTerms"), SPEC.child("nodeSelector"));
        node_selector(spec.at("nodeSelector"), &at, errors);
        if terms.as_array().is_none_or(|terms| terms.len() != 1) {
            errors.invalid(&at.child("nodeSelectorTerms"), terms, "must have exactly one node selector term");
        }
    }
    for (field, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        match spec.at(field).as_bool() {
            None => {}
            Some(true) => said.push(shown),
            Some(false) => errors.invalid(&SPEC.child(field), false, "must be either unset or set to true"),
        }
    }
    match said.len() {
        0 => errors.required(&SPEC, ONE),
        1 => {}
        _ => {
            let message = format!("{ONE}, but multiple fields are set");
            errors.invalid(&SPEC, format!("{{{}}}", said.join(", ")), message);
        }
    }
}

fn validate_device(device: &Value, old: Option<&Value>, per_device: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    dns_label(device.str_at("name"), &at.child("name"), errors);
    let total = device.len_at("attributes") + device.len_at("capacity");
    if total > ATTRIBUTES_MAX {
        let message = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.invalid(at, total as i64, message);
    }
    let values = |(_, attribute): (&crate::value::Key, &Value)| {
        ["bools", "ints", "strings", "versions"].iter().map(|list| attribute.len_at(list)).sum::<usize>().max(1)
    };
    let values: usize = device.entries("attributes").map(values).sum();
    if values > ATTRIBUTE_VALUES_MAX {
        let message = format!("the total number of attribute values must not exceed {ATTRIBUTE_VALUES_MAX}");
        errors.invalid(at, values as i64, message);
    }
    for list in ["attributes", "capacity"] {
        let at = at.child(list);
        for (name, value) in device.entries(list) {
            qualified_name(name, &at, errors);
            if list == "attributes" {
                validate_attribute(value, &at.key(name), errors);
            }
        }
    }
    let taints = device.array_at("taints");
    if !old.is_some_and(|old| same(old.at("taints"), device.at("taints"))) {
        let at = at.child("taints");
        if taints.len() > TAINTS_MAX {
            errors.too_many(&at, taints.len(), TAINTS_MAX);
        } else {
            taints.iter().enumerate().for_each(|(index, taint)| validate_taint(taint, &at.index(index), errors));
        }
    }
    let placed = ["nodeName", "nodeSelector", "allNodes"].iter().filter(|field| device.has(field)).count();
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                       `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match (per_device, placed) {
        (true, 0) => errors.required(at, ONE),
        (true, 1) | (false, 0) => {}
        (true, _) => errors.invalid(at, "", ONE),
        (false, _) => {
            let message = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is \
                           set to true in the ResourceSlice spec";
            errors.invalid(at, Value::Null, message);
        }
    }
}

/// `1.2.3`, `1.2.3-rc.1`, `1.2.3+build.5`.
fn is_semantic_version(text: &str) -> bool {
    let is_number = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
    };
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_release = |text: &str| is_number(text) || (is_word(text) && !text.bytes().all(|b| b.is_ascii_digit()));
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, release) = text.split_once('-').map_or((text, None), |(text, release)| (text, Some(release)));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && release.is_none_or(|release| release.split('.').all(is_release))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn validate_attribute(attribute: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const KINDS: [&str; 8] = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"];
    for (one, many) in [("string", "strings"), ("version", "versions")] {
        let mut text = |text: &str, at: &Path<'_>| {
            if one == "version" && !is_semantic_version(text) {
                errors.invalid(at, text, "must be a string compatible with semver.org spec 2.0.0");
            }
            if text.len() > ATTRIBUTE_BYTES_MAX {
                errors.too_long(at, ATTRIBUTE_BYTES_MAX);
            }
        };
        if let Some(one_text) = attribute.at(one).as_str() {
            text(one_text, &at.child(one));
        }
        for (index, one_text) in attribute.strings(many).enumerate() {
            text(one_text, &at.child(many).index(index));
        }
    }
    for field in &KINDS[4..] {
        if attribute.has(field) && !attribute.filled(field) {
            errors.invalid(&at.child(field), attribute.at(field), "must not be empty if specified");
        }
    }
    let set: Vec<&str> = KINDS.into_iter().filter(|kind| attribute.has(kind)).collect();
    let all = "`int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`";
    match set.len() {
        1 => {}
        0 => errors.invalid(at, "", format!("must specify one of: {all}")),
        _ => errors.invalid(at, format!("{{{}}}", set.join(", ")), format!("must specify exactly one of: {all}")),
    }
}

fn validate_taint(taint: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let value = taint.str_at("value");
    meta::label_key(taint.str_at("key"), &at.child("key"), errors);
    errors.invalid_each(&at.child("value"), value, names::label_value(value));
    match taint.str_at("effect") {
        "" => errors.required(&at.child("effect"), ""),
        effect => one_of(effect, &EFFECTS, &at.child("effect"), errors),
    }
}

fn validate_rule(spec: &Value, errors: &mut FieldErrors) {
    let (selector, at) = (spec.at("deviceSelector"), SPEC.child("deviceSelector"));
    if let Some(driver) = selector.at("driver").as_str() {
        csi_driver_name(driver, &at.child("driver"), errors);
    }
    if let Some(pool) = selector.at("pool").as_str() {
        pool_name(pool, &at.child("pool"), errors);
    }
    if let Some(device) = selector.at("device").as_str() {
        dns_label(device, &at.child("device"), errors);
    }
    validate_taint(spec.at("taint"), &SPEC.child("taint"), errors);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    fn slice(changes: serde_json::Value) -> Value {
        let mut spec = json!({"driver": "d.example.com", "pool": {"name": "p", "resourceSliceCount": 1}, "nodeName": "n",
            "devices": [{"name": "a", "attributes": {"model": {"string": "x"}}}]});
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        object(false, json!({"spec": spec}))
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"allNodes": true}),
        r#"spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set"#)]
    #[case(json!({"devices": [{"name": "a"}, {"name": "a"}]}), r#"spec.devices[1]: Duplicate value: "a""#)]
    #[case(json!({"devices": [{"name": "a", "attributes": {"x": {"int": 1, "bool": true}}}]}),
        r#"spec.devices[0].attributes[x]: Invalid value: "{int, bool}": must specify exactly one of: `int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`"#)]
    #[case(json!({"pool": {"name": "p", "resourceSliceCount": 0}}),
        "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero")]
    #[case(json!({"devices": [{"name": "a", "taints": [{"key": "k", "effect": "Burn"}]}]}),
        r#"spec.devices[0].taints[0].effect: Unsupported value: "Burn": supported values: "NoExecute", "NoSchedule", "None""#)]
    fn slices(#[case] changes: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&SLICE, false, slice(changes)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_slice_keeps_its_node() {
        let said = update(&SLICE, false, slice(json!({"nodeName": "b"})), slice(json!({}))).unwrap_err();
        assert_eq!(said, [r#"spec.nodeName: Invalid value: "b": field is immutable"#]);
    }
}
