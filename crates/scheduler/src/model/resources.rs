//! Amounts of resources, and what a pod asks for.

use super::spec::{RawContainer, RawPodSpec, RawPodStatus};
use api::quantity::Quantity;
use std::collections::BTreeMap;

/// Amounts by name, as the API writes them.
pub type RawResources = BTreeMap<String, String>;

/// What a container without a CPU request counts as when nodes are compared, in millicores (upstream's).
pub const MILLI_CPU_DEFAULT: i64 = 100;
/// What a container without a memory request counts as when nodes are compared, in bytes (upstream's).
pub const MEMORY_BYTES_DEFAULT: i64 = 200 * 1024 * 1024;

/// Amounts of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Extended resources, huge pages, attachable volumes: few, so a list.
    pub scalar: Vec<(String, i64)>,
}

// === impl Resources ===

impl Resources {
    /// Reads amounts. `pods` is no resource that pods ask for and left out. What is no quantity counts as nothing.
    pub fn new(raw: &RawResources) -> Resources {
        let mut resources = Resources::default();
        for (name, text) in raw {
            let Ok(quantity) = text.parse::<Quantity>() else { continue };
            match name.as_str() {
                "pods" => {}
                "cpu" => resources.milli_cpu = quantity.milli_value(),
                "memory" => resources.memory = quantity.value(),
                "ephemeral-storage" => resources.ephemeral_storage = quantity.value(),
                _ => resources.scalar.push((name.clone(), quantity.value())),
            }
        }
        resources
    }

    /// The amount of an extended resource.
    pub fn scalar(&self, name: &str) -> i64 {
        self.scalar.iter().find(|(known, _)| known == name).map_or(0, |(_, amount)| *amount)
    }

    /// Adds amounts.
    pub fn add(&mut self, other: &Resources) {
        self.combine(other, |a, b| a.saturating_add(b));
    }

    /// Takes amounts away.
    pub fn subtract(&mut self, other: &Resources) {
        self.combine(other, |a, b| a.saturating_sub(b));
        self.scalar.retain(|(_, amount)| *amount != 0);
    }

    /// The larger of each.
    pub fn max(&mut self, other: &Resources) {
        self.combine(other, i64::max);
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.milli_cpu == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.scalar.iter().all(|(_, amount)| *amount == 0)
    }

    fn combine(&mut self, other: &Resources, how: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = how(self.milli_cpu, other.milli_cpu);
        self.memory = how(self.memory, other.memory);
        self.ephemeral_storage = how(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.scalar {
            match self.scalar.iter_mut().find(|(known, _)| known == name) {
                Some((_, mine)) => *mine = how(*mine, *amount),
                None => self.scalar.push((name.clone(), how(0, *amount))),
            }
        }
    }
}

/// What a pod asks for: its containers and sidecars together, or its largest init container with the sidecars that
/// run beside it, whichever is more; the pod's own request instead, where it has one; and its overhead.
///
/// With `defaults` containers that don't ask for CPU or memory count as asking for a little. While a resize is under
/// way, what is allocated counts where it is more (and alone, where the resize can't be done).
pub fn pod_requests(spec: &RawPodSpec, status: &RawPodStatus, defaults: bool) -> Resources {
    let infeasible = status.conditions.iter().any(|condition| {
        condition.kind == "PodResizePending" && condition.status == "True" && condition.reason == "Infeasible"
    });
    let requests = |container: &RawContainer| container_requests(container, status, infeasible, defaults);
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&requests(container));
    }
    let (mut sidecars, mut init) = (Resources::default(), Resources::default());
    for container in &spec.init_containers {
        let mut wanted = requests(container);
        if container.restart_policy == "Always" {
            total.add(&wanted);
            sidecars.add(&wanted);
            wanted = sidecars.clone();
        } else {
            wanted.add(&sidecars);
        }
        init.max(&wanted);
    }
    total.max(&init);
    if let Some(resources) = &spec.resources {
        let own = Resources::new(&resources.requests);
        let has = |name: &str| resources.requests.contains_key(name);
        if has("cpu") {
            total.milli_cpu = own.milli_cpu;
        }
        if has("memory") {
            total.memory = own.memory;
        }
        for (name, amount) in own.scalar.iter().filter(|(name, _)| name.starts_with("hugepages-")) {
            total.scalar.retain(|(known, _)| known != name);
            total.scalar.push((name.clone(), *amount));
        }
    }
    total.add(&Resources::new(&spec.overhead));
    total
}

