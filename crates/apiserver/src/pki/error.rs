//! What can go wrong with keys and certificates.

use std::path::PathBuf;

/// Why a key, certificate or request could not be read, made or kept.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// PEM or DER that does not hold what it should.
    #[error("{0}")]
    Malformed(String),
    /// A certificate request whose signature is not by its own key.
    #[error("unable to verify certificate request signature: {0}")]
    Signature(String),
    /// A usage that no certificate can have.
    #[error("unrecognized usage values: {0}")]
    Usage(String),
    /// The authority's own certificate is over.
    #[error("refusing to sign a certificate that expired in the past: NotAfter={0}")]
    AuthorityExpired(i64),
    /// The cryptographic library refused.
    #[error("cryptography: {0}")]
    Crypto(String),
}

impl PkiError {
    pub(crate) fn malformed(what: impl Into<String>) -> PkiError {
        PkiError::Malformed(what.into())
    }
}
