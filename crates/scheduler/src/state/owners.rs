//! What selects a pod: Services and the workload that owns it. Pods without spread constraints of their own are spread
//! over nodes and zones among these.
//!
//! Upstream: `helper.DefaultSelector`.

use crate::model::labels::{Labels, Selector};
use crate::model::pod::{Pod, PodGroup};
use client::MetaExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A workload's kind and name.
type Owner = (String, String, String);

/// Selectors of Services and workloads.
#[derive(Default)]
pub struct Owners {
    /// By namespace and name.
    services: HashMap<String, BTreeMap<String, Labels>>,
    workloads: HashMap<Owner, Selector>,
}

// === impl Owners ===

impl Owners {
    /// A Service came, changed or went. One without a selector selects nothing.
    pub fn set_service(&mut self, namespace: &str, name: &str, selector: Option<Labels>) {
        let services = self.services.entry(namespace.to_string()).or_default();
        match selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => services.insert(name.to_string(), selector),
            None => services.remove(name),
        };
        if services.is_empty() {
            self.services.remove(namespace);
        }
    }

    /// A workload (ReplicaSet, StatefulSet, ReplicationController) came, changed or went.
    pub fn set_workload(&mut self, kind: &str, namespace: &str, name: &str, selector: Option<Selector>) {
        let owner = (kind.to_string(), namespace.to_string(), name.to_string());
        match selector {
            Some(selector) => self.workloads.insert(owner, selector),
            None => self.workloads.remove(&owner),
        };
    }

    /// The pods that belong together with this one; none where nothing selects it.
    pub fn default_group(&self, pod: &Pod) -> Option<Arc<PodGroup>> {
        let services = self.services.get(pod.namespace()).into_iter().flat_map(BTreeMap::values);
        let mut labels = Labels::new();
        for selector in services.filter(|selector| Selector::of_labels(selector).matches(&pod.labels)) {
            labels.extend(selector.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        let mut selector = Selector::of_labels(&labels);
        if let Some(owner) = pod.controller_ref() {
            let owner = (owner.kind.clone(), pod.namespace().to_string(), owner.name.clone());
            if let Some(workload) = self.workloads.get(&owner) {
                selector.and_all(workload);
            }
        }
        let selects = !selector.is_everything() && !selector.is_nothing();
        selects.then(|| Arc::new(PodGroup::of_namespace(pod.namespace(), selector)))
    }
}
