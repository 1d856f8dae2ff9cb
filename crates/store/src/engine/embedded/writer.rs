//! The writer: one thread that decides transactions, logs a batch of them with one sync, and publishes it.
//!
//! While a batch is on its way to the disk the next one gathers in the queue. After a failed sync the writer is
//! *broken*: nothing is written until a new log, whole from memory, was synced and read back.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::catalog::{self, Catalog};
use super::checkpoint::{self, Checkpoint};
use super::codec;
use super::files::Files;
use super::frame;
use super::segment::{self, Tail};
use crate::sequence::{Batch, Prepared, Verdict};
use crate::state::State;
use crate::{CommitError, Committed, Entry, Revision};

/// Transactions in one frame.
const BATCH_TXNS_MAX: usize = 1024;
/// Bytes of keys and values in one frame; a larger transaction has its own.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// A segment that is longer is not written on.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// More segments than this behind a checkpoint are worth another: every opening starts one.
pub(crate) const SEGMENTS_MAX: u32 = 64;
/// Room kept for transactions that only delete, so that a full disk can be emptied.
pub(crate) const DELETES_RESERVE: u64 = 256 << 10;
/// Bytes of a frame besides keys, values and records: at most this for an operation, and for a transaction.
const OP_OVERHEAD: u64 = 96;
/// A broken log is not written anew more often than this.
const REPAIR_EVERY: Duration = Duration::from_secs(1);

/// What the writer is asked for.
pub(crate) enum Request {
    Txn(TxnRequest),
    Compact { revision: Revision, reply: oneshot::Sender<io::Result<()>> },
    Close { reply: oneshot::Sender<()> },
}

pub(crate) struct TxnRequest {
    pub(crate) txn: Prepared,
    /// The transformed values of the puts, if there is a transformation.
    pub(crate) sealed: Option<Vec<Bytes>>,
    pub(crate) reply: oneshot::Sender<Result<Committed, CommitError>>,
}

pub(crate) struct Writer {
    pub(crate) state: Arc<State>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) tail: Tail,
    /// The newest revision that was ever given out, published or not.
    pub(crate) revision: Revision,
    /// Bytes of log behind the newest checkpoint.
    pub(crate) grown: u64,
    /// The segment behind the newest checkpoint, or behind the last attempt of one. Segments before it may stay long,
    /// as history needs them: they call for no further checkpoint.
    pub(crate) covered_to: u32,
    pub(crate) broken: Option<Broken>,
    pub(crate) checkpointing: Option<JoinHandle<()>>,
    pub(crate) frame: Vec<u8>,
}

/// The log can't be trusted.
pub(crate) struct Broken {
    reason: String,
    retry_at: Instant,
}

/// An answer that waits for the sync.
struct Answer {
    reply: oneshot::Sender<Result<Committed, CommitError>>,
    result: Result<Committed, CommitError>,
    /// Whether the transaction is in the frame.
    wrote: bool,
}

// === impl Writer ===

