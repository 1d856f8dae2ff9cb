//! The decision of a transaction: do the compares hold, and what changes. No I/O, no clock.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;

use crate::state::{Change, State};
use crate::{CommitError, Committed, Compare, Entry, Forms, Limits, Op, Origin, Record, Revision, Txn};

/// A transaction with all that can be worked out before its turn.
pub(crate) struct Prepared {
    pub(crate) compares: Vec<Compare>,
    pub(crate) ops: Vec<PreparedOp>,
    pub(crate) origin: Option<Arc<Origin>>,
}

pub(crate) enum PreparedOp {
    Put { key: Arc<str>, value: Bytes, record: Record, ttl_ms: Option<u64> },
    Delete { key: Arc<str> },
}

/// Where changes get their revisions, and what those that wait for the disk have changed already.
pub(crate) struct Batch {
    /// The newest revision given out.
    pub(crate) revision: Revision,
    /// Changes in order.
    pub(crate) changes: Vec<Change>,
    /// Index of the newest change of each key.
    newest: HashMap<Arc<str>, usize>,
}

/// Answers of one transaction's turn.
pub(crate) enum Verdict {
    /// Changes were added to the batch.
    Commit(Committed),
    /// Nothing to do.
    Nothing(Committed),
    /// A compare failed; nothing was added.
    Conflict {
        error: CommitError,
        /// The answer shows something that is not durable yet.
        pending: bool,
    },
}

// === impl Prepared ===

impl Prepared {
    /// Checks the transaction against the limits and extracts the records that are missing.
    pub(crate) fn new(
        txn: Txn,
        limits: &Limits,
        extract: impl Fn(&str, &Bytes) -> Record,
    ) -> Result<Self, CommitError> {
        check(&txn, limits)?;
        let ops = txn.ops.into_iter().map(|op| match op {
            Op::Put { key, value, record, ttl } => {
                let record = record.unwrap_or_else(|| extract(&key, &value));
                PreparedOp::Put { key, value, record, ttl_ms: ttl.map(|ttl| (ttl.as_millis() as u64).max(1)) }
            }
            Op::Delete { key } => PreparedOp::Delete { key },
        });
        Ok(Self { compares: txn.compares, ops: ops.collect(), origin: txn.origin })
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.ops.iter().map(PreparedOp::bytes).sum()
    }

    /// Bytes of the index records.
    pub(crate) fn record_bytes(&self) -> usize {
        let record = |op: &PreparedOp| if let PreparedOp::Put { record, .. } = op { record.heap_bytes() } else { 0 };
        self.ops.iter().map(record).sum()
    }

    /// Whether it only makes room.
    pub(crate) fn only_deletes(&self) -> bool {
        self.ops.iter().all(|op| matches!(op, PreparedOp::Delete { .. }))
    }
}

impl PreparedOp {
    pub(crate) fn key(&self) -> &Arc<str> {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

fn check(txn: &Txn, limits: &Limits) -> Result<(), CommitError> {
    let count = txn.ops.len().max(txn.compares.len());
    if count > limits.txn_ops_max {
        return Err(CommitError::Invalid(format!("{count} operations, at most {} are allowed", limits.txn_ops_max)));
    }
    let bytes: usize = txn.ops.iter().map(Op::bytes).sum();
    if bytes > limits.txn_bytes_max {
        return Err(CommitError::Invalid(format!("{bytes} bytes, at most {} are allowed", limits.txn_bytes_max)));
    }
    for (at, op) in txn.ops.iter().enumerate() {
        if txn.ops[..at].iter().any(|other| other.key() == op.key()) {
            return Err(CommitError::Invalid(format!("duplicate key {} given in txn request", op.key())));
        }
    }
    Ok(())
}

// === impl Batch ===

impl Batch {
    /// A batch that goes on after `revision`.
    pub(crate) fn new(revision: Revision) -> Self {
        Self { revision, changes: Vec::new(), newest: HashMap::new() }
    }

    /// One transaction's turn: compares see what is pending in this batch.
    pub(crate) fn turn(&mut self, state: &State, txn: Prepared, place: u64, now_ms: u64) -> Verdict {
        for compare in &txn.compares {
            let (current, pending) = self.current(state, &compare.key);
            let actual = current.as_ref().map_or(0, |entry| entry.mod_revision);
            if actual != compare.revision {
                let (key, expected) = (compare.key.clone(), compare.revision);
                return Verdict::Conflict { error: CommitError::Conflict { key, expected, actual, current }, pending };
            }
        }
        let revision = self.revision + 1;
        let before = self.changes.len();
        let mut entries = Vec::with_capacity(txn.ops.len());
        for op in txn.ops {
            let prev = self.current(state, op.key()).0;
            let (key, next) = match op {
                PreparedOp::Put { key, value, record, ttl_ms } => {
                    let create_revision = prev.as_ref().map_or(revision, |prev| prev.create_revision);
                    let lease = ttl_ms.and_then(|ttl| NonZeroU64::new(now_ms.saturating_add(ttl)));
                    let forms = Forms::default();
                    let entry = Entry {
                        key: key.clone(),
                        value,
                        create_revision,
                        mod_revision: revision,
                        record,
                        lease,
                        place,
                        forms,
                    };
                    (key, Some(Arc::new(entry)))
                }
                PreparedOp::Delete { key } => (key, None),
            };
            entries.push(next.clone().or_else(|| prev.clone()));
            if prev.is_some() || next.is_some() {
                self.newest.insert(key.clone(), self.changes.len());
                self.changes.push(Change { revision, key, prev, next, origin: txn.origin.clone() });
            }
        }
        if self.changes.len() == before {
            return Verdict::Nothing(Committed { revision: self.revision, entries });
        }
        self.revision = revision;
        Verdict::Commit(Committed { revision, entries })
    }

    /// A key's state with all pending writes, and whether it is one of them.
    fn current(&self, state: &State, key: &str) -> (Option<Arc<Entry>>, bool) {
        match self.newest.get(key) {
            Some(&at) => (self.changes[at].next.clone(), true),
            None => (state.get(key), false),
        }
    }
}
