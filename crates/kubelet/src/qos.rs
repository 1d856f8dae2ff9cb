//! Quality of service: the class of a pod, and what the kernel is told of its containers.
//!
//! Upstream: pkg/apis/core/v1/helper/qos, pkg/kubelet/qos, pkg/kubelet/cm/helpers_linux.go.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::{
    pod::{PodExt, is_sidecar},
    quantity::{Quantity, ResourceList, list},
};

/// The least weight the kernel takes.
pub const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
/// The shortest CPU quota the kernel takes, in microseconds.
const QUOTA_MICROS_MIN: i64 = 1000;
/// The usual period of CPU quotas, in microseconds.
pub const QUOTA_PERIOD_MICROS: i64 = 100_000;
/// The score of what is killed last.
const OOM_GUARANTEED: i64 = -997;
/// The score of what is killed first.
const OOM_BEST_EFFORT: i64 = 1000;
/// From this priority on a pod is critical for its node.
const NODE_CRITICAL_PRIORITY: i32 = 2_000_001_000;

/// `status.qosClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Requests are limits, for CPU and memory of every container.
    Guaranteed,
    /// Neither of the others.
    Burstable,
    /// No CPU or memory asked for.
    BestEffort,
}

impl Class {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Guaranteed => "Guaranteed",
            Class::Burstable => "Burstable",
            Class::BestEffort => "BestEffort",
        }
    }
}

/// The class: the API server's word, or worked out.
pub fn class(pod: &Pod) -> Class {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => Class::Guaranteed,
        Some("Burstable") => Class::Burstable,
        Some("BestEffort") => Class::BestEffort,
        _ => compute(pod),
    }
}

fn compute(pod: &Pod) -> Class {
    if let Some(resources) = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()).filter(|own| is_set(own)) {
        return of_requirements(Some(resources));
    }
    let containers = pod.init_containers().iter().chain(pod.containers());
    unanimous(containers.map(|container| of_requirements(container.resources.as_ref())))
}

fn is_set(resources: &ResourceRequirements) -> bool {
    let named = |name: &String| name == "cpu" || name == "memory" || name.starts_with("hugepages-");
    let any = |list: &Option<std::collections::BTreeMap<_, _>>| list.iter().flat_map(|list| list.keys()).any(named);
    any(&resources.requests) || any(&resources.limits)
}

fn of_requirements(resources: Option<&ResourceRequirements>) -> Class {
    let requests = list(resources.and_then(|resources| resources.requests.as_ref()));
    let limits = list(resources.and_then(|resources| resources.limits.as_ref()));
    let of = |name: &str| match (amount(&requests, name), amount(&limits, name)) {
        (request, limit) if request != limit => Class::Burstable,
        (request, _) if request.is_zero() => Class::BestEffort,
        _ => Class::Guaranteed,
    };
    unanimous(["cpu", "memory"].into_iter().map(of))
}

fn unanimous(mut classes: impl Iterator<Item = Class>) -> Class {
    let Some(first) = classes.next() else { return Class::BestEffort };
    if classes.all(|class| class == first) { first } else { Class::Burstable }
}

fn amount(list: &ResourceList, name: &str) -> Quantity {
    list.get(name).copied().unwrap_or_default()
}

/// CPU thousandths as the kernel's weight (cgroup v1).
pub fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { SHARES_MIN } else { (milli_cpu * 1024 / 1000).clamp(SHARES_MIN, SHARES_MAX) }
}

/// A weight as the thousandths it came from, about.
pub fn milli_cpu(shares: i64) -> i64 {
    (shares * 1000 + 1023) / 1024
}

/// CPU thousandths as microseconds in each period; zero is no limit.
pub fn quota(milli_cpu: i64, period_micros: i64) -> i64 {
    if milli_cpu == 0 { 0 } else { (milli_cpu * period_micros / 1000).max(QUOTA_MICROS_MIN) }
}

/// How readily the kernel kills the container when memory runs out.
pub fn oom_score(pod: &Pod, container: &Container, capacity_bytes: i64) -> i64 {
    if pod.spec.as_ref().and_then(|spec| spec.priority).is_some_and(|priority| priority >= NODE_CRITICAL_PRIORITY) {
        return OOM_GUARANTEED;
    }
    match class(pod) {
        Class::Guaranteed => return OOM_GUARANTEED,
        Class::BestEffort => return OOM_BEST_EFFORT,
        Class::Burstable => {}
    }
    let request = |container: &Container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        amount(&list(requests), "memory").value()
    };
    let score = |bytes: i64| 1000 - 1000 * bytes / capacity_bytes.max(1);
    let mut adjusted = score(request(container));
    if is_sidecar(container) {
        let least = pod.containers().iter().map(request).min().unwrap_or_default();
        adjusted = adjusted.min(score(least));
    }
    adjusted.clamp(1000 + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(resources: &[Value]) -> Pod {
        let containers: Vec<_> =
            resources.iter().enumerate().map(|(at, own)| json!({"name": format!("c{at}"), "resources": own})).collect();
        serde_json::from_value(json!({"metadata": {}, "spec": {"containers": containers}})).unwrap()
    }

    #[rstest]
    #[case(&[json!({})], Class::BestEffort)]
    #[case(&[json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}})], Class::Guaranteed)]
    #[case(&[json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}})], Class::Burstable)]
    #[case(&[json!({"requests": {"memory": "1"}})], Class::Burstable)]
    #[case(&[json!({}), json!({"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}})], Class::Burstable)]
    #[case(&[json!({"requests": {"example.com/gpu": "1"}})], Class::BestEffort)]
    fn classes(#[case] resources: &[Value], #[case] expected: Class) {
        assert_eq!(class(&pod(resources)), expected);
    }

    #[rstest]
    #[case(0, 2, 0)]
    #[case(1, 2, 1000)]
    #[case(100, 102, 10_000)]
    #[case(2000, 2048, 200_000)]
    #[case(1_000_000, 262_144, 100_000_000)]
    fn kernel_numbers(#[case] milli: i64, #[case] expected_shares: i64, #[case] expected_quota: i64) {
        assert_eq!((shares(milli), quota(milli, QUOTA_PERIOD_MICROS)), (expected_shares, expected_quota));
    }

    #[rstest]
    #[case(json!({}), 1000)]
    #[case(json!({"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}), -997)]
    #[case(json!({"requests": {"memory": "400"}}), 600)]
    #[case(json!({"requests": {"memory": "1"}}), 999)]
    #[case(json!({"requests": {"memory": "1000"}}), 3)]
    fn scores(#[case] resources: Value, #[case] expected: i64) {
        let pod = pod(&[resources]);
        assert_eq!(oom_score(&pod, &pod.containers()[0], 1000), expected);
    }
}
