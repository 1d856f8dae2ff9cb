//! What a pod's containers need together, and what the pod as a whole asks for.
//!
//! Upstream: `k8s.io/component-helpers/resource`, `pkg/api/pod` (`DefaultPodLevelResources`).

use std::collections::BTreeMap;

use crate::field::{FieldErrors, Path};
use crate::kinds::read::Read;
use crate::kinds::resources::{is_huge_page, is_overcommit_allowed, is_pod_level, quantity};
use crate::quantity::Quantity;
use crate::value::{Map, Value};

/// Amounts by resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// `requests` or `limits` (`list`) of all containers: regular ones run together, init
/// containers one by one beside the sidecars before them; the larger of the two counts.
pub fn containers(spec: &Value, list: &str) -> Amounts {
    let of = |container: &Value| -> Amounts {
        container.at("resources").entries(list).map(|(name, value)| (name.to_string(), quantity(value))).collect()
    };
    let mut total = Amounts::new();
    for container in spec.array_at("containers") {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.array_at("initContainers") {
        let mut needed = of(container);
        if container.str_at("restartPolicy") == "Always" {
            add(&mut total, &needed);
            add(&mut sidecars, &needed);
            needed = sidecars.clone();
        } else {
            add(&mut needed, &sidecars);
        }
        raise(&mut peak, needed);
    }
    raise(&mut total, peak);
    total
}

fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        to.entry(name.clone()).or_default().add(amount);
    }
}

fn raise(to: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let current = to.entry(name).or_insert_with(|| amount.clone());
        if amount > *current {
            *current = amount;
        }
    }
}

/// A pod's own requests and limits must hold what its containers say.
pub fn consistency(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let own = spec.at("resources");
    for (name, needed) in containers(spec, "requests") {
        let request = own.entry("requests", &name);
        if !request.is_null() && needed > quantity(request) {
            let message = format!("must be greater than or equal to aggregate container requests of {needed}");
            errors.invalid(&at.child("requests").key(&name), quantity(request).to_string(), message);
        }
    }
    for (name, needed) in containers(spec, "limits").into_iter().filter(|(name, _)| is_huge_page(name)) {
        let limit = own.entry("limits", &name);
        if !limit.is_null() && needed > quantity(limit) {
            let message = format!("must be greater than or equal to aggregate container limits of {needed}");
            errors.invalid(&at.child("limits").key(&name), quantity(limit).to_string(), message);
        }
    }
    for (index, container) in spec.array_at("containers").iter().enumerate() {
        for (name, limit) in container.entries("resources.limits") {
            let of_pod = own.entry("limits", name);
            if !of_pod.is_null() && quantity(limit) > quantity(of_pod) {
                let at = at.child("containers");
                let at = at.index(index);
                let at = at.key(name);
                let message = format!("must be less than or equal to pod limits of {}", quantity(of_pod));
                errors.invalid(&at.child("limits"), quantity(limit).to_string(), message);
            }
        }
    }
}

/// Completes a pod's own requests and limits where it has some, once all containers are there.
pub fn default_pod_level(spec: &mut Value) {
    if !spec.filled("resources.requests") && !spec.filled("resources.limits") {
        return;
    }
    let (requests, limits) = (containers(spec, "requests"), containers(spec, "limits"));
    for (name, limit) in limits.iter().filter(|(name, _)| is_huge_page(name)) {
        let has = |list: &str| !spec.at("resources").entry(list, name).is_null();
        if !has("requests") && !has("limits") {
            put(spec, "resources.limits", name, limit.to_string());
        }
    }
    for (name, request) in requests.iter().filter(|(name, _)| is_pod_level(name) && is_overcommit_allowed(name)) {
        put_missing(spec, "resources.requests", name, request.to_string());
    }
    let own: Vec<(String, Value)> =
        spec.entries("resources.limits").map(|(name, limit)| (name.to_string(), limit.clone())).collect();
    for (name, limit) in own.into_iter().filter(|(name, _)| is_pod_level(name)) {
        put_missing(spec, "resources.requests", &name, limit);
    }
    default_limits(spec, &limits);
}

/// A limit that every container has bounds the pod as well, at least by its request.
fn default_limits(spec: &mut Value, limits: &Amounts) {
    for name in ["cpu", "memory"] {
        let all = ["containers", "initContainers"]
            .iter()
            .flat_map(|list| spec.array_at(list))
            .all(|container| !container.at("resources").entry("limits", name).is_null());
        let Some(limit) = limits.get(name).filter(|_| all) else { continue };
        let request = quantity(spec.at("resources").entry("requests", name));
        let value = if request > *limit { &request } else { limit };
        put_missing(spec, "resources.limits", name, value.to_string());
    }
}

fn put_missing(spec: &mut Value, path: &str, name: &str, value: impl Into<Value>) {
    if spec.entry(path, name).is_null() {
        put(spec, path, name, value);
    }
}

fn put(spec: &mut Value, path: &str, name: &str, value: impl Into<Value>) {
    let map: &mut Map = spec.at_or_insert(path).make_object();
    map.insert(name, value.into());
    map.sort();
}

// === Quality of service ===

/// The class that decides who goes first when a node runs short.
pub fn qos_class(spec: &Value) -> &'static str {
    let own = spec.at("resources");
    let pod_level = ["requests", "limits"].iter().any(|list| own.entries(list).any(|(name, _)| is_pod_level(name)));
    if pod_level {
        return class_of(own);
    }
    let mut classes = ["initContainers", "containers"]
        .iter()
        .flat_map(|list| spec.array_at(list))
        .map(|container| class_of(container.at("resources")));
    match classes.next() {
        None => "BestEffort",
        Some(first) if classes.all(|class| class == first) => first,
        Some(_) => "Burstable",
    }
}

fn class_of(requirements: &Value) -> &'static str {
    let class = |name: &str| {
        let request = quantity(requirements.entry("requests", name));
        match request == quantity(requirements.entry("limits", name)) {
            false => "Burstable",
            true if request.is_zero() => "BestEffort",
            true => "Guaranteed",
        }
    };
    let (cpu, memory) = (class("cpu"), class("memory"));
    if cpu == memory { cpu } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[rstest]
    #[case(json!([{}]), "BestEffort")]
    #[case(json!([{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}}}]), "Guaranteed")]
    #[case(json!([{"resources": {"requests": {"cpu": "1"}}}]), "Burstable")]
    #[case(json!([{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}]), "Burstable")]
    #[case(json!([{"resources": {"requests": {"cpu": "0"}, "limits": {"cpu": "0"}}}]), "BestEffort")]
    #[case(json!([{}, {"resources": {"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "1", "memory": "1"}}}]), "Burstable")]
    fn classes(#[case] containers: serde_json::Value, #[case] expected: &str) {
        assert_eq!(qos_class(&tree(json!({"containers": containers}))), expected);
    }

    #[test]
    fn init_containers_count_beside_the_sidecars_before_them() {
        let spec = tree(json!({
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
                {"resources": {"requests": {"cpu": "5"}}},
            ],
            "containers": [{"resources": {"requests": {"cpu": "2"}}}],
        }));
        assert_eq!(containers(&spec, "requests")["cpu"].to_string(), "6");
    }
}
