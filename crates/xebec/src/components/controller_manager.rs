//! `xebec controller-manager`, in the place of kube-controller-manager.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use apiserver::pki::Authority;
use clap::{ArgAction, Args};
use client::config::Config;
use client::transport::SharedTransport;
use client::transport::https::{Credentials, Https};
use client::transport::service_account::ServiceAccountTransport;
use client::transport::tls::TlsOptions;
use client::{Client, ClientError, Given, Informers};
use controllers::{ClientFactory, Context, SharedIdentity};
use tokio_util::sync::CancellationToken;

use super::serving::Secure;
use super::{Connection, Election, Ignored};
use crate::commands::Error;
use crate::signing::Signing;

const NAME: &str = "kube-controller-manager";
/// Where its health and metrics are.
const PORT: u16 = 10_257;
/// Where the controllers' accounts are.
const NAMESPACE: &str = "kube-system";

/// What `xebec controller-manager` takes.
#[derive(Args, Clone, Debug)]
pub struct ControllerManagerOptions {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    election: Election,
    /// Each controller acts as its own service account.
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    use_service_account_credentials: bool,
    /// Give nodes their ranges of pod addresses.
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    allocate_node_cidrs: bool,
    /// Addresses of pods.
    #[arg(long, value_delimiter = ',')]
    cluster_cidr: Vec<String>,
    /// Addresses of Services: never given to nodes.
    #[arg(long, value_delimiter = ',')]
    service_cluster_ip_range: Vec<String>,
    /// What pods trust the API server by, PEM.
    #[arg(long)]
    root_ca_file: Option<PathBuf>,
    /// The authority that signs certificate requests.
    #[arg(long, requires = "cluster_signing_key_file")]
    cluster_signing_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "cluster_signing_cert_file")]
    cluster_signing_key_file: Option<PathBuf>,
    #[command(flatten)]
    concurrency: Concurrency,
    #[command(flatten)]
    secure: Secure,
    #[command(flatten)]
    ignored: Ignored,
    #[arg(long, hide = true)]
    service_account_private_key_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    controllers: Option<String>,
}

/// How many keys of a kind are worked on at the same time.
#[derive(Args, Clone, Copy, Debug)]
struct Concurrency {
    #[arg(long, default_value_t = 5)]
    concurrent_cron_job_syncs: usize,
    #[arg(long, default_value_t = 2)]
    concurrent_daemonset_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_deployment_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_job_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_ephemeralvolume_syncs: usize,
    #[arg(long, default_value_t = 20)]
    concurrent_gc_syncs: usize,
    #[arg(long, default_value_t = 10)]
    concurrent_namespace_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_replicaset_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_rc_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_resource_quota_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_statefulset_syncs: usize,
    #[arg(long, default_value_t = 5)]
    concurrent_service_endpoint_syncs: usize,
}

/// Each controller over HTTPS as its own service account.
struct Accounts {
    issuer: Client,
    /// Trusts the server, and is nobody.
    plain: SharedTransport,
}

// === impl Accounts ===

impl Accounts {
    fn new(config: &Config, issuer: Client) -> Result<Accounts, ClientError> {
        let tls = TlsOptions { identity: None, ..config.tls.clone() };
        Ok(Accounts { issuer, plain: Arc::new(Https::new(&config.server, tls, Credentials::None)?) })
    }
}

impl ClientFactory for Accounts {
    fn client(&self, controller: &str) -> Client {
        let (plain, issuer) = (self.plain.clone(), self.issuer.clone());
        let transport = ServiceAccountTransport::new(plain, issuer, NAMESPACE, controller, Given::default());
        Client::new(transport).named(&controllers::context::user_agent(controller))
    }
}

/// Runs the controllers until `stop`.
///
/// # Errors
/// There is no usable kubeconfig, its port can't be listened on, or a file or range not be used.
pub async fn run(options: ControllerManagerOptions, stop: CancellationToken) -> Result<(), Error> {
    let connection = options.connection.config()?;
    let client = connection.client()?.named(NAME);
    let leads = Arc::new(AtomicBool::new(false));
    options.secure.serve(NAME, PORT, &client, leads.clone(), stop.clone()).await?;
    let config = config(&options)?;
    let factory: Arc<dyn ClientFactory> = match options.use_service_account_credentials {
        true => Arc::new(Accounts::new(&connection, client.clone())?),
        false => Arc::new(SharedIdentity(client.clone())),
    };
    let work = |until: CancellationToken| {
        let informers = Informers::new(client.clone(), Given::default());
        let context = Context::new(factory.clone(), informers, until);
        controllers::run(context, config.clone())
    };
    options.election.run(NAME, &client, leads, stop, work).await;
    Ok(())
}

fn config(options: &ControllerManagerOptions) -> Result<controllers::Config, Error> {
    let read = |path: &PathBuf| fs::read(path).map_err(|error| Error::from(format!("{}: {error}", path.display())));
    let cluster_cidrs = options.cluster_cidr.iter().map(|range| range.parse()).collect::<Result<Vec<_>, _>>()?;
    let authority = match (&options.cluster_signing_cert_file, &options.cluster_signing_key_file) {
        (Some(certificate), Some(key)) => Some(Authority::from_pem(&read(certificate)?, &read(key)?)?),
        _ => None,
    };
    let workers = options.concurrency;
    Ok(controllers::Config {
        cronjobs: workers.concurrent_cron_job_syncs,
        daemonsets: workers.concurrent_daemonset_syncs,
        deployments: workers.concurrent_deployment_syncs,
        jobs: workers.concurrent_job_syncs,
        ephemeral_volumes: workers.concurrent_ephemeralvolume_syncs,
        garbage: workers.concurrent_gc_syncs,
        namespaces: workers.concurrent_namespace_syncs,
        replicasets: workers.concurrent_replicaset_syncs,
        replication_controllers: workers.concurrent_rc_syncs,
        resource_quotas: workers.concurrent_resource_quota_syncs,
        statefulsets: workers.concurrent_statefulset_syncs,
        services: workers.concurrent_service_endpoint_syncs,
        cluster_cidrs: if options.allocate_node_cidrs { cluster_cidrs } else { Vec::new() },
        service_cidrs: options
            .service_cluster_ip_range
            .iter()
            .map(|range| range.parse())
            .collect::<Result<Vec<_>, _>>()?,
        root_ca: options
            .root_ca_file
            .as_ref()
            .map(|path| read(path).map(|text| String::from_utf8_lossy(&text).into_owned().into()))
            .transpose()?,
        authority: authority.map(|authority| Arc::new(Signing(Arc::new(authority))) as _),
    })
}
