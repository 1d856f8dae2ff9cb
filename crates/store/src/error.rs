//! What can go wrong, by what the caller can do about it.

use std::io;
use std::sync::Arc;

use crate::{Entry, Revision};

/// Why a transaction was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A key's revision is not the expected one; nothing was written. Read again, or answer 409.
    #[error("{key} is at revision {actual}, expected {expected}")]
    Conflict {
        /// The first key whose compare failed.
        key: Arc<str>,
        /// What the transaction expected; 0: that the key does not exist.
        expected: Revision,
        /// What it is; 0: it does not exist.
        actual: Revision,
        /// The key's state, for an answer or a retry without another read.
        current: Option<Arc<Entry>>,
    },
    /// No room for the record; nothing was written. Answer 507 with how much is needed.
    #[error("{needed} bytes needed, {free} free on the log's disk")]
    Full {
        /// Bytes the log wanted to reserve.
        needed: u64,
        /// Bytes free; 0 if the engine does not say.
        free: u64,
    },
    /// The sync failed: the record may or may not survive. Answer 500 and say so; never retry silently.
    #[error("outcome unknown, the log could not be synced: {0}")]
    Unknown(#[source] io::Error),
    /// The engine takes no writes now; nothing was written. Answer 503 (or 500), a later try may succeed.
    #[error("the store takes no writes at present: {0}")]
    Unavailable(String),
    /// More operations or bytes than one transaction may have, a key changed twice or outside the etcd's prefix, or a
    /// value that can't be sealed.
    #[error("invalid transaction: {0}")]
    Invalid(String),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a read can't be answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// History before `compacted` is gone. Answer 410.
    #[error("revision {revision} was compacted, history starts at {compacted}")]
    Compacted {
        /// What was asked for.
        revision: Revision,
        /// The oldest revision that can be read.
        compacted: Revision,
    },
    /// The revision does not exist yet.
    #[error("revision {revision} is in the future, the store is at {current}")]
    Future {
        /// What was asked for.
        revision: Revision,
        /// The newest visible revision.
        current: Revision,
    },
    /// The engine can't be asked now.
    #[error("the store can't be read at present: {0}")]
    Unavailable(String),
    /// History on disk does not read back as it was written.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a watch ends.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchError {
    /// The next events are in neither memory nor log any more: the watch started too far back or its reader was too
    /// slow. Answer 410 Expired; the client lists again.
    #[error("events after revision {after} are gone, history starts at {compacted}")]
    Compacted {
        /// Everything up to here was delivered.
        after: Revision,
        /// Where history starts now.
        compacted: Revision,
    },
    /// The engine can't read the history that the watch needs. The client may watch again from where it was.
    #[error("the watch's history can't be read at present: {0}")]
    Unavailable(String),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it can't be used.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the directory open.
    #[error("{path} is in use by another process")]
    InUse {
        /// The directory.
        path: String,
    },
    /// What was acknowledged once does not read back. Nothing is changed; restore from a copy.
    #[error("{file} is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The etcd can't be reached or refuses.
    #[error("etcd: {0}")]
    Etcd(String),
}

impl From<ReadError> for WatchError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { revision, compacted } => Self::Compacted { after: revision, compacted },
            ReadError::Closed => Self::Closed,
            ReadError::Future { .. } | ReadError::Unavailable(_) | ReadError::Corrupt(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}
