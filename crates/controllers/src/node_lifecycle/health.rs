//! Whether nodes still give signs of life: their leases, and the heartbeats of their status.

use std::collections::HashMap;
use std::time::Duration;

use api::value::{Map, Value};
use client::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use parking_lot::Mutex;
use smol_str::SmolStr;
use tokio::time::Instant;

use crate::common::tree;

/// `--node-monitor-grace-period`: a node without a sign of life for this long is unknown.
pub const GRACE: Duration = Duration::from_secs(50);
/// `--node-startup-grace-period`: the same for one that never told its status.
pub const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// The conditions that nobody knows any more without the kubelet. The network's is not the kubelet's.
const FROM_KUBELET: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The last signs of life of all nodes.
#[derive(Default)]
pub struct Pulse(Mutex<HashMap<SmolStr, Sign>>);

/// The last sign of life of one node.
struct Sign {
    uid: String,
    at: Instant,
    renewed: Option<Timestamp>,
    heartbeat: Option<Timestamp>,
    /// The pods of a node that just became unknown are still to be marked.
    owes_pods: bool,
}

// === impl Pulse ===

impl Pulse {
    /// A lease was seen: renewed, it is a sign of life. Also with an earlier time, which upstream passes over: a node
    /// whose clock was set back is alive.
    pub fn lease(&self, lease: &Lease) {
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let mut all = self.0.lock();
        if let Some(sign) = all.get_mut(lease.name())
            && renewed.is_some()
            && renewed != sign.renewed
        {
            sign.renewed = renewed;
            sign.at = Instant::now();
        }
    }

    /// A node was seen: a new heartbeat is a sign of life. Gives how long ago the last sign was.
    pub fn node(&self, node: &Node, lease: Option<&Lease>, now: Timestamp) -> Duration {
        let heartbeat = ready(node).and_then(|ready| ready.last_heartbeat_time.as_ref()).map(|time| time.0);
        let mut all = self.0.lock();
        let sign = all.entry(node.name().into()).or_insert_with(|| Sign {
            uid: String::new(),
            at: Instant::now(),
            renewed: None,
            heartbeat,
            owes_pods: false,
        });
        if sign.uid != node.uid() {
            // One that never told its status is judged by its age; others begin now: this program may be new here.
            let age = node.created().map(|at| now.duration_since(at)).and_then(|age| Duration::try_from(age).ok());
            let age = age.filter(|_| heartbeat.is_none()).unwrap_or_default();
            let at = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
            *sign = Sign { uid: node.uid().to_owned(), at, renewed: None, heartbeat, owes_pods: false };
        }
        if heartbeat != sign.heartbeat {
            sign.heartbeat = heartbeat;
            sign.at = Instant::now();
        }
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref()).map(|time| time.0);
        if renewed.is_some() && renewed != sign.renewed {
            sign.renewed = renewed;
            sign.at = Instant::now();
        }
        sign.at.elapsed()
    }

    /// The node is gone.
    pub fn forget(&self, node: &str) {
        self.0.lock().remove(node);
    }

    /// Notes whether the pods of a node are still to be marked.
    pub fn owe_pods(&self, node: &str, owes: bool) {
        if let Some(sign) = self.0.lock().get_mut(node) {
            sign.owes_pods = owes;
        }
    }

    /// Whether the pods of a node are still to be marked.
    pub fn owes_pods(&self, node: &str) -> bool {
        self.0.lock().get(node).is_some_and(|sign| sign.owes_pods)
    }
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

/// How long a node may be silent.
pub fn grace(node: &Node) -> Duration {
    if ready(node).is_some() { GRACE } else { STARTUP_GRACE }
}

