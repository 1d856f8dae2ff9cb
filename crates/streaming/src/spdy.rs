//! SPDY/3.1 as a client of container runtimes needs it: streams are opened, carry bytes and end.
//!
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>. Header blocks are compressed in one zlib
//! stream a connection. Ours is made of stored blocks, which any inflater reads; theirs say nothing that is needed
//! and are not inflated. Like the runtimes' implementation (moby/spdystream) this one has no flow control.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A frame from the other side, by what it means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a stream, and whether they are its last.
    Data { stream: u32, bytes: Bytes, is_last: bool },
    /// The other side takes a stream.
    Reply { stream: u32 },
    /// A stream ends at once.
    Reset { stream: u32 },
    /// To be sent back.
    Ping { id: u32 },
    /// The connection is about to end.
    GoAway,
    /// Anything else; it asks for nothing.
    Other,
}

/// Writes the frames that open streams: header blocks share one compressed stream, so order matters.
#[derive(Debug, Default)]
pub struct Opener {
    began: bool,
}

/// A control frame of version 3.
const CONTROL: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
const FLAG_FIN: u8 = 1;
/// A frame's head, in bytes.
const HEAD_BYTES: usize = 8;
/// The longest frame taken; writers cut at 32 KiB, the format ends at 16 MiB.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Method deflate, no dictionary; the second byte makes the two divisible by 31.
const ZLIB_HEAD: [u8; 2] = [0x78, 0x01];
/// An empty stored block: what was before it is to be taken out now.
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

// === impl Opener ===

impl Opener {
    /// The frame that opens a stream (odd numbers, growing) with headers; names in lower case.
    pub fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> Bytes {
        let mut block = BytesMut::new();
        block.put_u32(length(headers.len()));
        for (name, value) in headers {
            for text in [name, value] {
                block.put_u32(length(text.len()));
                block.put_slice(text.as_bytes());
            }
        }
        let mut body = BytesMut::new();
        body.put_u32(stream);
        // No stream that it belongs to, no priority, no slot.
        body.put_bytes(0, 6);
        if !self.began {
            body.put_slice(&ZLIB_HEAD);
            self.began = true;
        }
        for piece in block.chunks(usize::from(u16::MAX)) {
            let size = u16::try_from(piece.len()).unwrap_or(u16::MAX);
            body.put_u8(0);
            body.put_u16_le(size);
            body.put_u16_le(!size);
            body.put_slice(piece);
        }
        body.put_slice(&FLUSH);
        control(SYN_STREAM, &body)
    }
}

/// A frame with bytes of a stream.
pub fn data(stream: u32, bytes: &[u8], is_last: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + bytes.len());
    frame.put_u32(stream);
    frame.put_u32(length(bytes.len()) | u32::from(if is_last { FLAG_FIN } else { 0 }) << 24);
    frame.put_slice(bytes);
    frame.freeze()
}

/// The answer to a ping.
pub fn pong(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + body.len());
    frame.put_u16(CONTROL);
    frame.put_u16(kind);
    frame.put_u32(length(body.len()));
    frame.put_slice(body);
    frame.freeze()
}

/// Lengths here are far below the format's limit of 24 bits.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX) & 0x00ff_ffff
}

/// Reads the next frame; none at the connection's end.
///
/// # Errors
/// The connection's, and `InvalidData` for what is no frame.
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; HEAD_BYTES];
    match io.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let [a, b, c, d, flags, long @ ..] = head;
    let size = u32::from_be_bytes([0, long[0], long[1], long[2]]) as usize;
    if size > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a SPDY frame of {size} bytes")));
    }
    let mut body = vec![0; size];
    io.read_exact(&mut body).await?;
    let first = || body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff);
    if a & 0x80 == 0 {
        let stream = u32::from_be_bytes([a, b, c, d]);
        return Ok(Some(Frame::Data { stream, bytes: body.into(), is_last: flags & FLAG_FIN != 0 }));
    }
    Ok(Some(match (u16::from_be_bytes([c, d]), first()) {
        (SYN_REPLY, Some(stream)) => Frame::Reply { stream },
        (RST_STREAM, Some(stream)) => Frame::Reset { stream },
        (PING, Some(id)) => Frame::Ping { id },
        (GO_AWAY, _) => Frame::GoAway,
        _ => Frame::Other,
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    async fn all(mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = read(&mut bytes).await.unwrap() {
            frames.push(frame);
        }
        frames
    }

    #[tokio::test]
    async fn frames_that_are_read() {
        let reply = control(SYN_REPLY, &[0, 0, 0, 5, 1, 2, 3]);
        let reset = control(RST_STREAM, &[0, 0, 0, 5, 0, 0, 0, 5]);
        let away = control(GO_AWAY, &[0; 8]);
        let bytes = [reply, data(5, b"hi", false), data(5, b"", true), pong(2), reset, away, control(4, &[])].concat();
        let expected = [
            Frame::Reply { stream: 5 },
            Frame::Data { stream: 5, bytes: "hi".into(), is_last: false },
            Frame::Data { stream: 5, bytes: Bytes::new(), is_last: true },
            Frame::Ping { id: 2 },
            Frame::Reset { stream: 5 },
            Frame::GoAway,
            Frame::Other,
        ];
        assert_eq!(all(&bytes).await, expected);
        assert!(read(&mut &[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff][..]).await.is_err());
    }

    /// What an inflater makes of the header blocks of one connection.
    #[test]
    fn header_blocks_are_zlib() {
        let mut opener = Opener::default();
        let mut zlib = Vec::new();
        for (stream, kind) in [(1, "error"), (3, "stdin")] {
            let frame = opener.open(stream, &[("streamtype", kind)]);
            assert_eq!(frame[..8], [0x80, 3, 0, 1, 0, 0, 0, u8::try_from(frame.len() - 8).unwrap()]);
            assert_eq!(frame[8..18], [0, 0, 0, u8::try_from(stream).unwrap(), 0, 0, 0, 0, 0, 0]);
            zlib.extend_from_slice(&frame[18..]);
        }
        let expected = ["error", "stdin"]
            .map(|kind| [&[0, 0, 0, 1, 0, 0, 0, 10][..], b"streamtype", &[0, 0, 0, 5], kind.as_bytes()].concat())
            .concat();
        let mut inflated = vec![0; expected.len()];
        flate2::read::ZlibDecoder::new(zlib.as_slice()).read_exact(&mut inflated).unwrap();
        assert_eq!(inflated, expected);
    }
}
