//! The etcd engine: etcd decides and remembers, memory follows.
//!
//! Values are JSON under upstream's keys, so other API servers, upstream's too, can share the etcd; their writes come
//! in by the same watch as our own ([`follow`]). A transaction is answered when the watch has brought it. Old events
//! are read from etcd ([`history`]).
//!
//! A consistent read needs to know that memory is as new as etcd: the revision of a quorum read, and a watch that has
//! come so far. New enough etcds say how far a watch has come when asked. Older ones (3.4 before .25, 3.5 before .8:
//! etcd issue 15220) may say so before the events are there; on those all keys are watched, not only our prefix, for
//! then every revision shows itself by an event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::client::Client;
use self::ingest::Outgoing;
use self::lease::Leases;
use crate::engine::{Engine, History, Page};
use crate::sequence::Prepared;
use crate::state::State;
use crate::{CommitError, Committed, EtcdConfig, OpenError, ReadError, Revision};

mod client;
mod commit;
mod follow;
mod history;
mod ingest;
mod lease;
mod wire;

/// Upstream's prefix.
const PREFIX: &str = "/registry/";
/// A watch is asked for its progress again after this long, upstream's interval.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// What servers on one etcd agree by who compacts; upstream's key.
const COMPACT_KEY: &[u8] = b"compact_rev_key";

type SharedRead = Shared<BoxFuture<'static, Result<Revision, ReadError>>>;

pub(crate) struct Etcd {
    inner: Arc<Inner>,
    following: JoinHandle<()>,
    /// The next quorum read, which has not begun: whoever comes now shares it.
    next_read: Arc<Mutex<Option<SharedRead>>>,
    /// Held while a quorum read is under way.
    reading: Arc<tokio::sync::Mutex<()>>,
    /// How often the compaction key was written, as far as we know.
    compactions: Mutex<i64>,
}

struct Inner {
    client: Client,
    state: Arc<State>,
    prefix: String,
    /// Whether this etcd says truly how far a watch has come.
    tells_progress: bool,
    progress_wanted: Notify,
    outgoing: Outgoing,
    leases: Leases,
}

// === impl Etcd ===

impl Etcd {
    /// Waits until etcd can be reached, lists everything, and follows from there.
    pub(crate) async fn open(config: &EtcdConfig, state: Arc<State>) -> Result<Self, OpenError> {
        let client = Client::new(config)?;
        let version = follow::reach(&client, &config.endpoints).await?;
        let tells_progress = tells_progress(&version);
        tracing::info!(version, tells_progress, endpoints = ?config.endpoints, "using etcd");
        let prefix = if config.prefix.is_empty() { PREFIX.to_owned() } else { config.prefix.clone() };
        let (progress_wanted, outgoing, leases) = Default::default();
        let inner = Arc::new(Inner { client, state, prefix, tells_progress, progress_wanted, outgoing, leases });
        let listed = follow::list(&inner).await.map_err(|status| OpenError::Etcd(client::describe(&status)))?;
        inner.state.load(listed.entries, listed.revision, 0);
        let following = tokio::spawn(follow::run(inner.clone()));
        let (next_read, reading, compactions) = Default::default();
        Ok(Self { inner, following, next_read, reading, compactions })
    }

    /// A quorum read that begins after this call, shared with all who call before it begins.
    fn shared_read(&self) -> SharedRead {
        let mut next = self.next_read.lock();
        if let Some(read) = &*next {
            return read.clone();
        }
        let (inner, reading, this) = (self.inner.clone(), self.reading.clone(), self.next_read.clone());
        let read = async move {
            let _reading = reading.lock().await;
            *this.lock() = None;
            inner.quorum_revision().await
        };
        next.insert(read.boxed().shared()).clone()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Engine for Etcd {
    fn txn(&self, txn: Prepared) -> BoxFuture<'_, Result<Committed, CommitError>> {
        commit::commit(&self.inner, txn).boxed()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        async move {
            let revision = self.shared_read().await?;
            if self.inner.state.visible() >= revision {
                return Ok(revision);
            }
            if self.inner.tells_progress {
                // It may be a revision that brings no event.
                self.inner.progress_wanted.notify_one();
            }
            self.inner.seen(revision).await?;
            Ok(revision)
        }
        .boxed()
    }

    fn history(&self, query: History) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move { history::read(&self.inner, &query).await }.boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        async move {
            match self.inner.client.compact(revision).await {
                Err(status) if !client::is_compacted(&status) => return Err(client::read_error(&status)),
                _ => self.inner.state.compact(revision),
            }
            Ok(())
        }
        .boxed()
    }

