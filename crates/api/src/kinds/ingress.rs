//! Ingress and IngressClass.

use super::formats::{domain_prefixed_path, port_number};
use super::read::{Read, default_to};
use super::{Generation, Rules, Subresource, ip};
use crate::field::{FieldErrors, Path};
use crate::value::Value;
use crate::{meta, names};

const SPEC: Path<'static> = Path::new("spec");
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const CONTROLLER_BYTES_MAX: usize = 250;

pub const INGRESS: Rules = Rules {
    validate: |ingress, errors| {
        validate_spec(ingress.at("spec"), None, errors);
        let (annotation, class) = (ingress.entry("metadata.annotations", CLASS_ANNOTATION), "spec.ingressClassName");
        if !annotation.is_null() && ingress.has(class) && annotation != ingress.at(class) {
            let message = "must match `ingressClassName` when both are specified";
            errors.invalid(&Path::new("annotations").child(CLASS_ANNOTATION), annotation, message);
        }
    },
    validate_update: |new, old, errors| validate_spec(new.at("spec"), Some(old.at("spec")), errors),
    subresources: &[Subresource { validate: validate_status, ..Subresource::STATUS }],
    warnings: |ingress, old| {
        let annotated = !ingress.entry("metadata.annotations", CLASS_ANNOTATION).is_null();
        match old {
            None if annotated && !ingress.has("spec.ingressClassName") => vec![format!(
                "annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
            )],
            _ => Vec::new(),
        }
    },
    ..Rules::WITH_STATUS
};

pub const CLASS: Rules = Rules {
    defaults: |class| {
        if class.has("spec.parameters") {
            default_to(class, "spec.parameters.scope", "Cluster");
        }
    },
    generation: Generation::Spec,
    validate: |class, errors| validate_class(class.at("spec"), errors),
    validate_update: |new, old, errors| {
        let controller = "spec.controller";
        meta::immutable(new.at(controller), old.at(controller), &Path::new(controller), errors);
        validate_class(new.at("spec"), errors);
    },
    ..Rules::DEFAULT
};

// === Ingress ===

fn validate_spec(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let rules = spec.array_at("rules");
    if rules.is_empty() && !spec.has("defaultBackend") {
        let message = "either `defaultBackend` or `rules` must be specified";
        errors.invalid(&SPEC, spec.at("rules"), message);
    }
    if spec.has("defaultBackend") {
        validate_backend(spec.at("defaultBackend"), &SPEC.child("defaultBackend"), errors);
    }
    let lenient = old.is_some_and(had_bad_wildcard_rule);
    for (index, rule) in rules.iter().enumerate() {
        validate_rule(rule, lenient, &SPEC.child("rules").index(index), errors);
    }
    let bad_secret = |tls: &Value| !names::dns1123_subdomain(tls.str_at("secretName")).is_empty();
    let lenient =
        old.is_some_and(|old| old.array_at("tls").iter().any(|tls| tls.filled("secretName") && bad_secret(tls)));
    for (index, tls) in spec.array_at("tls").iter().enumerate() {
        let at = SPEC.child("tls");
        let at = at.index(index);
        for (index, host) in tls.strings("hosts").enumerate() {
            let at = at.child("hosts");
            errors.invalid_each(&at.index(index), host, host_complaints(host));
        }
        let secret = tls.str_at("secretName");
        if !secret.is_empty() && !lenient {
            errors.invalid_each(&at.child("secretName"), secret, names::dns1123_subdomain(secret));
        }
    }
    if let Some(class) = spec.at("ingressClassName").as_str() {
        errors.invalid_each(&SPEC.child("ingressClassName"), class, names::dns1123_subdomain(class));
    }
}

fn host_complaints(host: &str) -> names::Complaints {
    if host.contains('*') { names::wildcard_dns1123_subdomain(host) } else { names::dns1123_subdomain(host) }
}

