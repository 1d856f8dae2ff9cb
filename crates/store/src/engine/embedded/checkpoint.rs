//! A checkpoint: all objects at one revision, sorted by key, so that recovery need not read the log from its birth
//! and history can find what no later segment holds.

use std::io;
use std::sync::Arc;

use super::codec::{self, Decoder, FORMAT, TAG_DATA, TAG_END, TAG_HEADER, put_u32, put_u64};
use super::files::{File, Files};
use super::frame::{self, Frames};
use super::segment;
use crate::state::State;
use crate::{Entry, Revision};

/// Entries are gathered into frames of about this many bytes; a lookup reads one.
const FRAME_BYTES: usize = 128 << 10;
const PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = "unfinished";

/// A checkpoint on disk.
pub(crate) struct Checkpoint {
    pub(crate) header: Header,
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
    /// The first key of each frame, and its offset.
    index: Vec<(Arc<str>, u64)>,
}

/// What the first frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) revision: Revision,
    /// History up to here was compacted when the checkpoint was written.
    pub(crate) compacted: Revision,
    /// The log goes on in this segment.
    pub(crate) segment: u32,
    /// Nothing before this checkpoint counts: the log before it could not be trusted.
    pub(crate) fresh: bool,
    nonce: u32,
}

pub(crate) fn name(revision: Revision) -> String {
    format!("{PREFIX}{revision:016x}")
}

/// The revision in a file name, if it is a checkpoint's.
pub(crate) fn revision_of(name: &str) -> Option<Revision> {
    u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()
}

pub(crate) fn is_unfinished(name: &str) -> bool {
    name == UNFINISHED
}

// === impl Header ===

impl Header {
    pub(crate) fn new(revision: Revision, compacted: Revision, segment: u32, fresh: bool) -> Self {
        Self { revision, compacted, segment, fresh, nonce: segment::nonce() }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        [FORMAT, self.nonce, self.segment, u32::from(self.fresh)].into_iter().for_each(|number| put_u32(out, number));
        put_u64(out, self.revision);
        put_u64(out, self.compacted);
    }

    fn decode(body: &[u8], state: &State) -> Option<Self> {
        let mut decoder = Decoder::plain(body, state);
        if decoder.u32()? != FORMAT {
            return None;
        }
        let (nonce, segment, fresh) = (decoder.u32()?, decoder.u32()?, decoder.u32()? != 0);
        Some(Self { revision: decoder.u64()?, compacted: decoder.u64()?, segment, fresh, nonce })
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Writes all objects of `entries`; the checkpoint is durable and in its place when this returns.
    pub(crate) fn write(
        files: &dyn Files,
        state: &State,
        header: Header,
        mut entries: Vec<Arc<Entry>>,
    ) -> io::Result<Self> {
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let file = files.create(UNFINISHED)?;
        let written = Self::fill(&file, state, header, &entries).and_then(|checkpoint| {
            file.sync()?;
            files.rename(UNFINISHED, &name(header.revision))?;
            files.sync_names()?;
            Ok(checkpoint)
        });
        if written.is_err() {
            // It is taken for nothing by its name; try to give its room back.
            let _ = files.remove(UNFINISHED);
        }
        written
    }

    fn fill(file: &Arc<dyn File>, state: &State, header: Header, entries: &[Arc<Entry>]) -> io::Result<Self> {
        let (mut out, mut at, mut index) = (Vec::with_capacity(2 * FRAME_BYTES), 0, Vec::new());
        let mut put = |out: &mut Vec<u8>, nonce: u32, tag: u32| {
            frame::finish(out, nonce, tag);
            file.write_at(out, at)?;
            let offset = at;
            at += out.len() as u64;
            Ok::<_, io::Error>((offset, at))
        };
        frame::begin(&mut out);
        header.encode(&mut out);
        put(&mut out, 0, TAG_HEADER)?;
        let mut rest = entries.iter().peekable();
        while let Some(first) = rest.peek().map(|entry| entry.key.clone()) {
            frame::begin(&mut out);
            codec::put_version(&mut out, &*state.extract);
            while out.len() < FRAME_BYTES
                && let Some(entry) = rest.next()
            {
                let sealed =
                    state.transform.as_ref().map(|transform| transform.seal(&entry.key, &entry.value)).transpose()?;
                codec::put_entry(&mut out, entry, sealed.as_ref());
            }
            index.push((first, put(&mut out, header.nonce, TAG_DATA)?.0));
        }
        frame::begin(&mut out);
        put_u64(&mut out, entries.len() as u64);
        let (_, bytes) = put(&mut out, header.nonce, TAG_END)?;
        Ok(Self { header, file: file.clone(), bytes, index })
    }

    /// Reads a checkpoint and hands each entry to `visit`.
    ///
    /// # Errors
    /// Where it is damaged, and how.
    pub(crate) fn load(
        file: Arc<dyn File>,
        state: &State,
        mut visit: impl FnMut(Entry),
    ) -> io::Result<Result<Self, (u64, &'static str)>> {
        let mut frames = Frames::new(&*file, 0, 0);
        let Ok(first) = frames.next()? else { return Ok(Err((0, "no header"))) };
        let header = Header::decode(first.body, state).filter(|_| first.tag == TAG_HEADER);
        let Some(header) = header else { return Ok(Err((0, "an unknown header"))) };
        let mut frames = Frames::new(&*file, header.nonce, first.end);
        let (mut index, mut count) = (Vec::new(), 0);
        loop {
            let at = frames.offset;
            let Ok(frame) = frames.next()? else { return Ok(Err((at, "a damaged frame"))) };
            let bad = Ok(Err((frame.offset, "an undecodable frame")));
            if frame.tag == TAG_END {
                let (whole, bytes) = (Decoder::plain(frame.body, state).u64() == Some(count), frame.end);
                return if whole { Ok(Ok(Self { header, file, bytes, index })) } else { bad };
            }
            let Some(mut decoder) = Decoder::data(frame.body, state) else { return bad };
            let before = count;
            while !decoder.is_empty() {
                let Some(entry) = decoder.entry() else { return bad };
                if count == before {
                    index.push((entry.key.clone(), frame.offset));
                }
                count += 1;
                visit(entry);
            }
        }
    }

    /// The entry of one key.
    pub(crate) fn find(&self, key: &str, state: &State) -> io::Result<Option<Entry>> {
        let behind = self.index.partition_point(|(first, _)| **first <= *key);
        let Some((_, offset)) = behind.checked_sub(1).and_then(|at| self.index.get(at)) else { return Ok(None) };
        let mut frames = Frames::one(&*self.file, self.header.nonce, *offset);
        let Ok(frame) = frames.next()? else { return Ok(None) };
        let Some(mut decoder) = Decoder::data(frame.body, state) else { return Ok(None) };
        while !decoder.is_empty() {
            match decoder.entry_if(&mut |of| of == key) {
                Some(Some(entry)) => return Ok(Some(entry)),
                Some(None) => {}
                None => break,
            }
        }
        Ok(None)
    }
}
