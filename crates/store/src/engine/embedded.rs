//! The embedded engine: a log of its own, in one directory.
//!
//! ```text
//! checkpoint-REVISION   all objects at a revision, sorted by key
//! log-NUMBER …          what was committed since, in segments
//! ```
//! Each batch of transactions is one checksummed frame with one sync ([`writer`]). Memory answers all reads; the log
//! is read at opening ([`recover`]) and for history that memory no longer has ([`history`]). Every version in the log
//! names the place of the one before it, so an event gets its `prev` back without an index. A checkpoint is written
//! when the log has grown; files go once compaction has passed them ([`catalog`]).
//!
//! Why not a key-value library: what is promised here rests on the file layer ([`files`]), and has to be tried there.
//! Everything after the last sync lost and the last record torn; a failed sync, after which nothing of the old log may
//! be trusted; a full disk, seen before the append. Libraries hide these, keep an index nobody would read (memory is
//! the index), and would need history by revision on top all the same. What remains is an append-only file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use self::catalog::Catalog;
use self::files::{Directory, Files};
use self::writer::{DELETES_RESERVE, Request, TxnRequest, Writer};
use crate::engine::{Engine, History, Page};
use crate::sequence::{Prepared, PreparedOp};
use crate::state::State;
use crate::{CommitError, Committed, OpenError, ReadError, Revision};

mod catalog;
mod checkpoint;
mod codec;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod faulty;
mod files;
mod frame;
mod history;
mod recover;
mod segment;
mod writer;

pub(crate) struct Embedded {
    state: Arc<State>,
    catalog: Arc<Mutex<Catalog>>,
    queue: mpsc::Sender<Request>,
}

// === impl Embedded ===

impl Embedded {
    pub(crate) async fn open(dir: &Path, state: Arc<State>) -> Result<Self, OpenError> {
        let dir = dir.to_owned();
        let opening = tokio::task::spawn_blocking(move || Self::open_on(Arc::new(Directory::open(&dir)?), state));
        let failed =
            |error: tokio::task::JoinError| OpenError::Io { path: "the log".into(), source: io::Error::other(error) };
        opening.await.map_err(failed)?
    }

    /// Opens the log on a file layer. Blocks.
    fn open_on(files: Arc<dyn Files>, state: Arc<State>) -> Result<Self, OpenError> {
        let recovered = recover::recover(&*files, &state, DELETES_RESERVE)?;
        state.load(recovered.entries.into_values(), recovered.revision, recovered.compacted);
        let covered_to = recovered.catalog.covered_to();
        let catalog = Arc::new(Mutex::new(recovered.catalog));
        let (queue, requests) = mpsc::channel(state.limits.queued_txns_max);
        let writer = Writer {
            state: state.clone(),
            files,
            catalog: catalog.clone(),
            tail: recovered.tail,
            revision: recovered.revision,
            grown: recovered.grown,
            covered_to,
            broken: None,
            checkpointing: None,
            frame: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("store-log".into());
        let started = thread.spawn(move || {
            yield_to_writers();
            writer.run(requests);
        });
        started.map_err(|source| OpenError::Io { path: "the log's thread".into(), source })?;
        Ok(Self { state, catalog, queue })
    }

    fn seal(&self, txn: &Prepared) -> Result<Option<Vec<Bytes>>, CommitError> {
        let Some(transform) = &self.state.transform else { return Ok(None) };
        let puts = txn.ops.iter().filter_map(|op| match op {
            PreparedOp::Put { key, value, .. } => Some(transform.seal(key, value)),
            PreparedOp::Delete { .. } => None,
        });
        puts.collect::<io::Result<_>>().map(Some).map_err(|error| CommitError::Invalid(error.to_string()))
    }
}

/// The log's thread is nicer than those that it is woken by: where all processors are busy it lets them bring what they
/// are about, so that a sync carries more transactions (two fifths fewer syncs with 16 and with 64 clients). An idle
/// processor runs it at once.
fn yield_to_writers() {
    const NICE: i32 = 5;
    // Linux knows the nice value of each thread.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the log's thread keeps its priority");
    }
}

impl Engine for Embedded {
    fn txn(&self, txn: Prepared) -> BoxFuture<'_, Result<Committed, CommitError>> {
        async move {
            let sealed = self.seal(&txn)?;
            let (reply, answer) = oneshot::channel();
            let request = Request::Txn(TxnRequest { txn, sealed, reply });
            self.queue.send(request).await.map_err(|_| CommitError::Closed)?;
            answer.await.map_err(|_| CommitError::Closed)?
        }
        .boxed()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        futures::future::ready(Ok(self.state.visible())).boxed()
    }

    fn history(&self, query: History) -> BoxFuture<'_, Result<Page, ReadError>> {
        let (state, catalog) = (self.state.clone(), self.catalog.clone());
        let reading = tokio::task::spawn_blocking(move || history::read(&state, &catalog, &query));
        async move { reading.await.map_err(|error| ReadError::Unavailable(error.to_string()))? }.boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        async move {
            let (reply, answer) = oneshot::channel();
            self.queue.send(Request::Compact { revision, reply }).await.map_err(|_| ReadError::Closed)?;
            let done = answer.await.map_err(|_| ReadError::Closed)?;
            done.map_err(|error| ReadError::Unavailable(error.to_string()))
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            let (reply, answer) = oneshot::channel();
            if self.queue.send(Request::Close { reply }).await.is_ok() {
                // An error means that the thread is gone already.
                let _ = answer.await;
            }
        }
        .boxed()
    }
}
