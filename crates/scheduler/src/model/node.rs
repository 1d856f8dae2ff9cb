//! A node as the scheduler sees it.

use super::labels::Labels;
use super::pod::with_tag;
use super::resources::Resources;
use super::spec::RawNode;
use super::taint::Taint;
use client::{ClientError, View};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Keeps pods off a node that was cordoned; the same as `spec.unschedulable`.
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Node {
    /// Without what schedulers don't read.
    pub meta: ObjectMeta,
    pub name: String,
    pub labels: Labels,
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
    pub allocatable: Resources,
    pub pods_max: i64,
    /// Image names with tags, and the images' sizes in bytes.
    pub images: Vec<(String, i64)>,
}

// === impl Node ===

impl View for Node {
    fn decode(bytes: &[u8]) -> Result<Node, ClientError> {
        let raw: Result<RawNode, serde_json::Error> = serde_json::from_slice(bytes);
        let decode = |error: serde_json::Error| ClientError::Decode { what: "Node".into(), why: error.to_string() };
        raw.map(Node::new).map_err(decode)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl Node {
    /// Reads a node.
    pub fn new(raw: RawNode) -> Node {
        let RawNode { mut metadata, spec, status } = raw;
        let labels: Labels = metadata.labels.take().unwrap_or_default().into_iter().collect();
        (metadata.managed_fields, metadata.annotations) = (None, None);
        let pods_max = status.allocatable.get("pods").and_then(|pods| pods.parse::<api::quantity::Quantity>().ok());
        let images =
            status.images.iter().flat_map(|image| image.names.iter().map(|name| (with_tag(name), image.size_bytes)));
        Node {
            name: metadata.name.clone().unwrap_or_default(),
            labels,
            unschedulable: spec.unschedulable,
            taints: spec.taints,
            allocatable: Resources::new(&status.allocatable),
            pods_max: pods_max.map_or(0, |pods| pods.value()),
            images: images.collect(),
            meta: metadata,
        }
    }

    /// Whether a change to this node may make room for a pod: everything but what heartbeats change.
    pub fn differs(&self, other: &Node) -> bool {
        self.labels != other.labels
            || self.unschedulable != other.unschedulable
            || self.taints != other.taints
            || self.allocatable != other.allocatable
            || self.pods_max != other.pods_max
    }
}
