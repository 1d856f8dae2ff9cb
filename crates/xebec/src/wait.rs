//! Waits for a cluster to be ready.

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
}

const NODES: Resource = Resource::fixed("", "v1", "nodes", "Node", false);
/// Between two tries to reach a server that does not answer yet.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Waits until a node is Ready.
///
/// # Errors
/// The time is over.
pub async fn run(options: WaitOptions) -> Result<(), Error> {
    let client = client::config::Config::load(Some(&options.kubeconfig))?.client()?;
    let ready = async {
        while !matches!(ready_node(&client).await, Ok(true)) {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(options.timeout), ready)
        .await
        .map_err(|_| format!("no node is ready after {} s", options.timeout).into())
}

/// Watches until a node is ready; false where the watch ends before.
async fn ready_node(client: &Client) -> Result<bool, ClientError> {
    let mut events = client.all(&NODES).watch(&WatchParams::default()).await?;
    while let Some(event) = events.next().await? {
        if let WatchEvent::Added(node) | WatchEvent::Modified(node) = event
            && json::parse(&node).is_ok_and(|node| is_ready(&node))
        {
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
