//! # client
