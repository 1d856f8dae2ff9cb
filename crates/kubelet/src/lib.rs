//! # kubelet
