//! The pod network carried out: `ip` for the bridge and routes, `nft` for the tables, files for kernel settings.

use super::plan::{Route, plan};
use super::{PodNetwork, rules};
use crate::proxy::address::{Cidr, Family};
use crate::proxy::nft::{Nft, NftError};
use crate::views::NodeView;
use client::{Informers, Selection, resources};
use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Marks routes as ours (a number of `rtm_protocol` that nobody else has).
const ROUTE_PROTOCOL: &str = "120";

/// How much of a tool's complaint is kept.
const COMPLAINT_BYTES_MAX: usize = 2_000;

/// After a route could not be set (its gateway is not reachable yet): try again.
const RETRY: Duration = Duration::from_secs(10);

/// Why the pod network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// `ip` is missing or refused.
    #[error("ip: {0}")]
    Ip(#[source] io::Error),
    /// The tables were refused.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// A kernel setting could not be written.
    #[error("kernel setting {0}: {1}")]
    Setting(String, #[source] io::Error),
}

/// Makes the bridge with its addresses, the tables, and the kernel settings. Doing it again changes nothing.
///
/// # Errors
/// What could not be made.
pub async fn set_up<N: Nft>(network: &PodNetwork, nft: &N) -> Result<(), ApplyError> {
    let bridge = network.instance.bridge();
    if !exists(&bridge) {
        ip(&format!("link add {bridge} address {} type bridge\n", network.bridge_mac()))
            .await
            .map_err(ApplyError::Ip)?;
    }
    let mut commands = format!("link set {bridge} address {}\n", network.bridge_mac());
    if let Some(mtu) = network.mtu {
        commands.push_str(&format!("link set {bridge} mtu {mtu}\n"));
    }
    commands.push_str(&format!("link set {bridge} up\n"));
    for cidr in &network.pod_cidrs {
        if let Some(gateway) = PodNetwork::gateway(cidr) {
            let no_check = if cidr.family() == Family::V6 { " nodad" } else { "" };
            commands.push_str(&format!("address replace {gateway}/{} dev {bridge}{no_check}\n", cidr.prefix_bits()));
        }
    }
    for cidr in &network.service_cidrs {
        let source = network.node_ips.iter().find(|ip| Family::of(ip) == cidr.family());
        let source = source.map(|ip| format!(" src {ip}")).unwrap_or_default();
        // Through the loopback device: through the bridge, packets of pods would leave as they came, which the kernel
        // answers with redirects, whose rate limit swallows the rejects of Services without endpoints.
        commands.push_str(&format!("route replace {cidr} dev lo protocol {ROUTE_PROTOCOL}{source}\n"));
    }
    ip(&commands).await.map_err(ApplyError::Ip)?;
    settings(network)?;
    nft.run(rules::script(network)).await?;
    Ok(())
}

/// Removes all that [`set_up`] and [`keep_routes`] made, as far as it is there.
///
/// # Errors
/// What could not be removed.
pub async fn clean_up<N: Nft>(network: &PodNetwork, nft: &N) -> Result<(), ApplyError> {
    let bridge = network.instance.bridge();
    for route in our_routes(network).await.map_err(ApplyError::Ip)? {
        ip(&delete_command(&route)).await.map_err(ApplyError::Ip)?;
    }
    for cidr in &network.service_cidrs {
        // It may be gone already.
        let _ = ip(&format!("route delete {cidr} dev lo protocol {ROUTE_PROTOCOL}\n")).await;
    }
    if exists(&bridge) {
        ip(&format!("link delete {bridge}\n")).await.map_err(ApplyError::Ip)?;
    }
    nft.run(rules::remove_all(network)).await?;
    Ok(())
}

/// Whether there is such an interface in this network namespace. (`/sys` may show another one's.)
fn exists(interface: &str) -> bool {
    std::fs::exists(format!("/proc/sys/net/ipv4/conf/{interface}")).unwrap_or(false)
}

/// Forwarding, in this network namespace.
fn settings(network: &PodNetwork) -> Result<(), ApplyError> {
    let bridge = network.instance.bridge();
    let mut wanted = vec![format!("net/ipv4/conf/{bridge}/send_redirects=0")];
    if network.pod_cidr(Family::V4).is_some() {
        wanted.push("net/ipv4/ip_forward=1".to_string());
    }
    if network.pod_cidr(Family::V6).is_some() {
        wanted.push("net/ipv6/conf/all/forwarding=1".to_string());
    }
    for setting in wanted {
        let (path, value) = setting.split_once('=').unwrap_or((&setting, "1"));
        let path = format!("/proc/sys/{path}");
        let is = std::fs::read_to_string(&path).unwrap_or_default();
        if is.trim() != value {
            std::fs::write(&path, value).map_err(|error| ApplyError::Setting(path, error))?;
        }
    }
    Ok(())
}

/// Keeps the routes to other nodes' pods until `stop`.
pub async fn keep_routes(network: &PodNetwork, node: &str, informers: &Informers, stop: CancellationToken) {
    let nodes = informers.view::<NodeView>(&resources::NODES, Selection { keep_bytes: false, ..Selection::default() });
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    nodes.subscribe(move |_| notify.notify_one());
    informers.start(&stop);
    let work = async {
        nodes.synced().await;
        let mut last = None;
        loop {
            let list = nodes.list();
            let wanted = plan(node, list.iter().map(|node| &node.view));
            let retry = last.as_ref() != Some(&wanted)
                && match sync_routes(network, &wanted).await {
                    Ok(()) => {
                        last = Some(wanted);
                        false
                    }
                    Err(error) => {
                        tracing::warn!(%error, "routes to other nodes' pods");
                        true
                    }
                };
            let pause = async { if retry { tokio::time::sleep(RETRY).await } else { std::future::pending().await } };
            tokio::select! { () = changed.notified() => {}, () = pause => {} }
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Brings the kernel's routes after the wanted ones.
///
/// # Errors
/// Where `ip` refuses; routes before the refused one are set.
pub async fn sync_routes(network: &PodNetwork, wanted: &BTreeSet<Route>) -> io::Result<()> {
    let there = our_routes(network).await?;
    let gone = there.difference(wanted).map(delete_command);
    let new = wanted
        .difference(&there)
        .map(|route| format!("route replace {} via {} protocol {ROUTE_PROTOCOL}\n", route.destination, route.gateway));
    let commands: String = gone.chain(new).collect();
    if commands.is_empty() { Ok(()) } else { ip(&commands).await }
}

fn delete_command(route: &Route) -> String {
    format!("route delete {} via {} protocol {ROUTE_PROTOCOL}\n", route.destination, route.gateway)
}

/// The routes that carry our mark and lead into this cluster's ranges.
async fn our_routes(network: &PodNetwork) -> io::Result<BTreeSet<Route>> {
    let mut routes = BTreeSet::new();
    for family in ["-4", "-6"] {
        let mut command = tokio::process::Command::new("ip");
        command.args([family, "-j", "route", "show", "protocol", ROUTE_PROTOCOL]).stdin(Stdio::null());
        let output = command.output().await?;
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let route = |route: &serde_json::Value| {
            let destination = route["dst"].as_str()?;
            let host =
                destination.parse().ok().map(|ip: std::net::IpAddr| Cidr::of(ip, if ip.is_ipv4() { 32 } else { 128 }));
            Some(Route {
                destination: destination.parse().ok().or(host)?,
                gateway: route["gateway"].as_str()?.parse().ok()?,
            })
        };
        routes.extend(list.as_array().into_iter().flatten().filter_map(route));
    }
    let ours = |route: &Route| network.cluster_cidrs.iter().any(|cidr| cidr.contains(&route.destination.network()));
    Ok(routes.into_iter().filter(ours).collect())
}

/// Carries out `ip` commands, one a line, up to the first that fails.
async fn ip(commands: &str) -> io::Result<()> {
    let mut command = tokio::process::Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A refusal may close the pipe early; its reason is on standard error.
        let _ = stdin.write_all(commands.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let end = complaint.floor_char_boundary(COMPLAINT_BYTES_MAX);
    Err(io::Error::other(format!("{} (of: {})", complaint[..end].trim(), commands.trim())))
}
