//! Counters and latencies of requests, as Prometheus text with upstream's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;

use crate::request::RequestInfo;

/// Upper bounds in seconds; upstream's buckets, thinned out.
const BUCKETS: [f64; 12] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 5.0, 15.0, 60.0];
/// Resources that clients make up must not grow this without bound.
const SERIES_MAX: usize = 4_096;

/// The API server's own metrics.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Series, Histogram>>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Clone, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

// === impl Metrics ===

impl Metrics {
    /// Counts one answered request.
    pub fn observe(&self, info: &RequestInfo, code: StatusCode, took: Duration) {
        let served = code != StatusCode::NOT_FOUND || info.is_resource;
        if !served || info.verb == "watch" {
            return;
        }
        let series = Series {
            verb: info.verb,
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            code: code.as_u16(),
        };
        let mut requests = self.requests.lock();
        if requests.len() >= SERIES_MAX && !requests.contains_key(&series) {
            return;
        }
        requests.entry(series).or_default().add(took.as_secs_f64());
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut out = String::new();
        out.push_str("# HELP apiserver_request_total Counter of apiserver requests broken out for each verb, group, version, resource and HTTP response code.\n# TYPE apiserver_request_total counter\n");
        let requests = self.requests.lock();
        for (series, histogram) in requests.iter() {
            let _ = writeln!(
                out,
                "apiserver_request_total{{code=\"{}\",{}}} {}",
                series.code,
                series.labels(),
                histogram.count
            );
        }
        out.push_str("# HELP apiserver_request_duration_seconds Response latency distribution in seconds for each verb, group, version, resource.\n# TYPE apiserver_request_duration_seconds histogram\n");
        let mut durations: BTreeMap<Series, Histogram> = BTreeMap::new();
        for (series, histogram) in requests.iter() {
            durations.entry(Series { code: 0, ..series.clone() }).or_default().merge(histogram);
        }
        for (series, histogram) in &durations {
            histogram.write(&series.labels(), &mut out);
        }
        out
    }
}

// === impl Series ===

impl Series {
    fn labels(&self) -> String {
        let clean = |text: &str| text.replace(['\\', '"', '\n'], "_");
        format!(
            "group=\"{}\",resource=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"",
            clean(&self.group),
            clean(&self.resource),
            clean(&self.subresource),
            self.verb.to_ascii_uppercase(),
            clean(&self.version)
        )
    }
}

// === impl Histogram ===

impl Histogram {
    fn add(&mut self, seconds: f64) {
        if let Some(at) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.counts[at] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn merge(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.sum += other.sum;
    }

    fn write(&self, labels: &str, out: &mut String) {
        const NAME: &str = "apiserver_request_duration_seconds";
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(self.counts) {
            below += count;
            let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{NAME}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{NAME}_count{{{labels}}} {}", self.count);
    }
}
