//! What a fresh cluster has from its start, made through the server's own door.
//!
//! Namespaces come first, for nothing is created in one that is missing; the rest is created at
//! the same time and shares its commits' syncs.

mod kubernetes_service;
mod local_services;

use api::value::Value;
use client::{Client, ClientError, DeleteOptions, Resource, WriteOptions};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::bootstrap::objects::AuthenticationTrust;
use crate::bootstrap::{Step, flowcontrol, objects, rbac};
use crate::lifecycle::meta::rfc3339;
use crate::settings::Settings;

pub use kubernetes_service::publish_endpoints;

/// Objects being made at once.
const PARALLEL: usize = 64;

const NAMESPACES: Resource = Resource::fixed("", "v1", "namespaces", "Namespace", false);
const CONFIG_MAPS: Resource = Resource::fixed("", "v1", "configmaps", "ConfigMap", true);
const PRIORITY_CLASSES: Resource =
    Resource::fixed("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false);
const SERVICE_CIDRS: Resource = Resource::fixed("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false);

/// Makes what is missing and brings up to date what the server owns.
///
/// # Errors
/// The first request that failed; running it again goes on from there.
pub async fn seed(
    client: &Client,
    settings: &Settings,
    trust: &AuthenticationTrust,
    now: Timestamp,
) -> Result<(), ClientError> {
    let namespaces = objects::NAMESPACES.map(|name| ensure(client, NAMESPACES, objects::namespace(name)));
    futures::future::try_join_all(namespaces).await?;
    // Who may do what decides whether anything else works.
    futures::stream::iter(rbac::objects())
        .map(|object| {
            let plural = rbac::resource(&object);
            async move {
                reconcile(client, &grouped("rbac.authorization.k8s.io", plural, &object), object, rbac::reconcile).await
            }
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    let classes = objects::priority_classes().map(|class| ensure(client, PRIORITY_CLASSES, class));
    futures::future::try_join_all(classes).await?;
    futures::stream::iter(flowcontrol::objects())
        .map(|object| {
            let plural = flowcontrol::resource(&object);
            async move {
                let resource = grouped("flowcontrol.apiserver.k8s.io", plural, &object);
                reconcile(client, &resource, object, flowcontrol::reconcile).await
            }
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    local_services::ensure(client, now).await?;
    ensure(client, CONFIG_MAPS, objects::legacy_token_tracking(now)).await?;
    default_service_cidr(client, settings, now).await?;
    kubernetes_service::ensure_service(client, settings).await?;
    authentication(client, trust).await
}

fn grouped(group: &'static str, plural: &'static str, object: &Value) -> Resource {
    Resource {
        group: group.into(),
        version: "v1".into(),
        plural: plural.into(),
        kind: object.str_at("kind").to_owned().into(),
        namespaced: matches!(plural, "roles" | "rolebindings"),
    }
}

/// Creates an object unless it is there.
async fn ensure(client: &Client, resource: Resource, object: Value) -> Result<(), ClientError> {
    let api = client.namespaced(&resource, object.str_at("metadata.namespace"));
    if api.get_opt(object.str_at("metadata.name")).await?.is_some() {
        return Ok(());
    }
    match api.create_tree(object, &WriteOptions::default()).await {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

/// Brings one object of a table up to date.
async fn reconcile(
    client: &Client,
    resource: &Resource,
    expected: Value,
    step: fn(Option<&Value>, &Value) -> Step,
) -> Result<(), ClientError> {
    let api = client.namespaced(resource, expected.str_at("metadata.namespace"));
    let name = expected.str_at("metadata.name");
    let existing = api.get_opt(name).await?.map(|answer| answer.tree()).transpose()?;
    let options = WriteOptions::default();
    let done = match step(existing.as_ref(), &expected) {
        Step::None => return Ok(()),
        Step::Create(object) => api.create_tree(object, &options).await,
        Step::Update(object) => api.update(object, &options).await,
        Step::Recreate(object) => {
            let uid = existing.as_ref().map(|existing| existing.str_at("metadata.uid")).unwrap_or_default();
            api.delete(name, &DeleteOptions::of_uid(uid)).await?;
            api.create_tree(object, &options).await
        }
    };
    match done {
        // Another server of the same cluster does the same at this moment.
        Err(error) if error.is_already_exists() || error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

/// The ServiceCIDR of the server's own range; the server answers for it being ready.
async fn default_service_cidr(client: &Client, settings: &Settings, now: Timestamp) -> Result<(), ClientError> {
    let mut cidr = Value::object();
    cidr.set("kind", "ServiceCIDR");
    cidr.set("apiVersion", "networking.k8s.io/v1");
    cidr.set("metadata.name", "kubernetes");
    cidr.set("spec.cidrs", vec![settings.service_cluster_ip_range.to_string()]);
    ensure(client, SERVICE_CIDRS, cidr).await?;
    let api = client.all(&SERVICE_CIDRS);
    let mut cidr = api.get("kubernetes").await?.tree()?;
    if !cidr.array_at("status.conditions").is_empty() {
        return Ok(());
    }
    let mut ready = Value::object();
    ready.set("type", "Ready");
    ready.set("status", "True");
    ready.set("lastTransitionTime", rfc3339(now));
    ready.set("reason", "");
    ready.set("message", "Kubernetes default Service CIDR is ready");
    cidr.set("status.conditions", vec![ready]);
    match api.update_status(cidr, &WriteOptions::default()).await {
        // Another server was faster.
        Err(error) if error.is_conflict() => Ok(()),
        done => done.map(drop),
    }
}

/// The ConfigMap by which aggregated servers know whose word on users to trust.
async fn authentication(client: &Client, trust: &AuthenticationTrust) -> Result<(), ClientError> {
    let api = client.namespaced(&CONFIG_MAPS, "kube-system");
    let existing = api.get_opt("extension-apiserver-authentication").await?.map(|answer| answer.tree()).transpose()?;
    let expected = objects::authentication_config_map(trust, existing.as_ref());
    let options = WriteOptions::default();
    match existing {
        None => api.create_tree(expected, &options).await.map(drop),
        Some(existing) if existing.at("data") == expected.at("data") => Ok(()),
        Some(_) => api.update(expected, &options).await.map(drop),
    }
}
