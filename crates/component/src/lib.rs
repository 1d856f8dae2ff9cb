//! What the components beside the API server have in common where they are asked themselves: an HTTPS server that knows
//! who asks, reviews by the API server of who that is and what one may, and figures for Prometheus.
//!
//! Upstream: k8s.io/apiserver's delegated authentication and authorization, k8s.io/component-base's metrics.

pub mod exposition;
pub mod https;
pub mod peer;
pub mod process;
pub mod reviews;

pub use exposition::Exposition;
pub use peer::User;
pub use reviews::Reviews;
