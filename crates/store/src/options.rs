//! How a store is opened: engine, limits, clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Transform;

/// What makes the store durable.
#[derive(Debug, Clone)]
pub enum EngineConfig {
    /// Nothing: for tests and simulations. Starts at revision 1, commits without any waiting.
    Memory,
    /// A log in this directory, which is made if it is not there.
    Embedded {
        /// Holds nothing else.
        dir: PathBuf,
    },
    /// An etcd, 3.4 or newer, perhaps shared with other API servers.
    Etcd(EtcdConfig),
}

/// Where the etcd is.
#[derive(Debug, Clone, Default)]
pub struct EtcdConfig {
    /// `http://host:2379` or `https://…`; several are members of one cluster.
    pub endpoints: Vec<String>,
    /// For `https` endpoints.
    pub tls: Option<EtcdTls>,
    /// All keys start with it; `/registry/` if empty.
    pub prefix: String,
}

/// Client identity and trust, PEM.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Certificate authorities.
    pub ca: Vec<u8>,
    /// Client certificate chain; empty for none.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EtcdTls { .. }")
    }
}

/// Everything but the engine. `Options::default()` is right for a server.
#[derive(Clone)]
pub struct Options {
    /// Key prefixes, each ending in `/`, that have a map and an event ring of their own: `/registry/pods/`. The
    /// longest that fits wins; other keys share one bucket. More can be added later.
    pub resources: Vec<String>,
    /// What memory may hold.
    pub limits: Limits,
    /// History is kept at least this long and at most twice as long. None: only [`Store::compact`](crate::Store::compact) compacts.
    pub compact_every: Option<Duration>,
    /// The wall clock for times to live.
    pub clock: Arc<dyn Clock>,
    /// Encryption at rest.
    pub transform: Option<Arc<dyn Transform>>,
}

/// Bounds on memory and work, each with what happens at it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Newest events kept in memory per resource, in bytes of stored objects and of the frames made of them; older
    /// ones are read from the log, and so are those of more than half a minute ago.
    pub hot_events_bytes_max: usize,
    /// The memory engine has no log: it keeps this many bytes of events, older history is compacted.
    pub memory_history_bytes_max: usize,
    /// Snapshots kept for lists that continue; the one used longest ago goes and is rebuilt if asked for.
    pub kept_snapshots_max: usize,
    /// A kept snapshot that nobody used for this long goes.
    pub kept_snapshot_age_max: Duration,
    /// Operations in one transaction; more are refused.
    pub txn_ops_max: usize,
    /// Bytes of keys and values in one transaction; more are refused.
    pub txn_bytes_max: usize,
    /// Transactions that may wait for the disk; further callers wait before they queue.
    pub queued_txns_max: usize,
    /// The embedded log writes a new checkpoint when it has grown by this much, or by half the checkpoint's size
    /// if that is more.
    pub log_growth_bytes_max: u64,
}

/// The wall clock, given from outside.
pub trait Clock: Send + Sync + 'static {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Upstream compacts every five minutes.
const COMPACT_EVERY: Duration = Duration::from_secs(300);

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            resources: Vec::new(),
            limits: Limits::default(),
            compact_every: Some(COMPACT_EVERY),
            clock: Arc::new(SystemClock),
            transform: None,
        }
    }
}

impl Options {
    /// Default options with these resources.
    pub fn with_resources<S: Into<String>>(resources: impl IntoIterator<Item = S>) -> Self {
        Self { resources: resources.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 16 MiB holds 15 s of a 5,000-node cluster's lease updates (2.2 KB each with frame, 500 a second).
            hot_events_bytes_max: 16 << 20,
            // Tests and simulations; a minute of heavy load.
            memory_history_bytes_max: 64 << 20,
            // As many clients page through lists at one time.
            kept_snapshots_max: 64,
            // A client that takes longer for one page gets its snapshot rebuilt from the log.
            kept_snapshot_age_max: Duration::from_secs(75),
            // etcd's --max-txn-ops.
            txn_ops_max: 128,
            // Twice the largest request body (3 MiB) and some; etcd's own limit is 1.5 MiB and answers itself.
            txn_bytes_max: 8 << 20,
            // A 2-second sync at 2,000 writes a second.
            queued_txns_max: 4096,
            // A recovery reads at most this much besides the checkpoint: some 30 ms.
            log_growth_bytes_max: 32 << 20,
        }
    }
}

// === impl SystemClock ===

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // Before 1970 nothing expires.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}
