//! Environment variables and the references of the downward API.
//!
//! Upstream: `pkg/apis/core/validation` (`ValidateEnv`, `validateObjectFieldSelector` …).

use super::projected;
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::qualified_name;
use crate::kinds::read::Read;
use crate::kinds::resources::quantity;
use crate::names;
use crate::value::Value;

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that a downward reference may name at all; more than any use of it supports.
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const SIZES: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub fn variables(variables: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, variable) in variables.iter().enumerate() {
        let at = at.index(index);
        match variable.str_at("name") {
            "" => errors.required(&at.child("name"), ""),
            name => errors.invalid_each(&at.child("name"), name, names::relaxed_env_var_name(name)),
        }
        if variable.has("valueFrom") {
            value_from(variable, &at.child("valueFrom"), errors);
        }
    }
}

fn value_from(variable: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let from = variable.at("valueFrom");
    let sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let count = sources.iter().filter(|source| from.has(source)).count();
    for source in sources.into_iter().filter(|source| from.has(source)) {
        let (reference, at) = (from.at(source), at.child(source));
        match source {
            "fieldRef" => field_ref(reference, &ENV_FIELDS, &at, errors),
            "resourceFieldRef" => resource_field_ref(reference, false, &at, errors),
            "fileKeyRef" => projected::file_key_ref(reference, &at, errors),
            _ => key_ref(reference, &at, errors),
        }
    }
    if count == 0 {
        const MESSAGE: &str = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
                               `secretKeyRef` or `fileKeyRef`";
        errors.invalid(at, "", MESSAGE);
    } else if variable.filled("value") {
        errors.invalid(at, "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        errors.invalid(at, "", "may not have more than one field specified at a time");
    }
}

fn key_ref(reference: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let name = reference.str_at("name");
    errors.invalid_each(&at.child("name"), name, names::dns1123_subdomain(name));
    match reference.str_at("key") {
        "" => errors.required(&at.child("key"), ""),
        key => errors.invalid_each(&at.child("key"), key, names::config_map_key(key)),
    }
}

/// A field of the pod, out of those that the place supports (sorted, as messages name them).
pub fn field_ref(reference: &Value, supported: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    let (version, field) = (reference.str_at("apiVersion"), reference.str_at("fieldPath"));
    if version.is_empty() {
        return errors.required(&at.child("apiVersion"), "");
    }
    if field.is_empty() {
        return errors.required(&at.child("fieldPath"), "");
    }
    let subscripted = field.strip_suffix("']").and_then(|rest| rest.split_once("['"));
    let problem = match subscripted {
        _ if version != "v1" => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {field}")),
        None if KNOWN_FIELDS.contains(&field) || field == "spec.host" => None,
        None => Some(format!("field label not supported: {field}")),
    };
    if let Some(problem) = problem {
        let message = format!("error converting fieldPath: {problem}");
        return errors.invalid(&at.child("fieldPath"), field, message);
    }
    match subscripted {
        Some(("metadata.annotations", key)) => qualified_name(&key.to_lowercase(), at, errors),
        Some((_, key)) => qualified_name(key, at, errors),
        None => {
            let field = if field == "spec.host" { "spec.nodeName" } else { field };
            if !supported.contains(&field) {
                errors.not_supported(&at.child("fieldPath"), field, supported);
            }
        }
    }
}

/// A resource of a container; in a volume the container has to be named.
pub fn resource_field_ref(reference: &Value, in_volume: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let resource = reference.str_at("resource");
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_volume && !reference.filled("containerName") {
        errors.required(&at.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&at.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge {
        errors.not_supported(&at.child("resource"), resource, &RESOURCES);
    }
    divisor(reference, resource, huge, &at.child("divisor"), errors);
}

fn divisor(reference: &Value, resource: &str, huge: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let divisor = quantity(reference.at("divisor"));
    if divisor.is_zero() {
        return;
    }
    let divisor = divisor.to_string();
    let what = match resource {
        "limits.cpu" | "requests.cpu" => {
            if !matches!(divisor.as_str(), "1m" | "1") {
                errors.invalid(at, resource, "only divisor's values 1m and 1 are supported with the cpu resource");
            }
            return;
        }
        "limits.memory" | "requests.memory" => "memory",
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => "local ephemeral storage",
        _ if huge => "hugepages",
        _ => return,
    };
    if !SIZES.contains(&divisor.as_str()) {
        let sizes = SIZES.join(", ");
        errors.invalid(at, resource, format!("only divisor's values {sizes} are supported with the {what} resource"));
    }
}

/// Whole ConfigMaps and Secrets as variables.
pub fn env_from(sources: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, source) in sources.iter().enumerate() {
        let here = at.index(index);
        let prefix = source.str_at("prefix");
        if !prefix.is_empty() {
            errors.invalid_each(&here.child("prefix"), prefix, names::relaxed_env_var_name(prefix));
        }
        let kinds = ["configMapRef", "secretRef"];
        for kind in kinds.into_iter().filter(|kind| source.has(kind)) {
            let here = here.child(kind);
            match source.at(kind).str_at("name") {
                "" => errors.required(&here.child("name"), ""),
                name => {
                    let complaints = crate::meta::NameRule::Subdomain.complaints(name, true);
                    errors.invalid_each(&here.child("name"), name, complaints);
                }
            }
        }
        match kinds.iter().filter(|kind| source.has(kind)).count() {
            0 => errors.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(at, "", "may not have more than one field specified at a time"),
        }
    }
}
