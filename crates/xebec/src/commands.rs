//! The commands, a variant each.

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::demo::{self, DemoOptions};
use crate::options::ServerOptions;
use crate::server;
use crate::stop::{self, StopOptions};
use crate::wait::{self, WaitOptions};

/// Any error that ends a command; its text is what the user reads.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Kubernetes, whole, as one small fast binary.
#[derive(Parser)]
#[command(name = "xebec", version = concat!("v1.37.2+xebec (", env!("CARGO_PKG_VERSION"), ")"))]
pub struct Commands {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything on one machine in one process.
    Server(ServerOptions),
    /// The API server alone, with its datastore.
    Apiserver(ServerOptions),
    /// Ends a server and removes all that it made on this machine but its data.
    Stop(StopOptions),
    /// Waits until the server is ready and a node with it.
    Wait(WaitOptions),
    /// Applies the demo and waits until it answers.
    Demo(DemoOptions),
}

// === impl Commands ===

impl Commands {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// What the command could not do.
    pub fn run(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let token = CancellationToken::new();
            end_on_signals(token.clone())?;
            match self.command {
                Command::Server(options) => server::run(options, server::Parts::all(), token).await,
                Command::Apiserver(options) => server::run(options, server::Parts::api_only(), token).await,
                Command::Stop(options) => stop::run(options).await,
                Command::Wait(options) => wait::run(options).await,
                Command::Demo(options) => demo::run(options).await,
            }
        })
    }
}

/// The first SIGTERM or SIGINT asks for an orderly end.
fn end_on_signals(stop: CancellationToken) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(())
}
