//! A page's bytes on their way, taken out of their coding and put into it again, a piece at a time.

use std::collections::VecDeque;
use std::io::{self, Write};

use bytes::Bytes;
use client::Body;
use client::body::BoxError;
use flate2::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder};
use futures::stream;

use super::html::Rewriter;

/// A `Content-Encoding` that can be read.
pub enum Coding {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>, GzEncoder<Vec<u8>>),
    /// Without zlib's head, as Go reads and writes it.
    Deflate(DeflateDecoder<Vec<u8>>, DeflateEncoder<Vec<u8>>),
}

/// A page that passes.
struct Passing {
    /// None behind its end.
    body: Option<Body>,
    /// What has come and is to be looked at.
    waiting: VecDeque<Bytes>,
    coding: Coding,
    rewriter: Rewriter,
}

/// Coded bytes that are taken at once: they may become a thousand times as many.
const PIECE_BYTES: usize = 4 << 10;

// === impl Coding ===

impl Coding {
    /// None for one that is not known.
    pub fn named(name: &str) -> Option<Coding> {
        match name {
            "" => Some(Coding::Identity),
            "gzip" => {
                let encoder = GzEncoder::new(Vec::new(), Compression::default());
                Some(Coding::Gzip(Box::new(MultiGzDecoder::new(Vec::new())), encoder))
            }
            "deflate" => {
                let encoder = DeflateEncoder::new(Vec::new(), Compression::best());
                Some(Coding::Deflate(DeflateDecoder::new(Vec::new()), encoder))
            }
            _ => None,
        }
    }

    fn decode(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Coding::Identity => Ok(piece.to_vec()),
            Coding::Gzip(decoder, _) => {
                decoder.write_all(piece)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Coding::Deflate(decoder, _) => {
                decoder.write_all(piece)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    /// What a decoder still held, at the end.
    fn decode_rest(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Coding::Identity => Ok(Vec::new()),
            Coding::Gzip(decoder, _) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Coding::Deflate(decoder, _) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    fn encode(&mut self, piece: Vec<u8>, is_last: bool) -> io::Result<Vec<u8>> {
        match self {
            Coding::Identity => Ok(piece),
            Coding::Gzip(_, encoder) => {
                encoder.write_all(&piece)?;
                if is_last {
                    encoder.try_finish()?;
                }
                Ok(std::mem::take(encoder.get_mut()))
            }
            Coding::Deflate(_, encoder) => {
                encoder.write_all(&piece)?;
                if is_last {
                    encoder.try_finish()?;
                }
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }
}

// === impl Passing ===

impl Passing {
    /// The next bytes for the client; none behind the last ones.
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        loop {
            let made = match (self.waiting.pop_front(), &mut self.body) {
                (Some(mut piece), _) => {
                    let rest = piece.split_off(piece.len().min(PIECE_BYTES));
                    if !rest.is_empty() {
                        self.waiting.push_front(rest);
                    }
                    let plain = self.coding.decode(&piece)?;
                    self.coding.encode(self.rewriter.push(&plain, false), false)?
                }
                (None, None) => return Ok(None),
                (None, Some(body)) => match body.next_data().await {
                    Some(piece) => {
                        self.waiting.push_back(piece?);
                        continue;
                    }
                    None => {
                        self.body = None;
                        let plain = self.coding.decode_rest()?;
                        self.coding.encode(self.rewriter.push(&plain, true), true)?
                    }
                },
            };
            if !made.is_empty() {
                return Ok(Some(made.into()));
            }
        }
    }
}

/// A page whose links are rewritten as it passes.
pub fn rewritten(body: Body, coding: Coding, rewriter: Rewriter) -> Body {
    let passing = Passing { body: Some(body), waiting: VecDeque::new(), coding, rewriter };
    Body::stream(stream::unfold(Some(passing), |passing| async move {
        let mut passing = passing?;
        match passing.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(passing))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{DeflateDecoder as Inflate, GzDecoder as Gunzip};

    use super::*;
    use crate::proxy::link::Page;

    fn rewriter() -> Rewriter {
        Rewriter::new(Page { prefix: b"/p".to_vec(), server: String::new(), host: String::new() })
    }

    async fn passed(coded: Vec<u8>, coding: &str) -> Result<Bytes, BoxError> {
        let frames: Vec<Bytes> = coded.chunks(7).map(Bytes::copy_from_slice).collect();
        rewritten(Body::frames(frames), Coding::named(coding).unwrap(), rewriter()).collect(1 << 20).await
    }

    #[tokio::test]
    async fn codings() {
        let (page, expected) = (r#"<a href="/x">"#.repeat(2_000), r#"<a href="/p/x">"#.repeat(2_000));
        assert_eq!(passed(page.clone().into_bytes(), "").await.unwrap(), expected);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(page.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut text = String::new();
        Gunzip::new(&passed(gzip.clone(), "gzip").await.unwrap()[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(page.as_bytes()).unwrap();
        let mut text = String::new();
        let inflated = passed(deflate.finish().unwrap(), "deflate").await.unwrap();
        Inflate::new(&inflated[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
        passed(gzip[..gzip.len() / 2].to_vec(), "gzip").await.unwrap_err();
        assert!(Coding::named("br").is_none());
    }
}
