//! Between a client's WebSocket and a runtime's SPDY connection.
//!
//! Upstream: k8s.io/apimachinery's `StreamTranslatorHandler` and `TunnelingHandler`.

use std::io;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::channel::{ERROR, Protocol, RESIZE, STDERR, STDIN, STDOUT, Said};
use crate::spdy::{self, Frame, Opener};

/// The streams of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// A terminal, whose size may change.
    pub tty: bool,
}

/// Frames that may wait for the runtime.
const FRAMES_MAX: usize = 8;
/// Bytes of a tunnel read at once.
const PIECE_BYTES: usize = 32 << 10;

/// A channel of the client, the runtime's stream and its name.
type Opened = (u8, u32, &'static str);

// === impl Wanted ===

impl Wanted {
    /// The streams, in the order in which they are opened.
    fn streams(self) -> Vec<Opened> {
        let all = [
            (true, ERROR, "error"),
            (self.stdin, STDIN, "stdin"),
            (self.stdout, STDOUT, "stdout"),
            (self.stderr && !self.tty, STDERR, "stderr"),
            (self.tty, RESIZE, "resize"),
        ];
        let wanted = all.into_iter().filter(|(wanted, ..)| *wanted);
        // Streams that a client opens have odd numbers.
        wanted.zip((1..).step_by(2)).map(|((_, channel, name), stream)| (channel, stream, name)).collect()
    }
}

/// Carries a command's streams between a client and the runtime until the runtime is done or the client gone.
///
/// # Errors
/// One of the connections broke.
pub async fn translate<C, R>(client: C, protocol: Protocol, runtime: R, wanted: Wanted) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let (mut to_client, from_client) = socket.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let streams = wanted.streams();
    open(&mut from_runtime, &mut to_runtime, &streams).await?;
    // An empty message on the lowest channel that is written to tells the client that the streams are there.
    let written = streams.iter().map(|(channel, ..)| *channel).filter(|channel| matches!(*channel, STDOUT..=ERROR));
    if let Some(channel) = written.min() {
        to_client.send(protocol.write(channel, b"")).await.map_err(broken)?;
    }
    let (frames, queue) = channel(FRAMES_MAX);
    // Each way goes on by itself: a command that waits for its output to be taken reads no input.
    tokio::select! {
        ended = outward(&mut from_runtime, &mut to_client, &frames, protocol, &streams) => ended?,
        ended = inward(from_client, &frames, protocol, &streams) => ended?,
        ended = write(queue, &mut to_runtime) => ended?,
    }
    // The client may be gone already. Without a code it would take the end for a broken connection.
    let end = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
    let _ = to_client.send(Message::Close(Some(end))).await;
    Ok(())
}

/// Opens the streams and waits until the runtime has taken all of them: it drops what comes earlier.
async fn open<R>(from: &mut ReadHalf<R>, to: &mut WriteHalf<R>, streams: &[Opened]) -> io::Result<()>
where
    R: AsyncRead + AsyncWrite,
{
    let mut opener = Opener::default();
    for (_, stream, name) in streams {
        to.write_all(&opener.open(*stream, &[("streamtype", name)])).await?;
    }
    to.flush().await?;
    let mut waiting = streams.len();
    while waiting > 0 {
        match spdy::read(from).await? {
            Some(Frame::Reply { .. }) => waiting -= 1,
            Some(Frame::Ping { id }) => to.write_all(&spdy::pong(id)).await?,
            Some(Frame::GoAway | Frame::Reset { .. }) | None => {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the runtime refused the streams"));
            }
            Some(Frame::Data { .. } | Frame::Other) => {}
        }
    }
    Ok(())
}

