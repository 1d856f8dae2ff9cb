//! The memory engine: decides and publishes at once, in the caller; nothing survives.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::engine::{Engine, History, Page};
use crate::sequence::{Batch, Prepared, Verdict};
use crate::state::State;
use crate::{CommitError, Committed, Event, ReadError, Revision};

/// An empty etcd is at revision 1.
const FIRST_REVISION: Revision = 1;
/// Events looked at for one page of history.
const PAGE_EVENTS_MAX: usize = 1024;

pub(crate) struct Memory {
    state: Arc<State>,
    log: Mutex<Log>,
}

/// All events since the compaction, bounded in bytes.
#[derive(Default)]
struct Log {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn open(state: Arc<State>) -> Self {
        state.load([], FIRST_REVISION, 0);
        Self { state, log: Mutex::default() }
    }

    fn commit(&self, txn: Prepared) -> Result<Committed, CommitError> {
        if self.state.is_closed() {
            return Err(CommitError::Closed);
        }
        let mut log = self.log.lock();
        let mut batch = Batch::new(self.state.visible());
        match batch.turn(&self.state, txn, 0, self.state.clock.now_ms()) {
            Verdict::Conflict { error, .. } => Err(error),
            Verdict::Nothing(committed) => Ok(committed),
            Verdict::Commit(committed) => {
                let mut events = Vec::with_capacity(batch.changes.len());
                self.state.apply(batch.changes, batch.revision, Some(&mut events));
                let dropped = log.push(events, self.state.limits.memory_history_bytes_max);
                if let Some(revision) = dropped {
                    self.state.compact(revision);
                }
                Ok(committed)
            }
        }
    }

    fn page(&self, query: &History) -> Result<Page, ReadError> {
        let log = self.log.lock();
        let compacted = self.state.compacted();
        if query.after < compacted {
            return Err(ReadError::Compacted { revision: query.after, compacted });
        }
        let start = log.events.partition_point(|event| event.revision <= query.after);
        let mut page = Page { events: Vec::new(), through: query.upto };
        let mut last = query.after;
        for (looked, event) in log.events.range(start..).take_while(|event| event.revision <= query.upto).enumerate() {
            if looked >= PAGE_EVENTS_MAX && event.revision != last {
                page.through = last;
                break;
            }
            last = event.revision;
            if Arc::ptr_eq(&self.state.resource(&event.entry.key), &query.resource) {
                page.events.push(event.clone());
            }
        }
        Ok(page)
    }
}

impl Engine for Memory {
    fn txn(&self, txn: Prepared) -> BoxFuture<'_, Result<Committed, CommitError>> {
        futures::future::ready(self.commit(txn)).boxed()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        futures::future::ready(Ok(self.state.visible())).boxed()
    }

    fn history(&self, query: History) -> BoxFuture<'_, Result<Page, ReadError>> {
        futures::future::ready(self.page(&query)).boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        self.log.lock().trim(revision);
        self.state.compact(revision);
        futures::future::ready(Ok(())).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        futures::future::ready(()).boxed()
    }
}

// === impl Log ===

impl Log {
    /// Adds events; returns the newest revision that had to go for them.
    fn push(&mut self, events: Vec<Arc<Event>>, bytes_max: usize) -> Option<Revision> {
        for event in events {
            self.bytes += event.entry.value.len() + event.entry.key.len();
            self.events.push_back(event);
        }
        let mut dropped = None;
        if self.bytes <= bytes_max {
            return None;
        }
        // A good part at once: each time all watchers are told.
        while self.bytes > bytes_max / 4 * 3
            && let Some(event) = self.pop()
        {
            dropped = Some(event.revision);
        }
        dropped
    }

    fn trim(&mut self, revision: Revision) {
        while self.events.front().is_some_and(|event| event.revision <= revision) {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Arc<Event>> {
        let event = self.events.pop_front()?;
        self.bytes -= event.entry.value.len() + event.entry.key.len();
        Some(event)
    }
}
