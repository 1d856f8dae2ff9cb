//! # xebec
//! Kubernetes as one binary: the command line, configuration and the wiring of the parts.

mod agent;
mod arguments;
mod commands;
mod components;
mod containerd;
mod demo;
mod machine;
mod memory;
mod node;
mod options;
mod server;
mod signing;
mod stop;
mod wait;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let commands = match arguments::with_config_file(std::env::args_os()) {
        Ok(arguments) => commands::Commands::parse_from(arguments),
        Err(error) => {
            eprintln!("xebec: {error}");
            return ExitCode::FAILURE;
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("XEBEC_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match commands.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xebec: {error}");
            ExitCode::FAILURE
        }
    }
}
