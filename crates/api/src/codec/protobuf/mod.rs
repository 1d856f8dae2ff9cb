//! Kubernetes' protobuf: gogo's proto2 messages within an envelope that names the kind.
//!
//! Rules: a value field is always written, also when it is zero; of a pointer the presence counts;
//! lists are never packed; maps are sorted. Structs that Go embeds are messages of their own
//! (see [`crate::schema::Field::inlined`]).

mod decode;
mod encode;
mod envelope;
mod watch;
mod wire;

pub use decode::decode_message;
pub use encode::encode_message;
pub use envelope::{Envelope, MAGIC, decode, encode};
pub use watch::{WatchFrame, watch_frame};

/// Why bytes are no such message; wire errors read as gogo's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("empty data")]
    Empty,
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoPrefix,
    #[error("empty body")]
    EmptyBody,
    #[error("unexpected EOF")]
    UnexpectedEnd,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: wrong wireType = {found} for field {field}")]
    WrongWireType { found: u8, field: String },
    /// A text within the message can't be read: a quantity, or JSON in a raw extension.
    #[error("{0}")]
    Content(String),
    /// Messages within messages without end.
    #[error("exceeded max depth")]
    TooDeep,
}
