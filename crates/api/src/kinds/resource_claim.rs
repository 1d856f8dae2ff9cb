//! ResourceClaim, ResourceClaimTemplate and DeviceClass: devices that pods ask for.
//!
//! Expressions are the apiserver's to compile; permission for admin access is its to check.
//!
//! Upstream: `pkg/apis/resource/validation`.

use super::formats::{dns_label, dns_subdomain};
use super::pod::scheduling::node_selector;
use super::pod::volume_sources::{csi_driver_name, driver_name};
use super::read::{Read, as_go, copy, default_zero, each_mut, same, with_mut};
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::value::Value;
use crate::{meta, names};

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
const LISTS_MAX: usize = 32;
const SUB_REQUESTS_MAX: usize = 8;
const TOLERATIONS_MAX: usize = 16;
const RESERVATIONS_MAX: usize = 256;
const IDENTIFIER_BYTES_MAX: usize = 32;
const EXPRESSION_BYTES_MAX: usize = 10 << 10;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

pub const CLAIM: Rules = Rules {
    defaults: |claim| with_mut(claim, "spec.devices", default_devices),
    status: StatusRule::Separate,
    validate: |claim, errors| devices(claim.at("spec.devices"), &SPEC.child("devices"), errors),
    validate_update: |new, old, errors| meta::fixed(new.at("spec"), old.at("spec"), &SPEC, errors),
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            meta::keep_for_status(new, old);
        },
        validate: validate_status,
        ..Subresource::STATUS
    }],
    ..Rules::DEFAULT
};

pub const TEMPLATE: Rules = Rules {
    defaults: |template| with_mut(template, "spec.spec.devices", default_devices),
    validate: |template, errors| {
        let (metadata, at) = (template.at("spec.metadata"), SPEC.child("metadata"));
        meta::annotations(metadata.at("annotations"), &at.child("annotations"), errors);
        meta::labels(metadata.at("labels"), &at.child("labels"), errors);
        devices(template.at("spec.spec.devices"), &SPEC.child("spec.devices"), errors);
    },
    validate_update: |new, old, errors| {
        if !same(new.at("spec"), old.at("spec")) {
            errors.invalid(&SPEC, template_as_go(new.at("spec")), meta::IMMUTABLE);
        }
    },
    ..Rules::DEFAULT
};

/// A template as upstream's messages show it: the metadata is embedded, a claim's spec follows.
fn template_as_go(spec: &Value) -> Value {
    let schema = crate::schema::builtin();
    let mut shown = spec.at("metadata").as_object().cloned().unwrap_or_default();
    if let Some(id) = schema.find("io.k8s.api.resource.v1.ResourceClaimSpec") {
        shown.insert("Spec", as_go(spec.at("spec"), schema, id));
    }
    shown.into()
}

pub const DEVICE_CLASS: Rules = Rules {
    generation: Generation::Spec,
    validate: |class, errors| validate_class(class.at("spec"), errors),
    validate_update: |new, _, errors| validate_class(new.at("spec"), errors),
    ..Rules::DEFAULT
};

fn default_devices(devices: &mut Value) {
    each_mut(devices, "requests", |request| {
        with_mut(request, "exactly", default_request);
        each_mut(request, "firstAvailable", default_request);
    });
}

fn default_request(request: &mut Value) {
    default_zero(request, "allocationMode", "ExactCount");
    if request.str_at("allocationMode") == "ExactCount" {
        default_zero(request, "count", 1i64);
    }
}

// === Lists ===

/// Judges each item of a list that is not too long.
fn items(list: &[Value], max: usize, at: &Path<'_>, errors: &mut FieldErrors, each: &mut Each<'_>) {
    if list.len() > max {
        return errors.too_many(at, list.len(), max);
    }
    for (index, item) in list.iter().enumerate() {
        each(item, &at.index(index), errors);
    }
}

type Each<'a> = dyn FnMut(&Value, &Path<'_>, &mut FieldErrors) + 'a;

/// Reports items of which an earlier one has the key.
fn unique(list: &[Value], key: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, item) in list.iter().enumerate() {
        let value = if key.is_empty() { item } else { item.at(key) };
        let earlier = |other: &Value| if key.is_empty() { other == value } else { other.at(key) == value };
        if list[..index].iter().any(earlier) {
            errors.duplicate(&at.index(index), item);
        }
    }
}

