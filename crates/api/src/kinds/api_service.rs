//! APIService.
//!
//! Upstream: `k8s.io/kube-aggregator/pkg/apis/apiregistration/validation`.

use super::admission::webhooks::default_service;
use super::read::{Read, copy};
use super::{Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta::NameRule;
use crate::names;
use crate::time::Time;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");

pub const RULES: Rules = Rules {
    name: NameRule::PathSegment,
    defaults: |service| default_service(service, "spec"),
    status: StatusRule::Separate,
    prepare_create: |service, context| {
        if !service.has("spec.service") {
            let mut condition = Value::object();
            condition.set("type", "Available");
            condition.set("status", "True");
            condition.set("lastTransitionTime", Time::from_unix(context.now.as_second(), 0).to_text());
            condition.set("reason", "Local");
            condition.set("message", "Local APIServices are always available");
            service.set("status.conditions", vec![condition]);
        }
    },
    validate,
    validate_update: |new, _, errors| validate(new, errors),
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
                copy(new, old, &format!("metadata.{field}"));
            }
        },
        validate: |new, _, errors| {
            let at = Path::new("status.conditions");
            for (index, condition) in new.array_at("status.conditions").iter().enumerate() {
                let at = at.index(index);
                let statuses = ["True", "False", "Unknown"];
                super::formats::one_of(condition.str_at("status"), &statuses, &at.child("status"), errors);
            }
        },
        ..Subresource::STATUS
    }],
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

fn validate(service: &Value, errors: &mut FieldErrors) {
    let spec = service.at("spec");
    let (group, version) = (spec.str_at("group"), spec.str_at("version"));
    let (name, wanted) = (service.str_at("metadata.name"), format!("{version}.{group}"));
    if !name.is_empty() && name != wanted && names::path_segment(name, false).is_empty() {
        let message = format!("must be `spec.version+\".\"+spec.group`: \"{wanted}\"");
        errors.invalid(&Path::new("metadata.name"), name, message);
    }
    match group {
        "" if version != "v1" => {
            errors.required(&SPEC.child("group"), "only v1 may have an empty group and it better be legacy kube");
        }
        "" => {}
        group => errors.invalid_each(&SPEC.child("group"), group, names::dns1123_subdomain(group)),
    }
    errors.invalid_each(&SPEC.child("version"), version, names::dns1035_label(version));
    for (field, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = spec.int(field);
        if !(1..=max).contains(&priority) {
            errors.invalid(&SPEC.child(field), priority, format!("must be positive and less than {max}"));
        }
    }
    let insecure = spec.flag("insecureSkipTLSVerify");
    let at_insecure = SPEC.child("insecureSkipTLSVerify");
    if !spec.has("service") {
        if spec.filled("caBundle") {
            let bundle = spec.str_at("caBundle");
            let padding = bundle.bytes().rev().take_while(|b| *b == b'=').count();
            let shown = format!("{} bytes", bundle.len() / 4 * 3 - padding);
            errors.invalid(&SPEC.child("caBundle"), shown, "local APIServices may not have a caBundle");
        }
        if insecure {
            errors.invalid(&at_insecure, true, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    for field in ["service.namespace", "service.name"] {
        if !spec.filled(field) {
            errors.required(&SPEC.child(field), "");
        }
    }
    let port = spec.int("service.port");
    let complaints = names::port_number(port);
    if !complaints.is_empty() {
        let message = format!("port is not valid: {}", complaints.join(", "));
        errors.invalid(&SPEC.child("service.port"), port, message);
    }
    if insecure && spec.filled("caBundle") {
        errors.invalid(&at_insecure, true, "may not be true if caBundle is present");
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    #[rstest]
    #[case("v1.a.io", json!({"group": "a.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}), "")]
    #[case("v1.b.io", json!({"group": "a.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}),
        r#"metadata.name: Invalid value: "v1.b.io": must be `spec.version+"."+spec.group`: "v1.a.io""#)]
    #[case("v1.a.io", json!({"group": "a.io", "version": "v1", "insecureSkipTLSVerify": true, "caBundle": "MAA="}),
        r#"spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000; spec.versionPriority: Invalid value: 0: must be positive and less than 1000; spec.caBundle: Invalid value: "2 bytes": local APIServices may not have a caBundle; spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify"#)]
    fn services(#[case] name: &str, #[case] spec: serde_json::Value, #[case] expected: &str) {
        let service = object(false, json!({"metadata": {"name": name}, "spec": spec}));
        assert_eq!(create(&RULES, false, service).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn local_services_are_available() {
        let spec = json!({"group": "a.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
        let service = object(false, json!({"metadata": {"name": "v1.a.io"}, "spec": spec}));
        let created = create(&RULES, false, service).unwrap();
        assert_eq!(created.array_at("status.conditions")[0].str_at("reason"), "Local");
    }
}
