//! Time and chance, given from outside, so that a control plane can run in virtual time with a seed.
//! Waiting goes through `tokio::time`, which the test runtime can pause; wall-clock time comes from a [`Clock`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A clock that starts at a given time and runs with `tokio::time` (and stands still where that is paused).
#[derive(Clone, Debug)]
pub struct VirtualClock {
    start: Timestamp,
    since: tokio::time::Instant,
}

/// A shared source of random numbers.
#[derive(Clone)]
pub struct Chance(Arc<Mutex<StdRng>>);

/// Time and chance together, as they are handed to everything that needs them.
#[derive(Clone)]
pub struct Given {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub chance: Chance,
}

// === impl SystemClock ===

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

// === impl VirtualClock ===

impl VirtualClock {
    /// Starts at `start`, now.
    pub fn starting(start: Timestamp) -> VirtualClock {
        VirtualClock { start, since: tokio::time::Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let passed = jiff::SignedDuration::try_from(self.since.elapsed()).unwrap_or_default();
        self.start.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

// === impl Chance ===

impl Chance {
    /// Numbers nobody can guess.
    pub fn from_os() -> Chance {
        Chance(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Chance {
        Chance(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Between 0 (included) and 1 (not).
    pub fn fraction(&self) -> f64 {
        self.0.lock().random()
    }

    /// Any number.
    pub fn u64(&self) -> u64 {
        self.0.lock().random()
    }

    /// `base` up to `base * (1 + factor)`, as apimachinery's `wait.Jitter`.
    pub fn jitter(&self, base: Duration, factor: f64) -> Duration {
        base.mul_f64(1.0 + self.fraction() * factor.max(0.0))
    }

    /// `len` characters that make no words, as apimachinery's `rand.String`: suffixes of generated names.
    pub fn suffix(&self, len: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut rng = self.0.lock();
        (0..len).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
    }
}

// === impl Given ===

impl Default for Given {
    fn default() -> Given {
        Given { clock: Arc::new(SystemClock), chance: Chance::from_os() }
    }
}

impl Given {
    /// Now, by the wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A virtual clock from `start` and a seed: for tests and the simulation.
    pub fn virtual_from(start: Timestamp, seed: u64) -> Given {
        Given { clock: Arc::new(VirtualClock::starting(start)), chance: Chance::seeded(seed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_runs_with_tokio() {
        let given = Given::virtual_from(Timestamp::UNIX_EPOCH, 1);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(given.now().as_second(), 90);
    }

    #[test]
    fn a_seed_decides() {
        assert_eq!(Chance::seeded(4).suffix(5), Chance::seeded(4).suffix(5));
        assert_ne!(Chance::seeded(4).suffix(5), Chance::seeded(5).suffix(5));
    }
}
