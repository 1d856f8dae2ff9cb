//! Compute resources: their names, their quantities, requests and limits.
//!
//! Upstream: `pkg/apis/core/helper/helpers.go`, `pkg/apis/core/validation`.

use super::formats::{dns_label, qualified_name};
use super::read::Read;
use crate::field::{ErrorKind, FieldErrors, Path};
use crate::meta::NEGATIVE;
use crate::names;
use crate::quantity::Quantity;
use crate::value::Value;

const HUGE_PAGES: &str = "hugepages-";
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// A quantity of a decoded tree; zero for what is none.
pub fn quantity(value: &Value) -> Quantity {
    match value {
        Value::String(text) => text.parse().unwrap_or_default(),
        Value::Int(number) => Quantity::new(*number, crate::quantity::Format::DecimalSi),
        _ => Quantity::default(),
    }
}

// === Names ===

pub fn is_huge_page(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// In Kubernetes' own namespace.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A device or the like, named by who brings it: `example.com/gpu`.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::label_key(&format!("requests.{name}")).is_empty()
}

/// Whether limits may exceed requests.
pub fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

pub fn is_integer(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

fn is_compute_or_counted(name: &str) -> bool {
    let base = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    let quota_huge_page = name.starts_with(HUGE_PAGES) || name.starts_with("requests.hugepages-");
    COUNTED.contains(&name) || COMPUTE.contains(&base) || name == "requests.storage" || quota_huge_page
}

/// Any resource: standard, or with a prefix.
pub fn name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    qualified_name(name, at, errors);
    if !errors.grew_since(before) && !name.contains('/') && !is_compute_or_counted(name) && name != "storage" {
        errors.invalid(at, name, "must be a standard resource type or fully qualified");
    }
}

/// A resource that a container can ask for.
pub fn container_name(resource: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    name(resource, at, errors);
    if !resource.contains('/') {
        if !COMPUTE.contains(&resource) && !is_huge_page(resource) {
            errors.invalid(at, resource, "must be a standard resource for containers");
        }
    } else if !is_native(resource) && !is_extended(resource) {
        errors.invalid(at, resource, "doesn't follow extended resource name standard");
    }
}

/// A resource that a pod as a whole can ask for.
pub fn pod_name(resource: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    name(resource, at, errors);
    if !errors.grew_since(before) && !is_pod_level(resource) {
        errors.not_supported(at, resource, &["cpu", "hugepages-", "memory"]);
    }
}

pub fn is_pod_level(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || is_huge_page(resource)
}

/// A resource of Kubernetes' own that quotas count.
pub fn is_standard_quota(resource: &str) -> bool {
    is_compute_or_counted(resource)
}

/// A resource that a quota can limit.
pub fn quota_name(resource: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    name(resource, at, errors);
    if !resource.contains('/') && !is_compute_or_counted(resource) {
        errors.invalid(at, resource, "must be a standard resource for quota");
    }
}

// === Quantities ===

/// Not negative, and whole where the resource is counted.
pub fn quantity_value(resource: &str, value: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let quantity = quantity(value);
    if quantity.sign() < 0 {
        errors.invalid(at, quantity.to_string(), NEGATIVE);
    }
    if is_integer(resource) && quantity.milli_value() % 1000 != 0 {
        errors.invalid(at, quantity.to_string(), "must be an integer");
    }
}

fn huge_page_value(resource: &str, value: &Quantity, at: &Path<'_>, errors: &mut FieldErrors) {
    let size = resource.strip_prefix(HUGE_PAGES).and_then(|size| size.parse::<Quantity>().ok());
    let divisible = size.is_some_and(|size| {
        size.sign() > 0 && size.milli_value() % 1000 == 0 && size.value() != 0 && value.value() % size.value() == 0
    });
    if !divisible {
        errors.invalid(at, value.to_string(), format!("{value} is not positive integer multiple of {resource}"));
    }
}

