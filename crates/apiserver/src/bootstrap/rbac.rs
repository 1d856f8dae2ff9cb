//! The roles and bindings that every cluster has, and their reconciliation.
//!
//! Upstream: plugin/pkg/auth/authorizer/rbac/bootstrappolicy (the data), pkg/registry/rbac/rest
//! (the hook), component-helpers/auth/rbac/reconciliation (the rules).

use api::value::{Map, Value};

use super::{Step, rows};
use crate::authz::PolicyRule;
use crate::authz::rules::uncovered;

pub(super) const TABLE: &str = include_str!("../../tables/bootstrap-rbac.jsonl");
pub(super) const NODE_RULES: &str = include_str!("../../tables/bootstrap-node-rules.jsonl");

/// Owners set it to "false" to keep a role or binding as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// All ClusterRoles, ClusterRoleBindings, Roles and RoleBindings, in upstream's order.
pub fn objects() -> impl Iterator<Item = Value> {
    rows(TABLE)
}

/// The resource (plural) of an object of [`objects`].
pub fn resource(object: &Value) -> &'static str {
    match object.str_at("kind") {
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "Role" => "roles",
        _ => "rolebindings",
    }
}

/// A ClusterRole with the rules that the Node authorizer applies to all nodes alike.
pub fn node_rules() -> Value {
    rows(NODE_RULES).next().unwrap_or_default()
}

/// What makes `existing` have at least what `expected` (one of [`objects`]) says. Additions of
/// the cluster's owners stay.
pub fn reconcile(existing: Option<&Value>, expected: &Value) -> Step {
    let Some(existing) = existing else { return Step::Create(expected.clone()) };
    if annotation(existing, AUTOUPDATE) == Some("false") {
        return Step::None;
    }
    match expected.field("roleRef") {
        None => reconcile_role(existing, expected),
        Some(role) => reconcile_binding(existing, expected, role),
    }
}

fn reconcile_role(existing: &Value, expected: &Value) -> Step {
    let mut role = existing.clone();
    let mut changed = merge_metadata(&mut role, expected);
    let missing = uncovered(&PolicyRule::of_role(existing), &PolicyRule::of_role(expected));
    if !missing.is_empty() {
        append(&mut role, "rules", missing.iter().map(PolicyRule::to_value));
        changed = true;
    }
    match (expected.field("aggregationRule"), existing.field("aggregationRule")) {
        (None, Some(_)) => {
            role.remove("aggregationRule");
            changed = true;
        }
        (Some(_), _) => {
            const SELECTORS: &str = "aggregationRule.clusterRoleSelectors";
            let here = existing.array_at(SELECTORS);
            let missing: Vec<_> = expected.array_at(SELECTORS).iter().filter(|one| !here.contains(one)).collect();
            if !missing.is_empty() {
                append(&mut role, SELECTORS, missing.into_iter().cloned());
                changed = true;
            }
        }
        (None, None) => {}
    }
    if changed { Step::Update(role) } else { Step::None }
}

fn reconcile_binding(existing: &Value, expected: &Value, role: &Value) -> Step {
    // A binding's role can't be changed.
    if existing.at("roleRef") != role {
        return Step::Recreate(expected.clone());
    }
    let mut binding = existing.clone();
    let mut changed = merge_metadata(&mut binding, expected);
    let here = existing.array_at("subjects");
    let missing: Vec<_> = expected.array_at("subjects").iter().filter(|one| !here.contains(one)).collect();
    if !missing.is_empty() {
        append(&mut binding, "subjects", missing.into_iter().cloned());
        changed = true;
    }
    if changed { Step::Update(binding) } else { Step::None }
}

/// Adds the expected labels and annotations that are not there; those that are keep their value.
fn merge_metadata(object: &mut Value, expected: &Value) -> bool {
    let mut changed = false;
    for field in ["metadata.annotations", "metadata.labels"] {
        let Some(wanted) = expected.at(field).as_object() else { continue };
        let missing: Map = wanted
            .iter()
            .filter(|(key, _)| object.at(field).get(key).is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in missing {
            object.at_or_insert(field).make_object().insert(key, value);
            changed = true;
        }
    }
    changed
}

fn append(object: &mut Value, path: &str, items: impl Iterator<Item = Value>) {
    let mut all = object.array_at(path).to_vec();
    all.extend(items);
    object.set(path, all);
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.at("metadata.annotations").get(key).as_str()
}

#[cfg(test)]
mod tests;
