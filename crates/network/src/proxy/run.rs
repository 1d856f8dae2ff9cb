//! The proxy on the API: informers in, the driver behind.

use super::config::Config;
use super::driver::Proxy;
use super::inputs::{Change, Inbox};
use super::nft::Nft;
use crate::http;
use crate::instance::Instance;
use crate::views::{EndpointSliceView, NodeView, ServiceView};
use client::{Event, Informers, Selection, View, resources};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The label by which a Service is left to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// The label of headless Services' slices, which no proxy needs.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// Why the proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address for health or metrics is taken.
    #[error("proxy can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
}

/// Proxies until `stop`. The table stays: traffic goes on while the proxy restarts. See [`super::driver::cleanup`].
///
/// # Errors
/// Where the address for health or metrics can't be bound.
pub async fn run<N: Nft>(
    config: Config,
    instance: &Instance,
    nft: N,
    informers: &Informers,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let (healthz, metrics_address, node) =
        (config.healthz_bind_address, config.metrics_bind_address, config.node_name.clone());
    let proxy = Proxy::new(config, instance, nft);
    if let Some(address) = healthz {
        let health = proxy.health();
        let answer = move |path: &str| match path {
            "/healthz" => health.answer(true),
            "/livez" => health.answer(false),
            _ => http::Answer::text(404, "404 page not found\n"),
        };
        http::serve(address, stop.clone(), answer).await.map_err(|error| RunError::Listen(address, error))?;
    }
    if let Some(address) = metrics_address {
        let (metrics, health) = (proxy.metrics(), proxy.health());
        let answer = move |path: &str| match path {
            "/metrics" => http::Answer::text(200, metrics.text()),
            "/healthz" => health.answer(true),
            "/proxyMode" => http::Answer::text(200, "nftables"),
            _ => http::Answer::text(404, "404 page not found\n"),
        };
        http::serve(address, stop.clone(), answer).await.map_err(|error| RunError::Listen(address, error))?;
    }
    let inbox = Arc::new(Inbox::default());
    subscribe(informers, &node, &inbox);
    informers.start(&stop);
    proxy.run(&inbox, stop).await;
    Ok(())
}

fn subscribe(informers: &Informers, node: &str, inbox: &Arc<Inbox>) {
    let others = format!("!{PROXY_NAME_LABEL}");
    let services = informers.view::<ServiceView>(&resources::SERVICES, selection(&others, ""));
    let slices = format!("{others},!{HEADLESS_LABEL}");
    let slices = informers.view::<EndpointSliceView>(&resources::ENDPOINT_SLICES, selection(&slices, ""));
    let nodes = informers.view::<NodeView>(&resources::NODES, selection("", &format!("metadata.name={node}")));
    forward(inbox, &services, |view, there| Change::Service(view.object_name(), there));
    forward(inbox, &slices, |view, there| Change::Slice(view.object_name(), there));
    forward(inbox, &nodes, |_, there| Change::Node(there));
    let inbox = inbox.clone();
    tokio::spawn(async move {
        services.synced().await;
        slices.synced().await;
        inbox.put(Change::Synced);
    });
}

fn selection(label_selector: &str, field_selector: &str) -> Selection {
    Selection {
        label_selector: label_selector.to_string(),
        field_selector: field_selector.to_string(),
        keep_bytes: false,
        ..Selection::default()
    }
}

fn forward<T: View + Clone>(
    inbox: &Arc<Inbox>,
    informer: &client::Informer<T>,
    change: impl Fn(&T, Option<Arc<T>>) -> Change + Send + Sync + 'static,
) {
    let inbox = inbox.clone();
    informer.subscribe(move |event| {
        let view = &event.object().view;
        let there = (!matches!(event, Event::Deleted { .. })).then(|| Arc::new(view.clone()));
        inbox.put(change(view, there));
    });
}
