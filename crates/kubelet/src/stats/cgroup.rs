//! Figures from the kernel's files: a pod's cgroup, version 1 or 2, and the whole machine.

use std::fs;

use super::{Cpu, Memory};
use crate::{
    cgroups::{Cgroups, Version},
    node::machine::meminfo_bytes,
};

/// The kernel's clock ticks a second, in its files.
const TICKS_PER_SECOND: u64 = 100;

/// What a cgroup tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes.
    pub processes: Option<u64>,
}

/// Reads a cgroup.
pub fn read(cgroups: &Cgroups, path: &str, time: i64) -> Usage {
    let text = |controller: &str, file: &str| {
        let file = cgroups.file(controller, path, file)?;
        fs::read_to_string(file).ok()
    };
    let number = |controller: &str, file: &str| text(controller, file)?.trim().parse::<u64>().ok();
    let (total_nanos, usage, stat, limit) = match cgroups.version() {
        Version::V1 => (
            number("cpuacct", "cpuacct.usage"),
            number("memory", "memory.usage_in_bytes"),
            text("memory", "memory.stat"),
            number("memory", "memory.limit_in_bytes"),
        ),
        Version::V2 => (
            text("cpu", "cpu.stat").and_then(|stat| entry(&stat, "usage_usec")).map(|micros| micros * 1000),
            number("memory", "memory.current"),
            text("memory", "memory.stat"),
            number("memory", "memory.max"),
        ),
    };
    Usage {
        cpu: total_nanos.map(|total_nanos| Cpu { time, total_nanos, rate_nano_cores: None }),
        memory: usage.zip(stat).map(|(usage, stat)| memory(cgroups.version(), usage, &stat, limit, time)),
        processes: number("pids", "pids.current"),
    }
}

fn memory(version: Version, usage: u64, stat: &str, limit: Option<u64>, time: i64) -> Memory {
    let get = |key: &str| entry(stat, key).unwrap_or_default();
    let [inactive, rss, faults, major] = match version {
        Version::V1 => ["total_inactive_file", "total_rss", "total_pgfault", "total_pgmajfault"],
        Version::V2 => ["inactive_file", "anon", "pgfault", "pgmajfault"],
    };
    let working_set = usage.saturating_sub(get(inactive));
    // Version 1 writes no limit as the largest number of whole pages.
    let limit = limit.filter(|limit| *limit < 1 << 62);
    Memory {
        time,
        usage,
        working_set,
        rss: get(rss),
        available: limit.map(|limit| limit.saturating_sub(working_set)),
        page_faults: get(faults),
        major_page_faults: get(major),
    }
}

/// `key number` a line.
fn entry(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// CPU of the whole machine: all but the idle time.
pub fn node_cpu(time: i64) -> Option<Cpu> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    busy_ticks(&stat).map(|ticks| Cpu {
        time,
        total_nanos: ticks * (1_000_000_000 / TICKS_PER_SECOND),
        rate_nano_cores: None,
    })
}

fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    Some(ticks.iter().take(8).enumerate().filter(|(at, _)| *at != 3 && *at != 4).map(|(_, ticks)| ticks).sum())
}

/// Memory of the whole machine.
pub fn node_memory(time: i64) -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let get = |key: &str| meminfo_bytes(&text, key);
    let (total, free, available) = (get("MemTotal")?, get("MemFree")?, get("MemAvailable")?);
    Some(Memory {
        time,
        usage: total - free,
        working_set: total - available,
        rss: get("AnonPages").unwrap_or_default(),
        available: Some(available),
        ..Memory::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_files() {
        let v1 = memory(
            Version::V1,
            1000,
            "total_inactive_file 300\ntotal_rss 200\ntotal_pgfault 7\n",
            Some(0x7fff_ffff_ffff_f000),
            1,
        );
        assert_eq!((v1.working_set, v1.rss, v1.available, v1.page_faults), (700, 200, None, 7));
        let v2 = memory(Version::V2, 1000, "anon 200\ninactive_file 300\n", Some(900), 1);
        assert_eq!((v2.working_set, v2.rss, v2.available), (700, 200, Some(200)));
    }

    #[test]
    fn idle_time_is_no_use() {
        assert_eq!(busy_ticks("cpu  1 2 3 400 50 6 7 8 9 10\ncpu0 1 2\n"), Some(27));
    }
}
