//! What the proxy says about itself (`/healthz`, `/livez`) and about Services with a health check port.
//!
//! Upstream: pkg/proxy/healthcheck. A proxy is unhealthy when a change waits for longer than twice the sync period; a
//! node is not eligible for load balancers when it is being deleted.

use super::address::Family;
use super::model::HealthCheck;
use crate::http::{self, Answer};
use crate::views::{NodeView, ObjectName};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The taint by which the cluster autoscaler marks a node that it is about to delete.
const TO_BE_DELETED_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// Whether the proxy keeps up.
#[derive(Clone)]
pub struct Health {
    timeout: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    families: BTreeMap<&'static str, FamilyState>,
    node_eligible: bool,
}

#[derive(Clone, Copy)]
struct FamilyState {
    updated: SystemTime,
    /// Since when the oldest change waits.
    pending: Option<Instant>,
}

// === impl Health ===

impl Health {
    /// Healthy until a change waits for longer than this.
    pub fn new(timeout: Duration) -> Health {
        Health { timeout, state: Arc::default() }
    }

    /// A change is to be applied.
    pub fn queued(&self, family: Family) {
        let mut state = self.state.lock();
        let family = state.families.entry(family.kubernetes()).or_insert(FamilyState::now());
        family.pending.get_or_insert_with(Instant::now);
    }

    /// All changes so far are applied.
    pub fn updated(&self, family: Family) {
        self.state.lock().families.insert(family.kubernetes(), FamilyState::now());
    }

    /// This node as the API has it.
    pub fn node(&self, node: Option<&NodeView>) {
        self.state.lock().node_eligible = node.is_some_and(|node| {
            node.metadata.deletion_timestamp.is_none()
                && !node.spec.taints.iter().any(|taint| taint.key == TO_BE_DELETED_TAINT)
        });
    }

    /// Whether the proxy keeps up.
    pub fn is_healthy(&self) -> bool {
        self.state.lock().families.values().all(|family| family.is_healthy(self.timeout))
    }

    /// The answer of `/healthz` (which minds the node's eligibility) or `/livez`.
    pub fn answer(&self, with_node: bool) -> Answer {
        let state = self.state.lock();
        let proxy_healthy = state.families.values().all(|family| family.is_healthy(self.timeout));
        let healthy = proxy_healthy && (!with_node || state.node_eligible);
        let now = SystemTime::now();
        let status: serde_json::Map<String, serde_json::Value> = state
            .families
            .iter()
            .map(|(name, family)| {
                let healthy = family.is_healthy(self.timeout);
                let status = serde_json::json!({"lastUpdated": rfc3339(family.updated), "healthy": healthy});
                (name.to_string(), status)
            })
            .collect();
        let last = state.families.values().map(|family| family.updated).max();
        let last_updated = if healthy { now } else { last.unwrap_or(SystemTime::UNIX_EPOCH) };
        let mut body = serde_json::json!({
            "lastUpdated": rfc3339(last_updated),
            "currentTime": rfc3339(now),
            "healthy": proxy_healthy,
            "status": status,
        });
        if with_node {
            body["nodeEligible"] = state.node_eligible.into();
        }
        Answer::json(if healthy { 200 } else { 503 }, body.to_string())
    }
}

// === impl FamilyState ===

impl FamilyState {
    fn now() -> FamilyState {
        FamilyState { updated: SystemTime::now(), pending: None }
    }

    fn is_healthy(&self, timeout: Duration) -> bool {
        self.pending.is_none_or(|since| since.elapsed() < timeout)
    }
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default()
}

/// The health check ports of Services of type LoadBalancer with policy `Local`: a load balancer asks there whether
/// this node has endpoints.
pub struct HealthCheckServers {
    listen: Vec<IpAddr>,
    proxy: Health,
    active: HashMap<ObjectName, Server>,
}

struct Server {
    port: u16,
    local_endpoints: Arc<Mutex<usize>>,
    stop: CancellationToken,
}

// === impl HealthCheckServers ===

impl HealthCheckServers {
    /// Servers will listen on these addresses.
    pub fn new(listen: Vec<IpAddr>, proxy: Health) -> HealthCheckServers {
        HealthCheckServers { listen, proxy, active: HashMap::new() }
    }

    /// Opens and closes servers so that they are the wanted ones, and tells them their endpoints.
    pub async fn sync(&mut self, wanted: &BTreeMap<ObjectName, HealthCheck>) {
        self.active.retain(|name, server| wanted.get(name).is_some_and(|check| check.node_port == server.port));
        for (name, check) in wanted {
            if let Some(server) = self.active.get(name) {
                *server.local_endpoints.lock() = check.local_ready.len();
                continue;
            }
            match self.start(name, check).await {
                Ok(server) => {
                    self.active.insert(name.clone(), server);
                }
                Err(error) => {
                    tracing::warn!(%error, service = %name, port = check.node_port, "failed to start healthcheck");
                }
            }
        }
    }

    async fn start(&self, name: &ObjectName, check: &HealthCheck) -> std::io::Result<Server> {
        let server = Server {
            port: check.node_port,
            local_endpoints: Arc::new(Mutex::new(check.local_ready.len())),
            stop: CancellationToken::new(),
        };
        for ip in &self.listen {
            let (name, proxy, count) = (name.clone(), self.proxy.clone(), server.local_endpoints.clone());
            let answer = move |_: &str| service_answer(&name, *count.lock(), proxy.is_healthy());
            http::serve((*ip, check.node_port).into(), server.stop.clone(), answer).await?;
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn service_answer(name: &ObjectName, local_endpoints: usize, proxy_healthy: bool) -> Answer {
    let status = if local_endpoints > 0 && proxy_healthy { 200 } else { 503 };
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {:?},\n\t\t\"name\": {:?}\n\t}},\n\t\"localEndpoints\": {},\n\t\"serviceProxyHealthy\": {}\n}}",
        name.namespace, name.name, local_endpoints, proxy_healthy
    );
    let mut answer = Answer::json(status, body);
    answer.headers.push(("x-load-balancing-endpoint-weight", local_endpoints.to_string()));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_that_waits_too_long_makes_it_unhealthy() {
        let health = Health::new(Duration::from_secs(60));
        health.node(Some(&NodeView::default()));
        health.queued(Family::V4);
        assert_eq!(health.answer(true).status, 200);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!((health.answer(true).status, health.answer(false).status), (503, 503));
        health.updated(Family::V4);
        assert_eq!(health.answer(true).status, 200);
    }

    #[test]
    fn a_node_that_goes_away_is_not_eligible_but_the_proxy_lives() {
        let health = Health::new(Duration::from_secs(60));
        let taint = crate::views::Taint { key: TO_BE_DELETED_TAINT.to_string() };
        let spec = crate::views::NodeSpec { taints: vec![taint], ..Default::default() };
        health.node(Some(&NodeView { spec, ..Default::default() }));
        assert_eq!((health.answer(true).status, health.answer(false).status), (503, 200));
    }

    #[test]
    fn services_weigh_by_their_local_endpoints() {
        let name = ObjectName::new("ns", "svc");
        let answer = service_answer(&name, 2, true);
        assert_eq!(answer.status, 200);
        assert!(answer.headers.contains(&("x-load-balancing-endpoint-weight", "2".to_string())));
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["localEndpoints"], 2);
        assert_eq!(service_answer(&name, 0, true).status, 503);
        assert_eq!(service_answer(&name, 2, false).status, 503);
    }
}
