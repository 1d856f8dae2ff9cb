//! # streaming
//! Streams to containers: the protocols that kubectl, API server, kubelet and container runtimes speak with one
//! another once a connection is upgraded.
//!
//! Start at [`translate`]: a client's WebSocket with its numbered channels on one side, a runtime's SPDY connection
//! with its streams on the other. [`spdy`] has the frames of the one, [`channel`] the messages of the other;
//! [`upgrade`] changes a connection's protocol, and [`relay`] joins two that speak the same. [`reader`] sends bytes one way.
#![forbid(unsafe_code)]

pub mod channel;
pub mod reader;
pub mod relay;
pub mod spdy;
pub mod translate;
pub mod upgrade;
