//! What leads to which node: pods to their node, and what pods refer to, to the pods.
//!
//! ```text
//! node ← pod ← secret, configmap, serviceaccount, resourceclaim, pvc ← pv ← secret
//! node ← volumeattachment, resourceslice, podcertificaterequest
//! ```
//! Stored the other way round from upstream's graph: each referenced object knows on how many
//! pods of which node it depends, so that the usual question is one lookup.

use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

/// The kinds of objects that may lead to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vertex {
    ConfigMap,
    Secret,
    ServiceAccount,
    ResourceClaim,
    Claim,
    Volume,
    Pod,
    VolumeAttachment,
    ResourceSlice,
    PodCertificateRequest,
}

/// Kind, namespace (empty for cluster scope) and name of an object.
pub type Id = (Vertex, SmolStr, SmolStr);

/// A pod that runs on a node, and what it refers to; duplicates are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReferences {
    pub node: SmolStr,
    /// Kind and name; all in the pod's namespace.
    pub objects: Vec<(Vertex, SmolStr)>,
}

/// The claim that a volume is bound to, and the secrets that a kubelet needs to mount it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeReferences {
    pub claim_namespace: SmolStr,
    pub claim: SmolStr,
    /// Namespace and name.
    pub secrets: Vec<(SmolStr, SmolStr)>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Graph {
    pods: HashMap<(SmolStr, SmolStr), PodReferences>,
    /// How many references each object has from the pods of each node.
    on_nodes: HashMap<Id, HashMap<SmolStr, u32>>,
    volumes: HashMap<SmolStr, VolumeReferences>,
    /// Secret (namespace, name) to the volumes that need it.
    volumes_of_secret: HashMap<(SmolStr, SmolStr), HashSet<SmolStr>>,
    /// Objects that belong to one node.
    owned: HashMap<Id, SmolStr>,
}

// === impl Graph ===

impl Graph {
    /// What a pod refers to now; `None` when it is gone or on no node.
    pub fn set_pod(&mut self, namespace: &str, name: &str, references: Option<PodReferences>) {
        let key = (SmolStr::from(namespace), SmolStr::from(name));
        if self.pods.get(&key) == references.as_ref() {
            return;
        }
        if let Some(old) = self.pods.remove(&key) {
            for (vertex, object) in old.objects {
                self.count((vertex, key.0.clone(), object), &old.node, false);
            }
        }
        if let Some(new) = references {
            for (vertex, object) in &new.objects {
                self.count((*vertex, key.0.clone(), object.clone()), &new.node, true);
            }
            self.pods.insert(key, new);
        }
    }

    fn count(&mut self, id: Id, node: &SmolStr, up: bool) {
        let nodes = self.on_nodes.entry(id.clone()).or_default();
        let references = nodes.entry(node.clone()).or_default();
        *references = if up { *references + 1 } else { references.saturating_sub(1) };
        if *references == 0 {
            nodes.remove(node);
        }
        if nodes.is_empty() {
            self.on_nodes.remove(&id);
        }
    }

    /// What a volume is bound to now; `None` when it is gone or unbound.
    pub fn set_volume(&mut self, name: &str, references: Option<VolumeReferences>) {
        if let Some(old) = self.volumes.remove(name) {
            for secret in old.secrets {
                if let Some(volumes) = self.volumes_of_secret.get_mut(&secret) {
                    volumes.remove(name);
                    if volumes.is_empty() {
                        self.volumes_of_secret.remove(&secret);
                    }
                }
            }
        }
        if let Some(new) = references {
            for secret in &new.secrets {
                self.volumes_of_secret.entry(secret.clone()).or_default().insert(name.into());
            }
            self.volumes.insert(name.into(), new);
        }
    }

    /// The node that an object belongs to now; none if empty.
    pub fn set_owned(&mut self, vertex: Vertex, namespace: &str, name: &str, node: &str) {
        let id = (vertex, namespace.into(), name.into());
        if node.is_empty() {
            self.owned.remove(&id);
        } else {
            self.owned.insert(id, node.into());
        }
    }

    /// Whether an object leads to a node.
    pub fn reaches(&self, vertex: Vertex, namespace: &str, name: &str, node: &str) -> bool {
        let id = (vertex, SmolStr::from(namespace), SmolStr::from(name));
        match vertex {
            Vertex::Pod => self.pods.get(&(id.1, id.2)).is_some_and(|pod| pod.node == node),
            Vertex::VolumeAttachment | Vertex::ResourceSlice | Vertex::PodCertificateRequest => {
                self.owned.get(&id).is_some_and(|owner| owner == node)
            }
            Vertex::Volume => self.volume_reaches(name, node),
            Vertex::Secret => {
                self.referenced(&id, node)
                    || self
                        .volumes_of_secret
                        .get(&(id.1, id.2))
                        .is_some_and(|volumes| volumes.iter().any(|volume| self.volume_reaches(volume, node)))
            }
            _ => self.referenced(&id, node),
        }
    }

    fn referenced(&self, id: &Id, node: &str) -> bool {
        self.on_nodes.get(id).is_some_and(|nodes| nodes.contains_key(node))
    }

    fn volume_reaches(&self, name: &str, node: &str) -> bool {
        let claim = |volume: &VolumeReferences| (Vertex::Claim, volume.claim_namespace.clone(), volume.claim.clone());
        self.volumes.get(name).is_some_and(|volume| self.referenced(&claim(volume), node))
    }

    /// How many things the graph knows, to see leaks in tests.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.pods.len() + self.on_nodes.len() + self.volumes.len() + self.volumes_of_secret.len() + self.owned.len()
    }
}
