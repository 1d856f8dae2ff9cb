//! Nobody may grant what they don't hold.
//!
//! Writes of roles need all the role's permissions or the verb `escalate` on it; writes of
//! bindings need all permissions of the role referred to or the verb `bind` on it. Upstream:
//! pkg/registry/rbac/*/policybased, escalation_check.go, pkg/registry/rbac/validation/rule.go.

use api::status::{GroupResource, Status};
use api::user::UserInfo;
use api::value::Value;

use super::rules::{compacted, uncovered};
use super::text::{quoted, quoted_list};
use super::{Attributes, Authorizer, PolicyRule};

const GROUP: &str = "rbac.authorization.k8s.io";

/// A write of a Role, ClusterRole, RoleBinding or ClusterRoleBinding.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub user: &'a UserInfo,
    /// `roles`, `clusterroles`, `rolebindings` or `clusterrolebindings`.
    pub resource: &'a str,
    /// From the request's path; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// From the request's path, empty for a create.
    pub name: &'a str,
    /// The object as it is to be stored.
    pub new: &'a Value,
    /// The object as it is stored, for updates.
    pub old: Option<&'a Value>,
}

/// Lets a write of roles and bindings pass or says why not. Other resources pass.
///
/// # Errors
/// 403 with upstream's list of what is missing; 404 where a binding's role does not exist.
pub fn check(write: &Write<'_>, authorizer: &Authorizer) -> Result<(), Status> {
    let unrestricted = write.user.in_group("system:masters");
    if unrestricted || write.old.is_some_and(|old| changes_only_gc_fields(write.new, old)) {
        return Ok(());
    }
    match write.resource {
        "roles" | "clusterroles" => check_role(write, authorizer),
        "rolebindings" | "clusterrolebindings" => check_binding(write, authorizer),
        _ => Ok(()),
    }
}

fn check_role(write: &Write<'_>, authorizer: &Authorizer) -> Result<(), Status> {
    let escalate = Attributes {
        namespace: write.namespace,
        name: write.name,
        ..Attributes::resource(write.user, "escalate", GROUP, write.resource)
    };
    if authorizer.authorize(&escalate).is_allow() {
        return Ok(());
    }
    confirm(write, authorizer, &PolicyRule::of_role(write.new)).map_err(|why| forbidden(write, &why))?;
    let aggregates = |role: &Value| !role.array_at("aggregationRule.clusterRoleSelectors").is_empty();
    if write.resource == "clusterroles" && (aggregates(write.new) || write.old.is_some_and(aggregates)) {
        let everything = [PolicyRule::everything(), PolicyRule::everything_else()];
        const WHY: &str = "must have cluster-admin privileges to use the aggregationRule";
        confirm(write, authorizer, &everything).map_err(|_| forbidden(write, WHY))?;
    }
    Ok(())
}

fn check_binding(write: &Write<'_>, authorizer: &Authorizer) -> Result<(), Status> {
    let (kind, name) = (write.new.str_at("roleRef.kind"), write.new.str_at("roleRef.name"));
    let resource = match kind {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        _ => "",
    };
    let bind = Attributes {
        namespace: write.namespace,
        name,
        ..Attributes::resource(write.user, "bind", write.new.str_at("roleRef.apiGroup"), resource)
    };
    if !resource.is_empty() && authorizer.authorize(&bind).is_allow() {
        return Ok(());
    }
    let rules = authorizer.rbac().role_rules(kind, name, write.namespace).map_err(|error| match resource {
        "" => Status::internal(error),
        // Upstream's storage names what the request is about, not what it looked for.
        _ => Status::not_found(GroupResource { group: GROUP, resource: write.resource }, name),
    })?;
    confirm(write, authorizer, &rules).map_err(|why| forbidden(write, &why))
}

/// Whether the user holds all of `wanted` by RBAC; otherwise what is missing.
fn confirm(write: &Write<'_>, authorizer: &Authorizer, wanted: &[PolicyRule]) -> Result<(), String> {
    let held = authorizer.rbac().rules_for(write.user, write.namespace);
    let missing = uncovered(&held.rules, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut missing: Vec<String> = compacted(missing).iter().map(PolicyRule::compact).collect();
    missing.sort();
    missing.dedup();
    let mut message = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quoted(&write.user.name),
        quoted_list(&write.user.groups),
        missing.join("\n")
    );
    if !held.error.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", held.error));
    }
    Err(message)
}

fn forbidden(write: &Write<'_>, why: &str) -> Status {
    let of = GroupResource { group: GROUP, resource: write.resource };
    Status::forbidden(of, write.new.str_at("metadata.name"), why)
}

/// The garbage collector takes owners and finalizers away without holding the role's permissions.
pub fn changes_only_gc_fields(new: &Value, old: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.clone();
        for field in ["ownerReferences", "finalizers", "selfLink", "managedFields"] {
            object.remove(&format!("metadata.{field}"));
        }
        object
    };
    without(new) == without(old)
}

#[cfg(test)]
mod tests;
