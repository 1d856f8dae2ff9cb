//! # store
//! Revisions over keys and bytes, with etcd's meaning.
//!
//! Start at [`Store`], then `state` (what readers see), `ring` (what watchers read) and `engine` (what makes a
//! transaction durable: memory, embedded, etcd). An [`Entry`] is one object at one revision, an [`Event`] one change.
//!
//! Invariants:
//! - A revision is published once, in order, and only when it is durable. One transaction is one revision.
//! - A watcher sees every event after its start, in order, each once, or an error; it never grows a queue.
//! - The index [`Record`] is derived from the bytes, never the truth.
//! - Memory is bounded by [`Limits`].
//! - The store knows nothing of kinds beyond a key, its bytes and its record.
#![forbid(unsafe_code)]

mod engine;
mod entry;
mod error;
mod expire;
mod extract;
mod forms;
mod options;
mod record;
mod resource;
mod ring;
mod sequence;
mod snapshot;
mod state;
mod store;
mod txn;
mod watch;

pub use entry::{Entry, Event, Kind};
pub use error::{CommitError, OpenError, ReadError, WatchError};
pub use extract::{Extract, NoExtract, Transform};
pub use forms::Forms;
pub use options::{Clock, EngineConfig, EtcdConfig, EtcdTls, Limits, Options, SystemClock};
pub use record::{Parts, Record};
pub use ring::Scope;
pub use snapshot::Snapshot;
pub use store::Store;
pub use txn::{Committed, Compare, Op, Origin, Txn};
pub use watch::Watch;

/// A position in the store's history. One counter for all keys; 0 is before everything.
pub type Revision = u64;
