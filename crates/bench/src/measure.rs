//! What a phase cost.

use std::time::Duration;

/// One run of one phase.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Operations per second.
    pub rate: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// CPU of the server per operation, in microseconds.
    pub server_us: f64,
    /// CPU of this generator per operation, in microseconds.
    pub own_us: f64,
}

/// CPU seconds that processes have used so far.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    server: f64,
    own: f64,
}

/// Kernel ticks per second in `/proc/PID/stat`; fixed on Linux.
const TICKS: f64 = 100.0;

// === impl Cpu ===

impl Cpu {
    pub fn now(pids: &[u32]) -> Cpu {
        Cpu { server: pids.iter().map(|pid| cpu_seconds(&pid.to_string())).sum(), own: cpu_seconds("self") }
    }

    /// Server's and own CPU microseconds per operation since then.
    pub fn since(self, pids: &[u32], operations: usize) -> (f64, f64) {
        let now = Cpu::now(pids);
        let each = |seconds: f64| seconds * 1e6 / operations.max(1) as f64;
        (each(now.server - self.server), each(now.own - self.own))
    }
}

/// User and system time of all threads, those that ended included. The kernel derives it from exact run times,
/// rounded to ticks: fine for phases of a second.
fn cpu_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after.split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (field(11) + field(12)) / TICKS
}

/// Resident memory of all processes, in MiB.
pub fn resident_mib(pids: &[u32]) -> f64 {
    status_mib(pids, "VmRSS:")
}

/// The most of it that each ever had, in MiB.
pub fn peak_mib(pids: &[u32]) -> f64 {
    status_mib(pids, "VmHWM:")
}

fn status_mib(pids: &[u32], key: &str) -> f64 {
    let of = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    pids.iter().map(of).sum()
}

/// The sample of a phase from its latencies.
pub fn sample(mut latencies: Vec<Duration>, took: Duration, (server_us, own_us): (f64, f64)) -> Sample {
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).or(latencies.last()).copied();
    Sample {
        rate: latencies.len() as f64 / took.as_secs_f64(),
        p50: at(0.5).unwrap_or_default(),
        p99: at(0.99).unwrap_or_default(),
        server_us,
        own_us,
    }
}

/// The median of each figure over several runs.
pub fn median(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| {
        let mut all: Vec<f64> = samples.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Sample {
        rate: of(|one| one.rate),
        p50: Duration::from_secs_f64(of(|one| one.p50.as_secs_f64())),
        p99: Duration::from_secs_f64(of(|one| one.p99.as_secs_f64())),
        server_us: of(|one| one.server_us),
        own_us: of(|one| one.own_us),
    }
}
