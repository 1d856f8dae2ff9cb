//! The container runtime interface: the wire types (`v1`) and a client for one runtime socket.

/// The generated wire types.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

mod client;
pub use client::{Error, Runtime};
