//! The Node authorizer: a kubelet may read what its pods need, and little else.
//!
//! Upstream: plugin/pkg/auth/authorizer/node. What a kubelet may write is narrowed further by
//! [`noderestriction`](super::noderestriction).

mod graph;
mod references;

use std::sync::LazyLock;

use api::user::UserInfo;
use api::value::Value;
use parking_lot::RwLock;
use smol_str::{SmolStr, format_smolstr};

use super::rules::PolicyRule;
use super::text::quoted;
use super::{Attributes, Change, Decision, Rules};
use crate::bootstrap;
use graph::{Graph, Vertex};
pub(crate) use references::{names_config_map, names_secret};

/// The authorizer and the graph of what belongs to which node.
#[derive(Default)]
pub struct NodeAuthorizer {
    graph: RwLock<Graph>,
}

/// The namespace of the nodes' leases.
const NODE_LEASES: &str = "kube-node-lease";

/// What all nodes may do with resources that are not subdivided by node.
static NODE_RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| PolicyRule::of_role(&bootstrap::node_rules()));

/// The node that a user is: `Some("")` when it is some node that can't be told.
pub fn node_of(user: &UserInfo) -> Option<&str> {
    user.name.strip_prefix("system:node:").filter(|_| user.in_group("system:nodes"))
}

// === impl NodeAuthorizer ===

impl NodeAuthorizer {
    /// Takes in an event of one of the resources that tie objects to nodes.
    pub fn apply(&self, group: &str, resource: &str, change: Change<'_>) {
        let (namespace, name) = change.key();
        let object = match change {
            Change::Put(object) => Some(object),
            Change::Delete { .. } => None,
        };
        let (mut graph, string) = (self.graph.write(), |path| object.map_or("", |object: &Value| object.str_at(path)));
        match (group, resource) {
            ("", "pods") => graph.set_pod(namespace, name, object.and_then(references::of_pod)),
            ("", "persistentvolumes") => graph.set_volume(name, object.and_then(references::of_volume)),
            ("storage.k8s.io", "volumeattachments") => {
                graph.set_owned(Vertex::VolumeAttachment, "", name, string("spec.nodeName"));
            }
            ("resource.k8s.io", "resourceslices") => {
                graph.set_owned(Vertex::ResourceSlice, "", name, string("spec.nodeName"));
            }
            ("certificates.k8s.io", "podcertificaterequests") => {
                graph.set_owned(Vertex::PodCertificateRequest, namespace, name, string("spec.nodeName"));
            }
            _ => {}
        }
    }

