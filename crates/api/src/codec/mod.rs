//! Encodings: how trees become bytes and come back.

pub mod json;
pub mod protobuf;
pub mod yaml;
