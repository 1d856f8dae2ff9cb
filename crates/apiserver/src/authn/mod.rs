//! # authn
//! Who makes a request.
//!
//! Start at [`Authenticator`]: front proxy, client certificate, bearer token, anonymous, in
//! upstream's order. [`token`] reads and issues service account tokens, [`x509`] judges client
//! certificates, [`impersonation`] lets one user act as another, [`review`] answers token reviews.
//! What tokens are bound to comes by the trait [`BoundObjects`]; nothing here reads the store.
#![allow(missing_docs)] // fields and accessors that say all in their name

pub mod bootstrap_token;
pub mod front_proxy;
pub mod impersonation;
pub mod review;
pub mod token;
pub mod token_file;
pub mod x509;

pub mod bearer;
mod bound;
mod chain;

use api::user::UserInfo;

pub use bound::{Bound, BoundObjects, BoundSecret, NoObjects};
pub use chain::{Authenticated, Authenticator, Settings};
pub use x509::Peer;

/// Under this key a user's extra names the credential that was used.
pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
pub(crate) const ANONYMOUS: &str = "system:anonymous";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Why credentials were not accepted: for logs and token reviews. `None` where there were none
/// of the kind asked for.
pub(crate) type Attempt<T> = Result<Option<T>, String>;

/// Everybody with credentials is in `system:authenticated`, but for those who say otherwise.
fn with_authenticated_group(mut user: UserInfo) -> UserInfo {
    if user.name != ANONYMOUS && !user.in_group(AUTHENTICATED) && !user.in_group(UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}
