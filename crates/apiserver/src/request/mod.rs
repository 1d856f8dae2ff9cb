//! A request, understood: what it asks for, with which options, and how it wants its answer.

pub mod accept;
pub mod info;
pub mod options;
pub mod query;

pub use accept::{Accept, Encoding, Form};
pub use info::RequestInfo;
pub use query::Query;
