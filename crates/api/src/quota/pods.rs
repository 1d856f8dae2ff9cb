//! What a pod uses of a quota.
//!
//! Upstream: `pkg/quota/v1/evaluator/core/pods.go`, `k8s.io/component-helpers/resource`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use smol_str::SmolStr;

use super::amounts::{Amounts, count};
use crate::kinds::resources::{is_extended, is_huge_page, is_native, is_pod_level};
use crate::value::Value;

/// What a quota may say about pods, besides huge pages and extended resources.
const RESOURCES: [&str; 11] = [
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// Where a quota names one of these, every container must.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const DEVICE_CLASS: &str = "deviceclass.resource.kubernetes.io/";

/// Whether a resource of a quota is about pods.
pub fn is_counted(name: &str) -> bool {
    RESOURCES.contains(&name)
        || is_huge_page(name)
        || name
            .strip_prefix("requests.")
            .is_some_and(|rest| is_huge_page(rest) || !is_native(name) || rest.starts_with(DEVICE_CLASS))
}

/// What the pod uses. One that has ended, or should have long ago, is only counted.
pub fn usage(pod: &Value, now: Timestamp) -> Amounts {
    let mut usage = Amounts::one("count/pods");
    if is_alive(pod, now) {
        usage.add(&of(&requests(pod), &limits(pod)));
    }
    usage
}

fn is_alive(pod: &Value, now: Timestamp) -> bool {
    if matches!(pod.str_at("status.phase"), "Failed" | "Succeeded") {
        return false;
    }
    let deleted = pod.str_at("metadata.deletionTimestamp").parse::<Timestamp>();
    let (Ok(deleted), Some(grace)) = (deleted, pod.i64_at("metadata.deletionGracePeriodSeconds")) else { return true };
    let end = deleted.saturating_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
    now <= end
}

/// Whether every container says what the quota's `required` resources ask for; else what is missing where.
pub fn constraints(required: &[SmolStr], pod: &Value) -> Result<(), String> {
    let own = pod.at("spec.resources");
    let is_set = |list: &str| own.at(list).as_object().is_some_and(|all| all.keys().any(|name| is_pod_level(name)));
    if is_set("requests") || is_set("limits") {
        return Ok(());
    }
    let required = required.iter().filter(|name| REQUIRED.contains(&name.as_str()));
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let containers = ["spec.containers", "spec.initContainers"].map(|list| pod.array_at(list));
    for name in required {
        for container in containers.into_iter().flatten() {
            let resources = container.at("resources");
            let said = of(&Amounts::read(resources.at("requests")), &Amounts::read(resources.at("limits")));
            if said.get(name).is_none() {
                missing.entry(name).or_default().insert(container.str_at("name"));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let said = missing.iter().map(|(name, containers)| {
        let containers: Vec<&str> = containers.iter().copied().collect();
        format!("{name} for: {}", containers.join(","))
    });
    Err(format!("must specify {}", said.collect::<Vec<_>>().join("; ")))
}

/// Requests and limits under the names that quotas know.
fn of(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::default().with("pods", count(1));
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(request) = requests.get(name) {
            usage.set(name, request.clone());
            usage.set(format!("requests.{name}"), request.clone());
        }
        if let Some(limit) = limits.get(name) {
            usage.set(format!("limits.{name}"), limit.clone());
        }
    }
    for (name, request) in requests.iter() {
        if is_huge_page(name) {
            usage.set(name.clone(), request.clone());
        }
        if is_huge_page(name) || is_extended(name) || name.starts_with(DEVICE_CLASS) {
            usage.set(format!("requests.{name}"), request.clone());
        }
    }
    usage
}

/// What the pod asks for or holds, whichever is more, with its overhead.
pub fn requests(pod: &Value) -> Amounts {
    let wanted = aggregate(pod, |container, _| Amounts::read(container.at("resources.requests")));
    let allocated = aggregate(pod, |container, status| match status.at("allocatedResources") {
        Value::Null => unchanged(pod, container, "requests"),
        held => Amounts::read(held),
    });
    let actuated =
        aggregate(pod, |container, status| match (status.at("resources.requests"), status.at("allocatedResources")) {
            (Value::Null, Value::Null) => unchanged(pod, container, "requests"),
            (Value::Null, held) | (held, _) => Amounts::read(held),
        });
    let mut total = if is_infeasible(pod) { Amounts::default() } else { wanted };
    total.raise(&allocated);
    total.raise(&actuated);
    apply_own(&mut total, pod.at("spec.resources.requests"));
    total.add(&Amounts::read(pod.at("spec.overhead")));
    total
}

/// The limits of the pod, or those that it runs under, whichever is more, with its overhead.
pub fn limits(pod: &Value) -> Amounts {
    let wanted = aggregate(pod, |container, _| Amounts::read(container.at("resources.limits")));
    let actuated = aggregate(pod, |container, status| match status.at("resources.limits") {
        Value::Null => unchanged(pod, container, "limits"),
        held => Amounts::read(held),
    });
    let mut total = if is_infeasible(pod) { Amounts::default() } else { wanted };
    total.raise(&actuated);
    apply_own(&mut total, pod.at("spec.resources.limits"));
    let overhead = Amounts::read(pod.at("spec.overhead"));
    let limited = overhead.masked(|name| total.get(name).is_some_and(|limit| !limit.is_zero()));
    total.add(&limited);
    total
}

/// What the spec says of a container whose status says nothing; a resize that can't be is not held.
fn unchanged(pod: &Value, container: &Value, list: &str) -> Amounts {
    if is_infeasible(pod) { Amounts::default() } else { Amounts::read(container.at("resources").at(list)) }
}

fn is_infeasible(pod: &Value) -> bool {
    let pending = pod.array_at("status.conditions").iter().find(|one| one.str_at("type") == "PodResizePending");
    pending.is_some_and(|one| one.str_at("reason") == "Infeasible")
}

/// What the pod says for itself counts instead of its containers'.
fn apply_own(total: &mut Amounts, own: &Value) {
    for (name, amount) in Amounts::read(own).iter().filter(|(name, _)| is_pod_level(name)) {
        total.set(name.clone(), amount.clone());
    }
}

/// Containers run together, init containers one by one beside the sidecars before them; the larger counts.
fn aggregate(pod: &Value, of: impl Fn(&Value, &Value) -> Amounts) -> Amounts {
    let status_of = |container: &Value| {
        let lists = ["status.containerStatuses", "status.initContainerStatuses"];
        let mut statuses = lists.into_iter().flat_map(|list| pod.array_at(list));
        statuses.find(|status| status.str_at("name") == container.str_at("name")).unwrap_or(&Value::Null)
    };
    let mut total = Amounts::default();
    for container in pod.array_at("spec.containers") {
        total.add(&of(container, status_of(container)));
    }
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in pod.array_at("spec.initContainers") {
        let mut needed = of(container, status_of(container));
        if container.str_at("restartPolicy") == "Always" {
            total.add(&needed);
            sidecars.add(&needed);
            needed = sidecars.clone();
        } else {
            needed.add(&sidecars);
        }
        peak.raise(&needed);
    }
    total.raise(&peak);
    total
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::codec::json;

    fn pod(text: &str) -> Value {
        json::parse(text.as_bytes()).unwrap()
    }

    #[rstest]
    #[case::nothing_said(r#"{"spec":{"containers":[{}]}}"#, "count/pods=1,pods=1")]
    #[case::both(
        r#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"cpu":"1"}}},{"resources":{"requests":{"cpu":"1","example.com/gpu":"2"}}}]}}"#,
        "count/pods=1,cpu=1500m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=1500m,requests.example.com/gpu=2,requests.memory=1Gi"
    )]
    #[case::with_overhead(
        r#"{"spec":{"overhead":{"cpu":"100m"},"containers":[{"resources":{"requests":{"cpu":"1"}}}]}}"#,
        "count/pods=1,cpu=1100m,pods=1,requests.cpu=1100m"
    )]
    #[case::its_own(
        r#"{"spec":{"resources":{"requests":{"cpu":"3"}},"containers":[{"resources":{"requests":{"cpu":"1"}}}]}}"#,
        "count/pods=1,cpu=3,pods=1,requests.cpu=3"
    )]
    #[case::still_holds_more(
        r#"{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]},"status":{"containerStatuses":[{"name":"c","allocatedResources":{"cpu":"2"}}]}}"#,
        "count/pods=1,cpu=2,pods=1,requests.cpu=2"
    )]
    #[case::ended(
        r#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"1"}}}]},"status":{"phase":"Failed"}}"#,
        "count/pods=1"
    )]
    #[case::overdue(
        r#"{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":30},"spec":{"containers":[{}]}}"#,
        "count/pods=1"
    )]
    fn usages(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(usage(&pod(text), "2026-01-01T00:01:00Z".parse().unwrap()).printed(), expected);
    }

    #[rstest]
    #[case::all_said(&["cpu"], r#"{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]}}"#, "")]
    #[case::some_missing(
        &["cpu", "limits.memory", "pods"],
        r#"{"spec":{"containers":[{"name":"b"},{"name":"a","resources":{"requests":{"cpu":"1"}}}],"initContainers":[{"name":"i"}]}}"#,
        "must specify cpu for: b,i; limits.memory for: a,b,i"
    )]
    #[case::said_for_all(&["cpu"], r#"{"spec":{"resources":{"limits":{"cpu":"1"}},"containers":[{"name":"a"}]}}"#, "")]
    fn what_must_be_said(#[case] required: &[&str], #[case] text: &str, #[case] expected: &str) {
        let required: Vec<SmolStr> = required.iter().map(|name| (*name).into()).collect();
        assert_eq!(constraints(&required, &pod(text)).err().unwrap_or_default(), expected);
    }

    #[rstest]
    #[case("pods", true)]
    #[case("requests.example.com/gpu", true)]
    #[case("example.com/gpu", false)]
    #[case("requests.hugepages-2Mi", true)]
    #[case("hugepages-2Mi", true)]
    #[case("services", false)]
    #[case("requests.storage", false)]
    fn counted(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_counted(name), expected);
    }
}
