//! The proxy at work: takes changes in, keeps both families' tables and everything around them in step.

use super::address::Family;
use super::config::{Config, FULL_SYNC_PERIOD};
use super::endpoints::Place;
use super::health::{Health, HealthCheckServers};
use super::inputs::{Change, Inbox, Inputs};
use super::metrics::Metrics;
use super::model::{HealthCheck, Relay, UdpPort};
use super::nft::{Nft, NftError, remove_script};
use super::relay::Relays;
use super::table::Table;
use crate::instance::Instance;
use crate::views::{NodeView, ObjectName};
use client::MetaExt;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The node's label that names its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Health waits this many sync periods for a change to be applied.
const HEALTH_SYNC_PERIODS: u32 = 2;

/// The proxy of one node.
pub struct Proxy<N> {
    config: Config,
    nft: N,
    place: Place,
    inputs: Inputs,
    families: Vec<FamilyProxy>,
    health_checks: HealthCheckServers,
    synced: bool,
    health: Health,
    metrics: Metrics,
}

/// One family's share.
struct FamilyProxy {
    table: Table,
    relays: Relays,
    /// Services not yet in the table.
    dirty: BTreeSet<ObjectName>,
    full_sync_due: Instant,
    /// After a failure: when to try again.
    retry: Option<Instant>,
}

// === impl Proxy ===

impl<N: Nft> Proxy<N> {
    /// A proxy that has seen nothing yet. It writes no table before [`Change::Synced`].
    pub fn new(config: Config, instance: &Instance, nft: N) -> Proxy<N> {
        let health = Health::new(config.sync_period * HEALTH_SYNC_PERIODS);
        let family = |family: Family| FamilyProxy {
            table: Table::new(instance.table(), family),
            relays: Relays::new(match family {
                Family::V4 => Ipv4Addr::LOCALHOST.into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            }),
            dirty: BTreeSet::new(),
            full_sync_due: Instant::now() + FULL_SYNC_PERIOD,
            retry: None,
        };
        Proxy {
            place: Place { node: config.node_name.clone(), zone: String::new() },
            inputs: Inputs::default(),
            families: Family::ALL.map(family).into(),
            health_checks: HealthCheckServers::new(config.node_ips.clone(), health.clone()),
            synced: false,
            metrics: Metrics::default(),
            health,
            config,
            nft,
        }
    }

    /// The proxy's health.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The proxy's figures.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Takes a change in; the tables follow with the next [`Proxy::sync`].
    pub fn change(&mut self, change: Change) {
        match change {
            Change::Service(name, view) => self.inputs.service(name, view),
            Change::Slice(name, view) => self.inputs.slice(name, view),
            Change::Node(node) => self.node(node.as_deref()),
            Change::Synced => {
                self.synced = true;
                self.inputs.mark_all();
            }
        }
        if self.synced && self.inputs.is_dirty() {
            self.families.iter().for_each(|family| {
                self.health.queued(family.table.family());
                self.metrics.queued(family.table.family());
            });
        }
    }

    fn node(&mut self, node: Option<&NodeView>) {
        self.health.node(node);
        let zone = node.and_then(|node| node.label(ZONE_LABEL)).unwrap_or_default().to_string();
        if zone != self.place.zone {
            self.place.zone = zone;
            self.inputs.mark_all();
        }
    }

    /// Brings the tables, relays, health check ports and UDP flows after what was taken in. A family whose table can't
    /// be written is tried again after the sync period; the other is not held up.
    pub async fn sync(&mut self) {
        if !self.synced {
            return;
        }
        let dirty = self.inputs.take_dirty();
        let mut wrote = false;
        for at in 0..self.families.len() {
            self.families[at].dirty.extend(dirty.iter().cloned());
            wrote |= self.sync_family(at).await;
        }
        if wrote {
            let checks = self.wanted_health_checks();
            self.health_checks.sync(&checks).await;
        }
    }

