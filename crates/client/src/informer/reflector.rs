//! The reflector: keeps an informer's cache in step with the server.
//!
//! It asks for a streaming list (initial events, then a bookmark that marks their end, then live events in the same
//! watch), and where the server doesn't know that, for a paged list and a watch from its revision. A watch that ends
//! is resumed from the last revision; one that is too old (410) begins with a list again. The watch runs on while
//! nothing happens, moved on by bookmarks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Informer;
use super::cache::Change;
use crate::backoff::Backoff;
use crate::error::ClientError;
use crate::object::{Object, ObjectKey, revision_of};
use crate::params::{ListParams, WatchParams};
use crate::views::{MetaExt, Metadata, View};
use crate::watch::{WatchEvent, WatchStream};

/// Waits between failed tries. client-go begins at 800 ms; in one process the server is back sooner.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A watch is to last this long, up to twice that (client-go's `minWatchTimeout`).
const WATCH_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// A watch that ends sooner than this without an event counts as failed.
const WATCH_TOO_SHORT: Duration = Duration::from_secs(1);
/// The annotation of the bookmark after the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// Objects on a page of the paged list; client-go's default.
const PAGE_OBJECTS: u32 = 500;

pub(super) struct Reflector<T> {
    informer: Informer<T>,
    /// Where to resume; none before the first list and after a 410.
    position: Option<String>,
    /// Whether the server does streaming lists, as far as known.
    streaming: bool,
    backoff: Backoff,
}

/// Why a watch is over.
enum End {
    /// The server closed it, after at least one event or a decent time.
    Closed,
    /// The server closed it at once.
    TooShort,
}

