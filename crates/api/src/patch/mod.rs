//! The patch engines: each takes the current tree and a patch tree and gives the new tree.
//!
//! | content type | module | what steers it |
//! |---|---|---|
//! | `application/json-patch+json` | [`json`] | nothing: RFC 6902 |
//! | `application/merge-patch+json` | [`merge`] | nothing: RFC 7386 |
//! | `application/strategic-merge-patch+json` | [`strategic`] | the schema's patch strategies |
//!
//! Server-side apply lives in [`crate::managed`]. The engines take the current tree by value and
//! move the patch into it; who needs the current object later clones it once before.

pub(crate) mod gofmt;
pub mod json;
pub mod merge;
pub mod strategic;

use crate::status::{Details, Status};

/// The answer to a patch that is well formed and can't be applied: upstream keeps the reason in
/// its log and tells the client only this (`errors.NewGenericServerResponse` with code 422).
pub(crate) fn unprocessable() -> Status {
    const MESSAGE: &str = "the server rejected our request due to an error in our request";
    let mut status = Status::new(422, "Invalid", MESSAGE);
    status.details = Some(Details::default());
    status
}
