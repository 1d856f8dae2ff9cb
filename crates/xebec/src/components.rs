//! The control plane's and the node's components as processes of their own, with a kubeconfig and upstream's flags, so
//! that each can stand in for its upstream namesake.

pub mod controller_manager;
pub mod kubelet;
pub mod proxy;
pub mod scheduler;
pub mod serving;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use apiserver::pki::pem;
use clap::{ArgAction, Args};
use client::config::Config;
use client::leader::{LeaderConfig, LeaderElector};
use client::{Client, Given};
use tokio_util::sync::CancellationToken;

use crate::commands::Error;
use crate::options::hostname;

/// How a component reaches the API server.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// The API server and who this component is there; the pod's service account where not given.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

/// Of several processes only one works.
#[derive(Args, Clone, Debug)]
pub struct Election {
    /// Work only while holding the component's lease.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,
    /// The lease's namespace.
    #[arg(long, default_value = "kube-system")]
    leader_elect_resource_namespace: String,
    /// The lease's name; the component's where not given.
    #[arg(long)]
    leader_elect_resource_name: Option<String>,
}

/// Flags of upstream's components that mean nothing here; accepted, so that its command lines can be used.
#[derive(Args, Clone, Debug)]
pub struct Ignored {
    /// Use XEBEC_LOG.
    #[arg(long, short = 'v', hide = true)]
    v: Option<i32>,
}

// === impl Connection ===

impl Connection {
    /// # Errors
    /// The file can't be used, or there is none and this is no pod.
    pub fn config(&self) -> Result<Config, Error> {
        self.config_or(None)
    }

    /// As [`Connection::config`], with what a configuration file names where the flag says nothing.
    ///
    /// # Errors
    /// The same.
    pub fn config_or(&self, file: Option<&Path>) -> Result<Config, Error> {
        Ok(Config::load(self.kubeconfig.as_deref().or(file))?)
    }
}

// === impl Election ===

impl Election {
    /// Runs `work`: at once where nobody is elected, else whenever this process leads. A leader that loses its lease
    /// stops its work and stands again.
    /// `leads` says whether it does.
    pub async fn run<W, F>(
        &self,
        component: &str,
        client: &Client,
        leads: Arc<AtomicBool>,
        stop: CancellationToken,
        mut work: W,
    ) where
        W: FnMut(CancellationToken) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut work = move |until: CancellationToken| {
            let (working, leads) = (work(until), leads.clone());
            async move {
                leads.store(true, Ordering::Relaxed);
                working.await;
                leads.store(false, Ordering::Relaxed);
            }
        };
        if !self.leader_elect {
            return work(stop).await;
        }
        let given = Given::default();
        let name = self.leader_elect_resource_name.as_deref().unwrap_or(component);
        let identity = format!("{}_{:016x}", hostname(), given.chance.u64());
        let config = LeaderConfig::new(&self.leader_elect_resource_namespace, name, &identity);
        LeaderElector::new(&client.named(&format!("{component}/leader-election")), config, given).run(stop, work).await;
    }
}

/// The certificates in a file of authorities, DER.
///
/// # Errors
/// The file can't be read, or holds none.
pub fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let found = pem::certificates(&fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)?;
    match found.is_empty() {
        true => Err(format!("{} holds no certificate", path.display()).into()),
        false => Ok(found),
    }
}
