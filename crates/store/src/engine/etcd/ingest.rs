//! From etcd's keys and values to entries and changes.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::wire;
use crate::state::{Change, State};
use crate::{Entry, Forms, Record, Revision};

/// What this server is writing: when it comes back in the watch, the record need not be extracted again.
#[derive(Default)]
pub(crate) struct Outgoing(Mutex<HashMap<Arc<str>, Sent>>);

/// One value under way.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) raw: Bytes,
    pub(crate) value: Bytes,
    pub(crate) record: Record,
}

// === impl Outgoing ===

impl Outgoing {
    pub(crate) fn add(&self, key: &Arc<str>, sent: Sent) {
        self.0.lock().insert(key.clone(), sent);
    }

    pub(crate) fn remove(&self, key: &str) {
        self.0.lock().remove(key);
    }

    fn same(&self, key: &str, raw: &Bytes) -> Option<Sent> {
        self.0.lock().get(key).filter(|sent| sent.raw == *raw).cloned()
    }
}

/// The entry of a key and value; none if the key is not text or the value can't be unsealed.
pub(crate) fn entry(state: &State, outgoing: &Outgoing, kv: &wire::KeyValue) -> Option<Entry> {
    let key = std::str::from_utf8(&kv.key).ok()?;
    let (value, record) = match outgoing.same(key, &kv.value) {
        Some(sent) => (sent.value, sent.record),
        None => stored(state, key, &kv.value)?,
    };
    Some(Entry {
        key: key.into(),
        value,
        create_revision: kv.create_revision as u64,
        mod_revision: kv.mod_revision as u64,
        record,
        lease: NonZeroU64::new(kv.lease as u64),
        place: 0,
        forms: Forms::default(),
    })
}

/// A value in our form. It is copied: the message that brought it must not live as long.
fn stored(state: &State, key: &str, raw: &Bytes) -> Option<(Bytes, Record)> {
    let raw = Bytes::copy_from_slice(raw);
    let open = match &state.transform {
        None => raw,
        Some(transform) => match transform.unseal(key, raw) {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(key, %error, "a value in etcd can't be unsealed, it is left out");
                return None;
            }
        },
    };
    let value = state.extract.ingest(key, open);
    let record = state.extract.extract(key, &value);
    Some((value, record))
}

/// The changes that a watch response tells of, oldest first. Keys that do not start with `prefix` are left out.
pub(crate) fn changes(state: &State, outgoing: &Outgoing, prefix: &str, events: &[wire::Event]) -> Vec<Change> {
    let mut newest: HashMap<Arc<str>, Option<Arc<Entry>>> = HashMap::new();
    let mut changes = Vec::with_capacity(events.len());
    for event in events {
        let Some(kv) = event.kv.as_ref().filter(|kv| kv.key.starts_with(prefix.as_bytes())) else { continue };
        let Ok(key) = std::str::from_utf8(&kv.key) else { continue };
        let prev = newest.get(key).cloned().unwrap_or_else(|| state.get(key));
        let next = if event.kind == wire::DELETE { None } else { entry(state, outgoing, kv).map(Arc::new) };
        if prev.is_none() && next.is_none() {
            continue;
        }
        let key = next.as_ref().map_or_else(|| Arc::from(key), |entry| entry.key.clone());
        newest.insert(key.clone(), next.clone());
        changes.push(Change { revision: kv.mod_revision as u64, key, prev, next, origin: None });
    }
    changes
}

/// The newest revision in a response's events, whatever keys they are of.
pub(crate) fn newest_revision(events: &[wire::Event]) -> Option<Revision> {
    events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision as u64).max()
}
