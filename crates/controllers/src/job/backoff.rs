//! How long a job waits before it replaces failed pods: 10 s after the first failure, doubled up to 10 minutes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::model::{FAILURES, IGNORED_FAILURES, annotated, finished_at};

const FIRST: Duration = Duration::from_secs(10);
const MAX: Duration = Duration::from_secs(600);

/// Failures of a job since its last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// How many.
    pub failures: i32,
    /// When the last was.
    pub last: Option<Timestamp>,
}

// === impl Record ===

impl Record {
    /// The record after these pods have ended.
    pub fn after(self, succeeded: &[&Pod], failed: &[&Pod]) -> Record {
        let last_success = succeeded.iter().map(|pod| finished_at(pod)).max();
        let failures = failed.iter().map(|pod| finished_at(pod));
        let later: Vec<Timestamp> = failures.filter(|at| last_success.is_none_or(|success| *at > success)).collect();
        let count = i32::try_from(later.len()).unwrap_or(i32::MAX);
        match (last_success, later.into_iter().max()) {
            (None, None) => self,
            (None, last) => Record { failures: self.failures.saturating_add(count), last },
            (Some(_), last) => Record { failures: count, last },
        }
    }

    /// What is left of the wait.
    pub fn left(self, now: Timestamp) -> Duration {
        left(self.failures, self.last, now)
    }
}

/// What is left of an index's wait, whose last pod this is.
pub fn left_of_index(last: Option<&Pod>, now: Timestamp) -> Duration {
    last.map_or(Duration::ZERO, |pod| {
        let failures = annotated(pod, FAILURES) + annotated(pod, IGNORED_FAILURES) + 1;
        left(failures, Some(finished_at(pod)), now)
    })
}

fn left(failures: i32, last: Option<Timestamp>, now: Timestamp) -> Duration {
    let (Some(last), true) = (last, failures > 0) else { return Duration::ZERO };
    let doublings = u32::try_from(failures - 1).unwrap_or(0);
    let wait = FIRST.saturating_mul(2u32.checked_pow(doublings).unwrap_or(u32::MAX)).min(MAX);
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    wait.saturating_sub(passed)
}
