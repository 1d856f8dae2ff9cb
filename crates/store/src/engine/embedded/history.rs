//! Reading events from the log. Each event gets back the version before it: the log says where that was written.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::catalog::Catalog;
use super::codec::{Commit, Decoder, TAG_DATA};
use super::frame::{End, Frames};
use super::segment::Segment;
use crate::engine::{History, Page};
use crate::state::State;
use crate::{Entry, Event, ReadError, Revision};

/// Bytes of values in one page.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of log looked through for one page: some 10 ms.
const LOOK_BYTES: u64 = 16 << 20;

struct Reader<'a> {
    state: &'a State,
    catalog: &'a Mutex<Catalog>,
    query: &'a History,
    events: Vec<Arc<Event>>,
    bytes: usize,
    /// Versions that were read on the way.
    recent: HashMap<Arc<str>, Arc<Entry>>,
}

/// Reads some of the events that are asked for. Blocks.
pub(crate) fn read(state: &State, catalog: &Mutex<Catalog>, query: &History) -> Result<Page, ReadError> {
    let compacted = state.compacted();
    if query.after < compacted {
        return Err(ReadError::Compacted { revision: query.after, compacted });
    }
    let segments = catalog.lock().segments_after(query.after);
    let mut reader = Reader { state, catalog, query, events: Vec::new(), bytes: 0, recent: HashMap::new() };
    let mut through = query.after;
    let mut looked = 0;
    for segment in segments {
        match reader.segment(&segment, &mut through, &mut looked)? {
            true => {}
            false => return Ok(Page { events: reader.events, through }),
        }
    }
    Ok(Page { events: reader.events, through: query.upto })
}

impl Reader<'_> {
    /// False if the page is full.
    fn segment(&mut self, segment: &Segment, through: &mut Revision, looked: &mut u64) -> Result<bool, ReadError> {
        let mut frames = Frames::new(&*segment.file, segment.nonce, segment.offset_after(self.query.after));
        let damaged = |offset: u64| ReadError::Corrupt(format!("segment {:08x}, byte {offset}", segment.id));
        while frames.offset < segment.end() {
            let at = frames.offset;
            let frame = match frames.next().map_err(unreadable)? {
                Ok(frame) => frame,
                // Room that was reserved and not given back.
                Err(End::Clean) => break,
                Err(End::Torn) => return Err(damaged(at)),
            };
            if frame.tag != TAG_DATA {
                continue;
            }
            let mut decoder = Decoder::data(frame.body, self.state).ok_or_else(|| damaged(frame.offset))?;
            while !decoder.is_empty() {
                let revision = decoder.peek_u64().ok_or_else(|| damaged(frame.offset))?;
                let wanted = revision > self.query.after && revision <= self.query.upto;
                let commit =
                    decoder.commit(|key| wanted && self.is_wanted(key)).ok_or_else(|| damaged(frame.offset))?;
                if revision > self.query.upto {
                    return Ok(true);
                }
                self.commit(commit)?;
                *through = revision.max(*through);
            }
            *looked += frame.end - frame.offset;
            if (self.bytes >= PAGE_BYTES || *looked >= LOOK_BYTES) && *through > self.query.after {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_wanted(&self, key: &str) -> bool {
        let resource = &self.query.resource;
        key.starts_with(&*resource.prefix) && Arc::ptr_eq(&self.state.resource(key), resource)
    }

    fn commit(&mut self, commit: Commit) -> Result<(), ReadError> {
        for op in commit.ops {
            let prev = match op.prev {
                0 => None,
                place => Some(self.version(place, &op.key, commit.revision)?),
            };
            let event = match (op.put, prev) {
                (Some(entry), prev) => {
                    self.recent.insert(op.key, entry.clone());
                    Event::put(entry, prev, commit.origin.clone())
                }
                (None, Some(last)) => Event::delete(commit.revision, last, commit.origin.clone()),
                (None, None) => continue,
            };
            self.bytes += event.entry.value.len() + event.entry.key.len();
            self.events.push(Arc::new(event));
        }
        Ok(())
    }

    /// The newest version of `key` before a revision; it was written at `place`.
    fn version(&self, place: u64, key: &str, before: Revision) -> Result<Arc<Entry>, ReadError> {
        if let Some(entry) = self.recent.get(key).filter(|entry| entry.place == place && entry.mod_revision < before) {
            return Ok(entry.clone());
        }
        let missing = || ReadError::Corrupt(format!("the version of {key} before revision {before} is missing"));
        let (segment, checkpoint) = {
            let catalog = self.catalog.lock();
            (catalog.segments.get(&((place >> 32) as u32)).cloned(), catalog.checkpoint_before(before))
        };
        let found = match (segment, checkpoint) {
            (Some(segment), _) => self.in_segment(&segment, place & u64::from(u32::MAX), key, before),
            (None, Some(checkpoint)) => checkpoint.find(key, self.state),
            (None, None) => Ok(None),
        };
        found.map_err(unreadable)?.map(Arc::new).ok_or_else(missing)
    }

    fn in_segment(&self, segment: &Segment, offset: u64, key: &str, before: Revision) -> io::Result<Option<Entry>> {
        let mut frames = Frames::one(&*segment.file, segment.nonce, offset);
        let Ok(frame) = frames.next()? else { return Ok(None) };
        let Some(mut decoder) = Decoder::data(frame.body, self.state) else { return Ok(None) };
        let mut newest = None;
        while decoder.peek_u64().is_some_and(|revision| revision < before) {
            let Some(commit) = decoder.commit(|of| of == key) else { return Ok(None) };
            if let Some(entry) = commit.ops.into_iter().next().and_then(|op| op.put) {
                newest = Some(entry);
            }
        }
        Ok(newest.and_then(Arc::into_inner))
    }
}

fn unreadable(error: io::Error) -> ReadError {
    ReadError::Unavailable(error.to_string())
}
