//! APIServices of the groups that this server serves itself, as clients that list them expect.
//!
//! Upstream: `pkg/controlplane/apiserver/aggregator.go`, `cmd/kube-apiserver/app/aggregator.go`.

use api::registry::{GroupVersion, Registry};
use api::value::Value;
use client::{Client, ClientError, Resource, WriteOptions};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::PARALLEL;
use crate::lifecycle::meta::rfc3339;

const API_SERVICES: Resource = Resource::fixed("apiregistration.k8s.io", "v1", "apiservices", "APIService", false);

/// Upstream's priorities: of the group, and of the version within it.
const PRIORITIES: &[(&str, &str, i64, i64)] = &[
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("networking.k8s.io", "v1", 17200, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("storagemigration.k8s.io", "v1", 15800, 15),
];

/// Creates those that are missing, and says that they are available.
///
/// # Errors
/// The first request that failed.
pub async fn ensure(client: &Client, now: Timestamp) -> Result<(), ClientError> {
    futures::stream::iter(local())
        .map(|service| ensure_one(client, service, now))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
}

/// The APIServices of all built-in groups; the group of APIServices has none, as upstream.
fn local() -> impl Iterator<Item = Value> {
    let versions = Registry::builtin().groups().iter().flat_map(|group| group.group_versions());
    versions.filter(|version| version.group != "apiregistration.k8s.io").map(|version| service(&version))
}

fn service(version: &GroupVersion) -> Value {
    let found = PRIORITIES.iter().find(|(group, name, ..)| *group == version.group && *name == version.version);
    let &(.., group_priority, version_priority) = found.unwrap_or(&("", "", 1000, 15));
    let mut service = Value::object();
    service.set("kind", "APIService");
    service.set("apiVersion", "apiregistration.k8s.io/v1");
    service.set("metadata.name", format!("{}.{}", version.version, version.group));
    service
        .at_or_insert("metadata.labels")
        .make_object()
        .insert("kube-aggregator.kubernetes.io/automanaged", "onstart");
    service.set("spec.group", version.group.as_str());
    service.set("spec.version", version.version.as_str());
    service.set("spec.groupPriorityMinimum", group_priority);
    service.set("spec.versionPriority", version_priority);
    service
}

async fn ensure_one(client: &Client, service: Value, now: Timestamp) -> Result<(), ClientError> {
    let api = client.all(&API_SERVICES);
    if api.get_opt(service.str_at("metadata.name")).await?.is_some() {
        return Ok(());
    }
    let options = WriteOptions::default();
    let mut made = match api.create_tree(service, &options).await {
        // Another server of the same cluster does the same at this moment.
        Err(error) if error.is_already_exists() => return Ok(()),
        made => made?.tree()?,
    };
    let mut available = Value::object();
    available.set("type", "Available");
    available.set("status", "True");
    available.set("lastTransitionTime", rfc3339(now));
    available.set("reason", "Local");
    available.set("message", "Local APIServices are always available");
    made.set("status.conditions", vec![available]);
    match api.update_status(made, &options).await {
        Err(error) if error.is_conflict() => Ok(()),
        done => done.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_version_has_upstreams_priorities() {
        let all: Vec<Value> = local().collect();
        assert_eq!(all.len(), PRIORITIES.len());
        for service in &all {
            let key = (service.str_at("spec.group"), service.str_at("spec.version"));
            assert!(PRIORITIES.iter().any(|(group, version, ..)| (*group, *version) == key), "{key:?}");
        }
        assert!(all.iter().any(|service| service.str_at("metadata.name") == "v1."));
    }
}
