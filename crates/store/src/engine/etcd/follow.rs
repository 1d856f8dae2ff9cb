//! Following etcd: the initial list, then one watch for everything, for ever.
//!
//! All changes, our own too, come in by the watch, in the order of their revisions. A lost connection is made anew
//! from the newest revision that was seen; reads from memory go on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::Status;

use super::client::{self, Client};
use super::ingest;
use super::{Inner, wire};
use crate::{Entry, OpenError, Revision};

/// Objects in the first page of the initial list, as upstream's smallest.
const PAGE_MIN: i64 = 500;
/// Objects in a page at most, as upstream's largest.
const PAGE_MAX: i64 = 10_000;
/// Pages grow while they are smaller than this.
const PAGE_BYTES: usize = 4 << 20;
/// Waits between attempts to reach etcd.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// Everything in etcd at one revision.
pub(crate) struct Listed {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) revision: Revision,
}

/// Why following has to start over.
enum Lost {
    /// The stream ended or failed.
    Connection(String),
    /// Revisions that were not seen are gone.
    Compacted(Revision),
}

/// Ever longer waits.
pub(crate) struct Backoff(Duration);

/// The end of the range of keys that start with `prefix`.
pub(crate) fn range_end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

/// Asks for etcd's version until it answers: slow is not dead.
pub(crate) async fn reach(client: &Client, endpoints: &[String]) -> Result<String, OpenError> {
    let mut backoff = Backoff::new();
    loop {
        match client.version().await {
            Ok(version) => return Ok(version),
            Err(status) if client::is_refusal(&status) => return Err(OpenError::Etcd(client::describe(&status))),
            Err(status) => {
                tracing::warn!(?endpoints, error = client::describe(&status), "etcd can't be reached, waiting for it");
                backoff.wait().await;
            }
        }
    }
}

/// Lists everything in pages, all at the revision of the first.
pub(crate) async fn list(inner: &Inner) -> Result<Listed, Status> {
    loop {
        match list_once(inner).await {
            // The list took longer than history is kept.
            Err(status) if client::is_compacted(&status) => {}
            result => return result,
        }
    }
}

async fn list_once(inner: &Inner) -> Result<Listed, Status> {
    let mut listed = Listed { entries: Vec::new(), revision: 0 };
    let mut key = Bytes::copy_from_slice(inner.prefix.as_bytes());
    let mut limit = PAGE_MIN;
    loop {
        let revision = listed.revision as i64;
        let request =
            wire::RangeRequest { key, range_end: range_end(&inner.prefix), limit, revision, count_only: false };
        let page = inner.client.range(request).await?;
        if listed.revision == 0 {
            listed.revision = wire::revision(page.header.as_ref());
        }
        let entries = page.kvs.iter().filter_map(|kv| ingest::entry(&inner.state, &inner.outgoing, kv));
        listed.entries.extend(entries.map(Arc::new));
        let bytes: usize = page.kvs.iter().map(|kv| kv.value.len()).sum();
        limit = if bytes < PAGE_BYTES { (limit * 2).min(PAGE_MAX) } else { (limit / 2).max(PAGE_MIN) };
        let Some(last) = page.kvs.last().filter(|_| page.more) else { return Ok(listed) };
        key = [&last.key[..], b"\0"].concat().into();
    }
}

/// Follows until the task is aborted.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut backoff = Backoff::new();
    while !inner.state.is_closed() {
        let before = inner.state.visible();
        match watch(&inner).await {
            Lost::Connection(reason) => {
                tracing::warn!(reason, revision = inner.state.visible(), "the watch on etcd was lost, watching again");
                if inner.state.visible() > before {
                    backoff = Backoff::new();
                }
            }
            Lost::Compacted(revision) => {
                tracing::warn!(revision, "etcd was compacted past what was seen, listing again");
                match list(&inner).await {
                    // Watchers that are behind learn from etcd that their events are gone.
                    Ok(listed) => inner.state.load(listed.entries, listed.revision, 0),
                    Err(status) => tracing::warn!(error = client::describe(&status), "etcd can't be listed"),
                }
            }
        }
        backoff.wait().await;
    }
}

async fn watch(inner: &Inner) -> Lost {
    let (key, range_end) = inner.watched();
    let start_revision = inner.state.visible() as i64 + 1;
    let create = wire::WatchCreateRequest {
        key,
        range_end,
        start_revision,
        progress_notify: true,
        prev_kv: false,
        fragment: true,
    };
    let mut stream = match inner.client.watch(create).await {
        Ok(stream) => stream,
        Err(status) => return Lost::Connection(client::describe(&status)),
    };
    let mut partial = None;
    loop {
        let response = tokio::select! {
            response = stream.next(&mut partial) => response,
            () = inner.progress_wanted.notified() => {
                stream.ask_progress();
                continue;
            }
        };
        match response {
            Ok(Some(response)) if response.canceled && response.compact_revision > 0 => {
                return Lost::Compacted(response.compact_revision as u64);
            }
            Ok(Some(response)) if response.canceled => return Lost::Connection(response.cancel_reason),
            Ok(Some(response)) => take(inner, &response),
            Ok(None) => return Lost::Connection("the stream ended".into()),
            Err(status) => return Lost::Connection(client::describe(&status)),
        }
    }
}

/// Makes a response's changes visible.
fn take(inner: &Inner, response: &wire::WatchResponse) {
    let at = wire::revision(response.header.as_ref());
    if response.created {
        if at < inner.state.visible() {
            let seen = inner.state.visible();
            tracing::error!(
                at,
                seen,
                "etcd has gone back to an older revision: was it restored from a backup? restart all servers"
            );
        }
        return;
    }
    // Without events it says how far the watch has come.
    let through = ingest::newest_revision(&response.events).unwrap_or(at);
    let changes = ingest::changes(&inner.state, &inner.outgoing, &inner.prefix, &response.events);
    inner.state.apply(changes, through, None);
}

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(RETRY_FIRST)
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(RETRY_MAX);
    }
}
