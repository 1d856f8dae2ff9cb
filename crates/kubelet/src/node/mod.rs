//! The node: registered, kept up to date, and its lease renewed. Upstream: pkg/kubelet/kubelet_node_status.go.

pub mod lease;
pub mod machine;
pub mod pressure;
pub mod status;

use std::{sync::Arc, time::Duration};

use client::{EventType, Kind, Patch, WriteOptions};
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    cri::v1,
    kubelet::{Health, Kubelet},
};

/// The first wait after a registration that failed; it doubles.
const REGISTER_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const REGISTER_WAIT_MAX: Duration = Duration::from_secs(7);
/// The runtime is asked for its health after this while it is not ready; the wait doubles.
const HEALTH_WAIT: Duration = Duration::from_millis(100);
/// The longest such wait.
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(2);
/// And this often while it is.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// Labels that are the kubelet's to correct on a node that exists.
const OWN_LABELS: [&str; 5] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Keeps the node until told to stop. `port` is the kubelet's server's.
pub async fn run(kubelet: Arc<Kubelet>, port: u16, stop: CancellationToken) {
    let work = async {
        if kubelet.config.register_node {
            register(&kubelet, port).await;
        }
        let status = keep_status(&kubelet, port);
        tokio::join!(status, lease::keep(&kubelet));
    };
    stop.run_until_cancelled(work).await;
}

async fn register(kubelet: &Kubelet, port: u16) {
    let mut wait = REGISTER_WAIT;
    loop {
        let status = derive(kubelet, port, &NodeStatus::default()).await;
        let node = status::initial(&kubelet.config, &kubelet.machine, status);
        match try_register(kubelet, &node).await {
            Ok(()) => return,
            Err(error) => {
                tracing::info!(node = kubelet.config.node_name, %error, "the node could not be registered yet")
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(REGISTER_WAIT_MAX);
    }
}

async fn try_register(kubelet: &Kubelet, node: &Node) -> Result<(), client::ClientError> {
    let nodes = kubelet.client.kind::<Node>("");
    match nodes.create(node.encode(), &WriteOptions::default()).await {
        Ok(_) => {
            tracing::info!(node = kubelet.config.node_name, "the node is registered");
            return Ok(());
        }
        Err(error) if error.is_already_exists() => {}
        Err(error) => return Err(error),
    }
    let existing: Node = nodes.get(&kubelet.config.node_name).await?.view()?;
    let (own, had) =
        (node.metadata.labels.clone().unwrap_or_default(), existing.metadata.labels.clone().unwrap_or_default());
    let wrong: Map<String, Value> = OWN_LABELS
        .iter()
        .filter(|key| own.get(**key) != had.get(**key))
        .filter_map(|key| Some(((*key).to_owned(), json!(own.get(*key)?))))
        .collect();
    if !wrong.is_empty() {
        patch(kubelet, "", json!({"metadata": {"labels": wrong}})).await?;
    }
    Ok(())
}

/// Sends a strategic merge patch of the node.
async fn patch(kubelet: &Kubelet, subresource: &str, body: Value) -> Result<Node, client::ClientError> {
    let body = Patch::Strategic(client::json::parse(body.to_string().as_bytes())?);
    let nodes = kubelet.client.kind::<Node>("");
    nodes.patch(&kubelet.config.node_name, subresource, &body, &WriteOptions::default()).await?.view()
}

/// Looks at the node often and writes when something changed, or now and then. What counts is what the API says, not what
/// was written last: the node lifecycle controller makes conditions unknown when it has heard nothing for too long.
async fn keep_status(kubelet: &Kubelet, port: u16) {
    let mut ticks = tokio::time::interval(kubelet.config.node_status_update_frequency);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut written: Option<tokio::time::Instant> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = kubelet.health_changed.notified() => {}
        }
        let old = match known_status(kubelet).await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(%error, "the node could not be read");
                ticks.tick().await;
                continue;
            }
        };
        let new = derive(kubelet, port, &old).await;
        let due = written.is_none_or(|at| at.elapsed() >= kubelet.config.node_status_report_frequency);
        if !due && !status::changed(&old, &new) {
            continue;
        }
        tell_changes(kubelet, &old, &new);
        match write(kubelet, &old, &new).await {
            Ok(_) => written = Some(tokio::time::Instant::now()),
            Err(error) => {
                tracing::warn!(%error, "the node's status could not be written");
                written = None;
                ticks.tick().await;
            }
        }
    }
}

/// The node's status as the API has it.
async fn known_status(kubelet: &Kubelet) -> Result<NodeStatus, client::ClientError> {
    let name = &kubelet.config.node_name;
    if let Some(node) = kubelet.nodes.find("", name) {
        return Ok(node.view.status.clone().unwrap_or_default());
    }
    let node: Node = kubelet.client.kind::<Node>("").get(name).await?.view()?;
    Ok(node.status.unwrap_or_default())
}

