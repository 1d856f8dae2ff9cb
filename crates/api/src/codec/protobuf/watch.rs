//! Frames of a watch in protobuf (`application/vnd.kubernetes.protobuf;stream=watch`): a length of four
//! bytes, then a `WatchEvent` without envelope, whose object has one.

use bytes::{BufMut, Bytes, BytesMut};

use super::ProtobufError;
use super::wire::{Reader, put_bytes, put_nested};

/// Bytes of the length before each frame.
const LENGTH_BYTES: usize = 4;

/// An event of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchFrame<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub event: &'a str,
    /// The object with its envelope.
    pub object: &'a [u8],
}

/// The frame of an event, its length included. `object` has its envelope.
pub fn watch_frame(event: &str, object: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(object.len() + event.len() + 16);
    put_bytes(1, event.as_bytes(), &mut message);
    // The content of the extension is written without fail.
    let _ = put_nested(2, &mut message, |out| {
        put_bytes(1, object, out);
        Ok::<(), ProtobufError>(())
    });
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + message.len());
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

// === impl WatchFrame ===

impl<'a> WatchFrame<'a> {
    /// Takes the first frame off a stream's bytes; none while it is not there whole.
    pub fn take(stream: &mut &'a [u8]) -> Result<Option<WatchFrame<'a>>, ProtobufError> {
        let Some((length, rest)) = stream.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        let frame = WatchFrame::parse(message)?;
        *stream = rest;
        Ok(Some(frame))
    }

    /// Reads the message of a frame, without the length.
    pub fn parse(message: &'a [u8]) -> Result<WatchFrame<'a>, ProtobufError> {
        let mut frame = WatchFrame { event: "", object: b"" };
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            match number {
                1 => {
                    let event = std::str::from_utf8(payload.bytes("Type")?);
                    frame.event = event.map_err(|error| ProtobufError::Content(error.to_string()))?;
                }
                2 => {
                    let mut reader = Reader::new(payload.bytes("Object")?);
                    while let Some((number, payload)) = reader.field()? {
                        if number == 1 {
                            frame.object = payload.bytes("Raw")?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_are_taken_off_one_by_one(object in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..8) {
            let one = watch_frame("ADDED", &object);
            let two = [&one[..], &one[..]].concat();
            let mut stream = &two[..];
            let expected = WatchFrame { event: "ADDED", object: &object };
            prop_assert_eq!(WatchFrame::take(&mut stream), Ok(Some(expected)));
            prop_assert_eq!(WatchFrame::take(&mut stream), Ok(Some(expected)));
            prop_assert_eq!(WatchFrame::take(&mut stream), Ok(None));
            let mut partial = &one[..one.len() - 1 - cut.min(one.len() - 1)];
            prop_assert_eq!(WatchFrame::take(&mut partial), Ok(None));
        }
    }
}
