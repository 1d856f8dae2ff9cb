//! Prometheus' text format.

use std::fmt::Write as _;

use client::Body;
use http::{HeaderValue, Response, header};

/// The content type.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Families of samples as text.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.name = name;
        self
    }

    /// Adds a sample to the family; `time` is nanoseconds since 1970.
    #[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64, time: Option<i64>) {
        self.text.push_str(self.name);
        self.labels(labels.iter().copied());
        let _ = write!(self.text, " {value}");
        if let Some(time) = time {
            let _ = write!(self.text, " {}", time / 1_000_000);
        }
        self.text.push('\n');
    }

    /// Adds a histogram's samples to the family; `counts` are those of each bucket alone.
    pub fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], count: u64, sum: f64) {
        let name = self.name;
        let mut below = 0;
        let mut sample = |suffix: &str, bound: Option<&str>, value: f64| {
            self.text.push_str(name);
            self.text.push_str(suffix);
            let bound = bound.map(|bound| ("le", bound));
            self.labels(labels.iter().copied().chain(bound));
            let _ = writeln!(self.text, " {value}");
        };
        for (bound, own) in bounds.iter().zip(counts) {
            below += own;
            sample("_bucket", Some(&bound.to_string()), number(below));
        }
        sample("_bucket", Some("+Inf"), number(count));
        sample("_sum", None, sum);
        sample("_count", None, number(count));
    }

    fn labels<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut start = '{';
        for (name, value) in labels {
            let _ = write!(self.text, "{start}{name}=\"{}\"", escape(value));
            start = ',';
        }
        if start == ',' {
            self.text.push('}');
        }
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.text
    }

    /// All of it, as what a scrape is answered.
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.finish()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }
}

/// Nanoseconds as the seconds of a sample.
#[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
pub fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// A count as a sample.
#[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
pub fn number(count: u64) -> f64 {
    count as f64
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_lines() {
        let mut out = Exposition::default();
        out.family("a_total", "counter", "[STABLE] Things.");
        out.sample(&[("pod", "p\"q"), ("namespace", "n")], 1.5, Some(2_000_000_000));
        out.sample(&[], 3.0, None);
        let expected = "# HELP a_total [STABLE] Things.\n# TYPE a_total counter\na_total{pod=\"p\\\"q\",namespace=\"n\"} 1.5 2000\na_total 3\n";
        assert_eq!(out.finish(), expected);
    }

    #[test]
    fn a_histogram_counts_all_below_each_bound() {
        let mut out = Exposition::default();
        out.family("a_seconds", "histogram", "[BETA] Times.");
        out.histogram(&[("name", "q")], &[0.1, 1.0], &[2, 1], 4, 12.5);
        let expected = "# HELP a_seconds [BETA] Times.\n# TYPE a_seconds histogram\n\
            a_seconds_bucket{name=\"q\",le=\"0.1\"} 2\na_seconds_bucket{name=\"q\",le=\"1\"} 3\n\
            a_seconds_bucket{name=\"q\",le=\"+Inf\"} 4\na_seconds_sum{name=\"q\"} 12.5\na_seconds_count{name=\"q\"} 4\n";
        assert_eq!(out.finish(), expected);
    }
}
