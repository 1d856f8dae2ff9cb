//! Annotations that mean something to pods: mirror pods, deletion cost, and the old places of
//! tolerations, seccomp and AppArmor profiles.

use super::paths;
use super::scheduling;
use super::spec::each_container;
use crate::codec::json;
use crate::field::{FieldErrors, Path, go_quote};
use crate::kinds::read::Read;
use crate::value::Value;

/// Marks the API's image of a static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// In pods and in templates.
pub fn validate(annotations: &Value, spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let get = |key: &str| annotations.get(key).as_str();
    if let Some(value) = get(MIRROR).filter(|_| !spec.filled("nodeName")) {
        errors.invalid(&at.key(MIRROR), value, "must set spec.nodeName if mirror pod annotation is set");
    }
    if let Some(text) = get(TOLERATIONS).filter(|text| !text.is_empty()) {
        match json::parse(text.as_bytes()) {
            Ok(Value::Array(tolerations)) => {
                scheduling::tolerations(&tolerations, &at.child(TOLERATIONS), errors);
            }
            Ok(_) => {}
            Err(error) => errors.invalid(at, TOLERATIONS, error.to_string()),
        }
    }
    if let Some(cost) = get(DELETION_COST).filter(|cost| !is_deletion_cost(cost)) {
        errors.invalid(&at.key(DELETION_COST), cost, "must be a 32bit integer");
    }
    for (key, value) in annotations.as_object().into_iter().flat_map(|map| map.iter()) {
        let value = value.as_str().unwrap_or_default();
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp_profile(value, &at.child(key), errors);
        }
        if let Some(container) = key.strip_prefix(APP_ARMOR) {
            if !has_container(spec, container) {
                errors.invalid(&at.key(key), container, "container not found");
            }
            if !matches!(value, "" | "runtime/default" | "unconfined") && !value.starts_with("localhost/") {
                let message = format!("invalid AppArmor profile name: {}", go_quote(value));
                errors.invalid(&at.key(key), value, message);
            }
        }
    }
}

/// A 32-bit number without plus sign or leading zeros.
fn is_deletion_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !text.starts_with('+') && (digits.len() == 1 || !digits.starts_with('0')) && text.parse::<i32>().is_ok()
}

fn seccomp_profile(profile: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        other => match other.strip_prefix("localhost/") {
            Some(path) => paths::descending(path, at, errors),
            None => errors.invalid(at, profile, "must be a valid seccomp profile"),
        },
    }
}

fn has_container(spec: &Value, name: &str) -> bool {
    let mut found = false;
    each_container(spec, &Path::ROOT, |container, _| found |= container.str_at("name") == name);
    found
}

/// Some of a pod's annotations stay as they were made.
pub fn validate_update(new: &Value, old: &Value, spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let entries = |annotations: &Value| annotations.as_object().cloned().unwrap_or_default();
    for (key, _) in entries(old).iter().filter(|(key, value)| new.get(key) != *value) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for (key, _) in entries(new).iter().filter(|(key, _)| old.get(key).is_null()) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not add mirror pod annotation");
        }
    }
    validate(new, spec, at, errors);
}

/// Where a profile stands in an annotation and in a field, both must say the same.
pub fn agree_with_fields(metadata: &Value, spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let annotation = |key: &str| metadata.entry("annotations", key).as_str();
    let of_pod = spec.at("securityContext.seccompProfile");
    if let Some(value) = annotation(SECCOMP_POD) {
        agree(value, of_pod, "seccomp", &at.child("securityContext.seccompProfile"), errors);
    }
    each_container(spec, at, |container, at| {
        if let Some(value) = annotation(&format!("{SECCOMP_CONTAINER}{}", container.str_at("name"))) {
            let profile = container.at("securityContext.seccompProfile");
            agree(value, profile, "seccomp", &at.child("securityContext.seccompProfile"), errors);
        }
    });
    if spec.str_at("os.name") == "windows" {
        return;
    }
    each_container(spec, at, |container, at| {
        let own = container.at("securityContext.appArmorProfile");
        let profile = if own.is_null() { spec.at("securityContext.appArmorProfile") } else { own };
        if let Some(value) = annotation(&format!("{APP_ARMOR}{}", container.str_at("name"))) {
            agree(value, profile, "apparmor", &at.child("securityContext.appArmorProfile"), errors);
        }
    });
}

fn agree(annotation: &str, profile: &Value, what: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let type_differs = format!("{what} type in annotation and field must match");
    match profile.str_at("type") {
        "Unconfined" if annotation != "unconfined" => errors.forbidden(&at.child("type"), type_differs),
        "RuntimeDefault" => {
            let docker = what == "seccomp" && annotation == "docker/default";
            if annotation != "runtime/default" && !docker {
                errors.forbidden(&at.child("type"), type_differs);
            }
        }
        "Localhost" => match annotation.strip_prefix("localhost/") {
            None => errors.forbidden(&at.child("type"), type_differs),
            Some(path) if profile.at("localhostProfile").as_str() != Some(path) => {
                let message = format!("{what} profile in annotation and field must match");
                errors.forbidden(&at.child("localhostProfile"), message);
            }
            Some(_) => {}
        },
        _ => {}
    }
}
