//! The pods' cgroups: `<root>/kubepods/{,burstable/,besteffort/}pod<uid>` in every hierarchy, cgroup v1 or v2.
//!
//! One owner: [`Cgroups`]. The runtime makes the containers' cgroups below the pod's. Upstream: pkg/kubelet/cm.

mod fs;
mod limits;

use std::{fs as files, io, path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

pub use fs::{Hierarchies, Version};
pub use limits::Limits;

use crate::{
    pod::PodExt,
    qos::{self, Class},
    status::resources,
};

/// The pods' cgroups of one node.
#[derive(Debug, Clone)]
pub struct Cgroups {
    hierarchies: Hierarchies,
    /// `<root>/kubepods`.
    base: String,
    /// Enforce CPU limits with quotas.
    quota: bool,
    /// Length of a CPU period in microseconds.
    period_micros: i64,
    /// Most processes in a pod; none is no limit.
    pids_max: Option<i64>,
}

impl Cgroups {
    /// For the hierarchies that are mounted. `root` is the node's own parent (`/` or `/xebec-1`).
    pub fn new(hierarchies: Hierarchies, root: &str, quota: bool, period_micros: i64, pids_max: Option<i64>) -> Self {
        let base = format!("{}/kubepods", root.trim_end_matches('/'));
        Cgroups { hierarchies, base, quota, period_micros, pids_max }
    }

    /// Which cgroup version the machine has.
    pub fn version(&self) -> Version {
        self.hierarchies.version()
    }

    /// Makes the node's own levels: all pods, the burstable ones, the best-effort ones.
    ///
    /// # Errors
    /// Where the kernel refuses to make one.
    pub fn prepare(&self, allocatable: &Limits) -> io::Result<()> {
        self.hierarchies.create(&self.base)?;
        self.apply(&self.base, allocatable);
        for class in [Class::Burstable, Class::BestEffort] {
            let path = self.class_path(class);
            self.hierarchies.create(&path)?;
            self.apply(&path, &Limits { shares: Some(qos::SHARES_MIN), ..Limits::default() });
        }
        Ok(())
    }

    /// The pod's cgroup: what the runtime is told as the parent.
    pub fn pod_path(&self, pod: &Pod) -> String {
        format!("{}/pod{}", self.class_path(qos::class(pod)), pod.uid())
    }

    /// Whether the pod's cgroup is there.
    pub fn exists(&self, pod: &Pod) -> bool {
        self.hierarchies.exists(&self.pod_path(pod))
    }

    /// Makes the pod's cgroup with its limits.
    ///
    /// # Errors
    /// Where the kernel refuses to make it.
    pub fn ensure(&self, pod: &Pod) -> io::Result<()> {
        let path = self.pod_path(pod);
        self.hierarchies.create(&path)?;
        self.apply(&path, &self.pod_limits(pod));
        Ok(())
    }

    /// What the pod as a whole may use. Upstream: `ResourceConfigForPod`.
    pub fn pod_limits(&self, pod: &Pod) -> Limits {
        let (requests, limits) = (resources::requests(pod), resources::limits(pod));
        let milli = |list: &crate::quantity::ResourceList| list.get("cpu").map_or(0, |cpu| cpu.milli_value());
        let class = qos::class(pod);
        let mut result = Limits { pids: self.pids_max, ..Limits::default() };
        if class == Class::BestEffort {
            result.shares = Some(qos::SHARES_MIN);
            return result;
        }
        result.shares = Some(qos::shares(milli(&requests)));
        if class == Class::Guaranteed || resources::is_limited(pod, "cpu") {
            let quota = if self.quota { qos::quota(milli(&limits), self.period_micros) } else { -1 };
            result.quota = Some((quota, self.period_micros));
        }
        if class == Class::Guaranteed || resources::is_limited(pod, "memory") {
            result.memory = limits.get("memory").map(|memory| memory.value()).filter(|bytes| *bytes > 0);
        }
        result.huge = limits
            .iter()
            .filter_map(|(name, amount)| Some((name.strip_prefix("hugepages-")?.to_owned(), amount.value())))
            .collect();
        result
    }

    /// Keeps the weight of the burstable pods at the sum of their requests.
    pub fn update_classes(&self, pods: impl Iterator<Item = Arc<Pod>>) {
        let burstable = pods.filter(|pod| qos::class(pod) == Class::Burstable);
        let milli = burstable.map(|pod| resources::requests(&pod).get("cpu").map_or(0, |cpu| cpu.milli_value())).sum();
        let limits = Limits { shares: Some(qos::shares(milli)), ..Limits::default() };
        self.apply(&self.class_path(Class::Burstable), &limits);
    }

    /// Removes the pod's cgroup with what is left below it, and kills what still runs there.
    ///
    /// # Errors
    /// While something in it can't be removed yet.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        self.hierarchies.remove(path)
    }

    /// Removes everything, the node's own levels too.
    ///
    /// # Errors
    /// While something in it can't be removed yet.
    pub fn remove_all(&self) -> io::Result<()> {
        self.hierarchies.remove(&self.base)?;
        let root = self.base.trim_end_matches("/kubepods");
        if root.is_empty() { Ok(()) } else { self.hierarchies.remove(root) }
    }

    /// All pods' cgroups that are there: the UID and the path.
    pub fn pods(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for class in [Class::Guaranteed, Class::Burstable, Class::BestEffort] {
            let parent = self.class_path(class);
            for name in self.hierarchies.children(&parent) {
                if let Some(uid) = name.strip_prefix("pod") {
                    found.push((uid.to_owned(), format!("{parent}/{name}")));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// The cgroup of all pods.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A process in a pod's cgroup, in one of its containers'.
    pub fn any_process(&self, path: &str) -> Option<u32> {
        let first = |path: &str| {
            let file = self.file("memory", path, "cgroup.procs")?;
            files::read_to_string(file).ok()?.lines().next()?.parse().ok()
        };
        self.hierarchies.children(path).into_iter().find_map(|name| first(&format!("{path}/{name}")))
    }

    /// A file of a cgroup's controller, for statistics.
    pub fn file(&self, controller: &str, path: &str, name: &str) -> Option<PathBuf> {
        self.hierarchies.file(controller, path, name)
    }

    /// Bytes of memory that a cgroup may use, where they are limited.
    pub fn memory_limit(&self, path: &str) -> Option<i64> {
        let name = if self.version() == Version::V1 { "memory.limit_in_bytes" } else { "memory.max" };
        // Version 1 writes no limit as the largest number of whole pages.
        self.number("memory", path, name).filter(|bytes| *bytes < 1 << 62)
    }

    /// Bytes of memory that a cgroup uses, caches too.
    pub fn memory_usage(&self, path: &str) -> Option<i64> {
        let name = if self.version() == Version::V1 { "memory.usage_in_bytes" } else { "memory.current" };
        self.number("memory", path, name)
    }

    /// CPU microseconds that a cgroup may use in a period, where they are limited.
    pub fn cpu_quota(&self, path: &str) -> Option<i64> {
        let name = if self.version() == Version::V1 { "cpu.cfs_quota_us" } else { "cpu.max" };
        self.number("cpu", path, name).filter(|quota| *quota > 0)
    }

    fn number(&self, controller: &str, path: &str, name: &str) -> Option<i64> {
        let text = files::read_to_string(self.file(controller, path, name)?).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// Gives a cgroup other limits.
    ///
    /// # Errors
    /// The first that the kernel refuses.
    pub fn change(&self, path: &str, limits: &Limits) -> io::Result<()> {
        for (controller, file, value) in limits.files(self.version()) {
            self.hierarchies.write(controller, path, &file, &value)?;
        }
        Ok(())
    }

    fn class_path(&self, class: Class) -> String {
        match class {
            Class::Guaranteed => self.base.clone(),
            Class::Burstable => format!("{}/burstable", self.base),
            Class::BestEffort => format!("{}/besteffort", self.base),
        }
    }

    /// What the kernel or a missing privilege refuses is logged, not fatal: the pod runs without that limit.
    fn apply(&self, path: &str, limits: &Limits) {
        for (controller, file, value) in limits.files(self.version()) {
            if let Err(error) = self.hierarchies.write(controller, path, &file, &value) {
                tracing::debug!(path, file, value, %error, "a cgroup limit could not be set");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(resources: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"uid": "u1"}, "spec": {"containers": [
            {"name": "a", "resources": resources}]}}))
        .unwrap()
    }

    fn cgroups(root: &std::path::Path) -> Cgroups {
        Cgroups::new(Hierarchies::fake_v1(root, &["cpu", "memory", "pids"]), "/node", true, 100_000, Some(64))
    }

    #[test]
    fn a_pods_cgroup_is_made_in_every_hierarchy_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let cgroups = cgroups(root.path());
        cgroups.prepare(&Limits::default()).unwrap();
        let pod = pod(json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "1Mi"}}));
        assert_eq!(cgroups.pod_path(&pod), "/node/kubepods/burstable/podu1");
        assert!(!cgroups.exists(&pod));
        cgroups.ensure(&pod).unwrap();
        assert!(cgroups.exists(&pod));
        let read = |name: &str| std::fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!(read("cpu/node/kubepods/burstable/podu1/cpu.shares"), "256");
        assert_eq!(read("cpu/node/kubepods/burstable/podu1/cpu.cfs_quota_us"), "50000");
        assert_eq!(read("memory/node/kubepods/burstable/podu1/memory.limit_in_bytes"), "1048576");
        assert_eq!(read("pids/node/kubepods/burstable/podu1/pids.max"), "64");
        assert_eq!(cgroups.pods(), [("u1".into(), "/node/kubepods/burstable/podu1".into())]);
    }

    #[test]
    fn best_effort_pods_get_the_least() {
        let root = tempfile::tempdir().unwrap();
        let limits = cgroups(root.path()).pod_limits(&pod(json!({})));
        assert_eq!(limits, Limits { shares: Some(2), pids: Some(64), ..Limits::default() });
    }
}
