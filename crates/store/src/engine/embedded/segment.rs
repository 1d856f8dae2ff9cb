//! A segment: a stretch of the log in one file, written at its end only.
//!
//! Every opening of the store starts a new one, so nothing is ever written behind a torn tail.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::codec::{FORMAT, TAG_HEADER, put_u32, put_u64};
use super::files::{File, Files};
use super::frame::{self, Frames};
use crate::Revision;

/// Room reserved ahead of the log's end, in steps of this many bytes: a sync need not make the file longer.
const RESERVE_STEP: u64 = 1 << 20;
/// The index remembers a revision every so many bytes; a reader skips at most that much.
const INDEX_STEP: u64 = 64 << 10;
/// Bytes of the first frame: format, number, nonce and revision.
pub(crate) const HEADER_END: u64 = (frame::HEADER + 24) as u64;
const PREFIX: &str = "log-";

/// One file of the log.
pub(crate) struct Segment {
    pub(crate) id: u32,
    pub(crate) file: Arc<dyn File>,
    pub(crate) nonce: u32,
    /// The newest revision before this segment.
    pub(crate) after: Revision,
    /// Frames up to here are durable.
    end: AtomicU64,
    /// Revisions and the offset of a frame that comes after them all, ascending.
    index: Mutex<Vec<(Revision, u64)>>,
}

/// The end of the newest segment, where the writer is.
pub(crate) struct Tail {
    pub(crate) segment: Arc<Segment>,
    pub(crate) end: u64,
    reserved: u64,
}

/// What the first frame says.
pub(crate) struct Header {
    pub(crate) id: u32,
    pub(crate) nonce: u32,
    pub(crate) after: Revision,
    /// Where the next frame is.
    pub(crate) end: u64,
}

pub(crate) fn name(id: u32) -> String {
    format!("{PREFIX}{id:08x}")
}

/// The segment's number in a file name, if it is one.
pub(crate) fn id_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()
}

/// A number that no other file has by chance.
pub(crate) fn nonce() -> u32 {
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}

/// Reads a segment's header; none if it is not whole.
pub(crate) fn header(file: &dyn File) -> io::Result<Option<Header>> {
    let mut frames = Frames::one(file, 0, 0);
    let Ok(frame) = frames.next()? else { return Ok(None) };
    let word = |at: usize| frame.body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let (Some(format), Some(id), Some(nonce), Some(low), Some(high)) = (word(0), word(4), word(8), word(12), word(16))
    else {
        return Ok(None);
    };
    if frame.tag != TAG_HEADER || format != FORMAT {
        return Ok(None);
    }
    Ok(Some(Header { id, nonce, after: u64::from(low) | u64::from(high) << 32, end: frame.end }))
}

// === impl Segment ===

impl Segment {
    pub(crate) fn new(file: Arc<dyn File>, header: &Header, end: u64) -> Arc<Self> {
        let index = Mutex::new(vec![(header.after, header.end)]);
        Arc::new(Self {
            id: header.id,
            file,
            nonce: header.nonce,
            after: header.after,
            end: AtomicU64::new(end),
            index,
        })
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Where to start reading for events after `revision`.
    pub(crate) fn offset_after(&self, revision: Revision) -> u64 {
        let index = self.index.lock();
        let at = index.partition_point(|(before, _)| *before <= revision);
        // The first says where the header ends.
        index[at.saturating_sub(1)].1
    }

    /// Frames up to `end` are durable, the last one from `offset` on; `before` is the revision before it.
    pub(crate) fn advance(&self, before: Revision, offset: u64, end: u64) {
        let mut index = self.index.lock();
        if index.last().is_none_or(|(_, last)| offset - last >= INDEX_STEP) {
            index.push((before, offset));
        }
        self.end.store(end, Ordering::Release);
    }
}

// === impl Tail ===

impl Tail {
    /// A new, empty segment that goes on after `after`. It is durable when this returns.
    pub(crate) fn create(files: &dyn Files, id: u32, after: Revision, reserve: u64) -> io::Result<Self> {
        let file = files.create(&name(id))?;
        let made = Self::fill(files, &file, id, after, reserve);
        if made.is_err() {
            // What is not whole has no meaning; try to give its room back.
            let _ = files.remove(&name(id));
        }
        made
    }

    /// Writes on in a segment that ends cleanly.
    pub(crate) fn go_on(segment: &Arc<Segment>) -> Self {
        Self { segment: segment.clone(), end: segment.end(), reserved: segment.end() }
    }

    fn fill(files: &dyn Files, file: &Arc<dyn File>, id: u32, after: Revision, reserve: u64) -> io::Result<Self> {
        let (mut bytes, nonce) = (Vec::new(), nonce());
        frame::begin(&mut bytes);
        [FORMAT, id, nonce].into_iter().for_each(|number| put_u32(&mut bytes, number));
        put_u64(&mut bytes, after);
        frame::finish(&mut bytes, 0, TAG_HEADER);
        let end = HEADER_END;
        debug_assert_eq!(end, bytes.len() as u64);
        let reserved = end + reserve;
        file.reserve(0, reserved)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        files.sync_names()?;
        let segment = Segment::new(file.clone(), &Header { id, nonce, after, end }, end);
        Ok(Self { segment, end, reserved })
    }

    /// Makes sure that `bytes` more can be written and `keep` bytes are left behind them.
    ///
    /// # Errors
    /// The bytes that were wanted, if there is no room, or what else the file system says.
    pub(crate) fn reserve(&mut self, bytes: u64, keep: u64) -> Result<(), (u64, io::Error)> {
        let wanted = self.end + bytes + keep;
        if wanted <= self.reserved {
            return Ok(());
        }
        let file = &self.segment.file;
        let comfortable = wanted.next_multiple_of(RESERVE_STEP);
        if file.reserve(self.reserved, comfortable).is_ok() {
            self.reserved = comfortable;
            return Ok(());
        }
        file.reserve(self.reserved, wanted).map_err(|error| (wanted - self.reserved, error))?;
        self.reserved = wanted;
        Ok(())
    }

    /// Gives back the room that was reserved; the segment is complete.
    pub(crate) fn seal(&self) -> io::Result<()> {
        self.segment.file.set_len(self.end)?;
        self.segment.file.sync()
    }
}