/// What the runtime says, until it is done.
async fn outward<R, S>(
    from: &mut ReadHalf<R>,
    to: &mut S,
    frames: &Sender<Bytes>,
    protocol: Protocol,
    streams: &[Opened],
) -> io::Result<()>
where
    R: AsyncRead + AsyncWrite,
    S: Sink<Message, Error = Error> + Unpin,
{
    while let Some(frame) = spdy::read(from).await? {
        match frame {
            Frame::Data { stream, bytes, .. } if !bytes.is_empty() => {
                let Some((channel, ..)) = streams.iter().find(|(_, one, _)| *one == stream) else { continue };
                match (*channel, protocol.has_status) {
                    (ERROR, true) => to.send(protocol.write(ERROR, &wrapped(&bytes))).await.map_err(broken)?,
                    (ERROR, false) => {
                        if let Some(words) = words(&bytes) {
                            to.send(protocol.write(ERROR, &words)).await.map_err(broken)?;
                        }
                    }
                    (channel, _) => to.send(protocol.write(channel, &bytes)).await.map_err(broken)?,
                }
            }
            Frame::Ping { id } => {
                // Never full but where the runtime takes nothing: then it has no use for a pong.
                let _ = frames.try_send(spdy::pong(id));
            }
            Frame::GoAway => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

/// What the old protocols make of a Status: nothing of success, words of failure.
fn words(status: &Bytes) -> Option<Bytes> {
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(status) else { return Some(status.clone()) };
    match (said["status"].as_str(), said["message"].as_str()) {
        (Some("Success"), _) => None,
        (_, Some(message)) => Some(Bytes::copy_from_slice(message.as_bytes())),
        _ => Some(status.clone()),
    }
}

/// A Status as upstream's translator passes it on: an exit code stays what it is, any other failure is a text to it,
/// of which it makes an internal error of its own.
fn wrapped(status: &Bytes) -> Bytes {
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(status) else { return status.clone() };
    if said["status"] != "Failure" || said["reason"] == "NonZeroExitCode" {
        return status.clone();
    }
    let message = said["message"].as_str().unwrap_or_default();
    let outer = serde_json::json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {message}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    });
    Bytes::from(outer.to_string())
}

/// What the client says, until it is gone.
async fn inward<S>(mut from: S, frames: &Sender<Bytes>, protocol: Protocol, streams: &[Opened]) -> io::Result<()>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let stream_of = |channel: u8| {
        let open = matches!(channel, STDIN | RESIZE);
        streams.iter().find(|(one, ..)| open && *one == channel).map(|(_, stream, _)| *stream)
    };
    while let Some(message) = from.next().await {
        let frame = match message.map_err(broken)? {
            Message::Close(_) => return Ok(()),
            message @ (Message::Binary(_) | Message::Text(_)) => match protocol.read(message) {
                Some(Said::Data(channel, bytes)) => stream_of(channel).map(|stream| spdy::data(stream, &bytes, false)),
                Some(Said::Close(channel)) => stream_of(channel).map(|stream| spdy::data(stream, b"", true)),
                None => None,
            },
            _ => None,
        };
        if let Some(frame) = frame
            && frames.send(frame).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

async fn write(mut frames: Receiver<Bytes>, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    while let Some(frame) = frames.recv().await {
        to.write_all(&frame).await?;
        to.flush().await?;
    }
    Ok(())
}

/// Carries a connection's bytes in the messages of a WebSocket.
///
/// # Errors
/// One of the connections broke.
pub async fn tunnel<C, R>(client: C, other: R) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let (mut to_client, mut from_client) = socket.split();
    let (mut from_other, mut to_other) = tokio::io::split(other);
    let inward = async {
        while let Some(message) = from_client.next().await {
            match message.map_err(broken)? {
                Message::Close(_) => break,
                Message::Binary(bytes) => {
                    to_other.write_all(&bytes).await?;
                    to_other.flush().await?;
                }
                _ => {}
            }
        }
        Ok::<_, io::Error>(())
    };
    let outward = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from_other.read(&mut piece).await? {
                0 => return Ok::<_, io::Error>(()),
                read => to_client.send(Message::binary(piece[..read].to_vec())).await.map_err(broken)?,
            }
        }
    };
    tokio::select! {
        ended = inward => ended?,
        ended = outward => ended?,
    }
    // The client may be gone already. Without a code it would take the end for a broken connection.
    let end = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
    let _ = to_client.send(Message::Close(Some(end))).await;
    Ok(())
}

pub(crate) fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kubectl shows the two prefixes of upstream: the runtime's, and that of whoever translates.
    #[test]
    fn a_failure_is_wrapped_an_exit_code_is_not() {
        let kept = |status: &'static str| wrapped(&Bytes::from_static(status.as_bytes()));
        for status in [r#"{"status":"Success"}"#, r#"{"status":"Failure","reason":"NonZeroExitCode"}"#, "no JSON"] {
            assert_eq!(kept(status), status);
        }
        let failed = kept(r#"{"status":"Failure","reason":"InternalError","message":"Internal error occurred: no"}"#);
        let failed: serde_json::Value = serde_json::from_slice(&failed).unwrap();
        assert_eq!(failed["message"], "Internal error occurred: Internal error occurred: no");
        assert_eq!(failed["details"]["causes"][0]["message"], "Internal error occurred: no");
    }

    /// The message's escapes are JSON's, not the client's.
    #[test]
    fn old_protocols_are_told_in_words() {
        let said = |status: &'static str| words(&Bytes::from_static(status.as_bytes()));
        assert_eq!(said(r#"{"metadata":{},"status":"Success"}"#), None);
        let failed = r#"{"status":"Failure","message":"error executing [echo err \u003e\u00262]"}"#;
        assert_eq!(said(failed), Some("error executing [echo err >&2]".into()));
        assert_eq!(said("no JSON"), Some("no JSON".into()));
    }
}
