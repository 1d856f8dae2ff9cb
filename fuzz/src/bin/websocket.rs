//! What a client sends over its WebSocket, in whatever pieces it comes, up to the channels' bytes; and a whole command's
//! streams between such a client and a runtime.
#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{FutureExt, StreamExt};
use fuzz::{Limit, halves};
use streaming::channel::{PROTOCOLS, Protocol, Said};
use streaming::translate::{Wanted, translate};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

// A connection's buffers, and a frame that announces more than there is.
fuzz::target!(Limit { per_byte: 100, besides: 20 << 20 }, |input| {
    let Some(([choice, cut], bytes)) = input.split_first_chunk::<2>() else { return };
    let protocol = PROTOCOLS[usize::from(*choice) % PROTOCOLS.len()];
    let whole = said(bytes, protocol);
    let (head, tail) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(whole, said(head.chain(tail), protocol));
    for said in &whole {
        if let Said::Data(channel, bytes) = said
            && *channel <= 4
        {
            assert_eq!(protocol.read(protocol.write(*channel, bytes)).as_ref(), Some(said));
        }
    }
    let (client, runtime) = halves(bytes).unwrap_or((bytes, b""));
    let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: choice & 0x80 != 0 };
    let _ = translate(Connection(client), protocol, Connection(runtime), wanted).now_or_never();
});

/// What the messages of a client say, until it breaks off.
fn said(bytes: impl AsyncRead + Unpin, protocol: Protocol) -> Vec<Said> {
    let all = async {
        let mut socket = WebSocketStream::from_raw_socket(Connection(bytes), Role::Server, None).await;
        let mut said = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            said.extend(protocol.read(message));
        }
        said
    };
    all.now_or_never().expect("all of it is there")
}

/// A connection whose other side takes whatever is written.
struct Connection<R>(R);

impl<R: AsyncRead + Unpin> AsyncRead for Connection<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<R: Unpin> AsyncWrite for Connection<R> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