// === What is asked for ===

fn devices(claim: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (requests, at_requests) = (claim.array_at("requests"), at.child("requests"));
    items(requests, LISTS_MAX, &at_requests, errors, &mut |request, at, errors| validate_request(request, at, errors));
    unique(requests, "name", &at_requests, errors);
    let known = |name: &str| is_request(claim, name);
    items(claim.array_at("constraints"), LISTS_MAX, &at.child("constraints"), errors, &mut |constraint, at, errors| {
        references(constraint, &known, at, errors);
        match ["matchAttribute", "distinctAttribute"].into_iter().find(|field| constraint.has(field)) {
            Some(field) => attribute_name(constraint.str_at(field), &at.child(field), errors),
            None => {
                let message = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple \
                               fields are set";
                errors.required(at, message);
            }
        }
    });
    items(claim.array_at("config"), LISTS_MAX, &at.child("config"), errors, &mut |config, at, errors| {
        references(config, &known, at, errors);
        configuration(config, at, errors);
    });
}

/// Whether a claim has a request, or one of its alternatives: `request/alternative`.
fn is_request(claim: &Value, name: &str) -> bool {
    let (name, alternative) = match name.split_once('/') {
        Some((name, alternative)) => (name, Some(alternative)),
        None => (name, None),
    };
    let Some(request) = claim.array_at("requests").iter().find(|request| request.str_at("name") == name) else {
        return false;
    };
    let mut alternatives = request.array_at("firstAvailable").iter();
    alternative.is_none_or(|wanted| alternatives.any(|one| one.str_at("name") == wanted))
}

fn references(object: &Value, known: &dyn Fn(&str) -> bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let (list, at) = (object.array_at("requests"), at.child("requests"));
    items(list, LISTS_MAX, &at, errors, &mut |name, at, errors| {
        request_reference(name.as_str().unwrap_or_default(), known, at, errors);
    });
    unique(list, "", &at, errors);
}

fn request_reference(name: &str, known: &dyn Fn(&str) -> bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let message =
        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    if name.matches('/').count() > 1 {
        return errors.invalid(at, name, message);
    }
    name.split('/').for_each(|part| dns_label(part, at, errors));
    if !known(name) {
        errors.invalid(at, name, message);
    }
}

fn validate_request(request: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    dns_label(request.str_at("name"), &at.child("name"), errors);
    let (alternatives, exactly) = (request.array_at("firstAvailable"), request.at("exactly"));
    match (alternatives.is_empty(), exactly.is_null()) {
        (true, true) => errors.required(at, "exactly one of `exactly` or `firstAvailable` is required"),
        (false, false) => {
            let message = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(at, Value::Null, message);
        }
        (true, false) => validate_devices(exactly, &at.child("exactly"), errors),
        (false, true) => {
            let at = at.child("firstAvailable");
            items(alternatives, SUB_REQUESTS_MAX, &at, errors, &mut |alternative, at, errors| {
                dns_label(alternative.str_at("name"), &at.child("name"), errors);
                validate_devices(alternative, at, errors);
            });
            unique(alternatives, "name", &at, errors);
        }
    }
}

fn validate_devices(request: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match request.str_at("deviceClassName") {
        "" => errors.required(&at.child("deviceClassName"), ""),
        class => dns_subdomain(class, &at.child("deviceClassName"), errors),
    }
    selectors(request, at, errors);
    let (count, at_count) = (request.int("count"), at.child("count"));
    match request.str_at("allocationMode") {
        "All" if count != 0 => {
            errors.invalid(&at_count, count, "must not be specified when allocationMode is 'All'");
        }
        "ExactCount" if count <= 0 => errors.invalid(&at_count, count, "must be greater than zero"),
        "All" | "ExactCount" => {}
        other => errors.not_supported(&at.child("allocationMode"), other, &["All", "ExactCount"]),
    }
    items(request.array_at("tolerations"), TOLERATIONS_MAX, &at.child("tolerations"), errors, &mut toleration);
}

