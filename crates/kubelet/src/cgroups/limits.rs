//! Limits of one cgroup and the files that carry them.

use super::fs::Version;

/// What a cgroup may use; what is absent is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU weight, in cgroup v1's scale.
    pub shares: Option<i64>,
    /// CPU microseconds in each period of microseconds; 0 or less is no limit.
    pub quota: Option<(i64, i64)>,
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Processes.
    pub pids: Option<i64>,
    /// Bytes of huge pages by page size (`2Mi`).
    pub huge: Vec<(String, i64)>,
}

impl Limits {
    /// Controller, file and value of each.
    pub fn files(&self, version: Version) -> Vec<(&'static str, String, String)> {
        let mut files = Vec::new();
        let mut add = |controller, file: &str, value: String| files.push((controller, file.to_owned(), value));
        let v1 = version == Version::V1;
        if let Some(shares) = self.shares {
            if v1 {
                add("cpu", "cpu.shares", shares.to_string())
            } else {
                add("cpu", "cpu.weight", weight(shares).to_string())
            }
        }
        if let Some((quota, period)) = self.quota {
            let unlimited = quota <= 0;
            if v1 {
                add("cpu", "cpu.cfs_period_us", period.to_string());
                add("cpu", "cpu.cfs_quota_us", if unlimited { "-1".into() } else { quota.to_string() });
            } else {
                let quota = if unlimited { "max".to_owned() } else { quota.to_string() };
                add("cpu", "cpu.max", format!("{quota} {period}"));
            }
        }
        if let Some(bytes) = self.memory {
            add("memory", if v1 { "memory.limit_in_bytes" } else { "memory.max" }, bytes.to_string());
        }
        if let Some(count) = self.pids {
            add("pids", "pids.max", count.to_string());
        }
        for (size, bytes) in &self.huge {
            let file = if v1 {
                format!("hugetlb.{}B.limit_in_bytes", size.replace('i', ""))
            } else {
                format!("hugetlb.{}B.max", size.replace('i', ""))
            };
            add("hugetlb", &file, bytes.to_string());
        }
        files
    }
}

/// A v1 weight in v2's scale: runc's formula, log-linear through (2, 1), (1024, 100), (262144, 10000).
fn weight(shares: i64) -> i64 {
    match shares {
        i64::MIN..=2 => 1,
        262_144.. => 10_000,
        shares => {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most six digits")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            #[allow(clippy::cast_possible_truncation, reason = "at most 10,000")]
            let weight = 10f64.powf(exponent).ceil() as i64;
            weight
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(2, 1)]
    #[case(1024, 100)]
    #[case(262_144, 10_000)]
    #[case(102, 17)]
    fn weights(#[case] shares: i64, #[case] expected: i64) {
        assert_eq!(weight(shares), expected);
    }

    #[test]
    fn unified_files() {
        let limits =
            Limits { shares: Some(1024), quota: Some((0, 100_000)), memory: Some(5), pids: Some(9), huge: vec![] };
        let files = limits.files(Version::V2);
        let plain: Vec<_> = files.iter().map(|(_, file, value)| format!("{file}={value}")).collect();
        assert_eq!(plain, ["cpu.weight=100", "cpu.max=max 100000", "memory.max=5", "pids.max=9"]);
    }
}
