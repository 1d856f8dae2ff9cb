//! # api
//! What objects *are*. No I/O, no clock, no chance.
//!
//! Start at [`value`] (the tree), then [`schema`] (what a tree may hold).
#![forbid(unsafe_code)]

/// The version that every part says it is: upstream's whose behaviour this has, with our mark.
pub const GIT_VERSION: &str = "v1.37.2+xebec";

#[cfg(test)]
pub(crate) mod testing;

pub mod codec;
pub mod decode;
pub mod defaults;
pub mod field;
pub mod int_or_string;
pub mod kinds;
pub mod managed;
pub mod meta;
pub mod names;
pub mod patch;
pub mod quantity;
pub mod quota;
pub mod registry;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod time;
pub mod user;
pub mod value;