fn selectors(object: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    items(object.array_at("selectors"), LISTS_MAX, &at.child("selectors"), errors, &mut |selector, at, errors| {
        let at = at.child("cel");
        if !selector.has("cel") {
            errors.required(&at, "");
        } else if selector.len_at("cel.expression") > EXPRESSION_BYTES_MAX {
            errors.too_long(&at.child("expression"), EXPRESSION_BYTES_MAX);
        }
    });
}

fn toleration(toleration: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (key, value) = (toleration.str_at("key"), toleration.str_at("value"));
    if !key.is_empty() {
        meta::label_key(key, &at.child("key"), errors);
    }
    match toleration.str_at("operator") {
        "Exists" if !value.is_empty() => {
            errors.invalid(&at.child("value"), value, "must be empty for operator `Exists`");
        }
        "Exists" => {}
        "Equal" => errors.invalid_each(&at.child("value"), value, names::label_value(value)),
        "" => errors.required(&at.child("operator"), ""),
        other => errors.not_supported(&at.child("operator"), other, &["Equal", "Exists"]),
    }
    effect(toleration.str_at("effect"), &at.child("effect"), errors);
}

/// What a taint does; none is fine.
pub fn effect(effect: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(at, effect, &EFFECTS);
    }
}

/// A name with a domain.
fn attribute_name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    qualified_name(name, at, errors);
    if !name.contains('/') {
        errors.invalid(at, name, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

/// A name of attributes or capacities, perhaps with a domain.
pub fn qualified_name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let mut identifier = |id: &str| {
        if id.len() > IDENTIFIER_BYTES_MAX {
            errors.too_long(at, IDENTIFIER_BYTES_MAX);
        }
        errors.invalid_each(at, id, names::c_identifier(id));
    };
    match name.split_once('/') {
        None => identifier(name),
        // Upstream lets more than one slash pass.
        Some((_, name)) if name.contains('/') => {}
        Some((domain, name)) => {
            match name {
                "" => {}
                name => identifier(name),
            }
            match domain {
                "" => errors.invalid(at, "", "the domain must not be empty"),
                domain => csi_driver_name(domain, at, errors),
            }
            if name.is_empty() {
                errors.invalid(at, "", "the name must not be empty");
            }
        }
    }
}

fn configuration(config: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (opaque, at) = (config.at("opaque"), at.child("opaque"));
    if opaque.is_null() {
        return errors.required(&at, "");
    }
    driver_name(opaque.str_at("driver"), &at.child("driver"), errors);
    match opaque.at("parameters") {
        Value::Null => errors.required(&at.child("parameters"), ""),
        Value::Object(_) => {}
        _ => errors.invalid(&at.child("parameters"), "<value omitted>", "must be a valid JSON object"),
    }
}

fn validate_class(spec: &Value, errors: &mut FieldErrors) {
    selectors(spec, &SPEC, errors);
    items(spec.array_at("config"), LISTS_MAX, &SPEC.child("config"), errors, &mut configuration);
    if let Some(name) = spec.at("extendedResourceName").as_str() {
        let at = SPEC.child("extendedResourceName");
        if !name.contains('/') {
            errors.invalid(&at, name, "a name must be a domain-prefixed path, such as 'example.com/my-prop'");
        } else if name.contains("kubernetes.io/") {
            errors.invalid(&at, name, "must not have \"kubernetes.io/\" domain");
        }
        if name.starts_with("requests.") {
            errors.invalid(&at, name, "must not have \"requests.\" prefix");
        }
        errors.invalid_each(&at, name, names::label_key(&format!("requests.{name}")));
    }
}

// === What was given ===

fn validate_status(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let (status, before) = (new.at("status"), old.at("status"));
    let (reserved, at) = (status.array_at("reservedFor"), STATUS.child("reservedFor"));
    items(reserved, RESERVATIONS_MAX, &at, errors, &mut |consumer, at, errors| {
        for field in ["resource", "name", "uid"].into_iter().filter(|field| !consumer.filled(field)) {
            errors.required(&at.child(field), "");
        }
    });
    unique(reserved, "uid", &at, errors);
    let allocation = status.at("allocation");
    if !reserved.is_empty() {
        let added = || reserved.iter().any(|consumer| !before.array_at("reservedFor").contains(consumer));
        if allocation.is_null() {
            errors.forbidden(&at, "may not be specified when `allocated` is not set");
        } else if new.has("metadata.deletionTimestamp") && added() {
            let message = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&at, message);
        }
    }
    let at = STATUS.child("allocation");
    if before.has("allocation") && !allocation.is_null() {
        if !same(allocation, before.at("allocation")) {
            errors.invalid(&at, Value::Null, "field cannot be modified once set");
        }
    } else if !allocation.is_null() {
        validate_allocation(allocation, new.at("spec.devices"), &at, errors);
    }
}

