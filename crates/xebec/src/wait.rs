//! Waits for a cluster to be ready.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ::api::codec::json;
use ::api::value::Value;
use clap::Args;
use client::watch::WatchEvent;
use client::{Client, ClientError, Resource, WatchParams};

use crate::commands::Error;

/// What `xebec wait` takes.
#[derive(Args, Clone, Debug)]
pub struct WaitOptions {
    /// Whom to ask, and as whom.
    #[arg(long, default_value = "run/kubeconfig")]
    kubeconfig: PathBuf,
    /// Seconds to wait at most.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// How many nodes are to be ready.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
}

const NODES: Resource = Resource::fixed("", "v1", "nodes", "Node", false);
/// Between two tries to reach a server that does not answer yet.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Waits until that many nodes are Ready.
///
/// # Errors
/// The time is over.
pub async fn run(options: WaitOptions) -> Result<(), Error> {
    let client = client::config::Config::load(Some(&options.kubeconfig))?.client()?;
    let ready = async {
        while !matches!(ready_nodes(&client, options.nodes).await, Ok(true)) {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(options.timeout), ready).await.map_err(|_| match options.nodes {
        1 => format!("no node is ready after {} s", options.timeout).into(),
        nodes => format!("{nodes} nodes are not ready after {} s", options.timeout).into(),
    })
}

/// Watches until `count` nodes are ready; false where the watch ends before.
async fn ready_nodes(client: &Client, count: usize) -> Result<bool, ClientError> {
    let mut ready = BTreeSet::new();
    let mut events = client.all(&NODES).watch(&WatchParams::default()).await?;
    while let Some(event) = events.next().await? {
        let (node, is_there) = match event {
            WatchEvent::Added(node) | WatchEvent::Modified(node) => (node, true),
            WatchEvent::Deleted(node) => (node, false),
            _ => continue,
        };
        let Ok(node) = json::parse(&node) else { continue };
        let name = node.str_at("metadata.name").to_owned();
        match is_there && is_ready(&node) {
            true => ready.insert(name),
            false => ready.remove(&name),
        };
        if ready.len() >= count {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_ready(node: &Value) -> bool {
    let ready = |condition: &Value| condition.str_at("type") == "Ready" && condition.str_at("status") == "True";
    node.array_at("status.conditions").iter().any(ready)
        && !node.array_at("spec.taints").iter().any(|taint| taint.str_at("key") == "node.kubernetes.io/not-ready")
}
