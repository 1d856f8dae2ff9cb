//! Which files there are: what readers of history choose from, and what can go.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::{self, Checkpoint};
use super::files::Files;
use super::segment::{self, Segment};
use crate::Revision;

/// The log's files, oldest first.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) segments: BTreeMap<u32, Arc<Segment>>,
    pub(crate) checkpoints: BTreeMap<Revision, Arc<Checkpoint>>,
}

// === impl Catalog ===

impl Catalog {
    /// The segments that hold events after `revision`.
    pub(crate) fn segments_after(&self, revision: Revision) -> Vec<Arc<Segment>> {
        let mut found: Vec<_> = self.segments.values().rev().cloned().collect();
        let first = found.iter().position(|segment| segment.after <= revision);
        found.truncate(first.map_or(found.len(), |at| at + 1));
        found.reverse();
        found
    }

    /// The newest checkpoint that was taken before `revision`.
    pub(crate) fn checkpoint_before(&self, revision: Revision) -> Option<Arc<Checkpoint>> {
        self.checkpoints.range(..revision).next_back().map(|(_, checkpoint)| checkpoint.clone())
    }

    /// The first segment that no checkpoint covers.
    pub(crate) fn covered_to(&self) -> u32 {
        let newest = self.checkpoints.values().next_back().map(|newest| newest.header.segment);
        newest.or(self.segments.keys().next().copied()).unwrap_or_default()
    }

    /// Takes out what history from `compacted` on does not need, and returns the files' names.
    ///
    /// The newest checkpoint at or before `compacted` is where history starts; nothing older is read any more.
    pub(crate) fn forget(&mut self, compacted: Revision) -> Vec<String> {
        let Some((&base, checkpoint)) = self.checkpoints.range(..=compacted).next_back() else { return Vec::new() };
        let first = checkpoint.header.segment;
        let (old, kept) = std::mem::take(&mut self.segments).into_iter().partition(|(id, _)| *id < first);
        self.segments = kept;
        let kept = self.checkpoints.split_off(&base);
        let gone = std::mem::replace(&mut self.checkpoints, kept);
        let old: BTreeMap<u32, Arc<Segment>> = old;
        old.keys().map(|id| segment::name(*id)).chain(gone.keys().map(|revision| checkpoint::name(*revision))).collect()
    }
}

/// Removes files that nothing refers to any more; what can't be removed now goes when the store opens next.
pub(crate) fn remove(files: &dyn Files, names: &[String]) {
    for name in names {
        if let Err(error) = files.remove(name) {
            tracing::warn!(%name, %error, "a file of the log that is no longer needed could not be removed");
        }
    }
}
