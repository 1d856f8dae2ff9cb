//! `pods/eviction`: a deletion that disruption budgets may refuse.
//!
//! Upstream: `pkg/registry/core/pod/storage/eviction.go`.

mod budget;

use std::sync::Arc;

use api::status::{GroupResource, Status};
use api::value::{Map, Value};
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};
use store::Entry;

use crate::admission::{Attributes, Operation};
use crate::api::Api;
use crate::context::Context;
use crate::decode::{self, Expected};
use crate::forms::View;
use crate::lifecycle::meta;
use crate::request::options::{DeleteOptions, FieldValidation, WriteOptions};
use crate::respond;
use crate::served::Served;
use crate::verbs::write::{Current, Write, Written};
use crate::verbs::{delete, get};

/// Attempts where the pod changes under our hands; upstream's `EvictionsRetry`.
const ATTEMPTS_MAX: usize = 20;

/// Evicts the pod that the path names.
pub async fn create(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let expected = Expected { api_version: "policy/v1".to_owned(), ..Expected::kind("policy", "v1", "Eviction")? };
    let mut eviction = decode::body(context, &body, &expected, FieldValidation::Warn)?;
    let info = &context.info;
    if eviction.str_at("metadata.name") != info.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = DeleteOptions::parse(&context.query, Some(eviction.at("deleteOptions")))?;
    let dry_run = options.dry_run || context.query.get("dryRun").is_some();
    let options = DeleteOptions { dry_run, ..options };
    admit(api, context, served, &mut eviction, dry_run).await?;
    Evicting { api, context, served }.evict(&options).await?;
    let mut status = Value::object();
    status.set("kind", "Status");
    status.set("apiVersion", "v1");
    status.set("metadata", Map::new());
    status.set("status", "Success");
    status.set("code", 201);
    Ok(respond::typed(StatusCode::CREATED, &status, context.accept_plain()?))
}

async fn admit(
    api: &Api,
    context: &Context,
    served: &Served,
    eviction: &mut Value,
    dry_run: bool,
) -> Result<(), Status> {
    let attributes = Attributes {
        operation: Operation::Create,
        served,
        subresource: "eviction",
        namespace: &context.info.namespace,
        name: &context.info.name,
        context,
        dry_run,
    };
    api.admission.mutate(api, &attributes, eviction, None).await?;
    api.admission.validate(api, &attributes, Some(eviction), None).await
}

/// One eviction on its way.
struct Evicting<'a> {
    api: &'a Api,
    context: &'a Context,
    served: &'a Served,
}

// === impl Evicting ===

