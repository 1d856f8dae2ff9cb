//! Opening the log: the newest whole checkpoint, then every segment behind it.
//!
//! The newest segment may end in a torn frame: it was never acknowledged and is cut off. Anything else that does not
//! read back was acknowledged once: the store refuses to open rather than to lose it silently.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::catalog::{self, Catalog};
use super::checkpoint::{self, Checkpoint};
use super::codec::{Decoder, TAG_COMPACTED, TAG_DATA};
use super::files::{File, Files};
use super::frame::{End, Frames};
use super::segment::{self, Segment, Tail};
use crate::state::State;
use crate::{Entry, OpenError, Revision};

/// An empty etcd is at revision 1.
const FIRST_REVISION: Revision = 1;

/// What the files hold.
pub(crate) struct Recovered {
    pub(crate) entries: BTreeMap<Arc<str>, Arc<Entry>>,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) catalog: Catalog,
    pub(crate) tail: Tail,
    /// Bytes of log behind the newest checkpoint.
    pub(crate) grown: u64,
}

struct Recovery<'a> {
    files: &'a dyn Files,
    state: &'a State,
    entries: BTreeMap<Arc<str>, Arc<Entry>>,
    revision: Revision,
    compacted: Revision,
}

/// Reads everything and starts a new segment with `reserve` bytes of room. Blocks.
pub(crate) fn recover(files: &dyn Files, state: &State, reserve: u64) -> Result<Recovered, OpenError> {
    let mut recovery = Recovery { files, state, entries: BTreeMap::new(), revision: FIRST_REVISION, compacted: 0 };
    let names = files.list().map_err(|error| named("the directory", error))?;
    let mut segments = recovery.open_all(&names, segment::id_of)?;
    let mut checkpoints = recovery.open_all(&names, checkpoint::revision_of)?;
    let mut garbage: Vec<String> = names.into_iter().filter(|name| checkpoint::is_unfinished(name)).collect();
    let mut catalog = Catalog::default();
    let newest = recovery.newest_checkpoint(&mut checkpoints, &segments)?;
    let first = newest.as_ref().map_or(0, |newest| newest.header.segment);
    let behind = segments.split_off(&first);
    if let Some(newest) = newest {
        recovery.older(&newest, checkpoints, segments, &mut catalog, &mut garbage)?;
        catalog.checkpoints.insert(newest.header.revision, Arc::new(newest));
    }
    let grown = recovery.replay(behind, &mut catalog)?;
    garbage.extend(catalog.forget(recovery.compacted));
    catalog::remove(files, &garbage);
    let id = catalog.segments.keys().next_back().map_or(first.max(1), |last| last + 1);
    let tail = start(files, id, recovery.revision, reserve, catalog.segments.values().next_back())
        .map_err(|error| named(&segment::name(id), error))?;
    catalog.segments.insert(tail.segment.id, tail.segment.clone());
    let Recovery { entries, revision, compacted, .. } = recovery;
    Ok(Recovered { entries, revision, compacted, catalog, tail, grown })
}

/// The segment that is written from now on: a new one, with as much room reserved as there is. On a disk that is quite
/// full the newest goes on, whose end is clean: what is there can be read, and deleted.
fn start(files: &dyn Files, id: u32, after: Revision, reserve: u64, newest: Option<&Arc<Segment>>) -> io::Result<Tail> {
    let mut room = reserve;
    loop {
        match (Tail::create(files, id, after, room), newest) {
            (Err(error), _) if error.kind() == ErrorKind::StorageFull && room > 0 => room /= 4,
            (Err(error), Some(newest)) if error.kind() == ErrorKind::StorageFull => return Ok(Tail::go_on(newest)),
            (made, _) => return made,
        }
    }
}

