//! Prometheus' text format.

use std::fmt::Write as _;

/// The content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

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
        for (index, (name, value)) in labels.iter().enumerate() {
            let start = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{start}{name}=\"{}\"", escape(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = write!(self.text, " {value}");
        if let Some(time) = time {
            let _ = write!(self.text, " {}", time / 1_000_000);
        }
        self.text.push('\n');
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.text
    }
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
}
