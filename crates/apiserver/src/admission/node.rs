//! What nodes may write, and how a new node begins.
//!
//! Upstream: `plugin/pkg/admission/{noderestriction,nodetaint}`.

use std::sync::Arc;

use api::status::Status;
use api::value::{Map, Value};

use super::{Attributes, Operation, lookup};
use crate::api::Api;
use crate::authz::noderestriction;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// TaintNodesByCondition: nothing is placed on a node before it has said that it is ready.
pub fn taint_new(_: &Api, attributes: &Attributes<'_>, node: &mut Value, _: Option<&Value>) -> Result<(), Status> {
    if !attributes.is("", "nodes") {
        return Ok(());
    }
    let mut taints = node.array_at("spec.taints").to_vec();
    if taints.iter().any(|taint| taint.str_at("key") == NOT_READY && taint.str_at("effect") == "NoSchedule") {
        return Ok(());
    }
    taints.push(Map::from_iter([("key", NOT_READY), ("effect", "NoSchedule")]).into());
    node.set("spec.taints", taints);
    Ok(())
}

/// NodeRestriction: a node writes only what is its own.
pub fn restriction(
    api: &Api,
    attributes: &Attributes<'_>,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let operation = match attributes.operation {
        Operation::Create => noderestriction::Operation::Create,
        Operation::Update => noderestriction::Operation::Update,
        Operation::Delete => noderestriction::Operation::Delete,
        Operation::Connect => noderestriction::Operation::Connect,
    };
    let request = noderestriction::Request {
        user: &attributes.context.user,
        operation,
        group: attributes.served.group(),
        version: attributes.served.version(),
        resource: attributes.served.plural(),
        subresource: attributes.subresource,
        namespace: attributes.namespace,
        name: attributes.name,
        new,
        old,
    };
    noderestriction::check(&request, &Lookup(api), &api.authorizer)
}

/// Other objects, as they are in memory.
struct Lookup<'a>(&'a Api);

impl noderestriction::Objects for Lookup<'_> {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        lookup::again(self.0, group, resource, namespace, name)
    }
}
