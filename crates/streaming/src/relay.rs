//! Joins two connections byte by byte.

use std::io;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

/// Waits for the client's side and carries bytes both ways until one side is done.
pub async fn relay(client: OnUpgrade, other: Upgraded) {
    let client = match client.await {
        Ok(client) => client,
        Err(error) => return tracing::debug!(%error, "a client did not upgrade"),
    };
    if let Err(error) = carry(TokioIo::new(client), TokioIo::new(other)).await {
        tracing::debug!(%error, "a stream broke");
    }
}

/// Carries bytes both ways until one side is done; what it said before is delivered. As upstream: a side that is done
/// has nobody who would read what the other one still says.
///
/// # Errors
/// One of the connections broke.
pub async fn carry<A, B>(one: A, other: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (mut from_one, mut to_one) = split(one);
    let (mut from_other, mut to_other) = split(other);
    let ended = tokio::select! {
        ended = copy(&mut from_one, &mut to_other) => ended,
        ended = copy(&mut from_other, &mut to_one) => ended,
    };
    // Either may be gone already; what matters is how the copying ended.
    let _ = tokio::join!(to_one.shutdown(), to_other.shutdown());
    ended.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    /// A backend that ends is the end, though the client's side stays open.
    #[tokio::test]
    async fn one_end_ends_it() {
        let (mut client, near) = duplex(64);
        let (mut backend, far) = duplex(64);
        let carried = tokio::spawn(carry(near, far));
        client.write_all(b"ask").await.unwrap();
        let mut asked = [0; 3];
        backend.read_exact(&mut asked).await.unwrap();
        backend.write_all(b"answer").await.unwrap();
        drop(backend);
        let mut answered = Vec::new();
        client.read_to_end(&mut answered).await.unwrap();
        assert_eq!((&asked[..], &answered[..]), (&b"ask"[..], &b"answer"[..]));
        carried.await.unwrap().unwrap();
    }
}