/// The node's tree with all that its kubelet used to tell set to unknown; none if it is already.
pub fn unknown(mut tree: Value, created: Option<Timestamp>, now: Timestamp) -> Option<Value> {
    let mut conditions = tree.array_at("status.conditions").to_vec();
    let mut ready_changed = false;
    for kind in FROM_KUBELET {
        let known = conditions.iter_mut().find(|condition| condition.str_at("type") == kind);
        if known.as_ref().is_some_and(|known| known.str_at("status") == "Unknown") {
            continue;
        }
        ready_changed |= kind == "Ready";
        let mut fresh = Map::from_iter([("type", kind)]);
        let condition = match known {
            Some(known) => known,
            None => {
                fresh.insert("lastHeartbeatTime", tree::time(created.unwrap_or(now)));
                conditions.push(Value::Object(fresh));
                let at = conditions.len() - 1;
                &mut conditions[at]
            }
        };
        let was_told = condition.field("status").is_some();
        let (reason, message) = match was_told {
            true => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            false => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        condition.set("status", "Unknown");
        condition.set("reason", reason);
        condition.set("message", message);
        condition.set("lastTransitionTime", tree::time(now));
    }
    tree.set("status.conditions", conditions);
    ready_changed.then_some(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::{View, json};

    fn node(uid: &str, heartbeat: &str) -> Node {
        let json = format!(
            r#"{{"metadata":{{"name":"n","uid":"{uid}","creationTimestamp":"2026-01-01T00:00:00Z"}},"status":{{"conditions":[{{"type":"Ready","status":"True","lastHeartbeatTime":"{heartbeat}"}}]}}}}"#
        );
        Node::decode(json.as_bytes()).unwrap()
    }

    fn lease(renewed: &str) -> Lease {
        let json = format!(r#"{{"metadata":{{"name":"n"}},"spec":{{"renewTime":"{renewed}"}}}}"#);
        Lease::decode(json.as_bytes()).unwrap()
    }

    const T1: &str = "2026-01-01T00:00:01Z";
    const T2: &str = "2026-01-01T00:00:02Z";

    #[tokio::test(start_paused = true)]
    async fn heartbeats_and_leases_are_signs_of_life() {
        let (pulse, now) = (Pulse::default(), T2.parse().unwrap());
        let silent = Duration::from_secs(30);
        assert_eq!(pulse.node(&node("u", T1), None, now), Duration::ZERO);
        tokio::time::advance(silent).await;
        assert_eq!(pulse.node(&node("u", T1), None, now), silent);
        assert_eq!(pulse.node(&node("u", T2), None, now), Duration::ZERO);
        tokio::time::advance(silent).await;
        pulse.lease(&lease("2026-01-01T00:00:01.000000Z"));
        assert_eq!(pulse.node(&node("u", T2), None, now), Duration::ZERO);
        tokio::time::advance(silent).await;
        // The same lease again is no sign.
        assert_eq!(pulse.node(&node("u", T2), Some(&lease("2026-01-01T00:00:01.000000Z")), now), silent);
        // Set back.
        pulse.lease(&lease("2026-01-01T00:00:00.000000Z"));
        assert_eq!(pulse.node(&node("u", T2), None, now), Duration::ZERO);
        // Another node of the same name.
        assert_eq!(pulse.node(&node("v", T2), None, now), Duration::ZERO);
    }

    #[test]
    fn what_nobody_tells_is_unknown() {
        let json = br#"{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady"},{"type":"NetworkUnavailable","status":"False"}]}}"#;
        let now = T2.parse().unwrap();
        let tree = unknown(json::parse(json).unwrap(), None, now).unwrap();
        let told: Vec<String> = tree
            .array_at("status.conditions")
            .iter()
            .map(|one| format!("{}={} {}", one.str_at("type"), one.str_at("status"), one.str_at("reason")))
            .collect();
        let expected = [
            "Ready=Unknown NodeStatusUnknown",
            "NetworkUnavailable=False ",
            "MemoryPressure=Unknown NodeStatusNeverUpdated",
            "DiskPressure=Unknown NodeStatusNeverUpdated",
            "PIDPressure=Unknown NodeStatusNeverUpdated",
        ];
        assert_eq!(told, expected);
        assert_eq!(unknown(tree, None, now), None);
    }
}
