//! # apiserver
