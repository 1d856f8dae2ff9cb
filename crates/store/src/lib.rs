//! # store
