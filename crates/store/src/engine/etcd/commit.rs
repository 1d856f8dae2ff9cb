//! Transactions on etcd.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::client;
use super::ingest::{self, Sent};
use super::{Inner, wire};
use crate::sequence::{Prepared, PreparedOp};
use crate::{CommitError, Committed, Compare, Entry, Forms, Revision};

/// What is committed is answered after this long even if the watch has not brought it: the connection is being made
/// anew. Reads of memory may miss it until then, consistent reads wait.
const VISIBLE_MAX: Duration = Duration::from_secs(10);

/// Target of a compare: the revision of the last change.
const MOD: i32 = 2;

/// Takes its values back when the transaction is over, however it ends.
struct Under<'a> {
    inner: &'a Inner,
    keys: Vec<Arc<str>>,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.inner.outgoing.remove(key));
    }
}

pub(crate) async fn commit(inner: &Inner, txn: Prepared) -> Result<Committed, CommitError> {
    if inner.state.is_closed() {
        return Err(CommitError::Closed);
    }
    if let Some(op) = txn.ops.iter().find(|op| !op.key().starts_with(&inner.prefix)) {
        // It would never be seen.
        return Err(CommitError::Invalid(format!("{} is not under {}", op.key(), inner.prefix)));
    }
    let mut under = Under { inner, keys: Vec::new() };
    let mut sent = Vec::with_capacity(txn.ops.len());
    for op in &txn.ops {
        let PreparedOp::Put { key, value, record, .. } = op else {
            sent.push(None);
            continue;
        };
        let raw = match &inner.state.transform {
            None => value.clone(),
            Some(transform) => transform.seal(key, value).map_err(|error| CommitError::Invalid(error.to_string()))?,
        };
        let one = Sent { raw, value: value.clone(), record: record.clone() };
        inner.outgoing.add(key, one.clone());
        under.keys.push(key.clone());
        sent.push(Some(one));
    }
    let response = match ask(inner, &txn, &sent).await {
        Err(status) if client::is_lease_gone(&status) => {
            // Our clock stood still; nothing was written.
            inner.leases.forget().await;
            ask(inner, &txn, &sent).await
        }
        result => result,
    };
    let response = response.map_err(|status| client::commit_error(&status))?;
    let revision = wire::revision(response.header.as_ref());
    if !response.succeeded {
        return Err(conflict(inner, &txn.compares, response));
    }
    let mut deleted = response.responses.iter().map(|op| match &op.response {
        Some(wire::Response::Delete(delete)) => delete.prev_kvs.first(),
        _ => None,
    });
    let before: Vec<Option<Arc<Entry>>> = txn.ops.iter().map(|op| inner.state.get(op.key())).collect();
    let changed = response
        .responses
        .iter()
        .any(|op| !matches!(&op.response, Some(wire::Response::Delete(delete)) if delete.deleted == 0));
    if changed {
        // If it takes longer the answer is no less true.
        let _ = tokio::time::timeout(VISIBLE_MAX, inner.seen(revision)).await;
    }
    let entries = txn.ops.iter().zip(sent).zip(before).map(|((op, sent), before)| {
        let last = deleted.next().flatten();
        match (op, sent) {
            (PreparedOp::Put { key, .. }, Some(sent)) => Some(written(inner, key, sent, revision, before)),
            _ => last.and_then(|kv| version(inner, kv, before)),
        }
    });
    Ok(Committed { revision, entries: entries.collect() })
}

async fn ask(inner: &Inner, txn: &Prepared, sent: &[Option<Sent>]) -> Result<wire::TxnResponse, tonic::Status> {
    let key_of = |key: &Arc<str>| Bytes::copy_from_slice(key.as_bytes());
    let op = |request| wire::RequestOp { request: Some(request) };
    let mut success = Vec::with_capacity(txn.ops.len());
    for (change, sent) in txn.ops.iter().zip(sent) {
        success.push(match (change, sent) {
            (PreparedOp::Put { key, ttl_ms, .. }, Some(sent)) => {
                let lease = match ttl_ms {
                    Some(ttl) => inner.leases.get(&inner.client, Duration::from_millis(*ttl)).await?,
                    None => 0,
                };
                op(wire::Request::Put(wire::PutRequest { key: key_of(key), value: sent.raw.clone(), lease }))
            }
            _ => op(wire::Request::Delete(wire::DeleteRangeRequest { key: key_of(change.key()), prev_kv: true })),
        });
    }
    let compare = txn.compares.iter().map(|compare| {
        let value = Some(wire::Target::ModRevision(compare.revision as i64));
        wire::Compare { target: MOD, key: key_of(&compare.key), value }
    });
    let failure = txn.compares.iter().map(|compare| {
        op(wire::Request::Range(wire::RangeRequest { key: key_of(&compare.key), ..wire::RangeRequest::default() }))
    });
    inner.client.txn(wire::TxnRequest { compare: compare.collect(), success, failure: failure.collect() }).await
}

/// Which compare failed, by what etcd found instead.
fn conflict(inner: &Inner, compares: &[Compare], response: wire::TxnResponse) -> CommitError {
    for (compare, op) in compares.iter().zip(response.responses) {
        let Some(wire::Response::Range(range)) = op.response else { continue };
        let found = range.kvs.first();
        let actual = found.map_or(0, |kv| kv.mod_revision as u64);
        if actual != compare.revision {
            let current = found.and_then(|kv| version(inner, kv, inner.state.get(&compare.key)));
            return CommitError::Conflict { key: compare.key.clone(), expected: compare.revision, actual, current };
        }
    }
    CommitError::Unavailable("etcd refused a transaction whose compares hold".into())
}

/// The entry of a key and value, from memory if it is the one there.
fn version(inner: &Inner, kv: &wire::KeyValue, known: Option<Arc<Entry>>) -> Option<Arc<Entry>> {
    let known = known.filter(|entry| entry.mod_revision == kv.mod_revision as u64);
    known.or_else(|| ingest::entry(&inner.state, &inner.outgoing, kv).map(Arc::new))
}

/// What was put: from memory, or made here if it was overwritten already or has not come.
fn written(inner: &Inner, key: &Arc<str>, sent: Sent, revision: Revision, before: Option<Arc<Entry>>) -> Arc<Entry> {
    if let Some(entry) = inner.state.get(key).filter(|entry| entry.mod_revision == revision) {
        return entry;
    }
    let create_revision =
        before.filter(|before| before.mod_revision < revision).map_or(revision, |before| before.create_revision);
    let (key, lease, forms) = (key.clone(), None::<NonZeroU64>, Forms::default());
    Arc::new(Entry {
        key,
        value: sent.value,
        create_revision,
        mod_revision: revision,
        record: sent.record,
        lease,
        place: 0,
        forms,
    })
}