impl<T: View> Reflector<T> {
    pub(super) fn new(informer: Informer<T>) -> Reflector<T> {
        let backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX, informer.0.given.chance.clone());
        Reflector { informer, position: None, streaming: true, backoff }
    }

    pub(super) async fn run(mut self) {
        loop {
            let resource = self.informer.resource().group_resource();
            match self.session().await {
                Ok(End::Closed) => {}
                Ok(End::TooShort) => {
                    tracing::debug!(%resource, "watch ended at once");
                    self.backoff.wait().await;
                }
                Err(error) if error.is_gone() || is_too_large(&error) => {
                    tracing::debug!(%resource, %error, "can't resume the watch, listing again");
                    self.position = None;
                    self.backoff.wait().await;
                }
                Err(error) if self.position.is_none() && self.streaming && refuses_streaming(&error) => {
                    tracing::debug!(%resource, %error, "no streaming list here, listing in pages");
                    self.streaming = false;
                }
                Err(error) => {
                    tracing::debug!(%resource, %error, "watch failed");
                    let least = error.retry_after().unwrap_or_default();
                    tokio::time::sleep(self.backoff.step().max(least)).await;
                }
            }
        }
    }

    /// From where we are to the end of one watch.
    async fn session(&mut self) -> Result<End, ClientError> {
        let stream = match &self.position {
            Some(position) => self.watch(position, false).await?,
            None if self.streaming => {
                let mut stream = self.watch("", true).await?;
                self.initial_events(&mut stream).await?;
                stream
            }
            None => {
                let position = self.paged_list().await?;
                self.watch(&position, false).await?
            }
        };
        self.follow(stream).await
    }

    async fn watch(&self, position: &str, initial_events: bool) -> Result<WatchStream, ClientError> {
        let selection = &self.informer.0.selection;
        let params = WatchParams {
            label_selector: selection.label_selector.clone(),
            field_selector: selection.field_selector.clone(),
            resource_version: position.to_owned(),
            initial_events,
            bookmarks: true,
            timeout: Some(self.informer.0.given.chance.jitter(WATCH_TIMEOUT, 1.0)),
        };
        self.informer.0.api.watch_as(&params, T::METADATA_ONLY).await
    }

    /// Takes the initial events of a streaming list and replaces the cache by them.
    async fn initial_events(&mut self, stream: &mut WatchStream) -> Result<(), ClientError> {
        let mut listed = HashMap::new();
        loop {
            match stream.next().await? {
                Some(WatchEvent::Added(bytes) | WatchEvent::Modified(bytes)) => {
                    if let Some(object) = self.decode(bytes) {
                        listed.insert(object.key(), object);
                    }
                }
                Some(WatchEvent::Deleted(bytes)) => {
                    listed.remove(&ObjectKey::of(&Metadata::decode(&bytes)?));
                }
                Some(WatchEvent::Bookmark(bytes)) => {
                    let bookmark = Metadata::decode(&bytes)?;
                    if bookmark.annotation(INITIAL_EVENTS_END) == Some("true") {
                        let version = bookmark.metadata.resource_version.unwrap_or_default();
                        self.replace(listed, version);
                        return Ok(());
                    }
                }
                Some(WatchEvent::Error(error)) => return Err(ClientError::Api(error)),
                None => return Err(ClientError::transport("streaming list", "ended before its bookmark")),
            }
        }
    }

    /// Lists in pages and replaces the cache by what came. Gives the list's revision.
    async fn paged_list(&mut self) -> Result<String, ClientError> {
        let selection = &self.informer.0.selection;
        let mut params = ListParams {
            label_selector: selection.label_selector.clone(),
            field_selector: selection.field_selector.clone(),
            limit: Some(PAGE_OBJECTS),
            ..ListParams::default()
        };
        let mut listed = HashMap::new();
        loop {
            let page = self.informer.0.api.list_as(&params, T::METADATA_ONLY).await?;
            for item in &page.items {
                // A copy: the slice would keep the whole page in memory.
                if let Some(object) = self.decode(Bytes::copy_from_slice(item)) {
                    listed.insert(object.key(), object);
                }
            }
            if page.continue_token.is_empty() {
                self.replace(listed, page.resource_version.clone());
                return Ok(page.resource_version);
            }
            params.continue_token = page.continue_token;
        }
    }

    /// Live events until the watch ends.
    async fn follow(&mut self, mut stream: WatchStream) -> Result<End, ClientError> {
        let begun = Instant::now();
        let mut saw_events = false;
        while let Some(event) = stream.next().await? {
            self.handle(event)?;
            saw_events = true;
            self.backoff.reset();
        }
        Ok(if saw_events || begun.elapsed() >= WATCH_TOO_SHORT { End::Closed } else { End::TooShort })
    }

    fn handle(&mut self, event: WatchEvent) -> Result<(), ClientError> {
        match event {
            WatchEvent::Added(bytes) | WatchEvent::Modified(bytes) => self.change(bytes, Change::Put),
            WatchEvent::Deleted(bytes) => self.change(bytes, Change::Remove),
            WatchEvent::Bookmark(bytes) => self.moved_to(Metadata::decode(&bytes)?.metadata.resource_version),
            WatchEvent::Error(error) => return Err(ClientError::Api(error)),
        }
        Ok(())
    }

    fn change(&mut self, bytes: Bytes, change: fn(Arc<Object<T>>) -> Change<T>) {
        let Some(object) = self.decode(bytes) else { return };
        let version = object.meta().resource_version.clone();
        self.informer.apply(change(object));
        self.moved_to(version);
    }

    fn moved_to(&mut self, version: Option<String>) {
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.informer.advance(revision_of(&version));
            self.position = Some(version);
        }
    }

    /// The view of an object. One that can't be read is left out and said; the others must not suffer.
    fn decode(&self, bytes: Bytes) -> Option<Arc<Object<T>>> {
        match Object::<T>::decode(bytes) {
            Ok(mut object) => {
                if !self.informer.0.selection.keep_bytes {
                    object.bytes = Bytes::new();
                }
                Some(Arc::new(object))
            }
            Err(error) => {
                tracing::error!(resource = %self.informer.resource().group_resource(), %error, "unreadable object");
                None
            }
        }
    }

    /// Makes the cache what was listed, telling the handlers the difference.
    fn replace(&mut self, listed: HashMap<ObjectKey, Arc<Object<T>>>, version: String) {
        let lost: Vec<ObjectKey> =
            self.informer.with(|cache| cache.keys().filter(|key| !listed.contains_key(*key)).cloned().collect());
        for key in lost {
            self.informer.apply(Change::Lost(key));
        }
        for (key, object) in listed {
            let is_known = self.informer.with(|cache| {
                cache.get(&key).is_some_and(|known| known.revision == object.revision && known.revision != 0)
            });
            if !is_known {
                self.informer.apply(self.reborn(&key, object));
            }
        }
        let revision = revision_of(&version);
        self.position = Some(version);
        self.backoff.reset();
        self.informer.0.progress.send_modify(|progress| {
            progress.synced = true;
            progress.resets += u64::from(revision < progress.revision);
            progress.revision = revision;
        });
    }

    /// An object of the same name but another UID is another object: the old one's deletion was missed.
    fn reborn(&self, key: &ObjectKey, object: Arc<Object<T>>) -> Change<T> {
        let is_other = self.informer.with(|cache| cache.get(key).is_some_and(|known| known.uid() != object.uid()));
        if is_other {
            self.informer.apply(Change::Lost(key.clone()));
        }
        Change::Put(object)
    }
}

/// The server has not come as far as we: it was restored from a backup, or is another one.
fn is_too_large(error: &ClientError) -> bool {
    error.has_cause("ResourceVersionTooLarge")
}

/// A server without streaming lists says `Invalid` (feature off) or `BadRequest` (never heard of it).
fn refuses_streaming(error: &ClientError) -> bool {
    matches!(error.code(), Some(400 | 422))
}
