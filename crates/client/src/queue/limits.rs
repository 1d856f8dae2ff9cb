//! How long a failed key waits: client-go's default controller rate limiter.

use std::time::Duration;

use tokio::time::Instant;

/// The greater of a delay that doubles with a key's failures and one that keeps the sum of all retries in bounds.
#[derive(Clone, Debug)]
pub struct Limits {
    first: Duration,
    max: Duration,
    all: Option<TokenBucket>,
}

/// Lets `rate_per_second` through in the long run, `burst` at once.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate_per_second: f64,
    burst: f64,
    /// May be negative: what was handed out ahead of time.
    tokens: f64,
    at: Option<Instant>,
}

// === impl Limits ===

impl Default for Limits {
    /// 5 ms to 1,000 s for a key, and for all 10 a second beyond a burst of 100.
    fn default() -> Limits {
        Limits {
            first: Duration::from_millis(5),
            max: Duration::from_secs(1000),
            all: Some(TokenBucket::new(10.0, 100.0)),
        }
    }
}

impl Limits {
    /// Delays for a key from `first` to `max`; the sum of all is not limited.
    pub fn per_key(first: Duration, max: Duration) -> Limits {
        Limits { first, max, all: None }
    }

    /// The delay after so many earlier failures.
    pub fn delay(&mut self, failures: u32, now: Instant) -> Duration {
        let own = self.first.checked_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).unwrap_or(self.max);
        let all = self.all.as_mut().map_or(Duration::ZERO, |bucket| bucket.reserve(now));
        own.min(self.max).max(all)
    }
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate_per_second: f64, burst: f64) -> TokenBucket {
        TokenBucket { rate_per_second, burst, tokens: burst, at: None }
    }

    /// Takes a token, ahead of time if need be, and says how long to wait for it.
    pub fn reserve(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.rate_per_second) }
    }

    /// Takes a token if there is one.
    pub fn try_take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }

    fn refill(&mut self, now: Instant) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate_per_second).min(self.burst);
        self.at = Some(now);
    }
}
