//! One suite for all engines: what the store promises, whatever makes it durable.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod commit;
mod durable;
mod etcd_server;
mod harness;
mod history;
mod model;
mod on_etcd;
mod watching;
