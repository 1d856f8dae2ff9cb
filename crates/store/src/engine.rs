//! What makes transactions durable and remembers history: one trait, three engines.
//!
//! An engine decides transactions, makes them durable, and then hands the changes to [`State::apply`], in order.
//! Everything that is read from memory is the state's; an engine is asked only for older history.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::resource::Resource;
use crate::sequence::Prepared;
use crate::state::State;
use crate::{CommitError, Committed, Event, OpenError, Options, ReadError, Revision};
use crate::{EngineConfig, Extract};

mod embedded;
mod etcd;
mod memory;

/// Asks for events of one resource with a revision in `(after, upto]`.
pub(crate) struct History {
    pub(crate) resource: Arc<Resource>,
    pub(crate) after: Revision,
    pub(crate) upto: Revision,
}

/// Some of them, oldest first.
pub(crate) struct Page {
    pub(crate) events: Vec<Arc<Event>>,
    /// All events up to here are in the page; more than was asked after, so that a reader gets on.
    pub(crate) through: Revision,
}

pub(crate) trait Engine: Send + Sync + 'static {
    /// Decides a transaction and makes it durable and visible.
    fn txn(&self, txn: Prepared) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// Waits until memory holds all that was committed before the call, by anybody.
    fn barrier(&self) -> BoxFuture<'_, Result<Revision, ReadError>>;

    /// Reads events that memory no longer has. Keys that are not the resource's are left out.
    fn history(&self, query: History) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// Forgets history up to `revision`.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), ReadError>>;

    /// Compacts to `revision` if that is this server's turn; servers that share an etcd take turns.
    fn compact_by_time(&self, revision: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        self.compact(revision)
    }

    /// Finishes what is queued and lets go of files and connections.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Opens the engine and fills the state with what it holds.
pub(crate) async fn open(
    config: EngineConfig,
    extract: Arc<dyn Extract>,
    options: &Options,
) -> Result<(Arc<State>, Arc<dyn Engine>), OpenError> {
    let expires_keys = matches!(config, EngineConfig::Etcd(_));
    let state = Arc::new(State::new(extract, options, !expires_keys));
    let engine: Arc<dyn Engine> = match config {
        EngineConfig::Memory => Arc::new(memory::Memory::open(state.clone())),
        EngineConfig::Embedded { dir } => Arc::new(embedded::Embedded::open(&dir, state.clone()).await?),
        EngineConfig::Etcd(config) => Arc::new(etcd::Etcd::open(&config, state.clone()).await?),
    };
    Ok((state, engine))
}
