//! What each pod of the node is allocated, and how a wish for other resources (`pods/resize`) becomes that.
//!
//! A pod is let in with its spec's resources; later wishes wait until they fit ([`wish`]). All else looks at the pod as
//! it is allocated ([`Allocations::apply`]). Kept in the pod's directory, so that a restart knows it. Upstream:
//! pkg/kubelet/allocation.

mod record;
pub mod wish;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use parking_lot::Mutex;

pub use record::{Allocated, Progress, Record};

use crate::{
    plan::resize::{Actuated, Amounts},
    pod::PodExt,
    status::Eviction,
};

/// The allocations of one node.
pub struct Allocations {
    pods_dir: PathBuf,
    records: Mutex<HashMap<String, Record>>,
}

/// Says why a pod may not have what it asks for, beside those given.
type Check<'a> = &'a dyn Fn(&Pod, &[&Pod]) -> Option<Eviction>;

impl Allocations {
    /// Reads what the pods' directories tell.
    pub fn load(root: &Path) -> Self {
        let pods_dir = root.join("pods");
        let directories = crate::volumes::children(&pods_dir).into_iter();
        let records = directories.filter_map(|directory| {
            let uid = directory.file_name()?.to_str()?.to_owned();
            Some((uid, Record::read(&directory)?))
        });
        Allocations { records: Mutex::new(records.collect()), pods_dir }
    }

    /// Lets a pod in, or says why not. `unasked` lets it in without a check: it ran before. Whoever was let in before
    /// stays so.
    pub fn admit(&self, pod: &Pod, active: &[Arc<Pod>], unasked: bool, check: Check<'_>) -> Option<Eviction> {
        let mut records = self.records.lock();
        if let Some(known) = records.get_mut(pod.uid()) {
            known.remember(pod);
            return None;
        }
        if !unasked && let Some(why) = check_beside(&records, pod, active, check) {
            return Some(why);
        }
        let record = Record::of(pod);
        self.keep(pod.uid(), &record);
        records.insert(pod.uid().to_owned(), record);
        None
    }

    /// The pod with what it is allocated instead of what it asks for.
    pub fn apply(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        match self.records.lock().get(pod.uid()) {
            Some(record) => record.allocated.apply(pod),
            None => pod.clone(),
        }
    }

    /// Whether a pod asks for other resources than it has.
    pub fn differs(&self, pod: &Pod) -> bool {
        self.records.lock().get(pod.uid()).is_some_and(|record| record.allocated != Allocated::of(pod))
    }

    /// What the pod's cgroups were last told; none before it was let in.
    pub fn actuated(&self, uid: &str) -> Option<Actuated> {
        self.records.lock().get(uid).map(|record| record.actuated.clone())
    }

    /// A container was told these amounts.
    pub fn actuate(&self, uid: &str, container: &str, amounts: Amounts) {
        self.change(uid, |record| record.actuated.containers.insert(container.to_owned(), amounts) != Some(amounts));
    }

    /// The pod's cgroup was told these amounts.
    pub fn actuate_pod(&self, uid: &str, amounts: Amounts) {
        self.change(uid, |record| std::mem::replace(&mut record.actuated.pod, amounts) != amounts);
    }

    /// The conditions `PodResizePending` and `PodResizeInProgress`, as far as they are.
    pub fn conditions(&self, uid: &str) -> Vec<PodCondition> {
        self.records.lock().get(uid).map(Record::conditions).unwrap_or_default()
    }

    /// Changes what is known of a pod, and gives what the change gives.
    fn with<T>(&self, uid: &str, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.records.lock().get_mut(uid).map(change)
    }

    fn change(&self, uid: &str, change: impl FnOnce(&mut Record) -> bool) {
        let mut records = self.records.lock();
        if let Some(record) = records.get_mut(uid)
            && change(record)
        {
            self.keep(uid, record);
        }
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.records.lock().remove(uid);
    }

    fn keep(&self, uid: &str, record: &Record) {
        if let Err(error) = record.write(&self.pods_dir.join(uid)) {
            // A restart would take the spec's resources as allocated.
            tracing::warn!(uid, %error, "a pod's allocation could not be kept");
        }
    }
}

/// Pods that were not let in yet don't count.
fn check_beside(
    records: &HashMap<String, Record>,
    pod: &Pod,
    active: &[Arc<Pod>],
    check: Check<'_>,
) -> Option<Eviction> {
    let others = active.iter().filter(|other| other.uid() != pod.uid());
    let others: Vec<Arc<Pod>> =
        others.filter_map(|other| Some(records.get(other.uid())?.allocated.apply(other))).collect();
    let others: Vec<&Pod> = others.iter().map(Arc::as_ref).collect();
    check(pod, &others)
}