async fn write(kubelet: &Kubelet, old: &NodeStatus, new: &NodeStatus) -> Result<Node, client::ClientError> {
    let tree = |status: &NodeStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let mut changes = crate::status::patch::diff(&tree(old), &tree(new));
    // Addresses merge by type, of which there may be two: replaced whole.
    if let Some(Value::Array(addresses)) = changes.get_mut("addresses") {
        addresses.push(json!({"$patch": "replace"}));
    }
    patch(kubelet, "status", json!({"status": changes})).await
}

fn tell_changes(kubelet: &Kubelet, old: &NodeStatus, new: &NodeStatus) {
    let events = [
        ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
        ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
        ("Ready", "NodeReady", "NodeNotReady"),
    ];
    let find = |status: &NodeStatus, type_: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|condition| condition.type_ == type_).map(|condition| condition.status == "True")
    };
    let name = &kubelet.config.node_name;
    for (type_, yes, no) in events {
        let (before, now) = (find(old, type_), find(new, type_));
        // A node that is new has not become ready or not: it is.
        if before != now && !(type_ == "Ready" && before.is_none()) {
            let reason = if now == Some(true) { yes } else { no };
            let message = format!("Node {name} status is now: {reason}");
            kubelet.events.node(name, EventType::Normal, reason, message);
        }
    }
}

async fn derive(kubelet: &Kubelet, port: u16, old: &NodeStatus) -> NodeStatus {
    let version = kubelet.runtime.version(v1::VersionRequest::default()).await;
    let version = version.map_or_else(|_| "Unknown".to_owned(), |answer| answer.runtime_version);
    let images = kubelet.runtime.list_images(v1::ListImagesRequest::default()).await.map(|answer| answer.images);
    let health = kubelet.health.read().clone();
    let disk = machine::disk(&kubelet.config.root_dir).ok();
    status::generate(
        &status::Input {
            config: &kubelet.config,
            machine: &kubelet.machine,
            disk,
            health: &health,
            runtime_version: &format!("{}://{version}", kubelet.runtime_name),
            images: images.as_deref().unwrap_or_default(),
            pressure: *kubelet.pressure.read(),
            port,
            volumes_in_use: &[],
            now: kubelet.now(),
        },
        old,
    )
}

/// Asks the runtime for its health until told to stop.
pub async fn watch_health(kubelet: Arc<Kubelet>, stop: CancellationToken) {
    let work = async {
        let mut wait = HEALTH_WAIT;
        loop {
            let health = ask_health(&kubelet).await;
            let ready = health.runtime.is_ok() && health.network.is_ok();
            let changed = {
                let mut known = kubelet.health.write();
                let changed = *known != health;
                *known = health;
                changed
            };
            if changed {
                kubelet.health_changed.notify_one();
            }
            if changed && ready {
                // Pods that wait for the network need not wait longer.
                kubelet
                    .workers
                    .pods()
                    .iter()
                    .for_each(|pod| kubelet.workers.wake(pod.metadata.uid.as_deref().unwrap_or_default()));
            }
            tokio::time::sleep(if ready { HEALTH_INTERVAL } else { wait }).await;
            wait = if ready { HEALTH_WAIT } else { (wait * 2).min(HEALTH_WAIT_MAX) };
        }
    };
    stop.run_until_cancelled(work).await;
}

/// What the runtime says of itself now.
pub async fn ask_health(kubelet: &Kubelet) -> Health {
    let answer = match kubelet.runtime.status(v1::StatusRequest { verbose: false }).await {
        Ok(answer) => answer,
        Err(error) => {
            let failed = Err(format!("container runtime is down: {error}"));
            return Health { runtime: failed.clone(), network: failed, ..Health::default() };
        }
    };
    let conditions = answer.status.map(|status| status.conditions).unwrap_or_default();
    let verdict = |type_: &str, what: &str| match conditions.iter().find(|condition| condition.r#type == type_) {
        Some(condition) if condition.status => Ok(()),
        Some(condition) => Err(format!(
            "container runtime {what} not ready: {type_}={} reason:{} message:{}",
            condition.status, condition.reason, condition.message
        )),
        None => Err(format!("container runtime {what} not ready: runtime {type_} condition is not set")),
    };
    Health {
        runtime: verdict("RuntimeReady", "status").map_err(|error| error.replace("runtime status", "runtime")),
        network: verdict("NetworkReady", "network"),
        handlers: answer
            .runtime_handlers
            .into_iter()
            .map(|handler| {
                let features = handler.features.unwrap_or_default();
                (handler.name, (features.recursive_read_only_mounts, features.user_namespaces))
            })
            .collect(),
        supplemental_groups_policy: answer.features.map(|features| features.supplemental_groups_policy),
    }
}
