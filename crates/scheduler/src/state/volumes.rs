//! Claims, volumes and storage classes, as far as they decide where a pod can go.

use crate::model::labels::{Labels, NodeTerm, RawNodeTerm, nullable};
use client::{ClientError, View};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use std::collections::HashMap;

/// Says that claim and volume were bound for good.
const BIND_COMPLETED_ANNOTATION: &str = "pv.kubernetes.io/bind-completed";
/// The old place of the storage class.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Claim {
    pub meta: ObjectMeta,
    pub volume: String,
    pub bound: bool,
    pub lost: bool,
    pub deleting: bool,
    pub class: String,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    meta: ObjectMeta,
    /// Nodes that can reach it; none: all.
    nodes: Option<Vec<NodeTerm>>,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    meta: ObjectMeta,
    /// Volumes are bound when a pod that uses them has a node.
    waits: bool,
}

/// All of them.
#[derive(Default)]
pub struct Volumes {
    claims: HashMap<(String, String), Claim>,
    volumes: HashMap<String, Volume>,
    classes: HashMap<String, Class>,
}

// === impl Volumes ===

impl Volumes {
    /// A claim came, changed or went.
    pub fn set_claim(&mut self, namespace: &str, name: &str, claim: Option<Claim>) {
        set(&mut self.claims, (namespace.to_string(), name.to_string()), claim);
    }

    /// A volume came, changed or went.
    pub fn set_volume(&mut self, name: &str, volume: Option<Volume>) {
        set(&mut self.volumes, name.to_string(), volume);
    }

    /// A storage class came, changed or went.
    pub fn set_class(&mut self, name: &str, class: Option<Class>) {
        set(&mut self.classes, name.to_string(), class);
    }

    /// A claim.
    pub fn claim(&self, namespace: &str, name: &str) -> Option<&Claim> {
        self.claims.get(&(namespace.to_string(), name.to_string()))
    }

    /// Whether a node can reach a volume; none where there is no such volume.
    pub fn reaches(&self, volume: &str, node: &str, labels: &Labels) -> Option<bool> {
        let nodes = &self.volumes.get(volume)?.nodes;
        Some(nodes.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(node, labels))))
    }

    /// Whether a claim is bound only once its pod has a node.
    pub fn waits(&self, claim: &Claim) -> bool {
        claim.volume.is_empty() && self.classes.get(&claim.class).is_some_and(|class| class.waits)
    }
}

fn set<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

// === views ===

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    #[serde(deserialize_with = "nullable")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    spec: RawSpec,
    #[serde(deserialize_with = "nullable")]
    status: RawStatus,
    #[serde(deserialize_with = "nullable")]
    volume_binding_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    #[serde(deserialize_with = "nullable")]
    volume_name: String,
    #[serde(deserialize_with = "nullable")]
    storage_class_name: String,
    #[serde(deserialize_with = "nullable")]
    node_affinity: RawNodeAffinity,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawStatus {
    #[serde(deserialize_with = "nullable")]
    phase: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawNodeAffinity {
    required: Option<RawRequired>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawRequired {
    #[serde(deserialize_with = "nullable")]
    node_selector_terms: Vec<RawNodeTerm>,
}

fn read(bytes: &[u8], what: &'static str) -> Result<Raw, ClientError> {
    let raw: Result<Raw, serde_json::Error> = serde_json::from_slice(bytes);
    let mut raw = raw.map_err(|error| ClientError::Decode { what: what.into(), why: error.to_string() })?;
    raw.metadata.managed_fields = None;
    Ok(raw)
}

impl View for Claim {
    fn decode(bytes: &[u8]) -> Result<Claim, ClientError> {
        let Raw { mut metadata, spec, status, .. } = read(bytes, "PersistentVolumeClaim")?;
        let annotations = metadata.annotations.take().unwrap_or_default();
        Ok(Claim {
            bound: !spec.volume_name.is_empty() && annotations.contains_key(BIND_COMPLETED_ANNOTATION),
            lost: status.phase == "Lost",
            deleting: metadata.deletion_timestamp.is_some(),
            class: annotations.get(CLASS_ANNOTATION).cloned().unwrap_or(spec.storage_class_name),
            volume: spec.volume_name,
            meta: metadata,
        })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl View for Volume {
    fn decode(bytes: &[u8]) -> Result<Volume, ClientError> {
        let raw = read(bytes, "PersistentVolume")?;
        let terms = |required: RawRequired| required.node_selector_terms.iter().map(NodeTerm::new).collect();
        Ok(Volume { meta: raw.metadata, nodes: raw.spec.node_affinity.required.map(terms) })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl View for Class {
    fn decode(bytes: &[u8]) -> Result<Class, ClientError> {
        let raw = read(bytes, "StorageClass")?;
        Ok(Class { waits: raw.volume_binding_mode == "WaitForFirstConsumer", meta: raw.metadata })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}
