//! Gathers what a connection writes in one turn of its task into one piece.
//!
//! HTTP/2 hands its stream one frame at a time and flushes after each, so that a list would be a TLS record and a system
//! call every 16 KiB, and an event one of each for every watcher, though fifty watchers share a connection. Here
//! frames wait until the connection has nothing more to say, or until they fill a piece.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait at most, beyond one write. TLS takes as many at once.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// A connection at rest keeps no larger buffer.
const IDLE_BYTES_MAX: usize = 4 << 10;

/// The stream of a connection, as its protocol sees it. Clones are the same stream.
pub struct Gathered<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    waiting: Vec<u8>,
    /// How many of the waiting bytes were written.
    written: usize,
    /// Whether somebody flushes when the turn ends.
    in_turn: bool,
}

// === impl Gathered ===

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Gathered<S> {
        Gathered(self.0.clone())
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub fn new(stream: S) -> Gathered<S> {
        Gathered(Arc::new(Mutex::new(Inner { stream, waiting: Vec::new(), written: 0, in_turn: false })))
    }

    /// Lets the connection run for a turn, then writes what it said. Outside of turns the stream is like any other:
    /// so it is for who takes it over after an upgrade.
    pub fn turn<R>(&self, cx: &mut Context<'_>, run: impl FnOnce(&mut Context<'_>) -> R) -> (R, Poll<io::Result<()>>) {
        self.0.lock().in_turn = true;
        let result = run(cx);
        let mut inner = self.0.lock();
        inner.in_turn = false;
        let flushed = inner.poll_flush(cx);
        (result, flushed)
    }

    /// Writes what still waits.
    pub fn poll_written(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_flush(cx)
    }
}

// === impl Inner ===

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let rest @ [_, ..] = &self.waiting[self.written..] {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.written = 0;
        self.waiting.clear();
        if self.waiting.capacity() > IDLE_BYTES_MAX {
            self.waiting = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Takes all of a write, once there is room.
    fn poll_take(&mut self, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= PIECE_BYTES_MAX {
            ready!(self.poll_drain(cx))?;
        }
        parts.iter().for_each(|part| self.waiting.extend_from_slice(part));
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().poll_take(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_take(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        if inner.in_turn {
            return Poll::Ready(Ok(()));
        }
        inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// Counts writes.
    struct Counting<S> {
        stream: S,
        writes: Writes,
    }

    /// The length of each.
    type Writes = Arc<Mutex<Vec<usize>>>;

    impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            self.writes.lock().push(taken);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    fn gathered(room: usize) -> (Gathered<Counting<DuplexStream>>, DuplexStream, Writes) {
        let (ours, theirs) = tokio::io::duplex(room);
        let writes = Arc::new(Mutex::new(Vec::new()));
        (Gathered::new(Counting { stream: ours, writes: writes.clone() }), theirs, writes)
    }

    /// Writes and flushes pieces in one poll, as HTTP/2 does with its frames.
    fn say<S: AsyncWrite + Unpin>(stream: &Gathered<S>, cx: &mut Context<'_>, pieces: &[&[u8]]) {
        for piece in pieces {
            let mut stream = stream.clone();
            assert!(
                matches!(Pin::new(&mut stream).poll_write(cx, piece), Poll::Ready(Ok(count)) if count == piece.len())
            );
            assert!(Pin::new(&mut stream).poll_flush(cx).is_ready());
        }
    }

    #[tokio::test]
    async fn a_turn_is_one_write() {
        let (stream, mut theirs, writes) = gathered(1 << 20);
        poll_fn(|cx| stream.turn(cx, |cx| say(&stream, cx, &[b"one ", b"two ", b"three"])).1).await.unwrap();
        assert_eq!(*writes.lock(), [13]);
        let mut said = [0; 13];
        theirs.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"one two three");
    }

    #[tokio::test]
    async fn outside_of_turns_a_flush_is_a_flush() {
        let (mut stream, mut theirs, writes) = gathered(1 << 20);
        stream.write_all(b"a").await.unwrap();
        assert!(writes.lock().is_empty());
        stream.flush().await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), b'a');
    }

    #[tokio::test]
    async fn what_the_other_side_does_not_take_waits_in_bounds() {
        let (stream, mut theirs, _) = gathered(16);
        let piece = vec![7u8; 16 << 10];
        let taken = poll_fn(|cx| {
            let (taken, flushed) = stream.turn(cx, |cx| {
                let takes = |_: &usize| Pin::new(&mut stream.clone()).poll_write(cx, &piece).is_ready();
                (0..100).take_while(takes).count()
            });
            assert!(flushed.is_pending());
            Poll::Ready(taken)
        })
        .await;
        assert_eq!(taken, PIECE_BYTES_MAX / piece.len());
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        let mut last = stream.clone();
        last.shutdown().await.unwrap();
        drop((stream, last));
        assert_eq!(reader.await.unwrap(), taken * piece.len());
    }
}
