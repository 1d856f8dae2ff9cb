//! # scheduler
