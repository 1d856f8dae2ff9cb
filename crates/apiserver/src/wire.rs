//! Protobuf framing around messages: lists of shared messages, and frames of watches.

use api::codec::protobuf::{MAGIC, ProtobufError, encode_message};
use api::registry::Registry;
use api::schema;
use api::value::Value;
use bytes::{BufMut, Bytes, BytesMut};

/// A field that holds bytes: a nested message, a text.
pub fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number << 3 | 2), out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The envelope around a message that is already encoded.
pub fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut named = Vec::new();
    put_bytes(1, api_version.as_bytes(), &mut named);
    put_bytes(2, kind.as_bytes(), &mut named);
    let mut out = Vec::with_capacity(message.len() + named.len() + 24);
    out.extend_from_slice(MAGIC);
    put_bytes(1, &named, &mut out);
    put_bytes(2, message, &mut out);
    put_bytes(3, b"", &mut out);
    put_bytes(4, b"", &mut out);
    out
}

/// `metadata` of a list, as field 1 of the list's message.
///
/// # Errors
/// Where the tables lack `ListMeta`.
pub fn put_list_metadata(metadata: &Value, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let schema = schema::builtin();
    let Some(id) = schema.find("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta") else { return Ok(()) };
    let mut message = Vec::new();
    encode_message(schema, id, metadata, &mut message)?;
    put_bytes(1, &message, out);
    Ok(())
}

/// A watch's frame: four bytes of length, then a `WatchEvent` whose object is a whole document.
pub fn watch_frame(what: &str, document: &[u8]) -> Bytes {
    let mut object = Vec::with_capacity(document.len() + 8);
    put_bytes(1, document, &mut object);
    let mut event = Vec::with_capacity(object.len() + 24);
    put_bytes(1, what.as_bytes(), &mut event);
    put_bytes(2, &object, &mut event);
    let mut out = BytesMut::with_capacity(event.len() + 4);
    out.put_u32(event.len() as u32);
    out.put_slice(&event);
    out.freeze()
}

/// The type that a tree says it is, if it is built in.
pub fn type_of(tree: &Value) -> Option<schema::StructId> {
    let (group, version) = match tree.str_at("apiVersion").split_once('/') {
        Some((group, version)) => (group, version),
        // Old documents of discovery lack it.
        None if tree.str_at("apiVersion").is_empty() => ("", "v1"),
        None => ("", tree.str_at("apiVersion")),
    };
    Registry::builtin().kind(group, version, tree.str_at("kind"))
}