impl Writer {
    /// Serves until the queue is closed or told to close.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut closing = None;
        while closing.is_none()
            && let Some(first) = queue.blocking_recv()
        {
            let (mut txns, mut bytes) = (Vec::new(), 0);
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Txn(request) => {
                        bytes += request.txn.bytes();
                        txns.push(request);
                    }
                    Request::Compact { revision, reply } => drop(reply.send(self.compact(revision))),
                    Request::Close { reply } => closing = Some(reply),
                }
                let room = txns.len() < BATCH_TXNS_MAX && bytes < BATCH_BYTES_MAX && closing.is_none();
                next = if room { queue.try_recv().ok() } else { None };
            }
            self.commit(txns);
            self.maintain();
        }
        // Files and lock go before the answer.
        self.finish();
        drop(queue);
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    fn finish(mut self) {
        if let Some(thread) = self.checkpointing.take() {
            let _ = thread.join();
        }
        if self.broken.is_none()
            && let Err(error) = self.tail.seal()
        {
            tracing::warn!(%error, "reserved room at the log's end could not be given back");
        }
    }

    /// Logs a batch and answers everybody in it.
    fn commit(&mut self, mut txns: Vec<TxnRequest>) {
        if let Err(reason) = self.repair() {
            return refuse(txns, || CommitError::Unavailable(reason.clone()));
        }
        txns = self.admit(txns);
        if txns.is_empty() {
            return;
        }
        let (batch, answers) = self.decide(txns);
        if batch.changes.is_empty() {
            return answer(answers);
        }
        let before = self.revision;
        self.revision = batch.revision;
        match self.append(before) {
            Ok(()) => {
                self.state.apply(batch.changes, batch.revision, None);
                answer(answers);
            }
            Err(failure) => {
                tracing::error!(error = %failure.error, "the log failed; it will be written anew before the next commit");
                self.broken = Some(Broken { reason: failure.error.to_string(), retry_at: Instant::now() });
                answers.into_iter().for_each(|answer| answer.fail(&failure));
            }
        }
    }

    /// Refuses what the disk has no room for, before anything is written.
    fn admit(&mut self, txns: Vec<TxnRequest>) -> Vec<TxnRequest> {
        let total: u64 = txns.iter().map(TxnRequest::logged_bytes).sum();
        let Err(_) = self.tail.reserve(total, DELETES_RESERVE) else { return txns };
        let mut used = 0;
        let mut admitted = Vec::new();
        for request in txns {
            let bytes = request.logged_bytes();
            let keep = if request.txn.only_deletes() { 0 } else { DELETES_RESERVE };
            match self.tail.reserve(used + bytes, keep) {
                Ok(()) => {
                    used += bytes;
                    admitted.push(request);
                }
                Err((needed, error)) => drop(request.reply.send(Err(self.no_room(needed, &error)))),
            }
        }
        admitted
    }

    fn no_room(&self, needed: u64, error: &io::Error) -> CommitError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                CommitError::Full { needed, free: self.files.free().unwrap_or(0) }
            }
            _ => CommitError::Unavailable(error.to_string()),
        }
    }

    /// Each transaction's turn; the frame holds what is to be logged.
    fn decide(&mut self, txns: Vec<TxnRequest>) -> (Batch, Vec<Answer>) {
        let place = u64::from(self.tail.segment.id) << 32 | self.tail.end;
        let now_ms = self.state.clock.now_ms();
        let mut batch = Batch::new(self.revision);
        let mut answers = Vec::with_capacity(txns.len());
        frame::begin(&mut self.frame);
        codec::put_version(&mut self.frame, &*self.state.extract);
        for TxnRequest { txn, sealed, reply } in txns {
            let before = batch.changes.len();
            let (result, wrote) = match batch.turn(&self.state, txn, place, now_ms) {
                Verdict::Commit(committed) => {
                    codec::put_commit(&mut self.frame, &batch.changes[before..], sealed.as_deref());
                    (Ok(committed), true)
                }
                Verdict::Nothing(committed) => (Ok(committed), false),
                Verdict::Conflict { error, pending: false } => {
                    let _ = reply.send(Err(error));
                    continue;
                }
                // It tells of what is not durable yet.
                Verdict::Conflict { error, pending: true } => (Err(error), false),
            };
            answers.push(Answer { reply, result, wrote });
        }
        (batch, answers)
    }

    /// Writes and syncs the frame.
    fn append(&mut self, before: Revision) -> Result<(), Failure> {
        frame::finish(&mut self.frame, self.tail.segment.nonce, codec::TAG_DATA);
        self.append_frame(before)
    }

    fn append_frame(&mut self, before: Revision) -> Result<(), Failure> {
        let Tail { segment, end, .. } = &mut self.tail;
        // A write that failed is not whole, so nothing of it will ever be read.
        segment.file.write_at(&self.frame, *end).map_err(|error| Failure { error, unknown: false })?;
        if let Err(error) = segment.file.sync() {
            // Who wrote is told that nobody knows, and readers still see what was before. The less likely it comes up
            // again after a crash, the better; once the log is written anew it can't.
            let _ = segment.file.write_at(&vec![0; self.frame.len()], *end);
            return Err(Failure { error, unknown: true });
        }
        let start = *end;
        *end += self.frame.len() as u64;
        segment.advance(before, start, *end);
        self.grown += self.frame.len() as u64;
        if self.frame.capacity() > 2 * BATCH_BYTES_MAX {
            self.frame = Vec::new();
        }
        Ok(())
    }

    /// Logs how far history was compacted and removes what nobody can read any more.
    fn compact(&mut self, revision: Revision) -> io::Result<()> {
        if revision <= self.state.compacted() {
            return Ok(());
        }
        self.repair().map_err(io::Error::other)?;
        frame::begin(&mut self.frame);
        codec::put_u64(&mut self.frame, revision);
        frame::finish(&mut self.frame, self.tail.segment.nonce, codec::TAG_COMPACTED);
        self.tail.reserve(self.frame.len() as u64, 0).map_err(|(_, error)| error)?;
        if let Err(failure) = self.append_frame(self.revision) {
            self.broken = Some(Broken { reason: failure.error.to_string(), retry_at: Instant::now() });
            return Err(failure.error);
        }
        self.state.compact(revision);
        let names = self.catalog.lock().forget(revision);
        catalog::remove(&*self.files, &names);
        Ok(())
    }

    /// Starts a new segment when this one is long, and a checkpoint when the log is.
    fn maintain(&mut self) {
        if self.broken.is_some() {
            return;
        }
        let newest = self.catalog.lock().checkpoints.values().next_back().map_or(0, |newest| newest.bytes);
        let segments = self.tail.segment.id.saturating_sub(self.covered_to);
        let due = self.grown >= self.state.limits.log_growth_bytes_max.max(newest / 2) || segments > SEGMENTS_MAX;
        let idle = self.checkpointing.as_ref().is_none_or(JoinHandle::is_finished);
        if !(due && idle) && self.tail.end < SEGMENT_BYTES_MAX {
            return;
        }
        if let Err(error) = self.rotate() {
            tracing::warn!(%error, "no new segment of the log could be started, the present one is written on");
            return;
        }
        if due && idle {
            self.grown = 0;
            self.covered_to = self.tail.segment.id;
            self.checkpointing = self.start_checkpoint();
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let tail = Tail::create(&*self.files, self.tail.segment.id + 1, self.revision, DELETES_RESERVE)?;
        let before = std::mem::replace(&mut self.tail, tail);
        self.catalog.lock().segments.insert(self.tail.segment.id, self.tail.segment.clone());
        before.seal()
    }

    /// All objects as they are now are written aside, while commits go on in the new segment.
    fn start_checkpoint(&mut self) -> Option<JoinHandle<()>> {
        let (state, files, catalog) = (self.state.clone(), self.files.clone(), self.catalog.clone());
        let header = checkpoint::Header::new(self.revision, state.compacted(), self.tail.segment.id, false);
        let entries = everything(&state);
        let write = move || match Checkpoint::write(&*files, &state, header, entries) {
            Ok(checkpoint) => {
                let mut catalog = catalog.lock();
                catalog.checkpoints.insert(header.revision, Arc::new(checkpoint));
                let names = catalog.forget(state.compacted());
                drop(catalog);
                catalog::remove(&*files, &names);
            }
            Err(error) => tracing::warn!(%error, "no checkpoint of the store could be written, the log grows on"),
        };
        std::thread::Builder::new().name("store-checkpoint".into()).spawn(write).ok()
    }

    /// If the log is broken: writes all that is in memory as a new one and reads it back.
    fn repair(&mut self) -> Result<(), String> {
        let Some(broken) = &mut self.broken else { return Ok(()) };
        if Instant::now() < broken.retry_at {
            return Err(broken.reason.clone());
        }
        broken.retry_at = Instant::now() + REPAIR_EVERY;
        if let Some(thread) = self.checkpointing.take() {
            let _ = thread.join();
        }
        if let Err(error) = self.write_anew() {
            tracing::error!(%error, "the log could not be written anew, the store takes no writes");
            return Err(error.to_string());
        }
        tracing::info!(revision = self.revision, "the log was written anew from memory");
        self.broken = None;
        Ok(())
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let (state, files) = (self.state.clone(), self.files.clone());
        // Revisions that were given out to what may have survived are not used again: the new log starts behind them.
        let (revision, id) = (self.revision, self.tail.segment.id + 1);
        let header = checkpoint::Header::new(revision, revision, id, true);
        let entries = everything(&state);
        let count = entries.len();
        Checkpoint::write(&*files, &state, header, entries)?;
        let file = files.open(&checkpoint::name(revision))?;
        let mut read = 0;
        let loaded = Checkpoint::load(file, &state, |_| read += 1)?;
        let checkpoint = loaded.ok().filter(|checkpoint| checkpoint.header == header && read == count);
        let checkpoint =
            checkpoint.ok_or_else(|| io::Error::other("the new log does not read back as it was written"))?;
        let tail = Tail::create(&*files, id, revision, DELETES_RESERVE)?;
        let mut catalog = self.catalog.lock();
        let old = std::mem::take(&mut *catalog);
        catalog.segments.insert(id, tail.segment.clone());
        catalog.checkpoints.insert(revision, Arc::new(checkpoint));
        drop(catalog);
        self.tail = tail;
        self.grown = 0;
        self.covered_to = id;
        // History before is only what memory holds.
        state.history_starts_at(revision);
        state.apply(Vec::new(), revision, None);
        let checkpoints = old.checkpoints.keys().filter(|of| **of != revision).map(|of| checkpoint::name(*of));
        let names: Vec<_> = old.segments.keys().map(|id| segment::name(*id)).chain(checkpoints).collect();
        catalog::remove(&*files, &names);
        Ok(())
    }
}

