//! What objects use of a namespace's quota: amounts, and who counts what.
//!
//! Shared by who charges a write and who counts afterwards. Upstream: `k8s.io/apiserver/pkg/quota/v1` and
//! `pkg/quota/v1/evaluator/core`.

pub mod amounts;
pub mod evaluator;
pub mod pods;
pub mod scopes;

pub use self::amounts::Amounts;
pub use self::evaluator::Evaluator;
