//! JSON as Go's encoder writes it and as Kubernetes' decoder (`sigs.k8s.io/json`) reads it.
//!
//! What differs from common JSON libraries, and why there is a parser of our own: of duplicate
//! fields the last one counts (and strict decoding names them), whole numbers stay whole while
//! they fit `int64`, invalid UTF-8 and lone surrogates become U+FFFD instead of errors, and
//! errors read as Go words them.

mod number;
mod parse;
mod scan;
mod write;

pub(crate) use parse::parse_fields;
pub use parse::{DEPTH_MAX, Duplicates, ParseError, Parsed, parse, parse_body, parse_object, parse_strict};
pub(crate) use scan::{depth, end_of_string};
pub(crate) use write::write_escaped;
pub use write::{to_vec, write, write_float, write_pretty, write_string};
