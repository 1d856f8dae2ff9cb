//! Older events are etcd's own: a watch from the past, with the values before.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::client;
use super::follow::range_end;
use super::ingest;
use super::{Inner, wire};
use crate::engine::{History, Page};
use crate::{Entry, Event, ReadError, Revision};

/// Events in one page.
const PAGE_EVENTS: usize = 1000;

struct Reader<'a> {
    inner: &'a Inner,
    query: &'a History,
    events: Vec<Arc<Event>>,
    /// Versions that came on the way.
    recent: HashMap<Arc<str>, Arc<Entry>>,
}

pub(crate) async fn read(inner: &Inner, query: &History) -> Result<Page, ReadError> {
    let compacted = inner.state.compacted();
    if query.after < compacted {
        return Err(ReadError::Compacted { revision: query.after, compacted });
    }
    let (key, range_end) = if inner.tells_progress && !query.resource.prefix.is_empty() {
        (Bytes::copy_from_slice(query.resource.prefix.as_bytes()), range_end(&query.resource.prefix))
    } else {
        inner.watched()
    };
    let start_revision = query.after as i64 + 1;
    let create = wire::WatchCreateRequest {
        key,
        range_end,
        start_revision,
        progress_notify: false,
        prev_kv: true,
        fragment: true,
    };
    let mut stream = inner.client.watch(create).await.map_err(|status| client::read_error(&status))?;
    let mut reader = Reader { inner, query, events: Vec::new(), recent: HashMap::new() };
    let mut partial = None;
    loop {
        let response = stream.next(&mut partial).await.map_err(|status| client::read_error(&status))?;
        let Some(response) = response else { return Err(ReadError::Unavailable("the stream ended".into())) };
        if response.canceled && response.compact_revision > 0 {
            let compacted = response.compact_revision as u64;
            inner.state.history_starts_at(compacted);
            return Err(ReadError::Compacted { revision: query.after, compacted });
        }
        if response.canceled {
            return Err(ReadError::Unavailable(response.cancel_reason));
        }
        if response.created {
            if inner.tells_progress {
                stream.ask_progress();
            }
            continue;
        }
        let through =
            ingest::newest_revision(&response.events).unwrap_or_else(|| wire::revision(response.header.as_ref()));
        response.events.iter().for_each(|event| reader.event(event));
        if through >= query.upto || reader.events.len() >= PAGE_EVENTS {
            return Ok(Page { events: reader.events, through: through.min(query.upto) });
        }
        // A response without events that is not far enough was asked for too early.
        if inner.tells_progress {
            stream.ask_progress();
        }
    }
}

impl Reader<'_> {
    fn event(&mut self, event: &wire::Event) {
        let Some(kv) = &event.kv else { return };
        let revision = kv.mod_revision as Revision;
        let Ok(key) = std::str::from_utf8(&kv.key) else { return };
        let resource = &self.query.resource;
        let ours = key.starts_with(&self.inner.prefix) && Arc::ptr_eq(&self.inner.state.resource(key), resource);
        if !ours || revision > self.query.upto {
            return;
        }
        let prev = event.prev_kv.as_ref().and_then(|prev| self.version(prev));
        let event = if event.kind == wire::DELETE {
            prev.map(|last| Event::delete(revision, last, None))
        } else {
            self.version(kv).map(|entry| Event::put(entry, prev, None))
        };
        self.events.extend(event.map(Arc::new));
    }

    fn version(&mut self, kv: &wire::KeyValue) -> Option<Arc<Entry>> {
        let key = std::str::from_utf8(&kv.key).ok()?;
        if let Some(entry) = self.recent.get(key).filter(|entry| entry.mod_revision == kv.mod_revision as u64) {
            return Some(entry.clone());
        }
        // Memory may have this very version.
        let current = self.inner.state.get(key).filter(|entry| entry.mod_revision == kv.mod_revision as u64);
        let entry = current.or_else(|| ingest::entry(&self.inner.state, &self.inner.outgoing, kv).map(Arc::new))?;
        self.recent.insert(entry.key.clone(), entry.clone());
        Some(entry)
    }
}