fn container_requests(container: &RawContainer, status: &RawPodStatus, infeasible: bool, defaults: bool) -> Resources {
    let mut requests = Resources::new(&container.resources.requests);
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses);
    let allocated =
        statuses.filter(|status| status.name == container.name).find_map(|s| s.allocated_resources.as_ref());
    if let Some(allocated) = allocated {
        let allocated = Resources::new(allocated);
        if infeasible { requests = allocated } else { requests.max(&allocated) }
    }
    if defaults {
        let has = |name: &str| container.resources.requests.contains_key(name);
        if !has("cpu") {
            requests.milli_cpu = requests.milli_cpu.max(MILLI_CPU_DEFAULT);
        }
        if !has("memory") {
            requests.memory = requests.memory.max(MEMORY_BYTES_DEFAULT);
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
    }

    #[rstest]
    #[case::containers_add_up(json!({"containers": [container("1"), container("500m")]}), 1500)]
    #[case::largest_init_counts(json!({"containers": [container("1")], "initContainers": [container("3"), container("2")]}), 3000)]
    #[case::small_init_does_not(json!({"containers": [container("1")], "initContainers": [container("500m")]}), 1000)]
    #[case::sidecars_run_beside(json!({"containers": [container("1")], "initContainers": [sidecar("1")]}), 2000)]
    #[case::init_after_sidecar(json!({"containers": [container("1")], "initContainers": [sidecar("1"), container("3")]}), 4000)]
    #[case::init_before_sidecar(json!({"containers": [container("1")], "initContainers": [container("3"), sidecar("1")]}), 3000)]
    #[case::overhead(json!({"containers": [container("1")], "overhead": {"cpu": "250m"}}), 1250)]
    #[case::pod_level(json!({"containers": [container("1")], "resources": {"requests": {"cpu": "700m"}}}), 700)]
    fn cpu(#[case] spec: Value, #[case] milli_cpu: i64) {
        let spec: RawPodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(pod_requests(&spec, &RawPodStatus::default(), false).milli_cpu, milli_cpu);
    }

    #[test]
    fn what_asks_for_nothing_counts_a_little() {
        let spec: RawPodSpec = serde_json::from_value(json!({"containers": [{"name": "c"}, container("1")]})).unwrap();
        let requests = pod_requests(&spec, &RawPodStatus::default(), true);
        assert_eq!((requests.milli_cpu, requests.memory), (1100, 2 * MEMORY_BYTES_DEFAULT));
    }

    #[rstest]
    #[case::growing(json!({}), "3", 3000)]
    #[case::shrinking(json!({}), "2", 2000)]
    #[case::impossible(json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]), "3", 2000)]
    fn resize(#[case] conditions: Value, #[case] asked: &str, #[case] milli_cpu: i64) {
        let spec: RawPodSpec = serde_json::from_value(json!({"containers": [container(asked)]})).unwrap();
        let conditions = if conditions.is_array() { conditions } else { json!([]) };
        let status: RawPodStatus = serde_json::from_value(json!({
            "conditions": conditions,
            "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "2"}}],
        }))
        .unwrap();
        assert_eq!(pod_requests(&spec, &status, false).milli_cpu, milli_cpu);
    }

    #[test]
    fn amounts_of_extended_resources_come_and_go() {
        let gpu = Resources { scalar: vec![("example.com/gpu".to_string(), 2)], ..Resources::default() };
        let mut total = Resources::default();
        total.add(&gpu);
        total.add(&gpu);
        assert_eq!(total.scalar("example.com/gpu"), 4);
        total.subtract(&gpu);
        total.subtract(&gpu);
        assert_eq!(total, Resources::default());
    }
}
