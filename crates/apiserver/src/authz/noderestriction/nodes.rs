//! Node objects, and the status of claims that a kubelet resizes.

use std::collections::BTreeSet;

use api::status::Status;
use api::value::Value;

use super::pods::same;
use super::{Context, Operation, quoted};

/// Labels of `kubernetes.io` and `k8s.io` that a kubelet may set on its own Node.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// The same for whole prefixes, their subdomains included.
const KUBELET_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Labels that keep workloads off nodes that kubelets can't pretend to be.
const RESTRICTED_NAMESPACE: &str = "node-restriction.kubernetes.io";

pub(super) fn node(context: &Context<'_>) -> Result<(), Status> {
    let (node, new, old) = (quoted(context.node), context.written(), context.stored());
    // A create bears its name in the object; upstream's admission is given it too.
    let name = match (context.request.operation, context.request.name) {
        (Operation::Create, "") => new.str_at("metadata.name"),
        (_, name) => name,
    };
    context.require(name == context.node, || format!("node {node} is not allowed to modify node {}", quoted(name)))?;
    match context.request.operation {
        Operation::Create => {
            context.require(new.at("spec").field("configSource").is_none(), || {
                format!("node {node} is not allowed to create pods with a non-nil configSource")
            })?;
            let labels = forbidden_labels(new, &api::value::NULL);
            context.require(labels.is_empty(), || {
                format!("node {node} is not allowed to set the following labels: {labels}")
            })
        }
        Operation::Update => update(context, &node, new, old),
        _ => Ok(()),
    }
}

fn update(context: &Context<'_>, node: &str, new: &Value, old: &Value) -> Result<(), Status> {
    let source = new.at("spec.configSource");
    context.require(source.is_null() || source == old.at("spec.configSource"), || {
        format!("node {node} is not allowed to update configSource to a new non-nil configSource")
    })?;
    context.require(same(new.at("spec.taints"), old.at("spec.taints")), || {
        format!("node {node} is not allowed to modify taints")
    })?;
    context.require(same(new.at("metadata.ownerReferences"), old.at("metadata.ownerReferences")), || {
        format!("node {node} is not allowed to modify ownerReferences")
    })?;
    let labels = forbidden_labels(new, old);
    context.require(labels.is_empty(), || format!("is not allowed to modify labels: {labels}"))
}

/// Labels that differ and that a kubelet may not touch, sorted and joined.
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let labels = |node: &Value| node.at("metadata.labels").as_object().cloned().unwrap_or_default();
    let (new, old) = (labels(new), labels(old));
    let differs = |key: &&str| new.get(key) != old.get(key);
    let keys: BTreeSet<&str> = new.keys().chain(old.keys()).map(|key| key.as_str()).filter(differs).collect();
    keys.into_iter().filter(|key| is_forbidden(key)).collect::<Vec<_>>().join(", ")
}

fn is_forbidden(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let within = |domain: &str| {
        namespace == domain || namespace.strip_suffix(domain).is_some_and(|prefix| prefix.ends_with('.'))
    };
    let reserved = within("kubernetes.io") || within("k8s.io");
    let allowed = KUBELET_LABELS.contains(&label) || KUBELET_NAMESPACES.into_iter().any(within);
    within(RESTRICTED_NAMESPACE) || (reserved && !allowed)
}

/// Capacity, conditions and the progress of a resize; nothing else of a claim.
pub(super) fn claim_status(context: &Context<'_>) -> Result<(), Status> {
    if context.request.operation != Operation::Update {
        return context.unexpected_operation();
    }
    const FREE: [&str; 6] = [
        "metadata.resourceVersion",
        "metadata.managedFields",
        "status.capacity",
        "status.conditions",
        "status.allocatedResourceStatuses",
        "status.allocatedResources",
    ];
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        for path in FREE {
            claim.remove(path);
        }
        claim
    };
    let (old, new) = (rest(context.stored()), rest(context.written()));
    let differing = ["metadata", "spec", "status"].into_iter().find(|part| !same(old.get(part), new.get(part)));
    context.require(differing.is_none(), || {
        let part = differing.unwrap_or_default();
        format!(
            "node {} is not allowed to update fields other than status.quantity and status.conditions: {part} differs",
            quoted(context.node)
        )
    })
}
