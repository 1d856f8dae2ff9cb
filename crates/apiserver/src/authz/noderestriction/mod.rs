//! NodeRestriction: a kubelet writes only what belongs to its node.
//!
//! The second half of the [Node authorizer](super::node), which does not see objects. Upstream:
//! plugin/pkg/admission/noderestriction. Pure: what other objects it needs comes by [`Objects`].

mod certificates;
mod nodes;
mod pods;
mod tokens;

use std::sync::Arc;

use api::status::{GroupResource, Status};
use api::user::UserInfo;
use api::value::Value;

use super::node::node_of;
use super::text::quoted;
use super::{Attributes, Authorizer};

/// A write that admission looks at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub user: &'a UserInfo,
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// From the path; empty for creates of whole objects.
    pub name: &'a str,
    /// The object to be written, absent for deletes.
    pub new: Option<&'a Value>,
    /// The stored object, for updates and deletes.
    pub old: Option<&'a Value>,
}

/// What a write does; patches are updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// Looks up other objects, as upstream's listers do.
pub trait Objects {
    /// The object as stored; cluster-scoped ones have an empty namespace.
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>>;
}

/// The namespace of the nodes' leases.
const NODE_LEASES: &str = "kube-node-lease";

/// Lets a write pass or says why not. Requests of users that are no nodes pass.
///
/// # Errors
/// 403 in upstream's words; 404 where a pod or node that the request depends on is not there.
pub fn check(request: &Request<'_>, objects: &dyn Objects, authorizer: &Authorizer) -> Result<(), Status> {
    let node = match node_of(request.user) {
        None => return Ok(()),
        Some("") => {
            let why = format!("could not determine node from user {}", quoted(&request.user.name));
            return Err(request.forbidden(&why));
        }
        Some(node) => node,
    };
    let context = Context { request, node, objects, authorizer };
    match (request.group, request.resource, request.subresource) {
        ("", "pods", "") => pods::pod(&context),
        ("", "pods", "status") => pods::status(&context),
        ("", "pods", "eviction") => pods::eviction(&context),
        ("", "pods", other) => context
            .deny(format!("unexpected pod subresource {}, only 'status' and 'eviction' are allowed", quoted(other))),
        ("", "nodes", _) => nodes::node(&context),
        ("", "persistentvolumeclaims", "status") => nodes::claim_status(&context),
        ("", "persistentvolumeclaims", _) => context.deny("may only update PVC status"),
        ("", "serviceaccounts", "token") if request.operation == Operation::Create => tokens::token(&context),
        ("certificates.k8s.io", "podcertificaterequests", _) => certificates::pod_request(&context),
        ("certificates.k8s.io", "certificatesigningrequests", _) => certificates::signing_request(&context),
        ("coordination.k8s.io", "leases", _) => lease(&context),
        ("storage.k8s.io", "csinodes", _) => csi_node(&context),
        ("resource.k8s.io", "resourceslices", _) => resource_slice(&context),
        _ => Ok(()),
    }
}

/// A request that a known node makes, and what it takes to judge it.
struct Context<'a> {
    request: &'a Request<'a>,
    node: &'a str,
    objects: &'a dyn Objects,
    authorizer: &'a Authorizer,
}

// === impl Context ===

impl Context<'_> {
    fn deny(&self, why: impl AsRef<str>) -> Result<(), Status> {
        Err(self.request.forbidden(why.as_ref()))
    }

    /// Denies unless `holds`.
    fn require(&self, holds: bool, why: impl FnOnce() -> String) -> Result<(), Status> {
        if holds { Ok(()) } else { self.deny(why()) }
    }

    fn unexpected_operation(&self) -> Result<(), Status> {
        self.deny(format!("unexpected operation {}", quoted(self.request.operation.name())))
    }

    /// The object in the request, null where there is none.
    fn written(&self) -> &Value {
        self.request.new.unwrap_or(&api::value::NULL)
    }

    fn stored(&self) -> &Value {
        self.request.old.unwrap_or(&api::value::NULL)
    }

    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Arc<Value>, Status> {
        let found = self.objects.get(group, resource, namespace, name);
        // Listers name the resource as their informer does: in the singular.
        let singular = resource.trim_end_matches('s');
        found.ok_or_else(|| Status::not_found(GroupResource { group, resource: singular }, name))
    }

    /// Whether a rule lets this node ask for `resource` on behalf of the service account `name`.
    fn may(&self, verb: &str, resource: &str, name: &str) -> bool {
        let request = self.request;
        let attributes = Attributes {
            namespace: request.namespace,
            version: request.version,
            name,
            ..Attributes::resource(request.user, verb, request.group, resource)
        };
        self.authorizer.authorize(&attributes).is_allow()
    }
}

// === impl Request ===

impl Request<'_> {
    /// As apiserver's `admission.NewForbidden`: a create is named by its object.
    fn forbidden(&self, why: &str) -> Status {
        let of_object = |path| self.new.map_or("", |new| new.str_at(path));
        let candidates = [self.name, of_object("metadata.name"), of_object("metadata.generateName"), "Unknown"];
        let name = candidates.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        Status::forbidden(GroupResource { group: self.group, resource: self.resource }, name, why)
    }
}

// === impl Operation ===

impl Operation {
    /// As admission reviews spell it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

fn lease(context: &Context<'_>) -> Result<(), Status> {
    context.require(context.request.namespace == NODE_LEASES, || {
        format!("can only access leases in the {} system namespace", quoted(NODE_LEASES))
    })?;
    context.require(own_name(context), || "can only access node lease with the same name as the requesting node".into())
}

fn csi_node(context: &Context<'_>) -> Result<(), Status> {
    context
        .require(own_name(context), || "can only access CSINode with the same name as the requesting node".into())?;
    // The feature gate that would open it is alpha.
    context.require(context.request.subresource != "status", || "CSIVolumeHealth feature gate is disabled".into())
}

/// The object bears the node's name; a create has it in the object only.
fn own_name(context: &Context<'_>) -> bool {
    match context.request.operation {
        Operation::Create => context.written().str_at("metadata.name") == context.node,
        _ => context.request.name == context.node,
    }
}

fn resource_slice(context: &Context<'_>) -> Result<(), Status> {
    let (slice, verb) = match context.request.operation {
        Operation::Create => (context.written(), "create"),
        Operation::Delete => (context.stored(), "delete"),
        _ => return Ok(()),
    };
    context.require(slice.str_at("spec.nodeName") == context.node, || {
        format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")
    })
}

#[cfg(test)]
mod tests;
