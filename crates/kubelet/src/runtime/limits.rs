//! What the runtime is told of CPU, memory and huge pages. Upstream: kuberuntime_container_linux.go.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    cgroups::Version,
    cri::v1::{HugepageLimit, LinuxContainerResources},
    qos,
    quantity::{Quantity, ResourceList, list},
    status::resources,
};

/// The node's part in it.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// CPU limits are quotas.
    pub quota: bool,
    /// Length of a CPU period in microseconds.
    pub period_micros: i64,
    /// Bytes of memory of the machine.
    pub memory_capacity: i64,
    /// Sizes of huge pages the machine has (`2MB`).
    pub huge_page_sizes: &'a [String],
    /// The cgroup interface.
    pub version: Version,
}

/// Of a container.
pub fn container(pod: &Pod, container: &Container, settings: Settings<'_>) -> LinuxContainerResources {
    let own = container.resources.as_ref();
    let requests = list(own.and_then(|own| own.requests.as_ref()));
    let mut limits = list(own.and_then(|own| own.limits.as_ref()));
    let of_pod = list(pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.limits.as_ref()));
    for name in ["cpu", "memory"] {
        let missing = limits.get(name).is_none_or(|limit| limit.is_zero());
        if let Some(limit) = of_pod.get(name).filter(|_| missing) {
            limits.insert(name.to_owned(), *limit);
        }
    }
    LinuxContainerResources {
        oom_score_adj: qos::oom_score(pod, container, settings.memory_capacity),
        hugepage_limits: huge_pages(&limits, settings.huge_page_sizes),
        ..linux(&requests, &limits, settings)
    }
}

/// Of a sandbox: all of the pod, without its overhead.
pub fn sandbox(pod: &Pod, settings: Settings<'_>) -> LinuxContainerResources {
    let mut bare = pod.clone();
    if let Some(spec) = &mut bare.spec {
        spec.overhead = None;
    }
    linux(&resources::requests(&bare), &resources::limits(&bare), settings)
}

/// Of the overhead of running the pod.
pub fn overhead(pod: &Pod, settings: Settings<'_>) -> LinuxContainerResources {
    match pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref()) {
        None => LinuxContainerResources::default(),
        some => linux(&list(some), &list(some), settings),
    }
}

fn linux(requests: &ResourceList, limits: &ResourceList, settings: Settings<'_>) -> LinuxContainerResources {
    let milli = |list: &ResourceList| list.get("cpu").map(|cpu| cpu.milli_value());
    let limit = milli(limits).unwrap_or_default();
    let mut unified = HashMap::new();
    if settings.version == Version::V2 {
        // Out of memory ends the whole container, not one process of it.
        unified.insert("memory.oom.group".to_owned(), "1".to_owned());
    }
    LinuxContainerResources {
        cpu_shares: qos::shares(milli(requests).unwrap_or(limit)),
        cpu_period: if settings.quota { settings.period_micros } else { 0 },
        cpu_quota: if settings.quota { qos::quota(limit, settings.period_micros) } else { 0 },
        memory_limit_in_bytes: limits.get("memory").map_or(0, |memory| memory.value()),
        unified,
        ..LinuxContainerResources::default()
    }
}

/// Nothing of a size that is not asked for.
fn huge_pages(limits: &ResourceList, sizes: &[String]) -> Vec<HugepageLimit> {
    let asked = |size: &String| {
        let wanted = size.trim_end_matches('B');
        let found = limits
            .iter()
            .find(|(name, _)| name.strip_prefix("hugepages-").is_some_and(|name| name.replace('i', "") == wanted));
        found.map_or(Quantity::default(), |(_, amount)| *amount)
    };
    let limit = |size: &String| HugepageLimit {
        page_size: size.clone(),
        limit: u64::try_from(asked(size).value()).unwrap_or_default(),
    };
    sizes.iter().map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(json!({}), 2, 0, 0)]
    #[case(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "250m", "memory": "1Mi"}}), 102, 25_000, 1 << 20)]
    #[case(json!({"limits": {"cpu": "500m"}}), 512, 50_000, 0)]
    fn numbers(#[case] own: Value, #[case] shares: i64, #[case] quota: i64, #[case] memory: i64) {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": own}]}}))
                .unwrap();
        let settings = Settings {
            quota: true,
            period_micros: 100_000,
            memory_capacity: 1 << 30,
            huge_page_sizes: &["2MB".into()],
            version: Version::V1,
        };
        let told = container(&pod, &pod.spec.as_ref().unwrap().containers[0], settings);
        assert_eq!((told.cpu_shares, told.cpu_quota, told.memory_limit_in_bytes), (shares, quota, memory));
        assert_eq!(told.hugepage_limits[0].limit, 0);
    }
}
