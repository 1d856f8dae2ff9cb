//! All phases on all servers, in turn.

use std::time::Duration;

use crate::bench::{Bench, Error, Server, Settings};
use crate::measure::{Sample, median, peak_mib, resident_mib};
use crate::phases::{PHASES, Phase};
use crate::report;

/// What a run found out.
pub struct Results {
    /// The servers' names, in the order of all figures.
    pub names: Vec<String>,
    pub rows: Vec<Row>,
    /// Of each server.
    pub memory: Vec<Memory>,
}

/// A phase, and the medians of each server.
pub struct Row {
    pub phase: &'static Phase,
    pub samples: Vec<Sample>,
}

/// Resident memory in MiB.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    pub fresh: f64,
    /// After the phases, with the long list's objects.
    pub full: f64,
    pub peak: f64,
    /// A while after everything was deleted; only after a whole run.
    pub settled: Option<f64>,
}

/// How long a server may take to give back its memory.
const SETTLES: Duration = Duration::from_secs(60);

/// Runs the phases (none named: all) and prints their rows as they come.
///
/// # Errors
/// A broken connection, or a request that a server refuses.
pub async fn run(servers: &[Server], settings: &Settings, only: &[String]) -> Result<Results, Error> {
    let fresh: Vec<f64> = servers.iter().map(|server| resident_mib(&server.pids)).collect();
    let mut benches = Vec::new();
    for server in servers {
        benches.push(Bench::prepare(server, settings).await?);
    }
    let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
    let mut rows = Vec::new();
    print!("{}", report::header(&names));
    for phase in chosen(only) {
        let mut samples = vec![Vec::new(); benches.len()];
        for _ in 0..settings.runs {
            for (bench, samples) in benches.iter().zip(&mut samples) {
                let name = &bench.server.name;
                samples.push(bench.run(phase).await.map_err(|error| format!("{} on {name}: {error}", phase.name))?);
            }
        }
        let row = Row { phase, samples: samples.iter().map(|samples| median(samples)).collect() };
        print!("{}", report::row(&row));
        rows.push(row);
    }
    let full: Vec<f64> = servers.iter().map(|server| resident_mib(&server.pids)).collect();
    for bench in &benches {
        bench.clear().await?;
    }
    if only.is_empty() {
        tokio::time::sleep(SETTLES).await;
    }
    let memory = servers.iter().zip(fresh.iter().zip(&full)).map(|(server, (&fresh, &full))| {
        let settled = only.is_empty().then(|| resident_mib(&server.pids));
        Memory { fresh, full, peak: peak_mib(&server.pids), settled }
    });
    Ok(Results { names, rows, memory: memory.collect() })
}

/// The phases of these names; a name that is no phase's stands for those that have it in theirs. None stands for all.
fn chosen(names: &[String]) -> Vec<&'static Phase> {
    let is_named = |phase: &Phase, name: &String| match PHASES.iter().any(|phase| phase.name == name) {
        true => phase.name == name,
        false => phase.name.contains(name.as_str()),
    };
    PHASES.iter().filter(|phase| names.is_empty() || names.iter().any(|name| is_named(phase, name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_chosen_by_name_or_by_a_part_of_it() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names).iter().map(|phase| phase.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]).len(), PHASES.len());
        assert_eq!(names(&["create-cm-1"]), ["create-cm-1"]);
        assert_eq!(names(&["create-cm", "watch-1"]), ["create-cm-1", "create-cm-16", "create-cm-64", "watch-1"]);
    }
}
