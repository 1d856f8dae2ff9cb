//! Leases for keys that expire. One lease serves keys written close together, as upstream does it.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::Status;

use super::client::Client;

/// A lease is used for keys whose time may be longer by this part of it, but not by more than a minute (upstream's
/// numbers).
const REUSE_PART: u32 = 20;
const REUSE_MAX: Duration = Duration::from_secs(60);
/// Keys on one lease; upstream's number.
const KEYS_MAX: u32 = 1000;

/// The lease that was granted last.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Option<Lease>>);

struct Lease {
    id: i64,
    ends: Instant,
    keys: u32,
}

// === impl Leases ===

impl Leases {
    /// A lease that lasts at least `ttl` and little longer.
    pub(crate) async fn get(&self, client: &Client, ttl: Duration) -> Result<i64, Status> {
        let mut last = self.0.lock().await;
        let (now, reuse) = (Instant::now(), (ttl / REUSE_PART).min(REUSE_MAX));
        if let Some(lease) = last
            .as_mut()
            .filter(|lease| now + ttl <= lease.ends && lease.ends <= now + ttl + reuse && lease.keys < KEYS_MAX)
        {
            lease.keys += 1;
            return Ok(lease.id);
        }
        let seconds = (ttl + reuse).as_millis().div_ceil(1000) as i64;
        let id = client.grant(seconds).await?;
        *last = Some(Lease { id, ends: now + Duration::from_secs(seconds as u64), keys: 1 });
        Ok(id)
    }

    /// The last lease is not to be used again.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