/// Rules behind wildcard hosts were not judged once; what is stored may stay.
fn had_bad_wildcard_rule(spec: &Value) -> bool {
    spec.array_at("rules").iter().filter(|rule| rule.str_at("host").contains('*')).any(|rule| {
        let mut errors = FieldErrors::new();
        validate_paths(rule, &Path::ROOT, &mut errors);
        !errors.is_empty()
    })
}

fn validate_rule(rule: &Value, lenient: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let host = rule.str_at("host");
    if !host.is_empty() {
        let at = at.child("host");
        if ip::parse_sloppy(host).is_some() {
            errors.invalid(&at, host, "must be a DNS name, not an IP address");
        }
        errors.invalid_each(&at, host, host_complaints(host));
    }
    if !lenient || !host.contains('*') {
        validate_paths(rule, at, errors);
    }
}

fn validate_paths(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !rule.has("http") {
        return;
    }
    let at = at.child("http.paths");
    let paths = rule.array_at("http.paths");
    if paths.is_empty() {
        errors.required(&at, "");
    }
    for (index, path) in paths.iter().enumerate() {
        validate_path(path, &at.index(index), errors);
    }
}

fn validate_path(path: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !path.has("pathType") {
        return errors.required(&at.child("pathType"), "pathType must be specified");
    }
    let (text, at_path) = (path.str_at("path"), at.child("path"));
    match path.str_at("pathType") {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid(&at_path, text, "must be an absolute path");
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
                if text.contains(sequence) {
                    errors.invalid(&at_path, text, format!("must not contain '{sequence}'"));
                }
            }
            for suffix in ["/..", "/."] {
                if text.ends_with(suffix) {
                    errors.invalid(&at_path, text, format!("cannot end with '{suffix}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&at_path, text, "must be an absolute path");
            }
        }
        other => {
            errors.not_supported(&at.child("pathType"), other, &["Exact", "ImplementationSpecific", "Prefix"]);
        }
    }
    validate_backend(path.at("backend"), &at.child("backend"), errors);
}

fn validate_backend(backend: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match (backend.has("resource"), backend.has("service")) {
        (true, true) => errors.invalid(at, "", "cannot set both resource and service backends"),
        (true, false) => validate_reference(backend.at("resource"), &at.child("resource"), errors),
        (false, true) => validate_service(backend.at("service"), at, errors),
        (false, false) => errors.invalid(at, "", "resource or service backend is required"),
    }
}

fn validate_service(service: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match service.str_at("name") {
        "" => errors.required(&at.child("service.name"), ""),
        name => errors.invalid_each(&at.child("service.name"), name, names::dns1123_label(name)),
    }
    let (name, number) = (service.str_at("port.name"), service.int("port.number"));
    match (name.is_empty(), number) {
        (true, 0) => errors.required(at, "port name or number is required"),
        (true, number) => port_number(number, &at.child("service.port.number"), errors),
        (false, 0) => errors.invalid_each(&at.child("service.port.name"), name, names::port_name(name)),
        (false, _) => errors.invalid(at, "", "cannot set both port name & port number"),
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let list = "status.loadBalancer.ingress";
    let known: Vec<&str> = old.array_at(list).iter().map(|point| point.str_at("ip")).collect();
    let at = Path::new(list);
    for (index, point) in new.array_at(list).iter().enumerate() {
        let at = at.index(index);
        let (ip, host) = (point.str_at("ip"), point.str_at("hostname"));
        if !ip.is_empty() {
            ip::legacy_ip(ip, &at.child("ip"), &known, errors);
        }
        if !host.is_empty() {
            let at = at.child("hostname");
            errors.invalid_each(&at, host, names::dns1123_subdomain(host));
            if ip::parse_sloppy(host).is_some() {
                errors.invalid(&at, host, "must be a DNS name, not an IP address");
            }
        }
    }
}

// === IngressClass ===

fn validate_class(spec: &Value, errors: &mut FieldErrors) {
    let (controller, at) = (spec.str_at("controller"), SPEC.child("controller"));
    if controller.len() > CONTROLLER_BYTES_MAX {
        errors.too_long(&at, CONTROLLER_BYTES_MAX);
    }
    domain_prefixed_path(controller, &at, errors);
    let parameters = spec.at("parameters");
    if parameters.is_null() {
        return;
    }
    let at = SPEC.child("parameters");
    validate_reference(parameters, &at, errors);
    let at_namespace = at.child("namespace");
    match parameters.at("scope").as_str() {
        None => errors.required(&at.child("scope"), ""),
        Some("Namespace") => match parameters.at("namespace").as_str() {
            None => errors.required(&at_namespace, "`parameters.scope` is set to 'Namespace'"),
            Some(namespace) => errors.invalid_each(&at_namespace, namespace, names::dns1123_label(namespace)),
        },
        Some("Cluster") if parameters.has("namespace") => {
            errors.forbidden(&at_namespace, "`parameters.scope` is set to 'Cluster'");
        }
        Some("Cluster") => {}
        Some(other) => errors.not_supported(&at.child("scope"), other, &["Cluster", "Namespace"]),
    }
}

/// An object named by group, kind and name.
fn validate_reference(reference: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if let Some(group) = reference.at("apiGroup").as_str() {
        errors.invalid_each(&at.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    for field in ["kind", "name"] {
        match reference.str_at(field) {
            "" => errors.required(&at.child(field), ""),
            text => errors.invalid_each(&at.child(field), text, names::path_segment(text, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    fn path(path: serde_json::Value) -> serde_json::Value {
        json!({"rules": [{"host": "a.com", "http": {"paths": [path]}}]})
    }

    fn backend(backend: serde_json::Value) -> serde_json::Value {
        json!({"defaultBackend": backend})
    }

    #[rstest]
    #[case(backend(json!({"service": {"name": "s", "port": {"number": 80}}})), "")]
    #[case(json!({}), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified")]
    #[case(backend(json!({})), r#"spec.defaultBackend: Invalid value: "": resource or service backend is required"#)]
    #[case(backend(json!({"service": {"name": "s", "port": {"name": "p", "number": 1}}})),
        r#"spec.defaultBackend: Invalid value: "": cannot set both port name & port number"#)]
    #[case(backend(json!({"service": {"name": "s"}})),
        "spec.defaultBackend: Required value: port name or number is required")]
    #[case(path(json!({"path": "/a"})), "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified")]
    #[case(path(json!({"path": "a//b", "pathType": "Exact", "backend": {"service": {"name": "s", "port": {"number": 1}}}})),
        r#"spec.rules[0].http.paths[0].path: Invalid value: "a//b": must be an absolute path; spec.rules[0].http.paths[0].path: Invalid value: "a//b": must not contain '//'"#)]
    #[case(json!({"rules": [{"host": "1.2.3.4"}]}),
        r#"spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address"#)]
    fn ingresses(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let ingress = object(true, json!({"spec": spec}));
        assert_eq!(create(&INGRESS, true, ingress).err().unwrap_or_default().join("; "), expected);
    }

    #[rstest]
    #[case(json!({"controller": "a.io/b"}), "")]
    #[case(json!({"controller": "b"}),
        r#"spec.controller: Invalid value: "b": must be a domain-prefixed path (such as "acme.io/foo")"#)]
    #[case(json!({"controller": "a.io/b", "parameters": {"kind": "K", "name": "n", "namespace": "x"}}),
        "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'")]
    #[case(json!({"controller": "a.io/b", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}),
        "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'")]
    fn classes(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let class = object(false, json!({"spec": spec}));
        assert_eq!(create(&CLASS, false, class).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_class_keeps_its_controller() {
        let class = |controller| object(false, json!({"spec": {"controller": controller}}));
        let said = update(&CLASS, false, class("a.io/b"), class("a.io/a")).unwrap_err();
        assert_eq!(said, [r#"spec.controller: Invalid value: "a.io/b": field is immutable"#]);
    }
}
