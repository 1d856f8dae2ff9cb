//! # network
