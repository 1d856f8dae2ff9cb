//! # bench
//! A load generator for any Kubernetes API server: one HTTP/2 connection and one request in
//! flight per client, plain HTTPS, JSON. Prints requests per second, latencies, and the CPU
//! time that the server (the processes that belong to it) and the generator spent per request.
//!
//!     bench --server xebec=run/kubeconfig:4711 [PHASE …]
//!     bench --server xebec=run/kubeconfig:4711 --server upstream=other/kubeconfig:4712,4713
//!
//! Several servers get every phase in turn, again and again, so that what disturbs the machine
//! meets all of them. Phases are rows of [`phases::PHASES`]; without any, all run in order.

mod bench;
mod connect;
mod load;
mod measure;
mod objects;
mod phases;
mod promises;
mod report;
mod run;
mod watchers;

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::connect::Target;

#[derive(Parser)]
#[command(about = "Puts load on API servers and measures what it costs")]
struct Arguments {
    /// Whom to load: NAME=KUBECONFIG:PID[,PID…]. CPU time and memory of these processes are the server's (API server
    /// and, if apart, datastore).
    #[arg(long = "server", required = true)]
    servers: Vec<String>,
    /// Seconds of each timed phase.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Runs of each phase; medians are printed.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Pods in the long list.
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// How long the first server took from its start to `/readyz`, for the report.
    #[arg(long)]
    ready_ms: Option<f64>,
    /// A directory for `comparison.md` and `promises.md`.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Only these phases.
    phases: Vec<String>,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let servers = arguments.servers.iter().map(|text| server(text)).collect::<Result<Vec<_>, _>>()?;
    let settings = bench::Settings { seconds: arguments.seconds, runs: arguments.runs.max(1), pods: arguments.pods };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let results = runtime.block_on(run::run(&servers, &settings, &arguments.phases))?;
    print!("\n{}", report::memory(&results));
    if let Some(dir) = &arguments.report {
        std::fs::write(dir.join("comparison.md"), report::comparison(&results))?;
        std::fs::write(dir.join("promises.md"), promises::table(&results, arguments.ready_ms))?;
    }
    Ok(())
}

/// `NAME=KUBECONFIG:PID[,PID…]`
fn server(text: &str) -> Result<bench::Server, Error> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
    let (name, (kubeconfig, pids)) = parts.ok_or_else(|| format!("{text:?} is not NAME=KUBECONFIG:PID[,PID…]"))?;
    let pids = pids.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    Ok(bench::Server { name: name.to_owned(), target: Target::from_kubeconfig(Path::new(kubeconfig))?, pids })
}
