//! Figures of the process itself, as every Prometheus client offers them.

use std::fs;

use crate::exposition::{Exposition, number};

/// The kernel's clock ticks a second, in its files.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page, in the kernel's files.
const PAGE_BYTES: u64 = 4096;

/// Time of its CPUs, memory, open files, start (nanoseconds since 1970).
pub fn process(started_at: i64, out: &mut Exposition) {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let stat = read("stat");
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|word| word.parse().unwrap_or_default()).collect())
        .unwrap_or_default();
    // utime and stime are the 14th and 15th field of all, the third of which is the first after the name.
    let ticks: u64 = fields.iter().skip(10).take(2).sum();
    out.family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
    out.sample(&[], number(ticks) / TICKS_PER_SECOND, None);
    let pages: u64 = read("statm").split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    out.family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
    out.sample(&[], number(pages * PAGE_BYTES), None);
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    out.family("process_open_fds", "gauge", "Number of open file descriptors.");
    out.sample(&[], number(open as u64), None);
    start_time(started_at, out);
}

/// When it was started (nanoseconds since 1970).
#[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
pub fn start_time(started_at: i64, out: &mut Exposition) {
    out.family("process_start_time_seconds", "gauge", "[ALPHA] Start time of the process since unix epoch in seconds.");
    out.sample(&[], started_at as f64 / 1e9, None);
}

/// Which release this is.
pub fn build_info(version: &str, out: &mut Exposition) {
    out.family(
        "kubernetes_build_info",
        "gauge",
        "[BETA] A metric with a constant '1' value labeled by major, minor, git version and platform.",
    );
    let labels = [("git_version", version), ("major", "1"), ("minor", "37"), ("platform", "linux/amd64")];
    out.sample(&labels, 1.0, None);
}