    fn compact_by_time(&self, revision: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        async move {
            let known = *self.compactions.lock();
            let response = self
                .inner
                .client
                .txn(compaction_turn(known, revision))
                .await
                .map_err(|status| client::read_error(&status))?;
            if response.succeeded {
                *self.compactions.lock() = known + 1;
                return self.compact(revision).await;
            }
            // Another server had its turn: it is known by the key's version.
            if let Some(wire::Response::Range(range)) = response.responses.into_iter().next().and_then(|op| op.response)
                && let Some(kv) = range.kvs.first()
            {
                *self.compactions.lock() = kv.version;
                let compacted = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                self.inner.state.compact(compacted);
            }
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.following.abort();
        futures::future::ready(()).boxed()
    }
}

/// Takes the turn to compact if nobody has since we looked; upstream's protocol.
fn compaction_turn(known: i64, revision: Revision) -> wire::TxnRequest {
    let key = Bytes::from_static(COMPACT_KEY);
    let op = |request| vec![wire::RequestOp { request: Some(request) }];
    let put = wire::PutRequest { key: key.clone(), value: revision.to_string().into(), lease: 0 };
    let get = wire::RangeRequest { key: key.clone(), ..wire::RangeRequest::default() };
    wire::TxnRequest {
        // Target 0 is the version.
        compare: vec![wire::Compare { target: 0, key, value: Some(wire::Target::Version(known)) }],
        success: op(wire::Request::Put(put)),
        failure: op(wire::Request::Range(get)),
    }
}

/// Whether etcd of this version answers a watch's progress request only behind the events it promises.
fn tells_progress(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (3, 5, 8) || ((3, 4, 25)..(3, 5, 0)).contains(&version)
}

// === impl Inner ===

impl Inner {
    /// The range of keys to watch.
    fn watched(&self) -> (Bytes, Bytes) {
        if self.tells_progress {
            return (Bytes::copy_from_slice(self.prefix.as_bytes()), follow::range_end(&self.prefix));
        }
        (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"))
    }

    async fn quorum_revision(&self) -> Result<Revision, ReadError> {
        let key = Bytes::copy_from_slice(self.prefix.as_bytes());
        let request = wire::RangeRequest { key, count_only: true, ..wire::RangeRequest::default() };
        let response = self.client.range(request).await.map_err(|status| client::read_error(&status))?;
        Ok(wire::revision(response.header.as_ref()))
    }

    /// Waits until the watch has come to `revision`.
    async fn seen(&self, revision: Revision) -> Result<(), ReadError> {
        loop {
            if self.state.visible() >= revision {
                return Ok(());
            }
            if !self.tells_progress {
                return if self.state.wait_for(revision).await { Ok(()) } else { Err(ReadError::Closed) };
            }
            match tokio::time::timeout(ASK_AGAIN, self.state.wait_for(revision)).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(ReadError::Closed),
                // Not asked, or asked before the watch stood, or it has far to go.
                Err(_) => self.progress_wanted.notify_one(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("3.4.23", false)]
    #[case("3.4.25", true)]
    #[case("3.5.7", false)]
    #[case("3.5.8", true)]
    #[case("3.7.3", true)]
    #[case("3.6.0-alpha.0", true)]
    #[case("", false)]
    fn which_etcds_tell_progress(#[case] version: &str, #[case] expected: bool) {
        assert_eq!(tells_progress(version), expected);
    }

    #[rstest]
    #[case("/registry/", b"/registry0")]
    #[case("a", b"b")]
    #[case("", b"\0")]
    fn the_end_of_a_prefix(#[case] prefix: &str, #[case] expected: &[u8]) {
        assert_eq!(follow::range_end(prefix), expected);
    }
}
