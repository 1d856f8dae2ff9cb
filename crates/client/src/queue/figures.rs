//! What happens in this process's named queues, for metrics. Upstream: client-go's util/workqueue/metrics.go.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Key, WorkQueue};

/// Upper bounds in seconds: upstream's buckets.
pub const BUCKETS: [f64; 10] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0];

/// What has happened in a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Keys that are ready now.
    pub depth: usize,
    /// Keys put in.
    pub adds: u64,
    /// Keys put in again after a failure.
    pub retries: u64,
    /// How long keys were in the queue until somebody took them.
    pub wait: Durations,
    /// How long the work on them took.
    pub work: Durations,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// By bucket, not cumulated.
    pub counts: [u64; BUCKETS.len()],
    /// Of all, also those beyond the last bucket.
    pub count: u64,
    /// Seconds.
    pub sum: f64,
}

type Read = Box<dyn Fn() -> Figures + Send>;

/// The queues with a name, each by the name of what works on it; of several the latest.
static QUEUES: Mutex<BTreeMap<&'static str, Read>> = Mutex::new(BTreeMap::new());

/// Tells [`all`] of a queue.
pub fn register<K: Key>(name: &'static str, queue: &WorkQueue<K>) {
    let queue = queue.clone();
    QUEUES.lock().insert(name, Box::new(move || queue.figures()));
}

/// The figures of all named queues of this process.
pub fn all() -> Vec<(&'static str, Figures)> {
    QUEUES.lock().iter().map(|(name, read)| (*name, read())).collect()
}

// === impl Durations ===

impl Durations {
    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}
