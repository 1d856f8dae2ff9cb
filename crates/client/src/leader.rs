//! Leader election on a Lease: of several processes only one works. client-go's semantics and numbers.
//!
//! Time is measured by the own monotonic clock from when a change of the lease was seen, never by comparing the
//! lease's times with the own wall clock: clocks of machines differ.

use std::time::Duration;

use api::value::Value;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::error::ClientError;
use crate::object::Object;
use crate::params::WriteOptions;
use crate::resource::resources;
use crate::time::Given;
use crate::verbs::Api;

/// Who stands for election, and how fast.
#[derive(Clone, Debug)]
pub struct LeaderConfig {
    /// The lease's namespace, usually `kube-system`.
    pub namespace: String,
    /// The lease's name (`kube-controller-manager`).
    pub name: String,
    /// This process; unique among those that stand (`host_uuid`).
    pub identity: String,
    /// Others wait this long after the last renewal they saw.
    pub lease_duration: Duration,
    /// The leader gives up after trying this long to renew.
    pub renew_deadline: Duration,
    /// Between tries.
    pub retry_period: Duration,
}

/// Stands for election again and again.
pub struct LeaderElector {
    config: LeaderConfig,
    leases: Api,
    given: Given,
    /// The lease as last seen, and when that was.
    observed: Option<(Object<Lease>, Instant)>,
}

/// Tries jitter by this factor while others lead (client-go's `JitterFactor`).
const JITTER_FACTOR: f64 = 1.2;

// === impl LeaderConfig ===

impl LeaderConfig {
    /// Upstream's numbers: 15 s, 10 s, 2 s.
    pub fn new(namespace: &str, name: &str, identity: &str) -> LeaderConfig {
        LeaderConfig {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

// === impl LeaderElector ===

impl LeaderElector {
    /// Stands for nothing yet.
    pub fn new(client: &Client, config: LeaderConfig, given: Given) -> LeaderElector {
        let leases = client.with_timeout(config.renew_deadline / 2).namespaced(&resources::LEASES, &config.namespace);
        LeaderElector { config, leases, given, observed: None }
    }

    /// Whenever this process leads, runs `work` with a token that is cancelled when it no longer does; stands again
    /// after that. On `stop` the lease is given back once `work` has ended, so that others need not wait.
    pub async fn run<W, F>(mut self, stop: CancellationToken, mut work: W)
    where
        W: FnMut(CancellationToken) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        while !stop.is_cancelled() {
            if stop.run_until_cancelled(self.acquire()).await.is_none() {
                return;
            }
            tracing::info!(lease = %self.config.name, identity = %self.config.identity, "became leader");
            let leading = stop.child_token();
            let mut working = tokio::spawn(work(leading.clone()));
            let has_ended = tokio::select! {
                () = self.renew() => {
                    tracing::warn!(lease = %self.config.name, "lost the lease");
                    false
                }
                () = stop.cancelled() => false,
                _ = &mut working => true,
            };
            leading.cancel();
            if !has_ended {
                // A panic of the work was logged where it happened; the lease is given back all the same.
                let _ = working.await.is_err();
            }
            self.release().await;
        }
    }

    /// Tries until the lease is ours.
    async fn acquire(&mut self) {
        loop {
            match self.try_once().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(lease = %self.config.name, %error, "can't acquire the lease"),
            }
            tokio::time::sleep(self.given.chance.jitter(self.config.retry_period, JITTER_FACTOR)).await;
        }
    }

    /// Renews until that fails for as long as `renew_deadline`.
    async fn renew(&mut self) {
        loop {
            tokio::time::sleep(self.config.retry_period).await;
            let deadline = Instant::now() + self.config.renew_deadline;
            loop {
                match tokio::time::timeout_at(deadline, self.try_once()).await {
                    Ok(Ok(true)) => break,
                    Ok(Ok(false)) => {}
                    Ok(Err(error)) => tracing::debug!(lease = %self.config.name, %error, "can't renew the lease"),
                    Err(_) => return,
                }
                if Instant::now() + self.config.retry_period >= deadline {
                    return;
                }
                tokio::time::sleep(self.config.retry_period).await;
            }
        }
    }

    /// Reads the lease and takes or renews it, if it is ours or nobody's. Whether it is ours now.
    async fn try_once(&mut self) -> Result<bool, ClientError> {
        let Some(answer) = self.leases.get_opt(&self.config.name).await? else {
            return self.create().await;
        };
        self.observe(answer.object()?);
        let Some((lease, seen)) = &self.observed else { return Ok(false) };
        let holder = holder(lease);
        let is_ours = holder == self.config.identity;
        if !holder.is_empty() && !is_ours && seen.elapsed() < self.config.lease_duration {
            return Ok(false);
        }
        let tree = lease.edit(|tree| self.take(tree, is_ours))?;
        let written = self.leases.update(tree, &WriteOptions::default()).await?;
        self.observe(written.object()?);
        Ok(true)
    }

    async fn create(&mut self) -> Result<bool, ClientError> {
        let mut lease = Value::object();
        lease.set("metadata.name", self.config.name.as_str());
        lease.set("metadata.namespace", self.config.namespace.as_str());
        self.take(&mut lease, false);
        lease.set("spec.leaseTransitions", 0i64);
        let written = self.leases.create_tree(lease, &WriteOptions::default()).await?;
        self.observe(written.object()?);
        Ok(true)
    }

    /// Fills in what the leader says.
    fn take(&self, lease: &mut Value, is_ours: bool) {
        let now = micro_time(self.given.now());
        if !is_ours {
            let transitions = lease.i64_at("spec.leaseTransitions").unwrap_or(0);
            lease.set("spec.leaseTransitions", transitions + 1);
            lease.set("spec.acquireTime", now.as_str());
        }
        lease.set("spec.holderIdentity", self.config.identity.as_str());
        lease.set("spec.leaseDurationSeconds", whole_seconds(self.config.lease_duration));
        lease.set("spec.renewTime", now);
    }

    /// Remembers a lease; the time counts from when it changed.
    fn observe(&mut self, lease: Object<Lease>) {
        let is_known = self.observed.as_ref().is_some_and(|(known, _)| known.spec == lease.spec);
        if !is_known {
            self.observed = Some((lease, Instant::now()));
        } else if let Some((known, _)) = &mut self.observed {
            *known = lease;
        }
    }

    /// Gives the lease back, if it is still ours.
    async fn release(&mut self) {
        let Some((lease, _)) = &self.observed else { return };
        if holder(lease) != self.config.identity {
            return;
        }
        let now = micro_time(self.given.now());
        let tree = lease.edit(|tree| {
            tree.set("spec.holderIdentity", "");
            tree.set("spec.leaseDurationSeconds", 1i64);
            tree.set("spec.renewTime", now.as_str());
            tree.set("spec.acquireTime", now);
        });
        let Ok(tree) = tree else { return };
        match self.leases.update(tree, &WriteOptions::default()).await.and_then(|answer| answer.object()) {
            Ok(lease) => self.observe(lease),
            Err(error) => tracing::debug!(lease = %self.config.name, %error, "can't give the lease back"),
        }
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A time as the API's `MicroTime` writes it.
pub fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
