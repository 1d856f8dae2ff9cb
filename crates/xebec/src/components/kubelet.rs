//! `xebec kubelet`, in the place of upstream's.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use apiserver::pki::{FileCertificate, Identity};
use clap::Args;
use client::{Clock, Given, SystemClock};
use k8s_openapi::api::core::v1::Taint;
use kubelet::config::{Config, KubeletConfiguration};
use kubelet::server::Serving;
use tokio_util::sync::CancellationToken;

use super::{Connection, Ignored, authorities};
use crate::commands::Error;
use crate::options::{hostname, label, own_address};

/// What `xebec kubelet` takes.
#[derive(Args, Clone, Debug)]
pub struct KubeletOptions {
    /// A KubeletConfiguration (kubelet.config.k8s.io/v1beta1).
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// The node's name; the host's where not given.
    #[arg(long)]
    hostname_override: Option<String>,
    /// The node's addresses, the first one first.
    #[arg(long, value_delimiter = ',')]
    node_ip: Vec<IpAddr>,
    /// Labels of the node when it is registered.
    #[arg(long, value_delimiter = ',', value_parser = label)]
    node_labels: Vec<(String, String)>,
    /// Taints of the node when it is registered (key=value:Effect).
    #[arg(long, value_delimiter = ',', value_parser = taint)]
    register_with_taints: Vec<Taint>,
    /// All state lies below this directory.
    #[arg(long, default_value = "/var/lib/kubelet")]
    root_dir: PathBuf,
    /// The serving certificate and its key are made here where the configuration names none.
    #[arg(long, default_value = "/var/lib/kubelet/pki")]
    cert_dir: PathBuf,
    /// Where the container logs' links are made.
    #[arg(long, default_value = "/var/log/containers")]
    container_logs_dir: PathBuf,
    #[command(flatten)]
    ignored: Ignored,
}

/// Runs a kubelet until `stop`; its pods go on after that.
///
/// # Errors
/// A file can't be used, or a part can't be started.
pub async fn run(options: KubeletOptions, stop: CancellationToken) -> Result<(), Error> {
    let file = match &options.config {
        Some(path) => KubeletConfiguration::parse(&fs::read_to_string(path)?)?,
        None => KubeletConfiguration::default(),
    };
    let name = options.hostname_override.clone().unwrap_or_else(hostname);
    let mut config = Config::new(&name, &options.root_dir);
    config.hostname = hostname();
    let addresses = if options.node_ip.is_empty() { vec![own_address()] } else { options.node_ip.clone() };
    config.node_ips = addresses.iter().map(IpAddr::to_string).collect();
    config.node_labels = options.node_labels.iter().cloned().collect::<BTreeMap<_, _>>();
    config.container_logs_dir = options.container_logs_dir.clone();
    let (client_ca, pair) = (
        file.authentication.x509.client_ca_file.clone(),
        file.tls_cert_file.clone().zip(file.tls_private_key_file.clone()),
    );
    file.apply(&mut config)?;
    config.taints.extend(options.register_with_taints.iter().cloned());

    let client_ca =
        client_ca.ok_or("authentication.x509.clientCAFile must name the authority of the kubelet's clients")?;
    let client_authorities = authorities(&client_ca)?;
    let certificate = match &pair {
        Some((certificate, key)) => FileCertificate::read(certificate, key)?,
        None => FileCertificate::read_or_make(
            &options.cert_dir.join("kubelet.crt"),
            &options.cert_dir.join("kubelet.key"),
            &Identity::kubelet_server(&name, &addresses),
            SystemClock.now().as_second(),
        )?,
    };
    let (follow, until) = (certificate.clone(), stop.clone());
    tokio::spawn(async move { follow.follow(until).await });

    let client = options.connection.config()?.client()?.named("kubelet");
    let kubelet = kubelet::start(config, client, Given::default(), stop.clone()).await?;
    kubelet::server::serve(kubelet, &Serving { certificate, client_authorities }).await?;
    stop.cancelled().await;
    Ok(())
}

/// `key=value:Effect`, or `key:Effect`.
fn taint(text: &str) -> Result<Taint, String> {
    let (key, effect) = text.rsplit_once(':').ok_or_else(|| format!("invalid taint spec: {text}"))?;
    let (key, value) = key.split_once('=').map_or((key, None), |(key, value)| (key, Some(value.to_owned())));
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), ..Taint::default() })
}