/// Rounds amounts up to what is counted: thousandths. For defaults, hence on every decode: what
/// can't be smaller isn't parsed.
pub fn round(object: &mut Value, lists: &[&str]) {
    const THOUSANDTHS: i32 = -3;
    for list in lists {
        let Some(amounts) = object.at_mut(list).and_then(Value::as_object_mut) else { continue };
        for (_, amount) in amounts.iter_mut() {
            let Value::String(text) = amount else { continue };
            if text.bytes().any(|b| matches!(b, b'n' | b'u' | b'.' | b'e')) {
                let Ok(mut quantity) = text.parse::<Quantity>() else { continue };
                if !quantity.round_up(THOUSANDTHS) {
                    *amount = quantity.to_string().into();
                }
            }
        }
    }
}

// === Requirements ===

/// `requests` and `limits` of a container or, with [`pod_name`], of a pod.
pub fn requirements(
    requirements: &Value,
    judge_name: fn(&str, &Path<'_>, &mut FieldErrors),
    pod_claims: &[&str],
    at: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let (limits, requests) = (at.child("limits"), at.child("requests"));
    let (mut compute, mut huge) = (false, false);
    let mut judge = |resource: &str, value: &Value, at: &Path<'_>, errors: &mut FieldErrors| {
        judge_name(resource, at, errors);
        quantity_value(resource, value, at, errors);
        compute |= matches!(resource, "cpu" | "memory");
        huge |= is_huge_page(resource);
    };
    for (resource, limit) in requirements.entries("limits") {
        let at = limits.key(resource);
        judge(resource, limit, &at, errors);
        if is_huge_page(resource) {
            huge_page_value(resource, &quantity(limit), &at, errors);
        }
    }
    for (resource, request) in requirements.entries("requests") {
        let at = requests.key(resource);
        judge(resource, request, &at, errors);
        let request = quantity(request);
        match requirements.entry("limits", resource) {
            Value::Null if !is_overcommit_allowed(resource) => {
                errors.required(&limits, "Limit must be set for non overcommitable resources");
            }
            Value::Null => {}
            limit => {
                let limit = quantity(limit);
                let relation = match is_overcommit_allowed(resource) {
                    false if request != limit => "equal to",
                    true if request > limit => "less than or equal to",
                    _ => "",
                };
                if !relation.is_empty() {
                    let message = format!("must be {relation} {resource} limit of {limit}");
                    errors.invalid(&requests, request.to_string(), message);
                }
            }
        }
        if is_huge_page(resource) {
            huge_page_value(resource, &request, &at, errors);
        }
    }
    if huge && !compute {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
    claims(requirements.array_at("claims"), pod_claims, &at.child("claims"), errors);
}

/// Claims of a container must be among its pod's.
fn claims(claims: &[Value], pod_claims: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    let mut seen: Vec<String> = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        let at = at.index(index);
        let (name, request) = (claim.str_at("name"), claim.str_at("request"));
        if name.is_empty() {
            errors.required(&at, "");
        } else if seen.iter().any(|one| one == name) {
            errors.duplicate(&at, name);
        } else {
            if !request.is_empty() {
                dns_label(request, &at.child("request"), errors);
            }
            let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
            if seen.contains(&key) {
                errors.duplicate(&at, key.as_str());
            } else if request.is_empty() {
                for _ in seen.iter().filter(|one| one.split_once('/').is_some_and(|(claim, _)| claim == name)) {
                    errors.duplicate(&at, name);
                }
            }
            seen.push(key);
        }
        if !name.is_empty() && !pod_claims.contains(&name) {
            let mut sorted = pod_claims.to_vec();
            sorted.sort_unstable();
            let known = if sorted.is_empty() { " which is empty".into() } else { format!(": {}", sorted.join(", ")) };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{known}");
            errors.push(ErrorKind::NotFound, &at, name, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[test]
    fn amounts_are_whole_thousandths() {
        let mut container = tree(json!({"limits": {"cpu": "100u", "memory": "1Gi", "x": "1500n"}}));
        round(&mut container, &["limits", "requests"]);
        assert_eq!(container, tree(json!({"limits": {"cpu": "1m", "memory": "1Gi", "x": "1m"}})));
    }
}
