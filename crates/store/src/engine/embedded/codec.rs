//! What is in the frames: commits in the log, entries in checkpoints.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;

use crate::state::{Change, State};
use crate::{Entry, Extract, Forms, Origin, Record, Revision};

/// Tag of a frame that holds commits; a checkpoint's frames of entries bear it too.
pub(crate) const TAG_DATA: u32 = 1;
/// Tag of a frame that says how far history was compacted.
pub(crate) const TAG_COMPACTED: u32 = 2;
/// Tag of a checkpoint's last frame.
pub(crate) const TAG_END: u32 = 3;
/// Tag of a file's first frame.
pub(crate) const TAG_HEADER: u32 = 4;
/// The format that this code writes; another is refused.
pub(crate) const FORMAT: u32 = 1;

/// Instead of a record's length: there is none, extract it.
const NO_RECORD: u32 = u32::MAX;

/// One transaction in the log.
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) origin: Option<Arc<Origin>>,
    pub(crate) ops: Vec<LoggedOp>,
}

/// One operation in the log.
pub(crate) struct LoggedOp {
    pub(crate) key: Arc<str>,
    /// Where the version before is; 0: there was none.
    pub(crate) prev: u64,
    pub(crate) put: Option<Arc<Entry>>,
}

/// Reads values out of a body that passed its checksum; `None` means that the format is not what we write.
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    /// Records were extracted by the present extractor.
    records_fit: bool,
    state: &'a State,
}

// --- writing ---

pub(crate) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

/// One transaction: its changes share a revision. `sealed` are the transformed values of its puts, in order.
pub(crate) fn put_commit(out: &mut Vec<u8>, changes: &[Change], sealed: Option<&[Bytes]>) {
    let Some(first) = changes.first() else { return };
    put_u64(out, first.revision);
    put_u32(out, changes.len() as u32);
    match first.origin.as_deref() {
        None => out.push(0),
        Some(origin) => {
            out.push(1);
            [&origin.user, &origin.manager, &origin.request]
                .into_iter()
                .for_each(|word| put_bytes(out, word.as_bytes()));
        }
    }
    let mut sealed = sealed.map(<[Bytes]>::iter);
    for change in changes {
        put_u64(out, change.prev.as_ref().map_or(0, |prev| prev.place));
        match &change.next {
            None => {
                out.push(0);
                put_bytes(out, change.key.as_bytes());
            }
            Some(entry) => {
                out.push(1);
                put_entry(out, entry, sealed.as_mut().and_then(Iterator::next));
            }
        }
    }
}

/// An entry; a sealed one goes without its record, which would tell what is sealed.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry, sealed: Option<&Bytes>) {
    put_bytes(out, entry.key.as_bytes());
    let numbers = [entry.create_revision, entry.mod_revision, entry.lease.map_or(0, NonZeroU64::get), entry.place];
    numbers.into_iter().for_each(|number| put_u64(out, number));
    put_bytes(out, sealed.unwrap_or(&entry.value));
    if sealed.is_some() {
        return put_u32(out, NO_RECORD);
    }
    let at = out.len();
    put_u32(out, 0);
    entry.record.encode(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

// --- reading ---

impl<'a> Decoder<'a> {
    /// Reads a body of data: first the extractor's version, then what [`Decoder::commit`] or [`Decoder::entry`] read.
    pub(crate) fn data(bytes: &'a [u8], state: &'a State) -> Option<Self> {
        let mut decoder = Self { bytes, records_fit: false, state };
        decoder.records_fit = decoder.u32()? == state.extract.version();
        Some(decoder)
    }

    pub(crate) fn plain(bytes: &'a [u8], state: &'a State) -> Self {
        Self { bytes, records_fit: false, state }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// The next number, which stays to be read.
    pub(crate) fn peek_u64(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes.get(..8)?.try_into().ok()?))
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// One transaction. Only operations whose key `wanted` wants are decoded, the others are skipped.
    pub(crate) fn commit(&mut self, mut wanted: impl FnMut(&str) -> bool) -> Option<Commit> {
        let revision = self.u64()?;
        let count = self.u32()?;
        let origin = match self.u8()? {
            0 => None,
            _ => Some(Arc::new(Origin {
                user: self.text()?.into(),
                manager: self.text()?.into(),
                request: self.text()?.into(),
            })),
        };
        let mut ops = Vec::new();
        for _ in 0..count {
            let prev = self.u64()?;
            if self.u8()? == 0 {
                let key = self.text()?;
                if wanted(key) {
                    ops.push(LoggedOp { key: key.into(), prev, put: None });
                }
            } else if let Some(entry) = self.entry_if(&mut wanted)? {
                ops.push(LoggedOp { key: entry.key.clone(), prev, put: Some(Arc::new(entry)) });
            }
        }
        Some(Commit { revision, origin, ops })
    }

    pub(crate) fn entry(&mut self) -> Option<Entry> {
        self.entry_if(&mut |_| true)?
    }

    /// The entry, or `Some(None)` if its key is not wanted.
    pub(crate) fn entry_if(&mut self, wanted: &mut impl FnMut(&str) -> bool) -> Option<Option<Entry>> {
        let key = self.text()?;
        let (create_revision, mod_revision, lease, place) = (self.u64()?, self.u64()?, self.u64()?, self.u64()?);
        let value = self.bytes()?;
        let record = match self.u32()? {
            NO_RECORD => None,
            length => Some(self.take(length as usize)?),
        };
        if !wanted(key) {
            return Some(None);
        }
        let value = self.unseal(key, Bytes::copy_from_slice(value))?;
        let record = match record.filter(|_| self.records_fit) {
            Some(record) => Record::decode(record)?,
            None => self.state.extract.extract(key, &value),
        };
        let (key, lease, forms) = (Arc::from(key), NonZeroU64::new(lease), Forms::default());
        Some(Some(Entry { key, value, create_revision, mod_revision, record, lease, place, forms }))
    }

    fn unseal(&self, key: &str, value: Bytes) -> Option<Bytes> {
        match &self.state.transform {
            None => Some(value),
            Some(transform) => match transform.unseal(key, value) {
                Ok(value) => Some(value),
                Err(error) => {
                    tracing::error!(key, %error, "a value can't be unsealed");
                    None
                }
            },
        }
    }
}

/// The present extractor's version, which opens a body of data.
pub(crate) fn put_version(out: &mut Vec<u8>, extract: &dyn Extract) {
    put_u32(out, extract.version());
}
