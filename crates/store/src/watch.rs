//! A watcher: a place in the events of one resource.

use std::pin::pin;
use std::sync::Arc;

use crate::engine::{Engine, History};
use crate::resource::Resource;
use crate::ring::{File, Read, Scope};
use crate::state::State;
use crate::{Event, Revision, WatchError};

/// Events looked at in one go, so that nobody holds a file long.
const LOOK_MAX: usize = 1024;

/// A place in the events of one resource. It holds no events: they wait in the shared ring, and in the log.
pub struct Watch {
    state: Arc<State>,
    engine: Arc<dyn Engine>,
    resource: Arc<Resource>,
    scope: Scope,
    file: Arc<File>,
    /// Where in the file, once known.
    place: Option<u64>,
    /// Everything up to here was delivered.
    cursor: Revision,
}

// === impl Watch ===

impl Watch {
    pub(crate) fn new(
        state: Arc<State>,
        engine: Arc<dyn Engine>,
        resource: Arc<Resource>,
        scope: Scope,
        after: Revision,
    ) -> Result<Self, WatchError> {
        if state.is_closed() {
            return Err(WatchError::Closed);
        }
        // No commit is half published meanwhile: what the file misses is visible, what comes will wake it.
        let (paused, mut ring) = (state.pause(), resource.ring.lock());
        let compacted = state.compacted();
        if after < compacted && after < ring.all.floor() {
            return Err(WatchError::Compacted { after, compacted });
        }
        let file = ring.subscribe(&scope, state.visible());
        drop((ring, paused));
        Ok(Self { state, engine, resource, scope, file, place: None, cursor: after })
    }

    /// Waits for events and appends some to `batch`, oldest first; returns the revision up to which everything has
    /// been delivered, good for a bookmark. A transaction's events come in one batch.
    ///
    /// May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] if the next events are gone, [`WatchError::Closed`] if the store was closed,
    /// [`WatchError::Unavailable`] if history could not be read (the watch may be asked again).
    pub async fn next(&mut self, batch: &mut Vec<Arc<Event>>) -> Result<Revision, WatchError> {
        let before = batch.len();
        let file = self.file.clone();
        loop {
            if self.read(batch, before).await? {
                return Ok(self.cursor);
            }
            let mut notified = pin!(file.notify.notified());
            notified.as_mut().enable();
            // What came before the registration wakes nobody: look once more.
            if self.read(batch, before).await? {
                return Ok(self.cursor);
            }
            notified.await;
        }
    }

    /// The revision up to which everything has been delivered, for a bookmark on a timer: it moves on with events
    /// that do not concern this watch, without waking it.
    pub fn progress(&mut self) -> Revision {
        // Before the file is looked at.
        let visible = self.state.visible();
        self.cursor = self.file.progress(self.cursor, visible);
        self.cursor
    }

    /// Reads on from memory or the log; true if there is something to deliver.
    async fn read(&mut self, batch: &mut Vec<Arc<Event>>, before: usize) -> Result<bool, WatchError> {
        loop {
            if self.state.is_closed() {
                return Err(WatchError::Closed);
            }
            let visible = self.state.visible();
            let from = self.cursor;
            match self.read_memory(visible, batch) {
                Read::Through(revision) => self.cursor = revision,
                Read::Behind { floor } => {
                    let query =
                        History { resource: self.resource.clone(), after: self.cursor, upto: floor.min(visible) };
                    let page = self.engine.history(query).await?;
                    batch.extend(page.events.into_iter().filter(|event| self.scope.matches(event)));
                    self.cursor = page.through;
                    self.place = None;
                }
            }
            if batch.len() > before {
                return Ok(true);
            }
            if self.cursor == from || self.cursor >= visible {
                return Ok(false);
            }
        }
    }

    fn read_memory(&mut self, visible: Revision, batch: &mut Vec<Arc<Event>>) -> Read {
        let scope = &self.scope;
        let read = self.file.read(self.cursor, &mut self.place, visible, LOOK_MAX, |event| scope.matches(event), batch);
        if matches!(read, Read::Through(_)) {
            return read;
        }
        // The file is younger than the cursor: the ring may have what is missing.
        self.place = None;
        let all = self.resource.ring.lock().all.clone();
        all.read(self.cursor, &mut None, visible, LOOK_MAX, |event| scope.matches(event), batch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.resource.ring.lock().unsubscribe(&self.scope);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("resource", &self.resource.prefix)
            .field("scope", &self.scope)
            .field("cursor", &self.cursor)
            .finish()
    }
}
