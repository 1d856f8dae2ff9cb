//! SPDY frames from a container runtime, in whatever pieces they come.
#![no_main]

use futures::FutureExt;
use fuzz::Limit;
use streaming::spdy::{self, Frame};
use tokio::io::{AsyncRead, AsyncReadExt};

// A frame's body is read into its announced length, 4 MiB at most.
fuzz::target!(Limit { per_byte: 100, besides: 6 << 20 }, |input| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = frames(bytes);
    let (head, tail) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(whole, frames(head.chain(tail)));
    let written: Vec<u8> = whole.0.iter().filter_map(written).flatten().collect();
    let again = frames(written.as_slice());
    let expected: Vec<Frame> = whole.0.into_iter().filter(|frame| self::written(frame).is_some()).collect();
    assert_eq!(again, (expected, true));
});

/// All frames, and whether they ended well.
fn frames(mut bytes: impl AsyncRead + Unpin) -> (Vec<Frame>, bool) {
    let mut frames = Vec::new();
    loop {
        match spdy::read(&mut bytes).now_or_never().expect("all of it is there") {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, true),
            Err(_) => return (frames, false),
        }
    }
}

/// A frame that we write too.
fn written(frame: &Frame) -> Option<Vec<u8>> {
    match frame {
        Frame::Data { stream, bytes, is_last } => Some(spdy::data(*stream, bytes, *is_last).to_vec()),
        Frame::Ping { id } => Some(spdy::pong(*id).to_vec()),
        _ => None,
    }
}
