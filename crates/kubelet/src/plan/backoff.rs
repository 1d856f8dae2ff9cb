//! Back-off: 10 s, doubling to 300 s, forgotten after twice the longest.
//!
//! Upstream: client-go's flowcontrol.Backoff under kuberuntime's `doBackOff`; counted from the moment a container ended.

use std::{collections::HashMap, time::Duration};

/// The first wait after a failure.
pub const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
pub const MAX: Duration = Duration::from_secs(300);

/// How long each key has to wait. Times are nanoseconds since 1970.
#[derive(Debug, Default)]
pub struct Backoffs {
    entries: HashMap<String, Entry>,
    max: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    wait: Duration,
    updated: i64,
}

impl Backoffs {
    /// With another longest wait than the usual.
    pub fn with_max(max: Duration) -> Self {
        Backoffs { entries: HashMap::new(), max: Some(max) }
    }

    fn max(&self) -> Duration {
        self.max.unwrap_or(MAX)
    }

    /// How much of the wait that began at `since` is left at `now`; `None` where none is.
    pub fn left(&self, key: &str, since: i64, now: i64) -> Option<Duration> {
        let entry = self.entries.get(key)?;
        if self.stale(entry, since) {
            return None;
        }
        let gone = Duration::from_nanos(u64::try_from(now.saturating_sub(since)).unwrap_or_default());
        entry.wait.checked_sub(gone).filter(|left| !left.is_zero())
    }

    /// How much is left of the wait that began at the last failure.
    pub fn left_since_update(&self, key: &str, now: i64) -> Option<Duration> {
        self.left(key, self.entries.get(key)?.updated, now)
    }

    /// The current wait.
    pub fn wait(&self, key: &str) -> Duration {
        self.entries.get(key).map(|entry| entry.wait).unwrap_or_default()
    }

    /// Another try at `now` after an end at `at`: the next wait is longer.
    pub fn next(&mut self, key: &str, at: i64, now: i64) {
        let wait = match self.entries.get(key) {
            Some(entry) if !self.stale(entry, at) => (entry.wait * 2).min(self.max()),
            _ => INITIAL.min(self.max()),
        };
        self.entries.insert(key.to_owned(), Entry { wait, updated: now });
    }

    /// Forgets all keys of which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|key, _| keep(key));
    }

    /// Long enough without trouble to start from the beginning.
    fn stale(&self, entry: &Entry, at: i64) -> bool {
        let quiet = u64::try_from(at.saturating_sub(entry.updated)).unwrap_or_default();
        Duration::from_nanos(quiet) > self.max() * 2
    }
}

/// A wait as Go prints it: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(wait: Duration) -> String {
    let (seconds, millis) = (wait.as_secs(), wait.subsec_millis());
    let fraction = match millis {
        0 => String::new(),
        _ => format!(".{}", format!("{millis:03}").trim_end_matches('0')),
    };
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) if millis > 0 => format!("{millis}ms"),
        (0, 0, seconds) => format!("{seconds}{fraction}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn doubles_to_five_minutes() {
        let mut backoffs = Backoffs::default();
        let mut waits = Vec::new();
        for round in 0..7 {
            backoffs.next("x", round * SECOND, round * SECOND);
            waits.push(backoffs.wait("x").as_secs());
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn counts_from_the_end_of_the_container() {
        let mut backoffs = Backoffs::default();
        assert_eq!(backoffs.left("x", 0, 0), None);
        backoffs.next("x", 0, 0);
        assert_eq!(backoffs.left("x", 5 * SECOND, 9 * SECOND), Some(Duration::from_secs(6)));
        assert_eq!(backoffs.left("x", 5 * SECOND, 15 * SECOND), None);
    }

    #[test]
    fn ten_quiet_minutes_forget_it() {
        let mut backoffs = Backoffs::default();
        backoffs.next("x", 0, 0);
        backoffs.next("x", SECOND, SECOND);
        assert_eq!(backoffs.left("x", 700 * SECOND, 700 * SECOND), None);
        backoffs.next("x", 700 * SECOND, 700 * SECOND);
        assert_eq!(backoffs.wait("x"), INITIAL);
    }

    #[rstest]
    #[case(10_000, "10s")]
    #[case(80_000, "1m20s")]
    #[case(300_000, "5m0s")]
    #[case(1_500, "1.5s")]
    #[case(250, "250ms")]
    fn as_go_prints_it(#[case] millis: u64, #[case] expected: &str) {
        assert_eq!(go_duration(Duration::from_millis(millis)), expected);
    }
}
