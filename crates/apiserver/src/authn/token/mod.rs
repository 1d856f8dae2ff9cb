//! Service account tokens: JWTs that this server or another of the cluster signed.
//!
//! [`claims`] issues, [`service_account`] verifies, [`keys`] holds what verifies them,
//! [`discovery`] tells others how to, [`cache`] spares the hot path the signature.

pub mod cache;
pub mod claims;
pub mod discovery;
pub mod keys;
pub mod request;
pub mod service_account;

mod jwt;

pub use claims::{Binding, Issuer, TokenClaims};
pub use keys::KeySet;
pub use service_account::{ServiceAccountTokens, Verified};
