//! Applies the demo through our own client and waits until it answers.

use std::path::PathBuf;
use std::time::Duration;

use ::api::codec::{json, yaml};
use ::api::registry::Registry;
use ::api::value::Value;
use clap::Args;
use client::watch::WatchEvent;
use client::{Client, Patch, Resource, WatchParams, WriteOptions};
use tokio::net::TcpStream;

use crate::commands::Error;

/// What `xebec demo` takes.
#[derive(Args, Clone, Debug)]
pub struct DemoOptions {
    /// Whom to ask, and as whom.
    #[arg(long, default_value = "run/kubeconfig")]
    kubeconfig: PathBuf,
    /// The manifests to apply.
    #[arg(long, default_value = "demo/demo.yaml")]
    manifests: PathBuf,
    /// Waits until connections are accepted there, too (`127.0.0.1:30080`).
    #[arg(long, value_name = "HOST:PORT")]
    answers_at: Option<String>,
}

/// How long the demo's pods may take.
const READY_TIME_MAX: Duration = Duration::from_secs(120);
/// How long the service proxy may take to hear of them.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Nobody says when a port is open: it is tried this often.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Applies the manifests and waits until every Deployment among them is available, and reachable where that is asked for.
///
/// # Errors
/// A manifest that can't be read or applied, pods that do not become ready, an address that nobody answers at.
pub async fn run(options: DemoOptions) -> Result<(), Error> {
    let client = client::config::Config::load(Some(&options.kubeconfig))?.client()?;
    let text = std::fs::read_to_string(&options.manifests)
        .map_err(|error| format!("{}: {error}", options.manifests.display()))?;
    let mut deployments = Vec::new();
    for document in text.split("\n---\n") {
        let object = yaml::parse(document.as_bytes())?;
        let resource = resource_of(&object)?;
        let api = client.namespaced(&resource, object.str_at("metadata.namespace"));
        let name = object.str_at("metadata.name").to_owned();
        let options = WriteOptions::manager("xebec-demo");
        if object.str_at("kind") == "Deployment" {
            deployments.push((object.str_at("metadata.namespace").to_owned(), name.clone()));
        }
        api.patch(&name, "", &Patch::Apply { object, force: true }, &options).await?;
    }
    for (namespace, name) in deployments {
        tokio::time::timeout(READY_TIME_MAX, available(&client, &namespace, &name))
            .await
            .map_err(|_| format!("deployment {name} is not available after {} s", READY_TIME_MAX.as_secs()))??;
    }
    if let Some(address) = options.answers_at {
        tokio::time::timeout(ANSWER_TIME_MAX, accepts(&address))
            .await
            .map_err(|_| format!("nobody answers at {address} after {} s", ANSWER_TIME_MAX.as_secs()))?;
    }
    Ok(())
}

/// Waits until somebody accepts connections.
async fn accepts(address: &str) {
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(TRY_EVERY).await;
    }
}

fn resource_of(object: &Value) -> Result<Resource, Error> {
    let (group, version) = object.str_at("apiVersion").split_once('/').unwrap_or(("", object.str_at("apiVersion")));
    let kind = object.str_at("kind");
    let found = Registry::builtin()
        .resource_for_kind(group, version, kind)
        .ok_or_else(|| format!("no resource of kind {kind} in {}", object.str_at("apiVersion")))?;
    Ok(Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        plural: found.plural.to_string().into(),
        kind: kind.to_owned().into(),
        namespaced: found.namespaced,
    })
}

/// Waits for the events that tell that all replicas are there.
async fn available(client: &Client, namespace: &str, name: &str) -> Result<(), Error> {
    const DEPLOYMENTS: Resource = Resource::fixed("apps", "v1", "deployments", "Deployment", true);
    let api = client.namespaced(&DEPLOYMENTS, namespace);
    let is_available = |deployment: &Value| {
        let wanted = deployment.i64_at("spec.replicas").unwrap_or_default();
        deployment.i64_at("status.observedGeneration") >= deployment.i64_at("metadata.generation")
            && deployment.i64_at("status.availableReplicas").unwrap_or_default() >= wanted
            && deployment.i64_at("status.updatedReplicas").unwrap_or_default() >= wanted
    };
    let params = WatchParams { field_selector: format!("metadata.name={name}"), ..WatchParams::default() };
    loop {
        let mut events = api.watch(&params).await?;
        while let Some(event) = events.next().await? {
            if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event
                && is_available(&json::parse(&object)?)
            {
                return Ok(());
            }
        }
    }
}
