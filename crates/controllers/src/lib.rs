//! # controllers
//! What brings the cluster to the state that its objects ask for: one module a controller.
//!
//! Each controller has the same shape: it *observes* through shared caches, *plans* in a pure function, and *acts*
//! through requests under its own service account. Start at [`replicaset`], the simplest; [`run`] starts them all;
//! [`common`] holds what workload controllers share.
#![forbid(unsafe_code)]

pub mod certificates;
pub mod clusterrole_aggregation;
pub mod common;
pub mod context;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoint_slice_mirroring;
pub mod endpoints;
pub mod ephemeral_volume;
pub mod garbage_collector;
pub mod job;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod persistent_volume;
pub mod pod_gc;
pub mod replicaset;
pub mod resource_quota;
pub mod root_ca;
pub mod service_account;
pub mod statefulset;
pub mod taint_eviction;
pub mod volume_protection;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use tokio::task::JoinSet;

use self::certificates::Authority;
pub use self::context::{ClientFactory, Context, ServiceAccounts, SharedIdentity};
use self::node_ipam::ranges::Range;

/// How many keys each controller works on at the same time (upstream's defaults), and what some are told.
#[derive(Clone)]
pub struct Config {
    /// `--concurrent-cron-job-syncs`.
    pub cronjobs: usize,
    /// `--concurrent-daemonset-syncs`.
    pub daemonsets: usize,
    /// `--concurrent-deployment-syncs`.
    pub deployments: usize,
    /// `--concurrent-job-syncs`.
    pub jobs: usize,
    /// `--concurrent-ephemeralvolume-syncs`.
    pub ephemeral_volumes: usize,
    /// `--concurrent-gc-syncs`.
    pub garbage: usize,
    /// `--concurrent-namespace-syncs`.
    pub namespaces: usize,
    /// `--concurrent-replicaset-syncs`.
    pub replicasets: usize,
    /// `--concurrent-rc-syncs`.
    pub replication_controllers: usize,
    /// `--concurrent-service-endpoint-syncs` and `--concurrent-endpoint-syncs`.
    pub services: usize,
    /// `--cluster-cidr`: the ranges of pods, from which nodes get theirs. Without any, nodes get none.
    pub cluster_cidrs: Vec<Range>,
    /// `--service-cluster-ip-range`: never given to nodes.
    pub service_cidrs: Vec<Range>,
    /// `--root-ca-file`: what pods trust the API server by, in PEM. Without it, nothing is published.
    pub root_ca: Option<Arc<str>>,
    /// `--cluster-signing-cert-file`: what signs certificate requests. Without it, none is approved or signed.
    pub authority: Option<Arc<dyn Authority>>,
    /// `--concurrent-resource-quota-syncs`.
    pub resource_quotas: usize,
    /// `--concurrent-statefulset-syncs`.
    pub statefulsets: usize,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Config {
        Config {
            cronjobs: 5,
            daemonsets: 2,
            deployments: 5,
            jobs: 5,
            ephemeral_volumes: 5,
            garbage: 20,
            namespaces: 10,
            replicasets: 5,
            replication_controllers: 5,
            resource_quotas: 5,
            statefulsets: 5,
            services: 5,
            cluster_cidrs: Vec::new(),
            service_cidrs: Vec::new(),
            root_ca: None,
            authority: None,
        }
    }
}

/// Nodes looked at at the same time; upstream's `nodeUpdateWorkerSize`.
const NODE_WORKERS: usize = 8;

/// Certificate requests looked at at the same time; upstream's number.
const CERTIFICATE_WORKERS: usize = 5;

/// Runs all controllers until the context's token stops them.
pub async fn run(context: Context, config: Config) {
    let mut all = JoinSet::new();
    all.spawn(cronjob::run(context.clone(), config.cronjobs));
    all.spawn(daemonset::run(context.clone(), config.daemonsets));
    all.spawn(deployment::run(context.clone(), config.deployments));
    all.spawn(job::run(context.clone(), config.jobs));
    all.spawn(job::ttl::run(context.clone(), config.jobs));
    all.spawn(replicaset::run::<ReplicaSet>(context.clone(), config.replicasets));
    all.spawn(replicaset::run::<ReplicationController>(context.clone(), config.replication_controllers));
    all.spawn(clusterrole_aggregation::run(context.clone(), 1));
    all.spawn(disruption::run(context.clone(), 1));
    all.spawn(endpoint_slice::run(context.clone(), config.services));
    all.spawn(endpoint_slice_mirroring::run(context.clone(), config.services));
    all.spawn(endpoints::run(context.clone(), config.services));
    all.spawn(ephemeral_volume::run(context.clone(), config.ephemeral_volumes));
    all.spawn(garbage_collector::run(context.clone(), config.garbage));
    all.spawn(namespace::run(context.clone(), config.namespaces));
    all.spawn(node_ipam::run(context.clone(), config.cluster_cidrs, config.service_cidrs));
    all.spawn(node_lifecycle::run(context.clone(), NODE_WORKERS));
    all.spawn(persistent_volume::run(context.clone()));
    all.spawn(pod_gc::run(context.clone(), 1));
    if let Some(authority) = config.authority {
        all.spawn(certificates::run(context.clone(), CERTIFICATE_WORKERS, authority));
    }
    if let Some(bundle) = config.root_ca {
        all.spawn(root_ca::run(context.clone(), 1, bundle));
    }
    all.spawn(resource_quota::run(context.clone(), config.resource_quotas));
    all.spawn(service_account::run(context.clone(), 1));
    all.spawn(statefulset::run(context.clone(), config.statefulsets));
    all.spawn(taint_eviction::run(context.clone(), NODE_WORKERS));
    all.spawn(volume_protection::run_claims(context.clone(), 1));
    all.spawn(volume_protection::run_volumes(context.clone(), 1));
    all.spawn(volume_protection::run_classes(context.clone(), 1));
    context.informers.start(&context.stop);
    while all.join_next().await.is_some() {}
}
