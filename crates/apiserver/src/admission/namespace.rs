//! NamespaceLifecycle: nothing is created in a namespace that is not there or is going away.
//!
//! Upstream: `apiserver/pkg/admission/plugin/namespace/lifecycle`.

use api::status::{GroupResource, Status};
use api::value::Value;

use super::{Attributes, Operation, lookup};
use crate::api::Api;

/// Namespaces that can't be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub fn lifecycle(api: &Api, attributes: &Attributes<'_>, _: &mut Value, _: Option<&Value>) -> Result<(), Status> {
    let namespace = attributes.namespace;
    let review = attributes.served.plural() == "localsubjectaccessreviews";
    if attributes.operation != Operation::Create || namespace.is_empty() || review {
        return Ok(());
    }
    let Some(found) = lookup::again(api, "", "namespaces", "", namespace) else {
        return Err(Status::not_found(GroupResource { group: "", resource: "namespaces" }, namespace));
    };
    if found.str_at("status.phase") != "Terminating" {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = format!("namespace {namespace} is being terminated");
    Err(attributes.forbidden(&why).cause("NamespaceTerminating", cause, "metadata.namespace"))
}

pub fn immortal(_: &Api, attributes: &Attributes<'_>, _: Option<&Value>, _: Option<&Value>) -> Result<(), Status> {
    let deletes = attributes.operation == Operation::Delete && attributes.is("", "namespaces");
    match deletes && IMMORTAL.contains(&attributes.name) {
        true => Err(attributes.forbidden("this namespace may not be deleted")),
        false => Ok(()),
    }
}
