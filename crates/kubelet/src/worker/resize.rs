//! Carries a resize out: the pod's cgroup and its containers', so that a part never has more than the whole. Upstream:
//! `doPodResizeAction`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::{
    cgroups::{Cgroups, Limits},
    cri::v1,
    kubelet::Kubelet,
    plan::resize::{Amounts, Resize, Update},
    pod::PodExt,
    quantity::{Quantity, ResourceList, wire},
    runtime::limits,
};

/// The pod's cgroup and what it is to be told.
struct Group<'a> {
    cgroups: &'a Cgroups,
    path: String,
    wanted: Limits,
}

/// Memory first, then CPU.
///
/// # Errors
/// Why it could not be; what was done stays.
pub(super) async fn carry_out(kubelet: &Kubelet, pod: &Arc<Pod>, resize: &Resize) -> Result<(), String> {
    let group = kubelet.cgroups.as_ref().map(|cgroups| Group {
        cgroups,
        path: cgroups.pod_path(pod),
        wanted: cgroups.pod_limits(pod),
    });
    if let Some(group) = group.as_ref().filter(|_| !resize.memory.is_empty() || resize.pod) {
        check_usage(resize, group)?;
    }
    if !resize.memory.is_empty() || resize.pod {
        let (now, wanted) = group.as_ref().map_or((None, None), Group::memory);
        let limits = Limits { memory: wanted, ..Limits::default() };
        let told = Told { before: grows(now, wanted), limits };
        told.around(group.as_ref(), update(kubelet, pod, &resize.memory, merge_memory)).await?;
    }
    if !resize.cpu.is_empty() || resize.pod {
        if let Some(group) = &group {
            group.tell(&Limits { shares: group.wanted.shares, ..Limits::default() })?;
        }
        let (now, wanted) = group.as_ref().map_or((None, None), Group::quota);
        let limits = Limits { quota: group.as_ref().and_then(|group| group.wanted.quota), ..Limits::default() };
        let told = Told { before: grows(now, wanted), limits };
        told.around(group.as_ref(), update(kubelet, pod, &resize.cpu, merge_cpu)).await?;
    }
    kubelet.allocations.actuate_pod(pod.uid(), Amounts::of_pod(pod));
    if let Some(cgroups) = &kubelet.cgroups {
        cgroups.update_classes(kubelet.active_pods().iter().map(|pod| kubelet.allocations.apply(pod)));
    }
    Ok(())
}

/// What the pod's cgroup is told, before its containers' or after.
struct Told {
    before: bool,
    limits: Limits,
}

impl Told {
    async fn around(
        self,
        group: Option<&Group<'_>>,
        containers: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        if let Some(group) = group.filter(|_| self.before) {
            group.tell(&self.limits)?;
        }
        containers.await?;
        match group.filter(|_| !self.before) {
            Some(group) => group.tell(&self.limits),
            None => Ok(()),
        }
    }
}

impl Group<'_> {
    /// Present and wanted limit; a limit is never taken away.
    fn memory(&self) -> (Option<i64>, Option<i64>) {
        let now = self.cgroups.memory_limit(&self.path);
        (now, self.wanted.memory)
    }

    fn quota(&self) -> (Option<i64>, Option<i64>) {
        let now = self.cgroups.cpu_quota(&self.path);
        (now, self.wanted.quota.map(|(quota, _)| quota).filter(|quota| *quota > 0))
    }

    fn tell(&self, limits: &Limits) -> Result<(), String> {
        self.cgroups.change(&self.path, limits).map_err(|error| error.to_string())
    }
}

