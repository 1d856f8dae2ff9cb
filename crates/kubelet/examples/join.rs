//! Joins a node to any cluster: `join images FILE` writes the images that tests use, `join node URL CA CERT KEY DIR NAME`
//! runs a kubelet with everything below DIR and a runtime at DIR/c.sock.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};

use client::{
    Client, Given,
    transport::{
        https::Credentials,
        tls::{Pem, TlsOptions},
    },
};
use kubelet::{
    config::Config,
    images::{
        archive::{self, ImageSource},
        pause,
    },
};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["images", file] => images(Path::new(file)),
        ["node", url, ca, cert, key, dir, name] => node([url, ca, cert, key], Path::new(dir), name).await,
        _ => Err("join images FILE | join node URL CA CERT KEY DIR NAME".into()),
    }
}

fn images(file: &Path) -> Result<(), Failure> {
    let names = vec!["localhost/xebec/busybox:1".to_owned()];
    let mut busybox = ImageSource { names, command: vec!["/bin/sh".into()], ..ImageSource::default() };
    busybox.add_busybox(&archive::busybox())?;
    let pause = pause::image().ok_or("no pause program for this machine")?;
    Ok(archive::write(file, &[busybox, pause])?)
}

async fn node([url, ca, cert, key]: [&str; 4], dir: &Path, name: &str) -> Result<(), Failure> {
    let file = |path: &str| Pem::File(PathBuf::from(path));
    let tls =
        TlsOptions { authority: Some(file(ca)), identity: Some((file(cert), file(key))), ..TlsOptions::default() };
    let client = Client::https(url, tls, Credentials::None)?;
    let mut config = Config::new(name, &dir.join("kubelet"));
    config.runtime_endpoint = format!("unix://{}", dir.join("c.sock").display());
    config.pod_logs_dir = dir.join("pod-logs");
    config.container_logs_dir = dir.join("container-logs");
    config.cgroup_root = format!("/{name}");
    config.cluster_dns = vec!["10.96.0.10".into()];
    config.node_ips = vec!["127.0.0.1".into()];
    let stop = CancellationToken::new();
    let running = kubelet::start(config, client, Given::default(), stop.clone()).await?;
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    drop(running);
    Ok(())
}
