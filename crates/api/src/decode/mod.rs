//! From a parsed tree to what Go's typed object would hold: known fields only, in Go's order, of the
//! right types, with what `omitempty` leaves out left out. Written as JSON, the result is byte for
//! byte what Go's encoder writes for the typed object.
//!
//! [`decode`] takes what came from outside and says what was wrong with it; [`canonicalize`] does
//! the same to a tree of ours that was edited (defaulted, patched).

mod frame;
mod leaf;
mod raw;
mod typed;

pub(crate) use typed::{is_omitted, zero as zero_value, zero_field};

use crate::codec::json::Duplicates;
use crate::field::go_quote;
use crate::schema::{Schema, StructId};
use crate::value::Value;

/// What to do about fields that are unknown or came twice (`fieldValidation` of a request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so.
    Warn,
    /// Fail.
    Strict,
}

/// A typed object's tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// `unknown field "spec.foo"`, `duplicate field "spec.bar"`: only with [`FieldValidation::Warn`].
    pub warnings: Vec<String>,
}

/// Why a tree is no such object; the text is what upstream appends to
/// `Pod in version "v1" cannot be handled as a Pod: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value has the wrong type or can't be read.
    #[error("{0}")]
    Type(String),
    /// Unknown or duplicate fields under [`FieldValidation::Strict`].
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
}

/// Decodes a parsed tree as a struct.
///
/// # Errors
/// The first value of a wrong type, in the text's order; else, if asked to, all unknown fields.
pub fn decode(schema: &Schema, root: StructId, value: Value, mode: FieldValidation) -> Result<Decoded, DecodeError> {
    decode_with_duplicates(schema, root, value, &Duplicates::default(), mode)
}

/// The same for a text in which fields came more than once (see [`crate::codec::json::parse_strict`]).
pub fn decode_with_duplicates(
    schema: &Schema,
    root: StructId,
    mut value: Value,
    duplicates: &Duplicates,
    mode: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let mut decoder = typed::Decoder::new(schema, mode != FieldValidation::Ignore);
    decoder.root(root, &mut value).map_err(DecodeError::Type)?;
    let said = strict_errors(schema, root, duplicates, decoder.into_unknown(), mode);
    match mode {
        FieldValidation::Strict if !said.is_empty() => Err(DecodeError::Strict(said)),
        _ => Ok(Decoded { value, warnings: said }),
    }
}

/// What strict decoding complains of, each once, in the text's order.
fn strict_errors(
    schema: &Schema,
    root: StructId,
    duplicates: &Duplicates,
    unknown: Vec<String>,
    mode: FieldValidation,
) -> Vec<String> {
    if mode == FieldValidation::Ignore {
        return Vec::new();
    }
    let unknown_field = |path: &String| format!("unknown field {}", go_quote(path));
    if duplicates.paths.is_empty() {
        return duplicates
            .said
            .iter()
            .cloned()
            .chain(unknown.iter().map(unknown_field))
            .take(STRICT_ERRORS_MAX)
            .collect();
    }
    let mut said = duplicates.said.clone();
    for (path, repeated) in &duplicates.all {
        let complaint = if unknown.contains(path) {
            unknown_field(path)
        } else if *repeated && typed::is_typed(schema, root, path) {
            format!("duplicate field {}", go_quote(path))
        } else {
            continue;
        };
        if said.len() < STRICT_ERRORS_MAX && !said.contains(&complaint) {
            said.push(complaint);
        }
    }
    said
}

/// Upstream stops counting there.
const STRICT_ERRORS_MAX: usize = 100;
/// Ours stops here too: one path may be as long as a body.
const STRICT_ERRORS_BYTES_MAX: usize = 256 << 10;

/// Brings an edited tree into canonical form.
///
/// # Errors
/// A value has a wrong type. The tree is then of no further use.
pub fn canonicalize(schema: &Schema, root: StructId, value: &mut Value) -> Result<(), DecodeError> {
    typed::Decoder::new(schema, false).root(root, value).map_err(DecodeError::Type)
}

/// Brings a tree into the form in which upstream reads it from its store: as [`canonicalize`], and empty lists and maps
/// that are always written are null, because upstream stores protobuf, which does not tell the two apart.
///
/// # Errors
/// A value has a wrong type. The tree is then of no further use.
pub fn canonicalize_stored(schema: &Schema, root: StructId, value: &mut Value) -> Result<(), DecodeError> {
    typed::Decoder::through_protobuf(schema).root(root, value).map_err(DecodeError::Type)
}

/// What Go writes for the zero value of a struct: its fields that are always written.
pub fn zero(schema: &Schema, root: StructId) -> Value {
    typed::zero_struct(schema, root)
}

#[cfg(test)]
mod tests;
