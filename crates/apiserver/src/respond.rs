//! Answers as HTTP: documents, errors, and the headers every answer carries.

use api::codec::yaml;
use api::codec::{json, protobuf};
use api::status::Status;
use api::value::Value;
use bytes::Bytes;
use client::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::request::{Accept, Encoding, Form};
use crate::served;

/// A document with its content type.
pub fn document(code: StatusCode, bytes: impl Into<Bytes>, media_type: &'static str) -> Response<Body> {
    with_body(code, Body::full(bytes), media_type)
}

/// A body with its content type.
pub fn with_body(code: StatusCode, body: Body, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Plain text, as health checks and unknown paths answer.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = document(code, text, "text/plain; charset=utf-8");
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// What unknown paths answer.
pub fn no_such_path() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A tree that is no stored object (discovery, reviews, statuses), in the negotiated encoding.
/// Types without a protobuf form are answered in JSON.
pub fn tree(code: StatusCode, tree: &Value, accept: Accept) -> Response<Body> {
    let encoding = accept.encoding;
    document(code, write_text(tree, encoding, accept.pretty), encoding_for_text(encoding).media_type())
}

/// An error.
pub fn status(status: &Status, accept: Accept) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let tree = status.to_value();
    let bytes = match accept.encoding {
        Encoding::Protobuf => status_document(&tree),
        encoding => write_text(&tree, encoding, accept.pretty),
    };
    let mut response = document(code, bytes, accept.encoding.media_type());
    if let Some(seconds) = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|s| *s > 0)
        && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
    {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// A Status as a protobuf document.
pub fn status_document(tree: &Value) -> Bytes {
    let (schema, id) = served::meta_type(Form::Object);
    let mut out = Vec::new();
    // A Status always has a protobuf form; should the tables be broken, JSON says so best.
    match protobuf::encode(schema, id, tree, &mut out) {
        Ok(()) => out.into(),
        Err(_) => write_text(tree, Encoding::Json, false),
    }
}

/// A tree of a built-in kind that is no stored object, in protobuf too where that is asked for.
pub fn typed(code: StatusCode, document: &Value, accept: Accept) -> Response<Body> {
    if let (Encoding::Protobuf, Some(id)) = (accept.encoding, crate::wire::type_of(document)) {
        let mut out = Vec::new();
        if protobuf::encode(api::schema::builtin(), id, document, &mut out).is_ok() {
            return self::document(code, out, Encoding::Protobuf.media_type());
        }
    }
    tree(code, document, accept)
}

fn encoding_for_text(encoding: Encoding) -> Encoding {
    match encoding {
        Encoding::Protobuf => Encoding::Json,
        other => other,
    }
}

/// JSON or YAML.
pub fn write_text(tree: &Value, encoding: Encoding, pretty: bool) -> Bytes {
    let mut out = Vec::new();
    match encoding {
        Encoding::Yaml => yaml::write(tree, &mut out),
        _ if pretty => json::write_pretty(tree, &mut out),
        _ => {
            json::write(tree, &mut out);
            out.push(b'\n');
        }
    }
    out.into()
}
