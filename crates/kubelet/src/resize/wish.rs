//! Wishes for other resources: which are looked at first, which are granted, and what is told of it.

use std::sync::Arc;

use client::EventType;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{Allocated, Progress, check_beside};
use crate::{
    kubelet::Kubelet,
    observed::Observed,
    plan::resize::in_progress,
    pod::PodExt,
    qos,
    status::{Eviction, resources},
};

/// Where a wish stands among the others: the smallest is looked at first.
type Rank = (bool, std::cmp::Reverse<i32>, bool, i64);

impl Kubelet {
    /// The pod as it is allocated, after its wish for other resources was looked at with all others that wait.
    pub(crate) fn allocated(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if self.allocations.differs(pod) {
            self.reconsider_resizes(Some(pod.uid()));
        } else {
            self.allocations.with(pod.uid(), |record| record.pending = None);
        }
        self.allocations.apply(pod)
    }

    /// Looks at all wishes anew: something has become free. Workers of pods of which something changed are woken, but
    /// for the one that asks.
    pub(crate) fn reconsider_resizes(&self, asking: Option<&str>) {
        let active = self.active_pods();
        let mut wishes: Vec<(Rank, &Arc<Pod>)> = active
            .iter()
            .filter(|pod| !pod.is_deleted() && self.allocations.differs(pod))
            .map(|pod| (self.rank(pod), pod))
            .collect();
        wishes.sort_by_key(|(rank, _)| *rank);
        for (_, pod) in wishes {
            if self.try_grant(pod, &active) && asking != Some(pod.uid()) {
                self.workers.wake(pod.uid());
            }
        }
    }

    /// Those that ask for less, then by priority, guaranteed ones, those that wait longest.
    fn rank(&self, pod: &Arc<Pod>) -> Rank {
        let (now, wanted) = (resources::requests(&self.allocations.apply(pod)), resources::requests(pod));
        let get = |list: &crate::quantity::ResourceList, name: &str| list.get(name).copied().unwrap_or_default();
        let more = ["cpu", "memory"].into_iter().any(|name| get(&wanted, name) > get(&now, name));
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
        let pending = self.allocations.with(pod.uid(), |record| record.pending.as_ref().map(|own| own.since));
        let since = pending.flatten().unwrap_or(i64::MAX);
        (more, std::cmp::Reverse(priority), qos::class(pod) != qos::Class::Guaranteed, since)
    }

    /// Says whether something changed.
    fn try_grant(&self, pod: &Arc<Pod>, active: &[Arc<Pod>]) -> bool {
        let check = |pod: &Pod, others: &[&Pod]| self.check_admission(pod, others);
        let (now, generation) = (self.now(), pod.metadata.generation.unwrap_or_default());
        let mut records = self.allocations.records.lock();
        let refused = check_beside(&records, pod, active, &check);
        let Some(record) = records.get_mut(pod.uid()) else { return false };
        let Some(Eviction { message, .. }) = refused else {
            record.allocated = Allocated::of(pod);
            record.pending = None;
            record.in_progress = Some(Progress { generation, since: now, ..Progress::default() });
            self.allocations.keep(pod.uid(), record);
            drop(records);
            let text = format!("Pod resize started: {}", summary(pod, generation, ""));
            self.events.pod(pod, EventType::Normal, "ResizeStarted", text);
            return true;
        };
        // Whatever keeps it from fitting may pass.
        let before = record.pending.take();
        let news = before.as_ref().is_none_or(|before| before.generation != generation || before.reason != "Deferred");
        let changed = before.as_ref().is_none_or(|before| news || before.message != message);
        let since = before.filter(|before| before.reason == "Deferred").map_or(now, |before| before.since);
        record.pending = Some(Progress { reason: "Deferred".into(), message: message.clone(), generation, since });
        drop(records);
        if news {
            let text = format!("Pod resize Deferred: {}", summary(pod, generation, &message));
            self.events.pod(pod, EventType::Warning, "ResizeDeferred", text);
        }
        changed
    }

    /// Follows how a granted wish is carried out: told as in progress until all that runs has what it is allocated.
    pub(crate) fn follow_resize(&self, pod: &Pod, observed: &Observed) {
        let now = self.now();
        let generation = pod.metadata.generation.unwrap_or_default();
        let done = self.allocations.with(pod.uid(), |record| {
            if in_progress(pod, observed, &record.actuated) {
                record.in_progress.get_or_insert(Progress { generation, since: now, ..Progress::default() });
                return None;
            }
            record.in_progress.take()
        });
        if let Some(done) = done.flatten() {
            let text = format!("Pod resize completed: {}", summary(pod, done.generation, ""));
            self.events.pod(pod, EventType::Normal, "ResizeCompleted", text);
            // What it gave back, others may wait for.
            self.reconsider_resizes(Some(pod.uid()));
        }
    }

    /// A resize could not be carried out.
    pub(crate) fn resize_failed(&self, pod: &Pod, error: &str) {
        let now = self.now();
        let failed = self.allocations.with(pod.uid(), |record| {
            let known = record.in_progress.clone().unwrap_or_default();
            let since = if known.reason == "Error" { known.since } else { now };
            let new = Progress { reason: "Error".into(), message: error.to_owned(), since, ..known };
            let is_news = record.in_progress.as_ref() != Some(&new);
            record.in_progress = Some(new.clone());
            is_news.then_some(new.generation)
        });
        if let Some(generation) = failed.flatten() {
            let text = format!("Pod resize error: {}", summary(pod, generation, error));
            self.events.pod(pod, EventType::Warning, "ResizeError", text);
        }
    }
}

/// The resources asked for, as JSON, for events.
fn summary(pod: &Pod, generation: i64, error: &str) -> String {
    let list = |containers: &[k8s_openapi::api::core::v1::Container]| {
        let own = |own: &k8s_openapi::api::core::v1::Container| json!({"name": own.name, "resources": own.resources.clone().unwrap_or_default()});
        containers.iter().map(own).collect::<Vec<_>>()
    };
    let mut fields: Vec<String> = Vec::new();
    for (name, containers) in [("initContainers", pod.init_containers()), ("containers", pod.containers())] {
        if !containers.is_empty() {
            fields.push(format!("\"{name}\":{}", json!(list(containers))));
        }
    }
    fields.push(format!("\"generation\":{generation}"));
    if !error.is_empty() {
        fields.push(format!("\"error\":{}", json!(error)));
    }
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_tell_the_resources() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": "20m"}}}]}}))
        .unwrap();
        let expected = r#"{"containers":[{"name":"c","resources":{"requests":{"cpu":"20m"}}}],"generation":2,"error":"no \"room\""}"#;
        assert_eq!(summary(&pod, 2, "no \"room\""), expected);
    }
}
