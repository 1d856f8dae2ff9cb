//! ClusterRole aggregation: roles whose rules are those of the roles that they select.
//!
//! Upstream: pkg/controller/clusterroleaggregation.

use std::sync::Arc;

use api::value::Value;
use client::{
    Client, Informer, Kind, MetaExt, Object, ObjectKey, Patch, Reconcile, ReconcileError, Requeue, WorkQueue,
    WriteOptions, json,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use crate::common::selectors::{selector, selects};
use crate::context::Context;

const NAME: &str = "clusterrole-aggregation-controller";

/// The controller.
pub struct Aggregation {
    roles: Informer<ClusterRole>,
    client: Client,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let roles = context.informers.kind::<ClusterRole>();
    let queue = WorkQueue::default();
    roles.subscribe({
        let (roles, queue) = (roles.clone(), queue.clone());
        // Any role may be selected by any that aggregates.
        move |_| {
            roles.with(|cache| {
                let aggregating = cache.iter().filter(|role| role.aggregation_rule.is_some());
                aggregating.for_each(|role| queue.add(role.key()));
            });
        }
    });
    let controller = Aggregation { roles: roles.clone(), client: context.client(NAME) };
    roles.synced().await;
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for Aggregation {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(role) = self.roles.get(key).filter(|role| role.aggregation_rule.is_some()) else {
            return Ok(Requeue::Never);
        };
        let rules = aggregated(&role, &self.roles.list());
        if rules == *role.rules.as_deref().unwrap_or_default() {
            return Ok(Requeue::Never);
        }
        let mut tree = Value::object();
        tree.set("apiVersion", ClusterRole::RESOURCE.api_version());
        tree.set("kind", "ClusterRole");
        tree.set("metadata.name", role.name());
        tree.set("rules", json::to_tree(&rules)?);
        let patch = Patch::Apply { object: tree, force: true };
        let api = self.client.kind::<ClusterRole>("");
        let answer = api.patch(role.name(), "", &patch, &WriteOptions::manager(NAME)).await?;
        self.roles.reached(answer.revision()).await;
        Ok(Requeue::Never)
    }
}

/// The rules of the roles that `role` selects, in the order of their names, each once.
fn aggregated(role: &ClusterRole, all: &[Arc<Object<ClusterRole>>]) -> Vec<PolicyRule> {
    let mut all: Vec<&Arc<Object<ClusterRole>>> = all.iter().filter(|one| one.name() != role.name()).collect();
    all.sort_by(|a, b| a.name().cmp(b.name()));
    let mut rules: Vec<PolicyRule> = Vec::new();
    let aggregation = role.aggregation_rule.as_ref();
    for typed in aggregation.and_then(|rule| rule.cluster_role_selectors.as_ref()).into_iter().flatten() {
        let selector = selector(typed);
        for one in all.iter().filter(|one| selects(&selector, &one.metadata.labels)) {
            for rule in one.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, rest: &str) -> Arc<Object<ClusterRole>> {
        let json = format!(r#"{{"metadata":{{"name":"{name}","labels":{{"to":"x"}}}},{rest}}}"#);
        Arc::new(Object::decode(json.into()).unwrap())
    }

    #[test]
    fn selected_rules_in_order_and_once() {
        let selecting =
            r#""aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"to":"x"}}]},"rules":[{"verbs":["own"]}]"#;
        let all = [
            role("b", r#""rules":[{"verbs":["get"]},{"verbs":["list"]}]"#),
            role("sum", selecting),
            role("a", r#""rules":[{"verbs":["list"]}]"#),
        ];
        let verbs: Vec<String> = aggregated(&all[1], &all).iter().map(|rule| rule.verbs[0].clone()).collect();
        assert_eq!(verbs, ["list", "get"]);
    }
}
