//! # apiserver

pub mod authz;
pub mod bootstrap;
pub mod pki;

#[cfg(test)]
mod testing;
