//! Which pod goes, and why: pure.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    pod::{MIRROR, PodExt},
    quantity::{Quantity, list},
    status::resources,
};

/// From this priority on a pod is never evicted.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// What is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Memory.
    Memory,
    /// Local disk.
    Disk,
}

/// What a pod uses.
#[derive(Debug, Clone)]
pub struct Use {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Of each container: its name, bytes of memory, bytes of its layer and logs.
    pub containers: Vec<(String, u64, u64)>,
    /// Bytes in each `emptyDir` on disk.
    pub volumes: Vec<(String, u64)>,
}

impl Shortage {
    fn resource(self) -> &'static str {
        match self {
            Shortage::Memory => "memory",
            Shortage::Disk => "ephemeral-storage",
        }
    }

    fn of(self, used: &Use) -> u64 {
        match self {
            Shortage::Memory => used.containers.iter().map(|(_, memory, _)| memory).sum(),
            Shortage::Disk => storage(used),
        }
    }
}

fn storage(used: &Use) -> u64 {
    let containers: u64 = used.containers.iter().map(|(_, _, storage)| storage).sum();
    containers + used.volumes.iter().map(|(_, bytes)| bytes).sum::<u64>()
}

/// The `emptyDir` volumes on disk, with their limits.
pub fn empty_dirs(pod: &Pod) -> impl Iterator<Item = (&str, Option<Quantity>)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let source =
            volume.empty_dir.as_ref().filter(|source| source.medium.as_deref().unwrap_or_default().is_empty())?;
        let limit = source.size_limit.as_ref().map(Quantity::from).filter(|limit| !limit.is_zero());
        Some((volume.name.as_str(), limit))
    })
}

/// Whether a pod may not use as much local storage as it likes.
pub fn has_storage_limit(pod: &Pod) -> bool {
    empty_dirs(pod).any(|(_, limit)| limit.is_some()) || resources::limits(pod).contains_key("ephemeral-storage")
}

/// Why a pod goes that uses more local storage than it may.
pub fn over_limit(used: &Use) -> Option<String> {
    let pod = &used.pod;
    if is_critical(pod) {
        return None;
    }
    for (name, limit) in empty_dirs(pod).filter_map(|(name, limit)| Some((name, limit?))) {
        let bytes = used.volumes.iter().find(|(own, _)| own == name).map_or(0, |(_, bytes)| *bytes);
        if Quantity::bytes(bytes) > limit {
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {:?}. ", limit.to_string()));
        }
    }
    if let Some(limit) = resources::limits(pod).get("ephemeral-storage")
        && Quantity::bytes(storage(used)) > *limit
    {
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
    }
    let limit_of = |name: &str| own(pod, name, |resources| resources.limits.as_ref());
    used.containers.iter().find_map(|(name, _, bytes)| {
        let limit = limit_of(name)?;
        let over = Quantity::bytes(*bytes) > limit;
        over.then(|| format!("Container {name} exceeded its local ephemeral storage limit {:?}. ", limit.to_string()))
    })
}

type Pick = fn(
    &k8s_openapi::api::core::v1::ResourceRequirements,
) -> Option<&std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>;

fn own(pod: &Pod, name: &str, pick: Pick) -> Option<Quantity> {
    let mut containers = pod.containers().iter().chain(pod.init_containers());
    let container: &Container = containers.find(|container| container.name == name)?;
    list(container.resources.as_ref().and_then(pick)).get("ephemeral-storage").copied()
}

/// The pod to go first: one that exceeds its requests, of the least priority, by the most.
pub fn victim(uses: &[Use], shortage: Shortage) -> Option<&Use> {
    let key = |used: &&Use| {
        let request = resources::requests(&used.pod).get(shortage.resource()).copied().unwrap_or_default();
        let usage = Quantity::bytes(shortage.of(used));
        let priority = used.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
        (usage <= request, priority, Reverse(usage.minus(request)))
    };
    uses.iter().filter(|used| !is_critical(&used.pod)).min_by_key(key)
}

/// Why it goes, for its status.
pub fn message(used: &Use, shortage: Shortage, limit: Quantity, available: Quantity) -> String {
    let resource = shortage.resource();
    let mut text =
        format!("The node was low on resource: {resource}. Threshold quantity: {limit}, available: {available}. ");
    for (name, memory, storage) in &used.containers {
        let bytes = if shortage == Shortage::Memory { *memory } else { *storage };
        let containers = used.pod.containers().iter().chain(used.pod.init_containers());
        let Some(container) = containers.into_iter().find(|container| container.name == *name) else { continue };
        let requests = list(container.resources.as_ref().and_then(|own| own.requests.as_ref()));
        let (usage, request) = (Quantity::bytes(bytes), requests.get(resource).copied().unwrap_or_default());
        if usage > request {
            text += &format!(
                "Container {name} was using {usage}, request is {request}, has larger consumption of {resource}. "
            );
        }
    }
    text
}

/// Static pods, mirror pods and those of system priority stay.
pub fn is_critical(pod: &Pod) -> bool {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
    pod.is_static() || pod.annotation(MIRROR).is_some() || priority >= CRITICAL_PRIORITY
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn used(name: &str, priority: i32, resources: Value, memory: u64, storage: u64) -> Use {
        let pod = json!({"metadata": {"name": name, "uid": name}, "spec": {"priority": priority,
            "containers": [{"name": "c", "resources": resources}],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1"}}]}});
        Use {
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            containers: vec![("c".into(), memory, storage)],
            volumes: vec![("v".into(), 0)],
        }
    }

    #[test]
    fn who_exceeds_its_requests_goes_first() {
        let uses = [
            used("modest", 0, json!({"requests": {"memory": "1Gi"}}), 1 << 29, 0),
            used("greedy", 0, json!({"requests": {"memory": "1Mi"}}), 1 << 25, 0),
            used("greedier", 0, json!({}), 1 << 26, 0),
            used("dear", 100, json!({}), 1 << 30, 0),
            used("critical", 2_000_000_000, json!({}), 1 << 31, 0),
        ];
        let order = |uses: &[Use]| victim(uses, Shortage::Memory).unwrap().pod.name().to_owned();
        assert_eq!(order(&uses), "greedier");
        assert_eq!(order(&uses[..2]), "greedy");
        assert_eq!(order(&uses[3..]), "dear");
        assert_eq!(order(&uses[..1]), "modest");
        assert!(victim(&uses[4..], Shortage::Memory).is_none());
    }

    #[test]
    fn the_status_says_why() {
        let greedy = used("greedy", 0, json!({"requests": {"memory": "1Mi"}}), 1 << 25, 0);
        let text = message(&greedy, Shortage::Memory, Quantity::bytes(100 << 20), Quantity::bytes(90 << 20));
        assert_eq!(
            text,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container c was using 32Mi, request is 1Mi, has larger consumption of memory. "
        );
    }

    #[test]
    fn limits_of_local_storage() {
        let mut pod = used("p", 0, json!({"limits": {"ephemeral-storage": "1Ki"}}), 0, 100);
        assert!(has_storage_limit(&pod.pod));
        assert_eq!(over_limit(&pod), None);
        pod.containers[0].2 = 2000;
        assert_eq!(
            over_limit(&pod).unwrap(),
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Ki. "
        );
        pod.volumes[0].1 = 2000;
        assert_eq!(over_limit(&pod).unwrap(), "Usage of EmptyDir volume \"v\" exceeds the limit \"1Ki\". ");
    }
}
