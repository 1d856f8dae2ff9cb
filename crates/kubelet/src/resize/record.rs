//! What is known of one pod: its allocation, what its cgroups were told, and how a resize goes.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, PodCondition, ResourceRequirements};
use serde::{Deserialize, Serialize};

use crate::{plan::resize::Actuated, pod::PodExt, quantity::list, status::time};

/// In the pod's directory.
const FILE: &str = "resources.json";

/// A pod's resources as they are its own until a wish is granted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Allocated {
    pod: Option<ResourceRequirements>,
    containers: BTreeMap<String, ResourceRequirements>,
}

/// How a resize goes, for the pod's conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// `Deferred`, `Infeasible`, `Error` or nothing.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Of the spec that asks for it.
    pub generation: i64,
    /// Nanoseconds since 1970.
    pub since: i64,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// What it may use.
    pub allocated: Allocated,
    /// What its cgroups were told.
    pub actuated: Actuated,
    /// A wish that was not granted yet.
    #[serde(skip)]
    pub pending: Option<Progress>,
    /// One that was granted and is carried out.
    #[serde(skip)]
    pub in_progress: Option<Progress>,
}

// === impl Allocated ===

impl Allocated {
    /// What the spec asks for.
    pub fn of(pod: &Pod) -> Self {
        let containers = pod.init_containers().iter().chain(pod.containers());
        Allocated {
            pod: pod.spec.as_ref().and_then(|spec| spec.resources.clone()),
            containers: containers
                .map(|container| (container.name.clone(), container.resources.clone().unwrap_or_default()))
                .collect(),
        }
    }

    /// The pod with these; the same one where it has them.
    pub fn apply(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if *self == Allocated::of(pod) {
            return pod.clone();
        }
        let mut own = (**pod).clone();
        if let Some(spec) = &mut own.spec {
            spec.resources.clone_from(&self.pod);
            let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
            for container in containers {
                if let Some(resources) = self.containers.get(&container.name) {
                    container.resources = Some(resources.clone());
                }
            }
        }
        Arc::new(own)
    }
}

/// Amounts count, not how they are written.
impl PartialEq for Allocated {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &ResourceRequirements, b: &ResourceRequirements| {
            list(a.requests.as_ref()) == list(b.requests.as_ref()) && list(a.limits.as_ref()) == list(b.limits.as_ref())
        };
        let pods = match (&self.pod, &other.pod) {
            (Some(a), Some(b)) => same(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let containers = || {
            self.containers.iter().all(|(name, own)| other.containers.get(name).is_none_or(|other| same(own, other)))
        };
        pods && containers()
    }
}

// === impl Record ===

impl Record {
    /// Of a pod that is let in. What was told of a resize before the kubelet's restart goes on.
    pub fn of(pod: &Pod) -> Self {
        let mut record = Record { allocated: Allocated::of(pod), actuated: Actuated::of(pod), ..Record::default() };
        record.remember(pod);
        record
    }

    /// Takes over what the pod's status tells of a resize.
    pub fn remember(&mut self, pod: &Pod) {
        let told = |type_: &str| {
            let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let found = conditions.find(|condition| condition.type_ == type_)?;
            let since = found.last_transition_time.as_ref().map(|at| at.0.as_nanosecond());
            Some(Progress {
                reason: found.reason.clone().unwrap_or_default(),
                message: found.message.clone().unwrap_or_default(),
                generation: found.observed_generation.unwrap_or_default(),
                since: since.and_then(|since| i64::try_from(since).ok()).unwrap_or_default(),
            })
        };
        self.pending = told("PodResizePending");
        self.in_progress = told("PodResizeInProgress");
    }

    /// What the directory of a pod tells; none where it tells nothing that can be read.
    pub fn read(directory: &Path) -> Option<Self> {
        let text = fs::read(directory.join(FILE)).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(
                |error| tracing::warn!(directory = %directory.display(), %error, "an allocation is unreadable"),
            )
            .ok()
    }

    /// All at once, or as before.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let temporary = directory.join(format!("{FILE}.new"));
        fs::write(&temporary, serde_json::to_vec(self)?)?;
        fs::rename(temporary, directory.join(FILE))
    }

    /// For the pod's status.
    pub fn conditions(&self) -> Vec<PodCondition> {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let condition = |(type_, progress): (&str, &Progress)| PodCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: some(&progress.reason),
            message: some(&progress.message),
            observed_generation: Some(progress.generation).filter(|generation| *generation != 0),
            last_probe_time: time(progress.since),
            last_transition_time: time(progress.since),
        };
        let both = [("PodResizePending", &self.pending), ("PodResizeInProgress", &self.in_progress)];
        both.iter().filter_map(|(type_, progress)| Some(condition((type_, progress.as_ref()?)))).collect()
    }
}
