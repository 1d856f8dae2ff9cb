//! Which of the machine's resources are short, by the thresholds of `evictionHard`.

use std::fs;

use super::{
    machine::{Disk, meminfo_bytes},
    status::{Pressure, threshold},
};
use crate::{config::Config, quantity::Quantity};

/// Looks at the machine.
pub fn now(config: &Config, disk: Option<Disk>) -> Pressure {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = meminfo_bytes(&meminfo, "MemAvailable").zip(meminfo_bytes(&meminfo, "MemTotal"));
    let pids = pids();
    judge(config, memory, disk, pids)
}

/// Available and whole of memory and process numbers.
fn judge(config: &Config, memory: Option<(u64, u64)>, disk: Option<Disk>, pids: Option<(u64, u64)>) -> Pressure {
    let short = |signal: &str, available: u64, whole: u64| {
        let limit = config.eviction_hard.get(signal).map(|text| threshold(text, Quantity::bytes(whole)));
        limit.is_some_and(|limit| Quantity::bytes(available) < limit)
    };
    let disk_short = disk.is_some_and(|disk| {
        let inodes = disk.inodes > 0 && short("nodefs.inodesFree", disk.inodes_free, disk.inodes);
        short("nodefs.available", disk.available, disk.capacity) || inodes
    });
    Pressure {
        memory: memory.is_some_and(|(available, whole)| short("memory.available", available, whole)),
        disk: disk_short,
        pids: pids.is_some_and(|(available, whole)| short("pid.available", available, whole)),
    }
}

/// Process numbers that are left, and all of them.
fn pids() -> Option<(u64, u64)> {
    let max: u64 = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let running: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some((max.saturating_sub(running), max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let config = Config::new("n", std::path::Path::new("/k"));
        let disk = |available| Some(Disk { capacity: 100 << 30, available, inodes: 100, inodes_free: 50 });
        let fine = judge(&config, Some((1 << 30, 2 << 30)), disk(50 << 30), Some((10, 100)));
        assert_eq!(fine, Pressure::default());
        let bad = judge(&config, Some((99 << 20, 2 << 30)), disk(9 << 30), None);
        assert_eq!(bad, Pressure { memory: true, disk: true, pids: false });
    }
}
