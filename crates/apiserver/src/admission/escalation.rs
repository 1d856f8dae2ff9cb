//! Writes of roles and bindings: nobody may grant what they don't hold.

use api::status::Status;
use api::value::Value;

use super::Attributes;
use crate::api::Api;
use crate::authz::escalation::{Write, check};

/// Judges a write; other groups pass.
pub fn check_write(
    api: &Api,
    attributes: &Attributes<'_>,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let Some(new) = new.filter(|_| attributes.served.group() == "rbac.authorization.k8s.io") else { return Ok(()) };
    let info = &attributes.context.info;
    let write = Write {
        user: &attributes.context.user,
        resource: attributes.served.plural(),
        namespace: &info.namespace,
        name: &info.name,
        new,
        old,
    };
    check(&write, &api.authorizer)
}
