//! # controllers
//! What brings the cluster to the state that its objects ask for: one module a controller.
//!
//! Each controller has the same shape: it *observes* through shared caches, *plans* in a pure function, and *acts*
//! through requests under its own service account. Start at [`replicaset`], the simplest; [`run`] starts them all;
//! [`common`] holds what workload controllers share.
#![forbid(unsafe_code)]

pub mod common;
pub mod context;
pub mod daemonset;
pub mod deployment;
pub mod replicaset;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use tokio::task::JoinSet;

pub use self::context::{ClientFactory, Context, ServiceAccounts, SharedIdentity};

/// How many keys each controller works on at the same time; upstream's defaults.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// `--concurrent-daemonset-syncs`.
    pub daemonsets: usize,
    /// `--concurrent-deployment-syncs`.
    pub deployments: usize,
    /// `--concurrent-replicaset-syncs`.
    pub replicasets: usize,
    /// `--concurrent-rc-syncs`.
    pub replication_controllers: usize,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Config {
        Config { daemonsets: 2, deployments: 5, replicasets: 5, replication_controllers: 5 }
    }
}

/// Runs all controllers until the context's token stops them.
pub async fn run(context: Context, config: Config) {
    let mut all = JoinSet::new();
    all.spawn(daemonset::run(context.clone(), config.daemonsets));
    all.spawn(deployment::run(context.clone(), config.deployments));
    all.spawn(replicaset::run::<ReplicaSet>(context.clone(), config.replicasets));
    all.spawn(replicaset::run::<ReplicationController>(context.clone(), config.replication_controllers));
    context.informers.start(&context.stop);
    while all.join_next().await.is_some() {}
}
