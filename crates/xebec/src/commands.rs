//! The commands, a variant each.

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::agent::{self, NodeConfigOptions};
use crate::components::controller_manager::{self, ControllerManagerOptions};
use crate::components::kubelet::{self, KubeletOptions};
use crate::components::proxy::{self, ProxyOptions};
use crate::components::scheduler::{self, SchedulerOptions};
use crate::containerd::{self, ImportOptions};
use crate::demo::{self, DemoOptions};
use crate::memory;
use crate::options::{AgentOptions, ApiserverOptions, ServerOptions};
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
    Server(Box<ServerOptions>),
    /// A machine that joins a cluster as a node.
    Agent(Box<AgentOptions>),
    /// Writes, on the server, what such a machine needs.
    NodeConfig(NodeConfigOptions),
    /// The API server alone, with its datastore.
    Apiserver(Box<ApiserverOptions>),
    /// The controllers alone, in the place of kube-controller-manager.
    ControllerManager(Box<ControllerManagerOptions>),
    /// The scheduler alone, in the place of kube-scheduler.
    Scheduler(SchedulerOptions),
    /// The kubelet alone, in the place of upstream's.
    Kubelet(Box<KubeletOptions>),
    /// The service proxy alone, in the place of kube-proxy.
    Proxy(Box<ProxyOptions>),
    /// Gives the images of archives (OCI or docker save) to a node's private runtime.
    ImportImages(ImportOptions),
    /// Ends a server or agent and removes all that it made on this machine but its data.
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
            tokio::spawn(memory::give_back());
            match self.command {
                Command::Server(options) => server::run_server(*options, token).await,
                Command::Agent(options) => agent::run(*options, token).await,
                Command::NodeConfig(options) => agent::write_node_config(&options),
                Command::Apiserver(options) => server::run_apiserver(*options, token).await,
                Command::ControllerManager(options) => controller_manager::run(*options, token).await,
                Command::Scheduler(options) => scheduler::run(options, token).await,
                Command::Kubelet(options) => kubelet::run(*options, token).await,
                Command::Proxy(options) => proxy::run(*options, token).await,
                Command::ImportImages(options) => containerd::run_import(&options).await,
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