fn validate_allocation(allocation: &Value, claim: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let known = |name: &str| is_request(claim, name);
    let at_devices = at.child("devices");
    let results = allocation.array_at("devices.results");
    items(results, LISTS_MAX, &at_devices.child("results"), errors, &mut |result, at, errors| {
        request_reference(result.str_at("request"), &known, &at.child("request"), errors);
        driver_name(result.str_at("driver"), &at.child("driver"), errors);
        pool_name(result.str_at("pool"), &at.child("pool"), errors);
        dns_label(result.str_at("device"), &at.child("device"), errors);
    });
    let configs = allocation.array_at("devices.config");
    items(configs, 2 * LISTS_MAX, &at_devices.child("config"), errors, &mut |config, at, errors| {
        let sources = ["FromClaim", "FromClass"];
        super::formats::required_one_of(config.str_at("source"), &sources, &at.child("source"), errors);
        references(config, &known, at, errors);
        configuration(config, at, errors);
    });
    if allocation.has("nodeSelector") {
        node_selector(allocation.at("nodeSelector"), &at.child("nodeSelector"), errors);
    }
}

/// Subdomains joined by slashes.
pub fn pool_name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    if name.len() > names::SUBDOMAIN_BYTES_MAX {
        errors.too_long(at, names::SUBDOMAIN_BYTES_MAX);
    }
    name.split('/').for_each(|part| dns_subdomain(part, at, errors));
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    fn exactly(changes: serde_json::Value) -> serde_json::Value {
        let mut request = json!({"deviceClassName": "c"});
        for (field, value) in changes.as_object().unwrap() {
            request[field] = value.clone();
        }
        json!({"requests": [{"name": "r", "exactly": request}]})
    }

    #[rstest]
    #[case(exactly(json!({})), "")]
    #[case(exactly(json!({"allocationMode": "All", "count": 1})),
        "spec.devices.requests[0].exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'")]
    #[case(exactly(json!({"deviceClassName": ""})),
        "spec.devices.requests[0].exactly.deviceClassName: Required value")]
    #[case(json!({"requests": [{"name": "r"}]}),
        "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required")]
    #[case(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}],
        "config": [{"requests": ["x"], "opaque": {"driver": "d", "parameters": {}}}]}),
        r#"spec.devices.config[0].requests[0]: Invalid value: "x": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"#)]
    #[case(json!({"requests": [{"name": "r", "firstAvailable": [{"name": "a", "deviceClassName": "c"}]}],
        "constraints": [{"requests": ["r/a"], "matchAttribute": "example.com/numa"}]}), "")]
    fn claims(#[case] devices: serde_json::Value, #[case] expected: &str) {
        let claim = object(true, json!({"spec": {"devices": devices}}));
        assert_eq!(create(&CLAIM, true, claim).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_claim_asks_for_one_device_and_stays() {
        let claim =
            |class: &str| object(true, json!({"spec": {"devices": exactly(json!({"deviceClassName": class}))}}));
        let created = create(&CLAIM, true, claim("c")).unwrap();
        let request = created.array_at("spec.devices.requests")[0].at("exactly");
        assert_eq!((request.str_at("allocationMode"), request.int("count")), ("ExactCount", 1));
        let said = update(&CLAIM, true, claim("d"), created).unwrap_err();
        assert_eq!(said, ["spec: Invalid value: null: field is immutable"]);
    }

    #[test]
    fn classes() {
        let class = object(false, json!({"spec": {"selectors": [{}], "extendedResourceName": "cpu"}}));
        assert_eq!(
            create(&DEVICE_CLASS, false, class).unwrap_err(),
            [
                "spec.selectors[0].cel: Required value",
                r#"spec.extendedResourceName: Invalid value: "cpu": a name must be a domain-prefixed path, such as 'example.com/my-prop'"#
            ]
        );
    }
}
