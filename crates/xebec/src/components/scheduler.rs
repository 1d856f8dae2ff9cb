//! `xebec scheduler`, in the place of kube-scheduler.

use clap::Args;
use client::{Given, Informers};
use scheduler::run::{Config, run as schedule};
use tokio_util::sync::CancellationToken;

use super::{Connection, Election, Ignored};
use crate::commands::Error;

const NAME: &str = "kube-scheduler";

/// What `xebec scheduler` takes.
#[derive(Args, Clone, Debug)]
pub struct SchedulerOptions {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    election: Election,
    #[command(flatten)]
    ignored: Ignored,
}

/// Schedules until `stop`.
///
/// # Errors
/// There is no usable kubeconfig.
pub async fn run(options: SchedulerOptions, stop: CancellationToken) -> Result<(), Error> {
    let client = options.connection.config()?.client()?.named(NAME);
    let work = |until: CancellationToken| {
        let client = client.clone();
        async move {
            let informers = Informers::new(client.clone(), Given::default());
            schedule(Config::default(), client, &informers, until).await;
        }
    };
    options.election.run(NAME, &client, stop, work).await;
    Ok(())
}
