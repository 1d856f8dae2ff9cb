//! Our scheduler alone, on any API server: `serve KUBECONFIG SCHEDULER_NAME`. For trying it beside upstream's.

use client::{Given, Informers};
use std::path::Path;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, scheduler_name] = arguments.as_slice() else {
        return Err("usage: serve KUBECONFIG SCHEDULER_NAME".into());
    };
    let client = client::Config::load(Some(Path::new(kubeconfig)))?.client()?;
    let informers = Informers::new(client.clone(), Given::default());
    let config = scheduler::run::Config { scheduler_name: scheduler_name.clone(), percentage_of_nodes_to_score: 0 };
    scheduler::run::run(config, client, &informers, CancellationToken::new()).await;
    Ok(())
}
