//! `pods/eviction`: a deletion that disruption budgets may refuse.
//!
//! Upstream: `pkg/registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use api::selector::LabelSelector;
use api::status::Status;
use api::value::{Map, Value};
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};
use store::Entry;

use crate::api::Api;
use crate::context::Context;
use crate::decode::{self, Expected};
use crate::forms::View;
use crate::lifecycle::meta;
use crate::request::options::{DeleteOptions, FieldValidation, WriteOptions};
use crate::respond;
use crate::served::Served;
use crate::verbs::write::{Current, Write};
use crate::verbs::{delete, get};

/// Upstream's `MaxDisruptedPodSize`: pods that a budget remembers as about to go.
const DISRUPTED_PODS_MAX: usize = 2_000;

/// Evicts the pod that the path names.
pub async fn create(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let expected = Expected { api_version: "policy/v1".to_owned(), ..Expected::kind("policy", "v1", "Eviction")? };
    let eviction = decode::body(context, &body, &expected, FieldValidation::Warn)?;
    let info = &context.info;
    if eviction.str_at("metadata.name") != info.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = DeleteOptions::parse(&context.query, Some(eviction.at("deleteOptions")))?;
    let dry_run = options.dry_run || context.query.get("dryRun").is_some();
    let options = DeleteOptions { dry_run, ..options };
    let entry = get::read(api, served, &info.namespace, &info.name, "").await?;
    let pod = View::internal(served, context.now).tree(&entry, entry.mod_revision)?;
    if !ignores_budgets(&pod)
        && let Some(budget) = budget_of(api, &info.namespace, &entry)?
    {
        take_from(api, context, &budget, &info.name, options.dry_run).await?;
    }
    if !dry_run && !meta::is_deleting(&pod) {
        mark_disrupted(api, context, served).await?;
    }
    delete::remove(api, context, served, &info.namespace, &info.name, &options).await?;
    let mut status = Value::object();
    status.set("kind", "Status");
    status.set("apiVersion", "v1");
    status.set("metadata", Map::new());
    status.set("status", "Success");
    status.set("code", 201);
    Ok(respond::typed(StatusCode::CREATED, &status, context.accept_plain()?))
}

/// Pods that have ended, never began or are going anyway count for no budget.
fn ignores_budgets(pod: &Value) -> bool {
    matches!(pod.str_at("status.phase"), "Succeeded" | "Failed" | "Pending") || meta::is_deleting(pod)
}

fn budget_of(api: &Api, namespace: &str, pod: &Entry) -> Result<Option<Arc<Entry>>, Status> {
    let catalog = api.catalog.load();
    let Some(budgets) = catalog.stored("policy", "poddisruptionbudgets") else { return Ok(None) };
    let root = format!("{}{namespace}/", budgets.prefix());
    let mut found = Vec::new();
    for entry in api.store.snapshot(budgets.prefix()).range(&root, None) {
        let tree = api::codec::json::parse(&entry.value).map_err(Status::internal)?;
        let selector = LabelSelector::from_object(tree.at("spec.selector")).map_err(Status::internal)?;
        if tree.at("spec").field("selector").is_some() && selector.matches(|key| pod.record.label(key)) {
            found.push(entry.clone());
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(Status::new(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    }
}

/// Takes one disruption from a budget, or refuses.
async fn take_from(api: &Api, context: &Context, budget: &Entry, pod: &str, dry_run: bool) -> Result<(), Status> {
    let catalog = api.catalog.load();
    let Some(served) = catalog.stored("policy", "poddisruptionbudgets") else { return Ok(()) };
    let (namespace, name) = (budget.record.namespace().to_owned(), budget.record.name().to_owned());
    let options = WriteOptions { dry_run, ..WriteOptions::default() };
    let write =
        Write { api, context, served, namespace: &namespace, name: &name, subresource: "status", options: &options };
    write
        .update(false, &mut |current| {
            let Some(Current { tree, .. }) = current else {
                return Err(Status::not_found(served.group_resource(), &name));
            };
            disrupt(tree, &name, pod, meta::rfc3339(context.now))
        })
        .await
        .map(drop)
}

/// The budget after one more disruption.
fn disrupt(budget: &Value, name: &str, pod: &str, now: String) -> Result<Value, Status> {
    let refused =
        |message: String, why: String| Status::too_many_requests(message, 0).cause("DisruptionBudget", why, "");
    const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
    if budget.i64_at("status.observedGeneration").unwrap_or_default()
        < budget.i64_at("metadata.generation").unwrap_or_default()
    {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(VIOLATES.to_owned(), why).retry_after(10));
    }
    let allowed = budget.i64_at("status.disruptionsAllowed").unwrap_or_default();
    if allowed < 0 {
        return Err(Status::forbidden(
            api::status::GroupResource { group: "policy", resource: "poddisruptionbudget" },
            name,
            "pdb disruptions allowed is negative",
        ));
    }
    let disrupted = budget.at("status.disruptedPods").as_object().map_or(0, Map::len);
    if disrupted > DISRUPTED_PODS_MAX {
        return Err(Status::forbidden(
            api::status::GroupResource { group: "policy", resource: "poddisruptionbudget" },
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let why = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            budget.i64_at("status.desiredHealthy").unwrap_or_default(),
            budget.i64_at("status.currentHealthy").unwrap_or_default()
        );
        return Err(refused(VIOLATES.to_owned(), why));
    }
    let mut budget = budget.clone();
    budget.set("status.disruptionsAllowed", allowed - 1);
    budget.at_or_insert("status.disruptedPods").make_object().insert(pod, now);
    Ok(budget)
}

/// Says on the pod why it goes.
async fn mark_disrupted(api: &Api, context: &Context, served: &Served) -> Result<(), Status> {
    let info = &context.info;
    let options = WriteOptions::default();
    let write = Write {
        api,
        context,
        served,
        namespace: &info.namespace,
        name: &info.name,
        subresource: "status",
        options: &options,
    };
    let now = meta::rfc3339(context.now);
    write
        .update(false, &mut |current| {
            let Some(Current { tree, .. }) = current else {
                return Err(Status::not_found(served.group_resource(), &info.name));
            };
            let mut pod = tree.clone();
            let mut condition = Value::object();
            condition.set("type", "DisruptionTarget");
            condition.set("status", "True");
            condition.set("lastTransitionTime", now.as_str());
            condition.set("reason", "EvictionByEvictionAPI");
            condition.set("message", "Eviction API: evicting");
            let mut conditions = pod.array_at("status.conditions").to_vec();
            conditions.retain(|one| one.str_at("type") != "DisruptionTarget");
            conditions.push(condition);
            pod.set("status.conditions", conditions);
            Ok(pod)
        })
        .await
        .map(drop)
}
