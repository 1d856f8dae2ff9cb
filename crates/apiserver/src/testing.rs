//! What tests of several modules share.

use api::codec::json;
use api::value::Value;

/// A tree from JSON text.
pub fn parse(text: &str) -> Result<Value, json::ParseError> {
    json::parse(text.as_bytes())
}
