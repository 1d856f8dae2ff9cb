//! Documents as bytes: in which format, compressed, kept once they are made.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use api::value::Value;
use bytes::Bytes;
use client::Body;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use http::{Response, StatusCode};
use parking_lot::Mutex;

use super::gnostic;
use super::types::Dialect;
use crate::context::Context;
use crate::request::Encoding;
use crate::respond;

/// Documents that were asked for, by name.
#[derive(Default)]
pub struct Documents(Mutex<HashMap<String, Document>>);

/// A document, compressed: they are long, and asked for once in a while.
#[derive(Clone)]
pub struct Document(Bytes);

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Protobuf(Dialect),
}

/// What clients ask for. They are told that they get the second: no media type may have an `@`.
const PROTOBUF_2: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];
const PROTOBUF_3: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
];

// === impl Format ===

impl Format {
    /// The best one that a client takes; none where it takes none.
    pub fn negotiate(context: &Context, dialect: Dialect) -> Option<Format> {
        let accept = context.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        Format::of(accept, dialect)
    }

    fn of(accept: &str, dialect: Dialect) -> Option<Format> {
        if accept.trim().is_empty() {
            return Some(Format::Json);
        }
        let mut clauses: Vec<(&str, f32)> = accept.split(',').map(quality).collect();
        clauses.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        clauses.into_iter().filter(|(_, quality)| *quality > 0.0).find_map(|(media_type, _)| match media_type {
            "application/json" | "application/*" | "*/*" => Some(Format::Json),
            other => protobuf(dialect).contains(&other).then_some(Format::Protobuf(dialect)),
        })
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Protobuf(dialect) => protobuf(dialect)[1],
        }
    }

    /// # Errors
    /// The compressor's.
    pub fn write(self, document: &Value) -> io::Result<Document> {
        let written: Bytes = match self {
            Format::Json => respond::write_text(document, Encoding::Json, false),
            Format::Protobuf(dialect) => gnostic::encode(document, dialect).into(),
        };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&written)?;
        Ok(Document(encoder.finish()?.into()))
    }
}

fn protobuf(dialect: Dialect) -> [&'static str; 2] {
    match dialect {
        Dialect::V2 => PROTOBUF_2,
        Dialect::V3 => PROTOBUF_3,
    }
}

/// A clause of `Accept` or `Accept-Encoding`: what, and how much it is wanted.
fn quality(clause: &str) -> (&str, f32) {
    let mut parts = clause.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (name, quality.unwrap_or(1.0))
}

// === impl Document ===

impl Document {
    /// What is kept of it, in bytes.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The answer with it, compressed where the client takes that.
    ///
    /// # Errors
    /// The decompressor's.
    pub fn respond(&self, context: &Context, media_type: &'static str) -> io::Result<Response<Body>> {
        let encodings = context.headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut encodings = encodings.flat_map(|value| value.split(',')).map(quality);
        if encodings.any(|(name, quality)| name == "gzip" && quality > 0.0) {
            let mut response = respond::document(StatusCode::OK, self.0.clone(), media_type);
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return Ok(response);
        }
        let mut document = Vec::new();
        GzDecoder::new(&self.0[..]).read_to_end(&mut document)?;
        Ok(respond::document(StatusCode::OK, document, media_type))
    }
}

// === impl Documents ===

impl Documents {
    /// A document, made where it was not asked for yet.
    ///
    /// # Errors
    /// Its maker's.
    pub fn get(&self, name: &str, make: impl FnOnce() -> io::Result<Document>) -> io::Result<Document> {
        if let Some(made) = self.0.lock().get(name) {
            return Ok(made.clone());
        }
        // Made without the lock: two at once may make the same.
        let made = make()?;
        self.0.lock().insert(name.to_owned(), made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", Dialect::V2, Some(Format::Json))]
    #[case("*/*", Dialect::V2, Some(Format::Json))]
    #[case(PROTOBUF_2[0], Dialect::V2, Some(Format::Protobuf(Dialect::V2)))]
    #[case(PROTOBUF_2[0], Dialect::V3, None)]
    #[case(PROTOBUF_3[0], Dialect::V3, Some(Format::Protobuf(Dialect::V3)))]
    #[case(PROTOBUF_3[1], Dialect::V3, Some(Format::Protobuf(Dialect::V3)))]
    #[case(
        "application/json;q=0.5, application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        Dialect::V2,
        Some(Format::Protobuf(Dialect::V2))
    )]
    #[case("text/html, application/json", Dialect::V3, Some(Format::Json))]
    #[case("text/css", Dialect::V2, None)]
    fn formats(#[case] accept: &str, #[case] dialect: Dialect, #[case] expected: Option<Format>) {
        assert_eq!(Format::of(accept, dialect), expected);
    }
}
