//! The proxy's figures in Prometheus' text form, under upstream's names.

use super::address::Family;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Upper bounds of the buckets of sync times, in seconds: 1 ms, doubled 14 times (upstream's).
const BUCKETS: usize = 15;
const FIRST_BUCKET_SECONDS: f64 = 0.001;

/// Counters, shared by who counts and who shows.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<&'static str, Figures>>>);

#[derive(Clone, Default)]
struct Figures {
    buckets: [u64; BUCKETS],
    count: u64,
    seconds: f64,
    full: u64,
    failures: u64,
    last_sync: f64,
    last_queued: f64,
    no_local_internal: usize,
    no_local_external: usize,
    conntrack_deleted: u64,
    relays: usize,
}

// === impl Metrics ===

impl Metrics {
    /// A sync took this long.
    pub fn synced(&self, family: Family, took: Duration, full: bool) {
        self.with(family, |figures| {
            let seconds = took.as_secs_f64();
            figures.count += 1;
            figures.seconds += seconds;
            figures.full += u64::from(full);
            figures.last_sync = unix_seconds();
            for (at, bucket) in figures.buckets.iter_mut().enumerate() {
                *bucket += u64::from(seconds <= bound(at));
            }
        });
    }

    /// A sync failed.
    pub fn failed(&self, family: Family) {
        self.with(family, |figures| figures.failures += 1);
    }

    /// A change was queued.
    pub fn queued(&self, family: Family) {
        self.with(family, |figures| figures.last_queued = unix_seconds());
    }

    /// Service ports of policy `Local` without an endpoint on this node.
    pub fn no_local_endpoints(&self, family: Family, internal: usize, external: usize) {
        self.with(family, |figures| (figures.no_local_internal, figures.no_local_external) = (internal, external));
    }

    /// Flows cut.
    pub fn conntrack_deleted(&self, family: Family, flows: usize) {
        self.with(family, |figures| figures.conntrack_deleted += flows as u64);
    }

    /// NodePorts relayed from localhost.
    pub fn relays(&self, family: Family, listeners: usize) {
        self.with(family, |figures| figures.relays = listeners);
    }

    /// All figures as text.
    pub fn text(&self) -> String {
        let families = self.0.lock().clone();
        let mut text = String::new();
        let name = "kubeproxy_sync_proxy_rules_duration_seconds";
        let _ = writeln!(text, "# HELP {name} SyncProxyRules latency in seconds\n# TYPE {name} histogram");
        for (family, figures) in &families {
            for (at, count) in figures.buckets.iter().enumerate() {
                let _ = writeln!(text, "{name}_bucket{{ip_family=\"{family}\",le=\"{}\"}} {count}", bound(at));
            }
            let _ = writeln!(text, "{name}_bucket{{ip_family=\"{family}\",le=\"+Inf\"}} {}", figures.count);
            let _ = writeln!(text, "{name}_sum{{ip_family=\"{family}\"}} {}", figures.seconds);
            let _ = writeln!(text, "{name}_count{{ip_family=\"{family}\"}} {}", figures.count);
        }
        type Read = fn(&Figures) -> f64;
        let rows: [(&str, &str, &str, Read); 9] = [
            ("sync_full_proxy_rules_total", "", "counter", |f| f.full as f64),
            ("sync_proxy_rules_nftables_sync_failures_total", "", "counter", |f| f.failures as f64),
            ("sync_proxy_rules_last_timestamp_seconds", "", "gauge", |f| f.last_sync),
            ("sync_proxy_rules_last_queued_timestamp_seconds", "", "gauge", |f| f.last_queued),
            ("sync_proxy_rules_no_local_endpoints_total", ",traffic_policy=\"internal\"", "gauge", |f| {
                f.no_local_internal as f64
            }),
            ("sync_proxy_rules_no_local_endpoints_total", ",traffic_policy=\"external\"", "gauge", |f| {
                f.no_local_external as f64
            }),
            ("conntrack_reconciler_deleted_entries_total", "", "counter", |f| f.conntrack_deleted as f64),
            ("localhost_nodeport_listeners", "", "gauge", |f| f.relays as f64),
            ("sync_proxy_rules_total", "", "counter", |f| f.count as f64),
        ];
        let mut last = "";
        for (name, label, kind, read) in rows {
            if name != last {
                let _ = writeln!(text, "# TYPE kubeproxy_{name} {kind}");
                last = name;
            }
            for (family, figures) in &families {
                let _ = writeln!(text, "kubeproxy_{name}{{ip_family=\"{family}\"{label}}} {}", read(figures));
            }
        }
        text
    }

    fn with(&self, family: Family, change: impl FnOnce(&mut Figures)) {
        change(self.0.lock().entry(family.kubernetes()).or_default());
    }
}

fn bound(at: usize) -> f64 {
    FIRST_BUCKET_SECONDS * f64::from(1u32 << at)
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        metrics.synced(Family::V4, Duration::from_millis(3), true);
        let text = metrics.text();
        assert!(text.contains("_bucket{ip_family=\"IPv4\",le=\"0.002\"} 0\n"), "{text}");
        assert!(text.contains("_bucket{ip_family=\"IPv4\",le=\"0.004\"} 1\n"), "{text}");
        assert!(text.contains(
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"} 0\n"
        ));
    }
}
