//! `watch`: the events after a revision, as one client's selector and encoding see them.
//!
//! Pull-based: a frame is taken from the shared ring when the client's connection has room, so
//! that a slow watcher holds nothing but its position.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use bytes::{Bytes, BytesMut};
use client::{Body, BoxError};
use http::{Response, StatusCode};
use rand::Rng;
use store::{Event, Kind, Revision, Snapshot, Watch, WatchError};
use tokio::time::{Instant, Sleep};

use super::list::wait_for;
use crate::api::Api;
use crate::context::Context;
use crate::forms::{View, WatchType};
use crate::request::options::ListOptions;
use crate::respond;
use crate::selection::Selection;
use crate::served::Served;

/// Upstream's `--min-request-timeout`: a watch without its own limit ends after one to two of these.
const WATCH_TIME_MIN: Duration = Duration::from_secs(1800);
/// How often a watcher that wants bookmarks is told where it stands.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A last bookmark comes this long before the end, so that the client resumes from it.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Frames that are ready together are sent as one piece of up to this many bytes.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Answers a watch request.
pub async fn watch(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    let options = ListOptions::parse(&context.query)?;
    let view = View::negotiate(context, served)?;
    let selection = Selection::parse(context, served, &options)?;
    let media_type = view.accept.encoding.stream_media_type();
    let limit = match options.timeout_seconds {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => WATCH_TIME_MIN.mul_f64(1.0 + rand::rng().random::<f64>()),
    };
    let stream = match open(api, served, &options, &selection).await {
        Ok((initial, watch)) => Stream::new(view, selection, &options, initial, watch, limit),
        // Said inside the stream, as upstream's watch cache does.
        Err(status) if status.code == 410 => {
            let frame = view.error_frame(&status);
            return Ok(respond::with_body(StatusCode::OK, Body::full(frame), media_type));
        }
        Err(status) => return Err(status),
    };
    let frames = futures::stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok::<Bytes, BoxError>(piece), stream))
    });
    Ok(respond::with_body(StatusCode::OK, Body::stream(frames), media_type))
}

/// Where the watch begins: the state to send first, if any, and the events after it.
async fn open(
    api: &Api,
    served: &Served,
    options: &ListOptions,
    selection: &Selection,
) -> Result<(Option<Snapshot>, Watch), Status> {
    let scope = selection.scope();
    let from = options.resource_version.unwrap_or_default();
    let (initial, after) = if options.send_initial_events {
        match options.resource_version {
            None => drop(api.store.barrier().await.map_err(|error| Status::unavailable(error.to_string()))?),
            Some(0) => {}
            Some(revision) => wait_for(api, revision).await?,
        }
        let snapshot = api.store.snapshot(served.prefix());
        let after = snapshot.revision();
        (Some(snapshot), after)
    } else {
        (None, from)
    };
    let watch = api.store.watch(served.prefix(), scope, after).map_err(|error| too_old(after, &error))?;
    Ok((initial, watch))
}

fn too_old(revision: Revision, error: &WatchError) -> Status {
    match error {
        WatchError::Compacted { compacted, .. } => {
            Status::expired(format!("too old resource version: {revision} ({compacted})"))
        }
        other => Status::internal(other),
    }
}

/// The state of one watch.
struct Stream {
    view: View,
    selection: Selection,
    root: String,
    /// What is still to be sent of the state at the beginning, from this key on.
    initial: Option<(Snapshot, Option<Arc<str>>)>,
    watch: Watch,
    batch: Vec<Arc<Event>>,
    ready: VecDeque<Bytes>,
    bookmarks: bool,
    initial_events_end: bool,
    next_bookmark: Pin<Box<Sleep>>,
    end: Instant,
    /// What the last bookmark said.
    told: Revision,
    done: bool,
}

// === impl Stream ===

impl Stream {
    fn new(
        view: View,
        selection: Selection,
        options: &ListOptions,
        initial: Option<Snapshot>,
        watch: Watch,
        limit: Duration,
    ) -> Stream {
        let now = Instant::now();
        let end = now + limit;
        Stream {
            root: selection.key_root(&view.served),
            view,
            selection,
            initial_events_end: options.send_initial_events && options.bookmarks,
            initial: initial.map(|snapshot| (snapshot, None)),
            watch,
            batch: Vec::new(),
            ready: VecDeque::new(),
            bookmarks: options.bookmarks,
            next_bookmark: Box::pin(tokio::time::sleep_until(next_bookmark(now, end))),
            end,
            told: 0,
            done: false,
        }
    }

