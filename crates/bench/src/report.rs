//! What was measured, as Markdown.

use std::fmt::Write as _;

use crate::measure::Sample;
use crate::run::{Memory, Results, Row};

/// A figure of a phase, and how it is shown.
struct Column {
    title: &'static str,
    of: fn(&Sample) -> f64,
    decimals: usize,
    /// Whether the first of two servers is set beside the second.
    ratio: bool,
}

const COLUMNS: [Column; 5] = [
    Column { title: "ops/s", of: |one| one.rate, decimals: 0, ratio: true },
    Column { title: "p50 ms", of: |one| one.p50.as_secs_f64() * 1e3, decimals: 2, ratio: false },
    Column { title: "p99 ms", of: |one| one.p99.as_secs_f64() * 1e3, decimals: 2, ratio: false },
    Column { title: "server CPU µs/op", of: |one| one.server_us, decimals: 0, ratio: true },
    Column { title: "generator CPU µs/op", of: |one| one.own_us, decimals: 0, ratio: false },
];

/// The names of a table's first lines.
pub fn header(names: &[String]) -> String {
    let mut titles = vec!["phase".to_owned()];
    for column in &COLUMNS {
        match names {
            [_] => titles.push(column.title.to_owned()),
            _ => titles.extend(names.iter().map(|name| format!("{}: {name}", column.title))),
        }
        if column.ratio && names.len() == 2 {
            titles.push("ratio".to_owned());
        }
    }
    format!("| {} |\n|{}\n", titles.join(" | "), "---|".repeat(titles.len()))
}

/// One phase's line.
pub fn row(row: &Row) -> String {
    let mut cells = vec![row.phase.name.to_owned()];
    for column in &COLUMNS {
        let figures: Vec<f64> = row.samples.iter().map(column.of).collect();
        // Small costs of an event are worth a digit more.
        let decimals = column.decimals.max(usize::from(column.decimals == 0 && figures.iter().any(|one| *one < 20.0)));
        cells.extend(figures.iter().map(|figure| format!("{figure:.decimals$}")));
        if let ([first, second], true) = (&figures[..], column.ratio) {
            cells.push(format!("{:.2}", first / second));
        }
    }
    format!("| {} |\n", cells.join(" | "))
}

/// The servers' memory.
pub fn memory(results: &Results) -> String {
    const TITLES: &str = "| resident memory, MiB | fresh | after all phases | peak | a minute after all was deleted |";
    let mut out = format!("{TITLES}\n|---|---|---|---|---|\n");
    for (name, Memory { fresh, full, peak, settled }) in results.names.iter().zip(&results.memory) {
        let settled = settled.map_or_else(|| "–".to_owned(), |settled| format!("{settled:.0}"));
        let _ = writeln!(out, "| {name} | {fresh:.0} | {full:.0} | {peak:.0} | {settled} |");
    }
    out
}

/// Everything.
pub fn comparison(results: &Results) -> String {
    let mut out = header(&results.names);
    results.rows.iter().for_each(|one| out.push_str(&row(one)));
    format!("{out}\n{}", memory(results))
}