fn named(path: &str, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

fn corrupt(file: String, offset: u64, reason: impl Into<String>) -> OpenError {
    OpenError::Corrupt { file, offset, reason: reason.into() }
}

impl Recovery<'_> {
    fn open_all<K: Ord>(
        &self,
        names: &[String],
        key_of: fn(&str) -> Option<K>,
    ) -> Result<BTreeMap<K, Arc<dyn File>>, OpenError> {
        let ours = names.iter().filter_map(|name| key_of(name).map(|key| (key, name)));
        ours.map(|(key, name)| Ok((key, self.files.open(name).map_err(|error| named(name, error))?))).collect()
    }

    /// Loads the newest checkpoint that is whole. An older one serves as well if the log still goes on from there.
    fn newest_checkpoint(
        &mut self,
        checkpoints: &mut BTreeMap<Revision, Arc<dyn File>>,
        segments: &BTreeMap<u32, Arc<dyn File>>,
    ) -> Result<Option<Checkpoint>, OpenError> {
        let mut damage = None;
        while let Some((revision, file)) = checkpoints.pop_last() {
            let name = checkpoint::name(revision);
            self.entries.clear();
            let entries = &mut self.entries;
            let keep = |entry: Entry| drop(entries.insert(entry.key.clone(), Arc::new(entry)));
            match Checkpoint::load(file, self.state, keep).map_err(|error| named(&name, error))? {
                Ok(found) if damage.is_none() || segments.contains_key(&found.header.segment) => {
                    (self.revision, self.compacted) = (found.header.revision, found.header.compacted);
                    return Ok(Some(found));
                }
                Ok(_) => {}
                Err((offset, reason)) => {
                    tracing::error!(file = name, offset, reason, "a checkpoint is damaged, an older one is tried");
                    damage.get_or_insert_with(|| corrupt(name, offset, reason));
                }
            }
        }
        self.entries.clear();
        match damage {
            // The log from its birth serves as well.
            Some(damage) if !segments.contains_key(&1) => Err(damage),
            _ => Ok(None),
        }
    }

    /// What history before the newest checkpoint can be read from.
    fn older(
        &mut self,
        newest: &Checkpoint,
        checkpoints: BTreeMap<Revision, Arc<dyn File>>,
        segments: BTreeMap<u32, Arc<dyn File>>,
        catalog: &mut Catalog,
        garbage: &mut Vec<String>,
    ) -> Result<(), OpenError> {
        let mut history_from = newest.header.revision;
        // Without a gap back from the newest checkpoint.
        let (mut wanted, mut linked) = (newest.header.segment, !newest.header.fresh);
        for (id, file) in segments.into_iter().rev() {
            let header = segment::header(&*file).map_err(|error| named(&segment::name(id), error))?;
            match header.filter(|header| linked && header.id == id && id + 1 == wanted) {
                Some(header) => {
                    let end = file.len().map_err(|error| named(&segment::name(id), error))?;
                    history_from = header.after;
                    catalog.segments.insert(id, Segment::new(file, &header, end));
                    wanted = id;
                }
                None => {
                    linked = false;
                    garbage.push(segment::name(id));
                }
            }
        }
        let mut oldest = newest.header.revision;
        for (revision, file) in checkpoints {
            let usable = revision >= history_from && !newest.header.fresh;
            let loaded =
                Checkpoint::load(file, self.state, drop).map_err(|error| named(&checkpoint::name(revision), error))?;
            match loaded {
                Ok(found) if usable => {
                    oldest = oldest.min(revision);
                    catalog.checkpoints.insert(revision, Arc::new(found));
                }
                _ => garbage.push(checkpoint::name(revision)),
            }
        }
        // The log from its birth needs no checkpoint before it.
        let from = if wanted == 1 { 0 } else { oldest };
        self.compacted = self.compacted.max(from);
        Ok(())
    }

    /// Reads the log behind the checkpoint and leaves its end clean.
    fn replay(&mut self, segments: BTreeMap<u32, Arc<dyn File>>, catalog: &mut Catalog) -> Result<u64, OpenError> {
        let last = segments.keys().next_back().copied();
        let empty_after = self.empty_newest(&segments)?;
        let before_last = segments.keys().rev().nth(1).copied();
        let (mut grown, mut expected) = (0, None);
        for (id, file) in segments {
            let name = segment::name(id);
            let io = |error| named(&name, error);
            let Some(header) = segment::header(&*file).map_err(io)? else {
                self.drop_unfinished(&*file, &name, Some(id) == last)?;
                continue;
            };
            if Some(id) == last && header.after < self.revision && empty_after.is_some() {
                // It could not be made, the log went on without it, and its removal was lost with the power.
                self.files.remove(&name).map_err(io)?;
                continue;
            }
            if header.id != id || header.after != self.revision || expected.is_some_and(|expected| expected != id) {
                let reason =
                    format!("goes on after revision {}, but the log before ends at {}", header.after, self.revision);
                return Err(corrupt(name, 0, reason));
            }
            let segment = Segment::new(file.clone(), &header, header.end);
            // An empty newest segment may be one that could not be made: then the one before was written on.
            let may_tear = if Some(id) == last { Some(0) } else { empty_after.filter(|_| Some(id) == before_last) };
            let end = self.segment(&segment, header.end, &name, may_tear)?;
            grown += end;
            expected = Some(id + 1);
            catalog.segments.insert(id, segment);
        }
        Ok(grown)
    }

    /// If the newest segment has no frames: the revision it would go on after, 0 if not even its header is whole.
    fn empty_newest(&self, segments: &BTreeMap<u32, Arc<dyn File>>) -> Result<Option<Revision>, OpenError> {
        let Some((id, file)) = segments.last_key_value() else { return Ok(None) };
        let io = |error| named(&segment::name(*id), error);
        let Some(header) = segment::header(&**file).map_err(io)? else { return Ok(Some(0)) };
        let mut frames = Frames::new(&**file, header.nonce, header.end);
        let empty = frames.next().map_err(io)?.is_err() && frames.another_behind().map_err(io)?.is_none();
        Ok(empty.then_some(header.after))
    }

    /// A segment whose header is not whole was being made when the power went: it holds nothing.
    fn drop_unfinished(&self, file: &dyn File, name: &str, is_last: bool) -> Result<(), OpenError> {
        let mut frames = Frames::new(file, 0, segment::HEADER_END);
        let empty = frames.next().map_err(|error| named(name, error))?;
        if !is_last || matches!(empty, Ok(_) | Err(End::Torn)) {
            return Err(corrupt(name.to_owned(), 0, "the header is damaged"));
        }
        self.files.remove(name).map_err(|error| named(name, error))
    }

    /// Reads one segment. It may end torn if that loses nothing: if `may_tear` is no revision that it should have.
    fn segment(
        &mut self,
        segment: &Segment,
        start: u64,
        name: &str,
        may_tear: Option<Revision>,
    ) -> Result<u64, OpenError> {
        let io = |error| named(name, error);
        let mut frames = Frames::new(&*segment.file, segment.nonce, start);
        loop {
            let before = self.revision;
            match frames.next().map_err(io)? {
                Ok(frame) => {
                    self.frame(frame.tag, frame.body)
                        .map_err(|reason| corrupt(name.to_owned(), frame.offset, reason))?;
                    segment.advance(before, frame.offset, frames.offset);
                }
                Err(End::Clean) if may_tear.is_none() => return Ok(frames.offset),
                Err(end) => {
                    let offset = frames.offset;
                    if end == End::Torn
                        && let Some(behind) = frames.another_behind().map_err(io)?
                    {
                        return Err(corrupt(
                            name.to_owned(),
                            offset,
                            format!("a damaged frame, whole ones follow at {behind}"),
                        ));
                    }
                    if may_tear.is_none_or(|least| self.revision < least) {
                        return Err(corrupt(name.to_owned(), offset, "a damaged frame, and later segments follow"));
                    }
                    // Nothing may be written behind it as long as it is there.
                    segment.file.set_len(offset).and_then(|()| segment.file.sync()).map_err(io)?;
                    return Ok(offset);
                }
            }
        }
    }

    fn frame(&mut self, tag: u32, body: &[u8]) -> Result<(), &'static str> {
        const UNDECODABLE: &str = "a frame that does not decode";
        match tag {
            TAG_COMPACTED => {
                let revision = Decoder::plain(body, self.state).u64().ok_or(UNDECODABLE)?;
                self.compacted = self.compacted.max(revision);
            }
            TAG_DATA => {
                let mut decoder = Decoder::data(body, self.state).ok_or(UNDECODABLE)?;
                while !decoder.is_empty() {
                    let commit = decoder.commit(|_| true).ok_or(UNDECODABLE)?;
                    if commit.revision <= self.revision {
                        return Err("a revision that was there before");
                    }
                    self.revision = commit.revision;
                    for op in commit.ops {
                        match op.put {
                            Some(entry) => drop(self.entries.insert(op.key, entry)),
                            None => drop(self.entries.remove(&op.key)),
                        }
                    }
                }
            }
            _ => return Err("a frame of an unknown kind"),
        }
        Ok(())
    }
}
