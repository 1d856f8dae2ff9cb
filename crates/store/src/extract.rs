//! What the store must be told about values: how to index them, and how to read and hide them.

use std::io;

use bytes::Bytes;

use crate::Record;

/// Derives index records from stored bytes, and stored bytes from those of other writers.
pub trait Extract: Send + Sync + 'static {
    /// The index record of a stored value. Must not fail: what can't be read is left empty.
    fn extract(&self, key: &str, value: &Bytes) -> Record;

    /// A value that somebody else wrote to a shared etcd (JSON or protobuf envelope `k8s\0`, as upstream writes) as
    /// our stored bytes. Our own come back as they are.
    fn ingest(&self, key: &str, raw: Bytes) -> Bytes {
        let _ = key;
        raw
    }

    /// Changes whenever [`Extract::extract`] answers differently: records kept on disk by another version are
    /// extracted anew at recovery.
    fn version(&self) -> u32 {
        1
    }
}

/// For values that nobody selects by: every record is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExtract;

impl Extract for NoExtract {
    fn extract(&self, _: &str, _: &Bytes) -> Record {
        Record::default()
    }
}

/// A transformation at rest, encryption for instance: memory holds values in the clear, disk and etcd sealed ones.
pub trait Transform: Send + Sync + 'static {
    /// What is written for `value`.
    ///
    /// # Errors
    /// Fails the transaction; nothing is written.
    fn seal(&self, key: &str, value: &Bytes) -> io::Result<Bytes>;

    /// The value that was sealed. A value that was written before there was a transformation must come back as it is.
    ///
    /// # Errors
    /// Fails the read of history or the opening of the store.
    fn unseal(&self, key: &str, sealed: Bytes) -> io::Result<Bytes>;
}
