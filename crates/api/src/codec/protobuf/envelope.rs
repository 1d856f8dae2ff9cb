//! The envelope around every object: four bytes, then `runtime.Unknown` with the kind and the message.

use super::wire::{Payload, Reader, put_bytes, put_nested};
use super::{ProtobufError, decode_message, encode_message};
use crate::registry::{GroupVersion, Registry};
use crate::schema::{Schema, StructId};
use crate::value::Value;

/// What every object starts with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// `runtime.Unknown`: an object that says what it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope<'a> {
    pub api_version: String,
    pub kind: String,
    /// The message; protobuf unless `content_type` says otherwise.
    pub raw: &'a [u8],
    pub content_encoding: String,
    pub content_type: String,
}

/// Reads an object of a known type and gives it the kind that its envelope names.
pub fn decode(schema: &Schema, root: StructId, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = Envelope::parse(bytes)?;
    let mut value = decode_message(schema, root, envelope.raw)?;
    envelope.name(&mut value);
    Ok(value)
}

/// Writes an object with its envelope; the kind is taken from the tree.
pub fn encode(schema: &Schema, root: StructId, value: &Value, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    out.extend_from_slice(MAGIC);
    put_nested(1, out, |out| {
        put_bytes(1, value.str_at("apiVersion").as_bytes(), out);
        put_bytes(2, value.str_at("kind").as_bytes(), out);
        Ok::<(), ProtobufError>(())
    })?;
    put_nested(2, out, |out| encode_message(schema, root, value, out))?;
    put_bytes(3, b"", out);
    put_bytes(4, b"", out);
    Ok(())
}

// === impl Envelope ===

impl<'a> Envelope<'a> {
    /// Reads the envelope only.
    pub fn parse(bytes: &'a [u8]) -> Result<Envelope<'a>, ProtobufError> {
        let body = match bytes.strip_prefix(MAGIC) {
            _ if bytes.is_empty() => return Err(ProtobufError::Empty),
            None => return Err(ProtobufError::NoPrefix),
            Some([]) => return Err(ProtobufError::EmptyBody),
            Some(body) => body,
        };
        let mut envelope = Envelope::default();
        let mut reader = Reader::new(body);
        while let Some((number, payload)) = reader.field()? {
            match number {
                1 => envelope.read_type(payload.bytes("TypeMeta")?)?,
                2 => envelope.raw = payload.bytes("Raw")?,
                3 => envelope.content_encoding = text(payload, "ContentEncoding")?,
                4 => envelope.content_type = text(payload, "ContentType")?,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, message: &[u8]) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(message);
        while let Some((number, payload)) = reader.field()? {
            match number {
                1 => self.api_version = text(payload, "APIVersion")?,
                2 => self.kind = text(payload, "Kind")?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The type of the object within, if it is a built-in one.
    pub fn builtin_kind(&self) -> Option<StructId> {
        let GroupVersion { group, version } = GroupVersion::parse(&self.api_version).ok()?;
        Registry::builtin().kind(&group, &version, &self.kind)
    }

    /// Gives an object the kind that the envelope names.
    pub fn name(&self, value: &mut Value) {
        let fields = value.make_object().entries_mut();
        fields.retain(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion"));
        let named = [("kind", &self.kind), ("apiVersion", &self.api_version)];
        let named = named.into_iter().filter(|(_, text)| !text.is_empty());
        fields.splice(0..0, named.map(|(key, text)| (key.into(), text.as_str().into())));
    }
}

fn text(payload: Payload<'_>, field: &str) -> Result<String, ProtobufError> {
    Ok(String::from_utf8_lossy(payload.bytes(field)?).into_owned())
}
