//! What the first server promises, beside what was measured: `SPECIFICATION.md`'s table.

use std::fmt::Write as _;

use crate::measure::Sample;
use crate::run::Results;

/// Where a figure comes from.
enum Figure {
    /// Microseconds of the server's CPU per operation of a phase.
    Cpu(&'static str),
    /// The same in milliseconds.
    CpuMs(&'static str),
    /// As often as this the second server's operations per second.
    Rate(&'static str),
    Ready,
    Full,
    /// What is left a minute after the objects' end, beyond what it was fresh.
    Left,
}

/// A line: what, its limit (at least for rates, at most for the rest) and unit, where it comes from.
struct Promise(&'static str, f64, &'static str, Figure);

const PROMISES: [Promise; 15] = [
    Promise("create ConfigMap, 16 clients, server CPU", 90.0, "µs", Figure::Cpu("create-cm-16")),
    Promise("create Pod, 16 clients", 200.0, "µs", Figure::Cpu("create-pod-16")),
    Promise("update Pod, 16 clients", 250.0, "µs", Figure::Cpu("update-pod-16")),
    Promise("merge-patch Pod, 16 clients", 250.0, "µs", Figure::Cpu("merge-patch-pod-16")),
    Promise("apply Pod, 16 clients", 250.0, "µs", Figure::Cpu("apply-pod-16")),
    Promise("delete Pod, 16 clients", 200.0, "µs", Figure::Cpu("delete-pod-16")),
    Promise("get Pod, 16 clients", 45.0, "µs", Figure::Cpu("get-pod-16")),
    Promise("list of 10,000 pods (82 MB)", 110.0, "ms", Figure::CpuMs("list-pods")),
    Promise("watch event at 1,000 watchers", 12.0, "µs", Figure::Cpu("watch-1000")),
    Promise("watch event in a flood", 8.0, "µs", Figure::Cpu("flood-100")),
    Promise("creates/s beside upstream, one client", 4.0, "×", Figure::Rate("create-cm-1")),
    Promise("creates/s beside upstream, 64 clients", 7.0, "×", Figure::Rate("create-cm-64")),
    Promise("start to `/readyz`, fresh directory", 300.0, "ms", Figure::Ready),
    Promise("RSS, 10,000 pods and 7,000 ConfigMaps, after all phases", 300.0, "MB", Figure::Full),
    Promise("RSS a minute after their end, beyond a fresh server's", 40.0, "MB", Figure::Left),
];

/// Resident memory is counted in MiB, promised in MB.
const MB_PER_MIB: f64 = 1.048_576;

/// The table; what was not measured has a dash.
pub fn table(results: &Results, ready_ms: Option<f64>) -> String {
    let mut out = "| promise | limit | measured | kept |\n|---|---|---|---|\n".to_owned();
    for Promise(what, limit, unit, figure) in &PROMISES {
        let (sign, measured) = match figure {
            Figure::Rate(_) => ('≥', figure.of(results, ready_ms)),
            _ => ('≤', figure.of(results, ready_ms)),
        };
        let kept = measured.map_or("–", |measured| match (measured <= *limit) == (sign == '≤') {
            true => "yes",
            false => "**no**",
        });
        let decimals = usize::from(*limit < 20.0);
        let measured = measured.map_or_else(|| "–".to_owned(), |measured| format!("{measured:.decimals$} {unit}"));
        let _ = writeln!(out, "| {what} | {sign} {limit} {unit} | {measured} | {kept} |");
    }
    out
}

// === impl Figure ===

impl Figure {
    fn of(&self, results: &Results, ready_ms: Option<f64>) -> Option<f64> {
        let samples = |phase: &str| results.rows.iter().find(|row| row.phase.name == phase).map(|row| &row.samples[..]);
        let memory = results.memory.first();
        match self {
            Figure::Cpu(phase) => samples(phase)?.first().map(|one| one.server_us),
            Figure::CpuMs(phase) => Figure::Cpu(phase).of(results, ready_ms).map(|us| us / 1e3),
            Figure::Rate(phase) => match samples(phase)? {
                [Sample { rate, .. }, other, ..] => Some(rate / other.rate),
                _ => None,
            },
            Figure::Ready => ready_ms,
            Figure::Full => memory.map(|memory| memory.full * MB_PER_MIB),
            Figure::Left => memory.and_then(|memory| Some((memory.settled? - memory.fresh) * MB_PER_MIB)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::PHASES;
    use crate::run::{Memory, Row};

    #[test]
    fn every_promise_is_measured_by_a_whole_run() {
        let sample = |rate| Sample { rate, server_us: 100.0, ..Sample::default() };
        let rows = PHASES.iter().map(|phase| Row { phase, samples: vec![sample(5.0), sample(1.0)] }).collect();
        let memory = vec![Memory { fresh: 50.0, full: 200.0, peak: 300.0, settled: Some(60.0) }; 2];
        let results = Results { names: vec!["a".into(), "b".into()], rows, memory };
        let table = table(&results, Some(200.0));
        assert!(!table.contains('–'), "{table}");
        assert!(table.contains("| create ConfigMap, 16 clients, server CPU | ≤ 90 µs | 100 µs | **no** |"), "{table}");
        assert!(table.contains("| creates/s beside upstream, one client | ≥ 4 × | 5.0 × | yes |"), "{table}");
        assert!(table.contains("beyond a fresh server's | ≤ 40 MB | 10 MB | yes |"), "{table}");
    }
}