    /// The next piece of the answer; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = take_piece(&mut self.ready) {
                return Some(piece);
            }
            if self.done {
                return None;
            }
            if self.initial.is_some() {
                self.fill_initial();
                continue;
            }
            tokio::select! {
                biased;
                delivered = self.watch.next(&mut self.batch) => match delivered {
                    Ok(_) => self.take_batch(),
                    Err(WatchError::Closed) => self.done = true,
                    Err(error) => {
                        let stands_at = self.watch.progress();
                        self.fail(&too_old(stands_at, &error));
                    }
                },
                () = self.next_bookmark.as_mut() => self.on_timer(),
            }
        }
    }

    /// Makes frames of the next objects of the initial state.
    fn fill_initial(&mut self) {
        let Some((snapshot, after)) = self.initial.take() else { return };
        let mut bytes = 0;
        let mut last = None;
        let mut failed = None;
        for entry in snapshot.range(&self.root, after.as_deref()) {
            last = Some(entry.key.clone());
            if !self.selection.matches(&entry.record) {
                continue;
            }
            match self.view.initial_frame(entry) {
                Ok(frame) => {
                    bytes += frame.len();
                    self.ready.push_back(frame);
                    self.view.headers = false;
                }
                Err(status) => failed = Some(status),
            }
            if bytes >= PIECE_BYTES_MAX || failed.is_some() {
                break;
            }
        }
        if let Some(status) = failed {
            return self.fail(&status);
        }
        if bytes >= PIECE_BYTES_MAX {
            self.initial = Some((snapshot, last));
            return;
        }
        if std::mem::take(&mut self.initial_events_end) {
            self.bookmark(snapshot.revision(), true);
        }
    }

    fn take_batch(&mut self) {
        for event in std::mem::take(&mut self.batch) {
            let Some(what) = seen_as(&event, &self.selection) else { continue };
            match self.view.frame(&event, what) {
                Ok(frame) => self.push(frame),
                Err(status) => return self.fail(&status),
            }
        }
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        if now >= self.end {
            self.done = true;
            return;
        }
        let stands_at = self.watch.progress();
        if self.bookmarks && stands_at > self.told {
            self.bookmark(stands_at, false);
        }
        self.next_bookmark.as_mut().reset(next_bookmark(now, self.end));
    }

    fn bookmark(&mut self, revision: Revision, initial_events_end: bool) {
        self.told = revision;
        match self.view.bookmark_frame(revision, initial_events_end) {
            Ok(frame) => self.push(frame),
            Err(status) => self.fail(&status),
        }
    }

    /// What comes after the first frame does not say the columns again.
    fn push(&mut self, frame: Bytes) {
        self.ready.push_back(frame);
        self.view.headers = false;
    }

    fn fail(&mut self, status: &Status) {
        self.ready.push_back(self.view.error_frame(status));
        self.initial = None;
        self.done = true;
    }
}

/// The frames that are ready, as one piece: a single one is handed on as it is.
fn take_piece(ready: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let mut length = 0;
    let fits = |frame: &&Bytes| {
        length += frame.len();
        length <= PIECE_BYTES_MAX
    };
    let count = ready.iter().take_while(fits).count();
    if count < 2 {
        return ready.pop_front();
    }
    let mut piece = BytesMut::with_capacity(ready.iter().take(count).map(Bytes::len).sum());
    ready.drain(..count).for_each(|frame| piece.extend_from_slice(&frame));
    Some(piece.freeze())
}

/// When the timer fires next: at the usual pace, shortly before the end, at the end.
fn next_bookmark(now: Instant, end: Instant) -> Instant {
    let last = end - BOOKMARK_BEFORE_END.min(end - now);
    match now < last {
        true => last.min(now + BOOKMARK_EVERY),
        false => end,
    }
}

/// What an event is for a watcher with this selector; nothing if it concerns nothing it sees.
fn seen_as(event: &Event, selection: &Selection) -> Option<WatchType> {
    let before = event.prev.as_ref().is_some_and(|prev| selection.matches(&prev.record));
    let after = event.kind == Kind::Put && selection.matches(&event.entry.record);
    match (before, after) {
        (false, false) => None,
        (false, true) => Some(WatchType::Added),
        (true, true) => Some(WatchType::Modified),
        (true, false) => Some(WatchType::Deleted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_joined_up_to_a_piece_and_a_large_one_goes_alone() {
        let sizes = [1, 2, PIECE_BYTES_MAX - 3, 1, PIECE_BYTES_MAX + 1, 4];
        let mut ready: VecDeque<Bytes> = sizes.iter().map(|size| Bytes::from(vec![b'x'; *size])).collect();
        let pieces: Vec<usize> = std::iter::from_fn(|| take_piece(&mut ready)).map(|piece| piece.len()).collect();
        assert_eq!(pieces, [PIECE_BYTES_MAX, 1, PIECE_BYTES_MAX + 1, 4]);
    }
}
