//! Joins two connections byte by byte.

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Waits for the client's side and carries bytes both ways until both ends are done.
pub async fn relay(client: OnUpgrade, other: Upgraded) {
    let client = match client.await {
        Ok(client) => client,
        Err(error) => return tracing::debug!(%error, "a client did not upgrade"),
    };
    let (mut client, mut other) = (TokioIo::new(client), TokioIo::new(other));
    if let Err(error) = copy_bidirectional(&mut client, &mut other).await {
        tracing::debug!(%error, "a stream broke");
    }
}
