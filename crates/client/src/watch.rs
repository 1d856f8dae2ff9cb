//! Watch streams: frames of JSON, one event a line.

use api::value::Value;
use bytes::{Bytes, BytesMut};

use crate::body::Body;
use crate::error::{ApiError, ClientError};

/// Largest event that is read: an object may have 3 MiB, its escapes more.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The object is new to this watch.
    Added(Bytes),
    /// It changed.
    Modified(Bytes),
    /// It is gone, or no longer selected. These are its last bytes, with the revision of that change.
    Deleted(Bytes),
    /// Nothing happened up to the revision in these bytes.
    Bookmark(Bytes),
    /// The watch ends; `Expired` (code 410) asks for a new list.
    Error(Box<ApiError>),
}

/// The events of one watch request.
pub struct WatchStream {
    body: Body,
    /// The beginning of a line whose end hasn't come.
    partial: BytesMut,
    /// Bytes that came, from the start of a line on.
    chunk: Bytes,
}

// === impl WatchStream ===

impl WatchStream {
    /// Reads events from the body of a watch's answer.
    pub fn new(body: Body) -> WatchStream {
        WatchStream { body, partial: BytesMut::new(), chunk: Bytes::new() }
    }

    /// The next event; none at the end of the stream.
    ///
    /// # Errors
    /// [`ClientError::Transport`] if the connection broke, [`ClientError::Decode`] for what is no event.
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, ClientError> {
        loop {
            if let Some(line) = self.line()? {
                return WatchEvent::read(line).map(Some);
            }
            match self.body.next_data().await {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(ClientError::transport("watch", error)),
                None if self.partial.is_empty() => return Ok(None),
                // The server ends every event with a newline; a last one without is complete if it can be read.
                None => return WatchEvent::read(self.partial.split().freeze()).map(Some),
            }
        }
    }

    /// The next whole line that has come. Not copied if the chunk holds nothing else: in process, a chunk is one
    /// event, shared with the server. A line out of a larger chunk is copied, or it would keep all of it in memory.
    fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        while !self.chunk.is_empty() {
            // A newline inside JSON strings is escaped, and writers put none between tokens.
            let Some(end) = self.chunk.iter().position(|byte| *byte == b'\n') else {
                self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
                break;
            };
            let is_whole_chunk = end + 1 == self.chunk.len();
            let line = self.chunk.split_to(end + 1);
            if !self.partial.is_empty() {
                self.partial.extend_from_slice(&line);
                return Ok(Some(self.partial.split().freeze()));
            }
            if line.len() > 1 {
                return Ok(Some(if is_whole_chunk { line } else { Bytes::copy_from_slice(&line) }));
            }
        }
        if self.partial.len() > EVENT_BYTES_MAX {
            return Err(ClientError::decode("a watch event", format!("longer than {EVENT_BYTES_MAX} bytes")));
        }
        Ok(None)
    }
}

// === impl WatchEvent ===

impl WatchEvent {
    /// Reads one frame, `{"type":"ADDED","object":{…}}`. The object's bytes are a slice of the frame's.
    ///
    /// # Errors
    /// [`ClientError::Decode`] if it is no event.
    pub fn read(frame: Bytes) -> Result<WatchEvent, ClientError> {
        let mut kind = String::new();
        let mut object = Bytes::new();
        for field in sonic_rs::to_object_iter(frame.as_ref()) {
            let (key, value) = field.map_err(|error| ClientError::decode("a watch event", error))?;
            match key.as_ref() {
                "type" => kind = value.as_raw_str().trim_matches('"').to_owned(),
                "object" => object = frame.slice_ref(value.as_raw_str().as_bytes()),
                _ => {}
            }
        }
        match kind.as_str() {
            "ADDED" => Ok(WatchEvent::Added(object)),
            "MODIFIED" => Ok(WatchEvent::Modified(object)),
            "DELETED" => Ok(WatchEvent::Deleted(object)),
            "BOOKMARK" => Ok(WatchEvent::Bookmark(object)),
            "ERROR" => {
                let status: Value = crate::json::parse(&object)?;
                Ok(WatchEvent::Error(Box::new(ApiError::from_status(status))))
            }
            other => Err(ClientError::decode("a watch event", format!("unknown type {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    const ADDED: &str = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n";
    const DELETED: &str = "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"b\\nc\"}}}\n";

    async fn read(chunks: Vec<Bytes>) -> Vec<WatchEvent> {
        let body = Body::stream(stream::iter(chunks.into_iter().map(Ok)));
        let mut events = WatchStream::new(body);
        let mut all = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            all.push(event);
        }
        all
    }

    proptest::proptest! {
        /// However the bytes are cut into chunks, the events are the same.
        #[test]
        fn chunks_do_not_matter(cuts in proptest::collection::vec(1usize..60, 1..20)) {
            let mut bytes = Bytes::from([ADDED, DELETED, ADDED].concat());
            let mut chunks = Vec::new();
            for cut in cuts {
                chunks.push(bytes.split_to(cut.min(bytes.len())));
            }
            chunks.push(bytes);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let events = runtime.block_on(read(chunks));
            let a = Bytes::from_static(br#"{"metadata":{"name":"a"}}"#);
            let b = Bytes::from_static(br#"{"metadata":{"name":"b\nc"}}"#);
            let expected = vec![WatchEvent::Added(a.clone()), WatchEvent::Deleted(b), WatchEvent::Added(a)];
            proptest::prop_assert_eq!(events, expected);
        }
    }

    #[tokio::test]
    async fn a_frame_of_its_own_is_not_copied() {
        let frame = Bytes::from(ADDED.as_bytes().to_vec());
        let events = read(vec![frame.clone()]).await;
        let [WatchEvent::Added(object)] = events.as_slice() else { panic!("{events:?}") };
        assert!(frame.as_ptr_range().contains(&object.as_ptr()));
    }

    #[tokio::test]
    async fn an_error_event_carries_its_status() {
        let frame = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        let events = read(vec![Bytes::from_static(frame.as_bytes())]).await;
        let [WatchEvent::Error(error)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((error.code, error.reason.as_str()), (410, "Expired"));
    }
}