/// No limit is the most.
fn grows(now: Option<i64>, wanted: Option<i64>) -> bool {
    match (now, wanted) {
        (Some(now), Some(wanted)) => wanted > now,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

async fn update(
    kubelet: &Kubelet,
    pod: &Pod,
    updates: &[Update],
    merge: fn(Amounts, &Update) -> Amounts,
) -> Result<(), String> {
    for update in updates {
        let Some((_, spec)) = pod.find_container(&update.name) else { continue };
        let known = kubelet.allocations.actuated(pod.uid()).and_then(|own| own.containers.get(&update.name).copied());
        let amounts = merge(known.unwrap_or(update.from), update);
        let resources = limits::container(pod, &with(spec, amounts), kubelet.limits());
        let request = v1::UpdateContainerResourcesRequest {
            container_id: update.id.clone(),
            linux: Some(resources),
            ..v1::UpdateContainerResourcesRequest::default()
        };
        kubelet.runtime.update_container_resources(request).await.map_err(|error| error.to_string())?;
        kubelet.allocations.actuate(pod.uid(), &update.name, amounts);
    }
    Ok(())
}

fn merge_memory(known: Amounts, update: &Update) -> Amounts {
    Amounts { memory_request: update.to.memory_request, memory_limit: update.to.memory_limit, ..known }
}

fn merge_cpu(known: Amounts, update: &Update) -> Amounts {
    Amounts { cpu_request: update.to.cpu_request, cpu_limit: update.to.cpu_limit, ..known }
}

/// The container with these amounts of CPU and memory, and its other resources.
fn with(mut container: Container, amounts: Amounts) -> Container {
    let resources = container.resources.get_or_insert_default();
    let ResourceRequirements { requests, limits, .. } = resources;
    for (list, cpu, memory) in
        [(requests, amounts.cpu_request, amounts.memory_request), (limits, amounts.cpu_limit, amounts.memory_limit)]
    {
        let amounts = ResourceList::from([
            ("cpu".to_owned(), Quantity::milli(cpu)),
            ("memory".to_owned(), Quantity::bytes(u64::try_from(memory).unwrap_or_default())),
        ]);
        let list = list.get_or_insert_default();
        for (name, amount) in wire(&amounts) {
            list.insert(name, amount);
        }
    }
    container
}

/// A limit below what is used would end processes: it is not set.
fn check_usage(resize: &Resize, group: &Group<'_>) -> Result<(), String> {
    let below = |limit: i64, usage: i64| usage >= limit;
    let mut errors = Vec::new();
    let (now, wanted) = group.memory();
    if let Some(limit) = wanted.filter(|wanted| now.is_none_or(|now| *wanted < now)) {
        match group.cgroups.memory_usage(&group.path) {
            Some(usage) if below(limit, usage) => {
                errors.push(format!("attempting to set pod memory limit ({limit}) below current usage ({usage})"));
            }
            Some(_) => {}
            None => errors.push("missing pod memory usage".to_owned()),
        }
    }
    let shrinks = |update: &&Update| {
        update.to.memory_limit != 0
            && (update.from.memory_limit == 0 || update.to.memory_limit < update.from.memory_limit)
    };
    for update in resize.memory.iter().filter(shrinks) {
        let (name, limit) = (&update.name, update.to.memory_limit);
        match group.cgroups.memory_usage(&format!("{}/{}", group.path, update.id)) {
            Some(usage) if below(limit, usage) => errors.push(format!(
                "attempting to set container {name:?} memory limit ({limit}) below current usage ({usage})"
            )),
            Some(_) => {}
            None => errors.push(format!("missing container {name:?} memory usage")),
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(format!("cannot decrease memory limits: {one}")),
        many => Err(format!("cannot decrease memory limits: [{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::more(Some(1), Some(2), true)]
    #[case::less(Some(2), Some(1), false)]
    #[case::a_new_limit(None, Some(1), false)]
    #[case::a_limit_goes(Some(1), None, true)]
    fn what_grows_is_told_before_its_parts(
        #[case] now: Option<i64>,
        #[case] wanted: Option<i64>,
        #[case] expected: bool,
    ) {
        assert_eq!(grows(now, wanted), expected);
    }

    #[test]
    fn memory_and_cpu_are_told_one_after_the_other() {
        let from = Amounts { cpu_request: 1, cpu_limit: 2, memory_request: 3, memory_limit: 4 };
        let to = Amounts { cpu_request: 10, cpu_limit: 20, memory_request: 30, memory_limit: 40 };
        let update = Update { id: String::new(), name: String::new(), from, to };
        let first = merge_memory(from, &update);
        assert_eq!(first, Amounts { cpu_request: 1, cpu_limit: 2, memory_request: 30, memory_limit: 40 });
        assert_eq!(merge_cpu(first, &update), to);
    }
}
