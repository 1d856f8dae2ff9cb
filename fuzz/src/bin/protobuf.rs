//! Protobuf: messages of any kind, envelopes, frames of a watch.
#![no_main]

use api::codec::json;
use api::codec::protobuf::{self, Envelope, WatchFrame};
use api::decode::{self, FieldValidation};
use fuzz::{Kind, Limit, assert_same, kind, text};

fuzz::target!(Limit { per_byte: 2000, besides: 1 << 20 }, |input| {
    frames(input);
    let Some((kind, message)) = kind(input) else { return };
    if let Ok(envelope) = Envelope::parse(message) {
        if let Some(id) = envelope.builtin_kind() {
            let _ = protobuf::decode(kind.schema, id, message);
        }
    }
    round(kind, message);
});

/// What was decoded is encoded, and the other way round, without a change; as JSON it is the same object.
fn round(kind: Kind, message: &[u8]) {
    let Ok(value) = protobuf::decode_message(kind.schema, kind.id, message) else { return };
    let mut encoded = Vec::new();
    protobuf::encode_message(kind.schema, kind.id, &value, &mut encoded).expect("what was decoded is encoded");
    let again = protobuf::decode_message(kind.schema, kind.id, &encoded).expect("what was encoded is decoded");
    assert_same(&value, &again);
    let stored = json::parse(&json::to_vec(&value)).expect("what was written is JSON");
    let stored = decode::decode(kind.schema, kind.id, stored, FieldValidation::Strict);
    match stored {
        Ok(stored) => assert_same(&value, &stored.value),
        Err(error) => panic!("{error}: {}", text(&value)),
    }
}

/// Frames are taken off one by one, and what is left over is no whole frame.
fn frames(input: &[u8]) {
    let mut stream = input;
    while let Ok(Some(WatchFrame { event, object })) = WatchFrame::take(&mut stream) {
        let frame = protobuf::watch_frame(event, object);
        assert_eq!(WatchFrame::take(&mut &frame[..]), Ok(Some(WatchFrame { event, object })));
        assert_eq!(WatchFrame::take(&mut &frame[..frame.len() - 1]), Ok(None));
    }
}
