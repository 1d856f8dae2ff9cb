//! # bench
//! A load generator for any Kubernetes API server: one HTTP/2 connection and one request in
//! flight per client, plain HTTPS, JSON. Prints requests per second, latencies, and the CPU
//! time that the server (the processes named by `--pid`) and the generator spent per request.
//!
//!     bench --kubeconfig run/kubeconfig --pid 4711 [--pid …] [PHASE …]
//!
//! Phases are rows of [`phases::PHASES`]; without any, all run in order.

mod bench;
mod connect;
mod load;
mod measure;
mod objects;
mod phases;
mod watchers;

use std::path::PathBuf;

use clap::Parser;

use crate::connect::Target;

#[derive(Parser)]
#[command(about = "Puts load on an API server and measures what it costs")]
struct Arguments {
    /// Whom to load, and as whom.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Processes whose CPU time and memory are the server's (API server and, if apart, datastore).
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// Seconds of each timed phase.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Runs of each phase; medians are printed.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Pods in the long list.
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Only these phases.
    phases: Vec<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let target = Target::from_kubeconfig(&arguments.kubeconfig)?;
        let settings = bench::Settings {
            pids: arguments.pids,
            seconds: arguments.seconds,
            runs: arguments.runs.max(1),
            pods: arguments.pods,
        };
        bench::run(&target, &settings, &arguments.phases).await
    })
}
