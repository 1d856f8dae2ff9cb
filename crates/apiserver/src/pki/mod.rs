//! # pki
//! Keys and certificates of a cluster.
//!
//! Start at [`Pki`]: the directory with all of them, made on first start. [`certificate`],
//! [`csr`], [`key`] and [`usage`] are free of API types; [`serving`] brings them into TLS;
//! [`kubeconfig`] writes what clients need.
#![allow(missing_docs)] // fields and accessors that say all in their name

pub mod certificate;
pub mod csr;
pub mod der;
pub mod files;
pub mod key;
pub mod kubeconfig;
pub mod pem;
pub mod serving;
pub mod usage;

mod directory;
mod error;
mod file;

pub use certificate::{AltNames, Authority, Template};
pub use csr::sign_csr;
pub use directory::{Identity, Issued, Pki, ServerNames, is_due};
pub use error::PkiError;
pub use files::FileCertificate;
pub use key::PrivateKey;
pub use serving::{CertResolver, server_config};