impl Evicting<'_> {
    async fn evict(&self, options: &DeleteOptions) -> Result<(), Status> {
        for _ in 0..ATTEMPTS_MAX {
            let (entry, pod) = self.read().await?;
            if !ignores_budgets(&pod) {
                return self.evict_running(&entry, &pod, options).await;
            }
            // Nobody may make it run meanwhile.
            let pins = options.resource_version.is_none() && is_pending(&pod);
            let pinned = if pins { at_revision(options, &entry) } else { options.clone() };
            match self.mark_and_delete(&pinned).await {
                Err(status) if status.code == 409 && options.resource_version.is_none() => {}
                outcome => return outcome,
            }
        }
        Err(Status::modified(self.served.group_resource(), &self.context.info.name))
    }

    /// Evicts a pod that budgets count, if its own allows it.
    async fn evict_running(&self, entry: &Entry, pod: &Value, options: &DeleteOptions) -> Result<(), Status> {
        let Some((name, budget)) = self.budget_of(entry)? else { return self.mark_and_delete(options).await };
        if !is_ready(pod) && budget::spares_unready(&budget) {
            // It must still be one that does not serve when it goes.
            return match self.mark_and_delete(&at_revision(options, entry)).await {
                Err(status) if status.code == 409 && options.resource_version.is_none() => {
                    Err(budget::being_processed(&name))
                }
                outcome => outcome,
            };
        }
        self.take_from(&name, options.dry_run).await?;
        self.mark_and_delete(options).await
    }

    async fn read(&self) -> Result<(Arc<Entry>, Value), Status> {
        let info = &self.context.info;
        let entry = get::read(self.api, self.served, &info.namespace, &info.name, "").await?;
        let pod = View::internal(self.served, self.context.now).tree(&entry, entry.mod_revision)?;
        Ok((entry, pod))
    }

    /// The one budget that is about the pod, and its name.
    fn budget_of(&self, pod: &Entry) -> Result<Option<(String, Value)>, Status> {
        let catalog = self.api.catalog.load();
        let Some(budgets) = catalog.stored("policy", "poddisruptionbudgets") else { return Ok(None) };
        let root = format!("{}{}/", budgets.prefix(), self.context.info.namespace);
        let mut found = None;
        for entry in self.api.store.snapshot(budgets.prefix()).range(&root, None) {
            let tree = api::codec::json::parse(&entry.value).map_err(Status::internal)?;
            if !budget::is_about(&tree, |key| pod.record.label(key)) {
                continue;
            }
            if found.is_some() {
                let why =
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Status::new(500, "", why));
            }
            found = Some((entry.record.name().to_owned(), tree));
        }
        Ok(found)
    }

    /// Takes one disruption from a budget, or is refused.
    async fn take_from(&self, budget: &str, dry_run: bool) -> Result<(), Status> {
        let catalog = self.api.catalog.load();
        let Some(budgets) = catalog.stored("policy", "poddisruptionbudgets") else { return Ok(()) };
        let options = WriteOptions { dry_run, ..WriteOptions::default() };
        let (now, pod) = (meta::rfc3339(self.context.now), self.context.info.name.as_str());
        let mut disrupt = |current: Option<Current<'_>>| match current {
            Some(Current { tree, .. }) => budget::disrupt(tree, budget, pod, &now),
            None => Err(Status::not_found(budgets.group_resource(), budget)),
        };
        self.write(budgets, budget, &options).update(false, &mut disrupt).await.map(drop)
    }

    /// Says on the pod why it goes, and deletes it.
    async fn mark_and_delete(&self, options: &DeleteOptions) -> Result<(), Status> {
        let info = &self.context.info;
        let mut options = options.clone();
        if !options.dry_run {
            let now = meta::rfc3339(self.context.now);
            let write_options = WriteOptions::default();
            let mut mark = |current: Option<Current<'_>>| match current {
                Some(Current { tree, .. }) => check(tree, &options).map(|()| marked(tree, &now)),
                None => Err(Status::not_found(self.served.group_resource(), &info.name)),
            };
            let (written, _) = self.write(self.served, &info.name, &write_options).update(false, &mut mark).await?;
            if let (Some(revision), Written::Stored(entry, _)) = (&mut options.resource_version, written) {
                *revision = entry.mod_revision.to_string();
            }
        }
        delete::remove(self.api, self.context, self.served, &info.namespace, &info.name, &options).await.map(drop)
    }

    fn write<'w>(&'w self, served: &'w Served, name: &'w str, options: &'w WriteOptions) -> Write<'w> {
        let namespace = &self.context.info.namespace;
        Write { api: self.api, context: self.context, served, namespace, name, subresource: "status", options }
    }
}

/// Pods that have ended, never began or are going anyway count for no budget.
fn ignores_budgets(pod: &Value) -> bool {
    matches!(pod.str_at("status.phase"), "Succeeded" | "Failed" | "Pending") || meta::is_deleting(pod)
}

fn is_pending(pod: &Value) -> bool {
    !matches!(pod.str_at("status.phase"), "Succeeded" | "Failed") && !meta::is_deleting(pod)
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod.array_at("status.conditions").iter();
    conditions.any(|one| one.str_at("type") == "Ready" && one.str_at("status") == "True")
}

fn at_revision(options: &DeleteOptions, entry: &Entry) -> DeleteOptions {
    DeleteOptions { resource_version: Some(entry.mod_revision.to_string()), ..options.clone() }
}

/// The deletion's preconditions hold for the mark as well.
fn check(pod: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let of = GroupResource { group: "", resource: "Pod" };
    let (name, uid, revision) =
        (pod.str_at("metadata.name"), pod.str_at("metadata.uid"), pod.str_at("metadata.resourceVersion"));
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| !wanted.is_empty() && *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(of, name, &why));
    }
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| !wanted.is_empty() && *wanted != revision)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({revision}). The object might have been modified"
        );
        return Err(Status::conflict(of, name, &why));
    }
    Ok(())
}

/// The pod with the condition that says why it goes.
fn marked(pod: &Value, now: &str) -> Value {
    let mut pod = pod.clone();
    let mut conditions = pod.array_at("status.conditions").to_vec();
    let at = conditions.iter().position(|one| one.str_at("type") == "DisruptionTarget").unwrap_or_else(|| {
        conditions.push(Map::from_iter([("type", "DisruptionTarget")]).into());
        conditions.len() - 1
    });
    let condition = &mut conditions[at];
    if condition.str_at("status") != "True" {
        condition.set("status", "True");
        condition.set("lastTransitionTime", now);
    }
    condition.set("reason", "EvictionByEvictionAPI");
    condition.set("message", "Eviction API: evicting");
    pod.set("status.conditions", conditions);
    pod
}