    async fn sync_family(&mut self, at: usize) -> bool {
        let now = Instant::now();
        let node_ips = self.node_ips();
        let part = &mut self.families[at];
        let family = part.table.family();
        if now >= part.full_sync_due {
            part.table.distrust();
        }
        if part.dirty.is_empty() && part.retry.is_none_or(|retry| retry > now) && now < part.full_sync_due {
            // The first sync writes the table even when there are no Services.
            if !part.table.is_unwritten() {
                return self.sweep(at).await;
            }
        }
        let dirty = std::mem::take(&mut part.dirty);
        match part.table.sync(&self.inputs, &dirty, (&self.config, &self.place, &node_ips), &self.nft).await {
            Ok(synced) => {
                part.retry = None;
                if synced.full {
                    part.full_sync_due = now + FULL_SYNC_PERIOD;
                }
                self.metrics.synced(family, now.elapsed(), synced.full);
                tracing::debug!(?synced, family = family.nft(), took = ?now.elapsed(), "service table");
                let relays = wanted_relays(&part.table);
                part.relays.sync(&relays).await;
                self.metrics.relays(family, part.relays.len());
                self.report(at);
                self.health.updated(family);
                if synced.udp_changed {
                    self.clean_flows(at).await;
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, family = family.nft(), "service table not written, trying again");
                part.retry = Some(now + self.config.sync_period);
                self.metrics.failed(family);
                false
            }
        }
    }

    async fn sweep(&mut self, at: usize) -> bool {
        let table = &mut self.families[at].table;
        if let Err(error) = table.sweep(&self.nft).await {
            tracing::debug!(%error, "retired chains stay until the table is made anew");
        }
        false
    }

    fn report(&self, at: usize) {
        let table = &self.families[at].table;
        let internal = table.plans().filter(|(_, plan)| plan.dropped_internal).count();
        let external = table.plans().filter(|(_, plan)| plan.dropped_external).count();
        self.metrics.no_local_endpoints(table.family(), internal, external);
    }

    async fn clean_flows(&self, at: usize) {
        let table = &self.families[at].table;
        let family = table.family();
        let ports: Vec<UdpPort> = table.plans().filter_map(|(_, plan)| plan.udp.clone()).collect();
        let cleaned = tokio::task::spawn_blocking(move || super::conntrack::clean(family, &ports)).await;
        match cleaned {
            Ok(Ok(flows)) => self.metrics.conntrack_deleted(family, flows),
            Ok(Err(error)) => tracing::warn!(%error, "UDP flows to endpoints that are gone could not be cut"),
            Err(error) => tracing::warn!(%error, "UDP flows"),
        }
    }

    fn wanted_health_checks(&self) -> BTreeMap<ObjectName, HealthCheck> {
        let mut wanted: BTreeMap<ObjectName, HealthCheck> = BTreeMap::new();
        for (name, plan) in self.families.iter().flat_map(|family| family.table.plans()) {
            if let Some(check) = &plan.health_check {
                let merged = wanted.entry(name.service.clone()).or_default();
                merged.node_port = check.node_port;
                merged.local_ready.extend(&check.local_ready);
            }
        }
        wanted
    }

    /// The addresses on which NodePorts may answer, where not all do.
    fn node_ips(&self) -> Vec<IpAddr> {
        if Family::ALL.iter().all(|family| self.config.node_port_addresses.match_all(*family)) {
            return Vec::new();
        }
        let mut addresses = self.config.node_ips.clone();
        addresses.extend(super::interfaces::addresses());
        addresses
    }

    /// When something is to be done without a change: a retry, a sweep, the hourly full sync.
    fn next_wake(&self) -> Option<Instant> {
        let times = self
            .families
            .iter()
            .flat_map(|family| [family.retry, family.table.next_sweep(), self.synced.then_some(family.full_sync_due)]);
        times.flatten().min()
    }

    /// Works until `stop`: changes that come while a table is written are taken together.
    pub async fn run(mut self, inbox: &Inbox, stop: CancellationToken) {
        loop {
            let wake = self.next_wake();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let changes = tokio::select! {
                () = stop.cancelled() => return,
                changes = inbox.take() => changes,
                () = sleep => Vec::new(),
            };
            changes.into_iter().for_each(|change| self.change(change));
            self.sync().await;
            if !self.config.min_sync_period.is_zero() {
                tokio::time::sleep(self.config.min_sync_period).await;
            }
        }
    }
}

fn wanted_relays(table: &Table) -> BTreeMap<u16, Relay> {
    table.plans().filter_map(|(_, plan)| plan.relay.as_ref()).map(|relay| (relay.node_port, relay.clone())).collect()
}

/// Removes everything that an instance's proxy made on this machine.
///
/// # Errors
/// Where nft can't be run.
pub async fn cleanup<N: Nft>(instance: &Instance, nft: &N) -> Result<(), NftError> {
    let table = instance.table();
    nft.run(Family::ALL.map(|family| remove_script(&table, family.nft())).concat()).await
}

#[cfg(test)]
mod tests;
