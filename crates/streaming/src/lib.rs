//! # streaming