/// All objects of all resources. Only the writer changes them, so they are of one revision.
fn everything(state: &State) -> Vec<Arc<Entry>> {
    let snapshots = state.resources().into_iter().map(|resource| state.snapshot(&resource));
    snapshots.flat_map(|snapshot| snapshot.iter().cloned().collect::<Vec<_>>()).collect()
}

/// Why a frame was not logged.
struct Failure {
    error: io::Error,
    /// Whether it may be there all the same.
    unknown: bool,
}

fn answer(answers: Vec<Answer>) {
    for Answer { reply, result, .. } in answers {
        // Who no longer waits does not want to know.
        let _ = reply.send(result);
    }
}

fn refuse(txns: Vec<TxnRequest>, error: impl Fn() -> CommitError) {
    txns.into_iter().for_each(|request| drop(request.reply.send(Err(error()))));
}

impl Answer {
    fn fail(self, failure: &Failure) {
        let error = if self.wrote && failure.unknown {
            CommitError::Unknown(io::Error::new(failure.error.kind(), failure.error.to_string()))
        } else {
            CommitError::Unavailable(failure.error.to_string())
        };
        let _ = self.reply.send(Err(error));
    }
}

impl TxnRequest {
    /// An upper bound for its bytes in the log.
    fn logged_bytes(&self) -> u64 {
        let sealed = self.sealed.iter().flatten().map(Bytes::len).sum::<usize>();
        let origin = self
            .txn
            .origin
            .as_ref()
            .map_or(0, |origin| origin.user.len() + origin.manager.len() + origin.request.len());
        (self.txn.bytes() + self.txn.record_bytes() + sealed + origin) as u64
            + OP_OVERHEAD * (self.txn.ops.len() as u64 + 1)
    }
}
