//! Cluster DNS at work.

use super::forward::Forwarder;
use super::index::Index;
use super::publish::Publication;
use super::resolv;
use super::server::Server;
use super::zone::Zone;
use crate::views::{EndpointSliceView, ServiceView};
use client::{Backoff, Chance, Client, Event, Informers, Selection, View, resources};
use parking_lot::RwLock;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// CoreDNS's default time to live of the cluster's names.
pub const TTL_SECONDS_DEFAULT: u32 = 5;

/// Pauses between tries to publish: short at first, as the API server starts at the same moment.
const PUBLISH_PAUSE_MIN: Duration = Duration::from_millis(200);
const PUBLISH_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How the server is to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's domain, `cluster.local`.
    pub domain: String,
    /// The well-known address of the cluster's DNS, `10.96.0.10`.
    pub cluster_ip: IpAddr,
    /// Where to listen: an address of the node that pods reach (not loopback), with a port of the instance's.
    pub listen: SocketAddr,
    /// The node's name.
    pub node: String,
    /// The `resolv.conf` whose servers are asked for other names.
    pub resolv_conf: PathBuf,
    /// How long the cluster's names may be kept, in seconds.
    pub ttl_seconds: u32,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken or not this machine's.
    #[error("DNS can't listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// Serves until `stop`: listens once Services and slices are known, then publishes itself.
///
/// # Errors
/// Where it can't listen.
pub async fn run(
    config: Config,
    client: Client,
    informers: &Informers,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let server = Arc::new(new_server(&config));
    let services =
        informers.view::<ServiceView>(&resources::SERVICES, Selection { keep_bytes: false, ..Selection::default() });
    let slices = informers.view::<EndpointSliceView>(
        &resources::ENDPOINT_SLICES,
        Selection { keep_bytes: false, ..Selection::default() },
    );
    let to = server.clone();
    services.subscribe(move |event| {
        let view = &event.object().view;
        to.index.write().service(view.object_name(), current(event));
    });
    let to = server.clone();
    slices.subscribe(move |event| {
        let view = &event.object().view;
        to.index.write().slice(view.object_name(), current(event));
    });
    informers.start(&stop);
    let synced = async {
        services.synced().await;
        slices.synced().await;
    };
    if stop.run_until_cancelled(synced).await.is_none() {
        return Ok(());
    }
    let bound = server.listen(config.listen, &stop).await.map_err(|error| RunError::Listen(config.listen, error))?;
    tracing::info!(address = %bound, domain = %config.domain, "cluster DNS");
    let publication = Publication { cluster_ip: config.cluster_ip, node: config.node.clone(), endpoint: bound };
    stop.run_until_cancelled(keep_published(&publication, &client, informers.given().chance.clone())).await;
    stop.cancelled().await;
    Ok(())
}

/// A server that knows nothing yet.
pub fn new_server(config: &Config) -> Server {
    let own = [config.listen, SocketAddr::new(config.cluster_ip, 53)];
    Server {
        zone: Zone {
            domain: format!("{}.", config.domain.trim_end_matches('.').to_ascii_lowercase()),
            ttl_seconds: config.ttl_seconds,
            server_ips: vec![config.cluster_ip],
        },
        index: RwLock::new(Index::default()),
        forwarder: Forwarder::new(resolv::name_servers(&config.resolv_conf, &own)),
    }
}

/// The view of an object that is there; none of one that is gone.
fn current<T: View>(event: &Event<T>) -> Option<&T> {
    match event {
        Event::Added(object) | Event::Updated { new: object, .. } => Some(&object.view),
        Event::Deleted { .. } => None,
    }
}

async fn keep_published(publication: &Publication, client: &Client, chance: Chance) {
    let mut backoff = Backoff::new(PUBLISH_PAUSE_MIN, PUBLISH_PAUSE_MAX, chance);
    while let Err(error) = publication.publish(client).await {
        tracing::debug!(%error, "cluster DNS is not published yet");
        backoff.wait().await;
    }
}
