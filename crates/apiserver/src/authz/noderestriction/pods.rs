//! Pods: only mirror pods are created, only own pods are deleted, evicted and reported on.

use api::status::Status;
use api::value::Value;

use super::{Context, Operation, quoted};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// Volume sources that need nothing from the API.
const LOCAL_VOLUMES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// Volume sources that reach into the API, and how messages name what they reach.
const API_VOLUMES: [(&str, &str); 7] = [
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];

/// The same for the sources of a projected volume.
const API_SOURCES: [(&str, &str); 5] = [
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

pub(super) fn is_mirror(pod: &Value) -> bool {
    pod.at("metadata.annotations").as_object().is_some_and(|annotations| annotations.contains_key(MIRROR))
}

pub(super) fn pod(context: &Context<'_>) -> Result<(), Status> {
    let node = quoted(context.node);
    match context.request.operation {
        Operation::Create => create(context, &node),
        Operation::Delete => {
            let request = context.request;
            let pod = context.get("", "pods", request.namespace, request.name)?;
            context.require(pod.str_at("spec.nodeName") == context.node, || {
                format!("node {node} can only delete pods with spec.nodeName set to itself")
            })
        }
        operation => context.deny(format!(
            "unexpected operation {}, node {node} can only create and delete mirror pods",
            quoted(operation.name())
        )),
    }
}

fn create(context: &Context<'_>, node: &str) -> Result<(), Status> {
    let pod = context.written();
    context.require(is_mirror(pod), || {
        format!("pod does not have {} annotation, node {node} can only create mirror pods", quoted(MIRROR))
    })?;
    context.require(pod.str_at("spec.nodeName") == context.node, || {
        format!("node {node} can only create pods with spec.nodeName set to itself")
    })?;
    let owner = match pod.array_at("metadata.ownerReferences") {
        [one] => one,
        [] => {
            return context.deny(format!("node {node} can only create pods with an owner reference set to itself"));
        }
        _ => {
            return context
                .deny(format!("node {node} can only create pods with a single owner reference set to itself"));
        }
    };
    owned_by_node(context, owner, node)?;
    match api_reference(pod) {
        Ok(None) => Ok(()),
        Ok(Some(resource)) => context.deny(format!("node {node} can not create pods that reference {resource}")),
        Err(error) => context.deny(format!("error checking mirror pod for API references: {error}")),
    }
}

fn owned_by_node(context: &Context<'_>, owner: &Value, node: &str) -> Result<(), Status> {
    let itself =
        owner.str_at("apiVersion") == "v1" && owner.str_at("kind") == "Node" && owner.str_at("name") == context.node;
    context.require(itself, || format!("node {node} can only create pods with an owner reference set to itself"))?;
    context.require(owner.at("controller").as_bool() == Some(true), || {
        format!("node {node} can only create pods with a controller owner reference set to itself")
    })?;
    context.require(owner.at("blockOwnerDeletion").as_bool() != Some(true), || {
        format!("node {node} must not set blockOwnerDeletion on an owner reference")
    })?;
    let stored = context.get("", "nodes", "", context.node)?;
    let (given, expected) = (owner.str_at("uid"), stored.str_at("metadata.uid"));
    context
        .require(given == expected, || format!("node {} UID mismatch: expected {given} got {expected}", context.node))
}

/// What of the API a pod refers to; a static pod must not refer to any.
fn api_reference(pod: &Value) -> Result<Option<&'static str>, String> {
    if !pod.str_at("spec.serviceAccountName").is_empty() {
        return Ok(Some("serviceaccounts"));
    }
    if crate::authz::node::names_secret(pod) {
        return Ok(Some("secrets"));
    }
    if crate::authz::node::names_config_map(pod) {
        return Ok(Some("configmaps"));
    }
    if !pod.array_at("spec.resourceClaims").is_empty() {
        return Ok(Some("resourceclaims"));
    }
    for volume in pod.array_at("spec.volumes") {
        if let Some(reference) = volume_reference(volume)? {
            return Ok(Some(reference));
        }
    }
    Ok(None)
}

fn volume_reference(volume: &Value) -> Result<Option<&'static str>, String> {
    let has = |source: &str| volume.field(source).is_some();
    if LOCAL_VOLUMES.into_iter().any(has) {
        return Ok(None);
    }
    if let Some((_, reference)) = API_VOLUMES.iter().find(|(source, _)| has(source)) {
        return Ok(Some(reference));
    }
    if !has("projected") {
        return Err(format!("unknown volume type for volume  {}", quoted(volume.str_at("name"))));
    }
    for source in volume.array_at("projected.sources") {
        match API_SOURCES.iter().find(|(name, _)| source.field(name).is_some()) {
            Some((_, reference)) => return Ok(Some(reference)),
            None if source.field("downwardAPI").is_some() => {}
            None => return Err(format!("unknown source for projected volume {}", quoted(volume.str_at("name")))),
        }
    }
    Ok(None)
}

/// A pod's status, without its labels and without what the scheduler allotted.
pub(super) fn status(context: &Context<'_>) -> Result<(), Status> {
    if context.request.operation != Operation::Update {
        return context.unexpected_operation();
    }
    let (node, old, new) = (quoted(context.node), context.stored(), context.written());
    context.require(old.str_at("spec.nodeName") == context.node, || {
        format!("node {node} can only update pod status for pods with spec.nodeName set to itself")
    })?;
    let kept = |path: &str| same(old.at(path), new.at(path));
    context.require(kept("metadata.labels"), || format!("node {node} cannot update labels through pod status"))?;
    context.require(kept("status.resourceClaimStatuses"), || {
        format!("node {node} cannot update resource claim statues")
    })?;
    context.require(kept("status.extendedResourceClaimStatus"), || {
        format!("node {node} cannot update extended resource claim status")
    })?;
    context.require(kept("status.nodeAllocatableResourceClaimStatuses"), || {
        format!("node {node} cannot update node allocatable resource claim statuses")
    })
}

pub(super) fn eviction(context: &Context<'_>) -> Result<(), Status> {
    let request = context.request;
    if request.operation != Operation::Create {
        return context.deny(format!("unexpected operation {}", request.operation.name()));
    }
    let name = match request.name {
        "" => context.written().str_at("metadata.name"),
        name => name,
    };
    context.require(!name.is_empty(), || "could not determine pod from request data".into())?;
    let pod = context.get("", "pods", request.namespace, name)?;
    context.require(pod.str_at("spec.nodeName") == context.node, || {
        format!("node {} can only evict pods with spec.nodeName set to itself", context.node)
    })
}

/// Equal, where absent and empty are the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    a == b || (empty(a) && empty(b))
}
