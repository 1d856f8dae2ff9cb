//! A transaction: compares, then puts and deletes that share one revision.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Entry, Record, Revision};

/// All compares hold and all operations happen, or nothing does.
#[derive(Debug, Clone, Default)]
pub struct Txn {
    /// What must hold at the moment of the commit, writes that wait for the disk included.
    pub compares: Vec<Compare>,
    /// What happens then. At most one operation a key.
    pub ops: Vec<Op>,
    /// Who asked, for those who read history.
    pub origin: Option<Arc<Origin>>,
}

/// `key` must be at this revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The whole key.
    pub key: Arc<str>,
    /// The expected [`Entry::mod_revision`]; 0: the key must not exist.
    pub revision: Revision,
}

/// One change of a transaction.
#[derive(Debug, Clone)]
pub enum Op {
    /// Write the key, whether or not it exists.
    Put {
        /// The whole key.
        key: Arc<str>,
        /// The stored bytes.
        value: Bytes,
        /// The index record if the caller has it already, else it is extracted.
        record: Option<Record>,
        /// Time to live, in whole seconds on etcd. A put without one makes the key permanent.
        ttl: Option<Duration>,
    },
    /// Remove the key. Removing what does not exist changes nothing.
    Delete {
        /// The whole key.
        key: Arc<str>,
    },
}

/// Who made a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The authenticated user's name.
    pub user: Box<str>,
    /// The field manager.
    pub manager: Box<str>,
    /// The request's audit id.
    pub request: Box<str>,
}

/// What a transaction did.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its revision; the current one if nothing changed (only deletes of missing keys).
    pub revision: Revision,
    /// One an operation: what was put, or the last state of what was deleted (none if it did not exist).
    pub entries: Vec<Option<Arc<Entry>>>,
}

// === impl Txn ===

impl Txn {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Make `key`, which must not exist.
    pub fn create(key: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        Self::update(key, 0, value)
    }

    /// Write `key`, which must be at `revision`.
    pub fn update(key: impl Into<Arc<str>>, revision: Revision, value: impl Into<Bytes>) -> Self {
        let key = key.into();
        Self::new().expect_at(key.clone(), revision).put(key, value)
    }

    /// Remove `key`, which must be at `revision`.
    pub fn remove(key: impl Into<Arc<str>>, revision: Revision) -> Self {
        let key = key.into();
        Self::new().expect_at(key.clone(), revision).delete(key)
    }

    /// Adds: `key` must be at `revision` (0: must not exist).
    #[must_use]
    pub fn expect_at(mut self, key: impl Into<Arc<str>>, revision: Revision) -> Self {
        self.compares.push(Compare { key: key.into(), revision });
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(self, key: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        self.op(Op::Put { key: key.into(), value: value.into(), record: None, ttl: None })
    }

    /// Adds a put of a key that expires after `ttl`.
    #[must_use]
    pub fn put_for(self, key: impl Into<Arc<str>>, value: impl Into<Bytes>, ttl: Duration) -> Self {
        self.op(Op::Put { key: key.into(), value: value.into(), record: None, ttl: Some(ttl) })
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(self, key: impl Into<Arc<str>>) -> Self {
        self.op(Op::Delete { key: key.into() })
    }

    /// Adds an operation.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Says who asked.
    #[must_use]
    pub fn by(mut self, origin: Arc<Origin>) -> Self {
        self.origin = Some(origin);
        self
    }
}

// === impl Op ===

impl Op {
    /// The key it changes.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Bytes it brings along, for limits.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

// === impl Committed ===

impl Committed {
    /// The entry of the first operation, for transactions over one key.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        self.entries.first().and_then(Option::as_ref)
    }
}
