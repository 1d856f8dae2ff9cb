//! What a pod asks for as a whole, and the resources in statuses. Upstream: component-helpers/resource.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Wire,
};

use crate::{
    observed::{self, RunState},
    pod::{PodExt, is_sidecar},
    qos,
    quantity::{Quantity, ResourceList, list, wire},
};

/// Below this CPU limit the kernel's is the same.
const MILLI_CPU_LIMIT_MIN: i64 = 10;

/// The sum of requests: the containers with the sidecars, or the most demanding init step, and the overhead.
pub fn requests(pod: &Pod) -> ResourceList {
    let mut total = aggregate(pod, |own| own.requests.as_ref());
    pod_level(pod, |own| own.requests.as_ref(), &mut total);
    add(&mut total, &overhead(pod));
    total
}

/// The sum of limits, of those that are set.
pub fn limits(pod: &Pod) -> ResourceList {
    let mut total = aggregate(pod, |own| own.limits.as_ref());
    pod_level(pod, |own| own.limits.as_ref(), &mut total);
    for (name, more) in overhead(pod) {
        if let Some(limit) = total.get_mut(&name).filter(|limit| !limit.is_zero()) {
            *limit = limit.plus(more);
        }
    }
    total
}

/// `status.allocatedResources`.
pub fn wire_requests(pod: &Pod) -> BTreeMap<String, Wire> {
    wire(&requests(pod))
}

/// `status.resources`. A running pod shows its cgroup's limits: those that all its containers have.
pub fn effective(pod: &Pod, running: bool) -> ResourceRequirements {
    let mut limits = limits(pod);
    if running {
        limits.retain(|name, _| is_limited(pod, name));
    }
    let some = |list: ResourceList| Some(wire(&list)).filter(|list| !list.is_empty());
    ResourceRequirements { claims: None, limits: some(limits), requests: some(requests(pod)) }
}

/// Whether every container, or the pod itself, has a limit of a resource.
pub fn is_limited(pod: &Pod, name: &str) -> bool {
    let own = |resources: Option<&ResourceRequirements>| {
        let limit = resources.and_then(|resources| resources.limits.as_ref()?.get(name));
        limit.is_some_and(|limit| !Quantity::from(limit).is_zero())
    };
    let mut containers = pod.init_containers().iter().chain(pod.containers());
    own(pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()))
        || containers.all(|container| own(container.resources.as_ref()))
}

/// A container's resources as its cgroup has them, where the runtime says; else as asked for.
pub fn of_container(container: &Container, seen: &observed::Container) -> ResourceRequirements {
    let mut resources = container.resources.clone().unwrap_or_default();
    let Some(actual) = seen.resources.as_ref().filter(|_| seen.state == RunState::Running) else { return resources };
    let get = |list: &BTreeMap<String, Wire>, name: &str| list.get(name).map(Quantity::from).unwrap_or_default();
    if let Some(limits) = &mut resources.limits {
        if actual.cpu_period > 0 && actual.cpu_quota > 0 {
            let milli = actual.cpu_quota * 1000 / actual.cpu_period;
            if milli > MILLI_CPU_LIMIT_MIN || get(limits, "cpu").milli_value() > MILLI_CPU_LIMIT_MIN {
                limits.insert("cpu".into(), Quantity::milli(milli).wire());
            }
        }
        if let Ok(bytes) = u64::try_from(actual.memory_limit_in_bytes)
            && bytes > 0
        {
            limits.insert("memory".into(), Quantity::bytes(bytes).wire());
        }
    }
    if let Some(requests) = &mut resources.requests
        && actual.cpu_shares > 0
    {
        let asked = get(requests, "cpu").milli_value();
        // The weight is coarser than the request: keep the request where it gives this weight.
        if actual.cpu_shares > qos::SHARES_MIN && qos::shares(asked) != actual.cpu_shares {
            requests.insert("cpu".into(), Quantity::milli(qos::milli_cpu(actual.cpu_shares)).wire());
        }
    }
    resources
}

fn overhead(pod: &Pod) -> ResourceList {
    list(pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref()))
}

type Pick = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Wire>>;

fn aggregate(pod: &Pod, pick: Pick) -> ResourceList {
    let of = |container: &Container| list(container.resources.as_ref().and_then(pick));
    let mut total = ResourceList::new();
    for container in pod.containers() {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut most) = (ResourceList::new(), ResourceList::new());
    for container in pod.init_containers() {
        let mut step = of(container);
        if is_sidecar(container) {
            add(&mut total, &step);
            add(&mut sidecars, &step);
            step.clone_from(&sidecars);
        } else {
            add(&mut step, &sidecars);
        }
        max(&mut most, &step);
    }
    max(&mut total, &most);
    total
}

fn pod_level(pod: &Pod, pick: Pick, total: &mut ResourceList) {
    let own = list(pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()).and_then(pick));
    let supported = |name: &str| name == "cpu" || name == "memory" || name.starts_with("hugepages-");
    total.extend(own.into_iter().filter(|(name, _)| supported(name)));
}

fn add(total: &mut ResourceList, more: &ResourceList) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |had| had.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

fn max(total: &mut ResourceList, other: &ResourceList) {
    for (name, amount) in other {
        if total.get(name).is_none_or(|had| had < amount) {
            total.insert(name.clone(), *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_steps_count_with_the_sidecars_before_them() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
            "initContainers": [
                {"name": "a", "resources": {"requests": {"cpu": "3"}}},
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "4"}}},
            ],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}],
            "overhead": {"cpu": "250m"},
        }}))
        .unwrap();
        let total = requests(&pod);
        assert_eq!(total["cpu"].to_string(), "5250m");
        assert_eq!(total["memory"].to_string(), "1Gi");
    }
}
