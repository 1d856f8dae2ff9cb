//! Growing waits between tries.

use std::time::Duration;

use crate::time::Chance;

/// Waits that double from `first` to `max`, with jitter, until [`Backoff::reset`].
#[derive(Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    chance: Chance,
}

// === impl Backoff ===

impl Backoff {
    /// Starts at `first`.
    pub fn new(first: Duration, max: Duration, chance: Chance) -> Backoff {
        Backoff { first, max, next: first, chance }
    }

    /// How long to wait now: up to twice the step, so that clients that failed together don't come back together.
    pub fn step(&mut self) -> Duration {
        let wait = self.chance.jitter(self.next, 1.0);
        self.next = (self.next * 2).min(self.max);
        wait
    }

    /// Waits one step.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.step()).await;
    }

    /// Begins anew, after something went well.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_its_limit_with_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400), Chance::seeded(1));
        for step_ms in [100u64, 200, 400, 400] {
            let wait = backoff.step().as_millis() as u64;
            assert!((step_ms..=2 * step_ms).contains(&wait), "{wait} for {step_ms}");
        }
        backoff.reset();
        assert!(backoff.step() <= Duration::from_millis(200));
    }
}