    /// Nodes can't have their permissions listed; others have none here.
    pub fn rules_for(user: &UserInfo) -> Rules {
        match node_of(user) {
            None => Rules::default(),
            Some(_) => Rules {
                incomplete: true,
                error: "node authorizer does not support user rule resolution".into(),
                ..Rules::default()
            },
        }
    }

    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        match node_of(attributes.user) {
            None => Decision::none(),
            Some("") => no(format_smolstr!("unknown node for user {}", quoted(&attributes.user.name))),
            Some(node) if attributes.is_resource => self.resource(node, attributes),
            Some(_) => by_rules(attributes),
        }
    }

    fn resource(&self, node: &str, attributes: &Attributes<'_>) -> Decision {
        match (attributes.group, attributes.resource) {
            ("", "secrets") => self.read_namespaced(node, Vertex::Secret, attributes),
            ("", "configmaps") => self.read_namespaced(node, Vertex::ConfigMap, attributes),
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => match attributes.verb {
                "update" | "patch" => self.related(node, Vertex::Claim, attributes),
                _ => no("can only get/update/patch this type"),
            },
            ("", "persistentvolumeclaims") => self.get(node, Vertex::Claim, attributes),
            ("", "persistentvolumes") => self.get(node, Vertex::Volume, attributes),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Vertex::ResourceClaim, attributes),
            ("storage.k8s.io", "volumeattachments") => self.get(node, Vertex::VolumeAttachment, attributes),
            ("", "serviceaccounts") => self.service_account(node, attributes),
            ("coordination.k8s.io", "leases") => lease(node, attributes),
            ("storage.k8s.io", "csinodes") => csi_node(node, attributes),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(node, attributes),
            ("", "nodes") => own_node(node, attributes),
            ("", "pods") => self.pod(node, attributes),
            ("certificates.k8s.io", "podcertificaterequests") => self.certificate_request(node, attributes),
            _ => by_rules(attributes),
        }
    }

    /// Allows if the graph leads from the named object to the node.
    fn related(&self, node: &str, vertex: Vertex, attributes: &Attributes<'_>) -> Decision {
        if attributes.name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.read().reaches(vertex, attributes.namespace, attributes.name, node) {
            return yes();
        }
        no(format_smolstr!("no relationship found between node '{node}' and this object"))
    }

    fn get(&self, node: &str, vertex: Vertex, attributes: &Attributes<'_>) -> Decision {
        match (attributes.verb, attributes.subresource) {
            ("get", "") => self.related(node, vertex, attributes),
            ("get", _) => no("cannot get subresource"),
            _ => no("can only get individual resources of this type"),
        }
    }

    /// get, list and watch of single objects.
    fn read_namespaced(&self, node: &str, vertex: Vertex, attributes: &Attributes<'_>) -> Decision {
        match attributes.verb {
            "get" | "list" | "watch" => {}
            _ => return no("can only read resources of this type"),
        }
        if !attributes.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if attributes.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, vertex, attributes)
    }

    /// Reading the accounts of own pods, and making tokens for them.
    fn service_account(&self, node: &str, attributes: &Attributes<'_>) -> Decision {
        match (attributes.verb, attributes.subresource) {
            ("get", "") => self.read_namespaced(node, Vertex::ServiceAccount, attributes),
            ("create", _) if attributes.name.is_empty() => no("can only create tokens for individual service accounts"),
            ("create", "token") => self.related(node, Vertex::ServiceAccount, attributes),
            ("create", _) => no("can only create token subresource of serviceaccount"),
            _ => no("can only create tokens for individual service accounts"),
        }
    }

    fn resource_slice(&self, node: &str, attributes: &Attributes<'_>) -> Decision {
        if !attributes.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match attributes.verb {
            // Admission sees whose slice it is.
            "create" => yes(),
            "get" | "update" | "patch" | "delete" => self.related(node, Vertex::ResourceSlice, attributes),
            "watch" | "list" | "deletecollection" if attributes.selects_field("spec.nodeName", node) => yes(),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, \
                     delete, deletecollection",
            ),
        }
    }

    fn certificate_request(&self, node: &str, attributes: &Attributes<'_>) -> Decision {
        if !attributes.subresource.is_empty() {
            return no("nodes may not access the status subresource of PodCertificateRequests");
        }
        match attributes.verb {
            // Admission looks at node, pod and service account.
            "create" => yes(),
            "get" => self.related(node, Vertex::PodCertificateRequest, attributes),
            "list" | "watch" if attributes.selects_field("spec.nodeName", node) => yes(),
            "list" | "watch" => no("can only list/watch podcertificaterequests with nodeName field selector"),
            verb => no(format_smolstr!("nodes may not {verb} podcertificaterequests")),
        }
    }

    fn pod(&self, node: &str, attributes: &Attributes<'_>) -> Decision {
        match (attributes.subresource, attributes.verb) {
            ("", "get") => self.related(node, Vertex::Pod, attributes),
            ("", "list" | "watch") if attributes.selects_field("spec.nodeName", node) => yes(),
            ("", "list" | "watch") if !attributes.name.is_empty() => self.related(node, Vertex::Pod, attributes),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Mirror pods, their status, and evictions: admission looks at the pod's node.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => yes(),
            _ => Decision::none(),
        }
    }
}

fn yes() -> Decision {
    Decision::Allow(SmolStr::default())
}

fn no(reason: impl Into<SmolStr>) -> Decision {
    Decision::NoOpinion(reason.into())
}

fn by_rules(attributes: &Attributes<'_>) -> Decision {
    if NODE_RULES.iter().any(|rule| rule.allows(attributes)) { yes() } else { Decision::none() }
}

fn lease(node: &str, attributes: &Attributes<'_>) -> Decision {
    match attributes.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a node lease"),
    }
    if attributes.namespace != NODE_LEASES {
        return no(format_smolstr!("can only access leases in the {} system namespace", quoted(NODE_LEASES)));
    }
    // A create has no name yet; admission looks at it.
    if attributes.verb != "create" && attributes.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    yes()
}

fn csi_node(node: &str, attributes: &Attributes<'_>) -> Decision {
    match (attributes.subresource, attributes.verb) {
        ("", "get" | "create" | "update" | "patch" | "delete") => {}
        ("", _) => return no("can only get, create, update, patch, or delete a CSINode"),
        ("status", _) => return no("CSINode status access requires CSIVolumeHealth feature"),
        _ => return no("cannot authorize CSINode subresources"),
    }
    if attributes.verb != "create" && attributes.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    yes()
}

fn own_node(node: &str, attributes: &Attributes<'_>) -> Decision {
    match (attributes.subresource, attributes.verb, attributes.name) {
        // Admission limits writes to the own object.
        ("", "create" | "update" | "patch", _) | ("status", "update" | "patch", _) => yes(),
        // By name, not by the graph: a kubelet reads its Node before it exists.
        ("", "get" | "list" | "watch", name) if name == node => yes(),
        ("", "get" | "list" | "watch", "") => {
            no(format_smolstr!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch", name) => {
            no(format_smolstr!("node '{node}' cannot read '{name}', only its own Node object"))
        }
        _ => Decision::none(),
    }
}

#[cfg(test)]
mod tests;
