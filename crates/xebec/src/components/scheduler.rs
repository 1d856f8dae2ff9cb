//! `xebec scheduler`, in the place of kube-scheduler.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use client::{Given, Informers};
use scheduler::run::{Config, run as schedule};
use tokio_util::sync::CancellationToken;

use super::serving::Secure;
use super::{Connection, Election, Ignored};
use crate::commands::Error;

const NAME: &str = "kube-scheduler";
/// Where its health and metrics are.
const PORT: u16 = 10_259;

/// What `xebec scheduler` takes.
#[derive(Args, Clone, Debug)]
pub struct SchedulerOptions {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    election: Election,
    #[command(flatten)]
    secure: Secure,
    #[command(flatten)]
    ignored: Ignored,
}

/// Schedules until `stop`.
///
/// # Errors
/// There is no usable kubeconfig, or its port can't be listened on.
pub async fn run(options: SchedulerOptions, stop: CancellationToken) -> Result<(), Error> {
    let client = options.connection.config()?.client()?.named(NAME);
    let leads = Arc::new(AtomicBool::new(false));
    options.secure.serve(NAME, PORT, &client, leads.clone(), stop.clone()).await?;
    let work = |until: CancellationToken| {
        let client = client.clone();
        async move {
            let informers = Informers::new(client.clone(), Given::default());
            schedule(Config::default(), client, &informers, until).await;
        }
    };
    options.election.run(NAME, &client, leads, stop, work).await;
    Ok(())
}
