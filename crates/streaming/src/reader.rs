//! A stream of bytes as the messages of a WebSocket, one way.
//!
//! Upstream: `Reader` of k8s.io/streaming/pkg/httpstream/wsstream.

use std::error::Error as StdError;
use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};

use crate::channel::offered;
use crate::translate::broken;

/// How bytes are written into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// Its name among the WebSocket's subprotocols.
    pub name: &'static str,
    /// Messages are text, bytes in base64.
    pub is_text: bool,
}

/// All that are spoken; without a name, as with the first one.
pub const PROTOCOLS: [Protocol; 3] = [
    Protocol { name: "binary.k8s.io", is_text: false },
    Protocol { name: "base64.binary.k8s.io", is_text: true },
    Protocol { name: "", is_text: false },
];

/// The protocol to speak: the client's first one that is known.
pub fn choose(headers: &HeaderMap) -> Option<Protocol> {
    let mut names = offered(headers);
    if names.is_empty() {
        names.push("");
    }
    names.into_iter().find_map(|name| PROTOCOLS.into_iter().find(|protocol| protocol.name == name))
}

impl Protocol {
    fn message(self, bytes: Bytes) -> Message {
        match self.is_text {
            true => Message::text(STANDARD.encode(&bytes)),
            false => Message::binary(bytes),
        }
    }
}

/// Sends bytes until they end or the client is gone. What the client says is not listened to.
///
/// # Errors
/// The client's connection broke, or the bytes' source did.
pub async fn send<C, S, E>(client: C, protocol: Protocol, bytes: S) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let (mut to_client, mut from_client) = socket.split();
    let out = async {
        // An empty message tells the client that the stream is there.
        to_client.send(protocol.message(Bytes::new())).await.map_err(broken)?;
        let mut bytes = bytes;
        while let Some(piece) = bytes.next().await {
            to_client.send(protocol.message(piece.map_err(io::Error::other)?)).await.map_err(broken)?;
        }
        let end = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
        to_client.send(Message::Close(Some(end))).await.map_err(broken)
    };
    let gone = async {
        while let Some(Ok(message)) = from_client.next().await
            && !message.is_close()
        {}
    };
    tokio::select! {
        sent = out => sent,
        () = gone => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::HeaderValue;
    use http::header::SEC_WEBSOCKET_PROTOCOL;
    use rstest::rstest;
    use tokio::io::duplex;

    use super::*;

    #[rstest]
    #[case(None, Some(""))]
    #[case(Some("base64.binary.k8s.io"), Some("base64.binary.k8s.io"))]
    #[case(Some("x, binary.k8s.io"), Some("binary.k8s.io"))]
    #[case(Some("channel.k8s.io"), None)]
    fn chosen(#[case] offer: Option<&'static str>, #[case] expected: Option<&str>) {
        let headers =
            offer.map(|offer| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer))).into_iter().collect();
        assert_eq!(choose(&headers).map(|protocol| protocol.name), expected);
    }

    #[rstest]
    #[case(PROTOCOLS[0], [Message::binary(""), Message::binary("one"), Message::binary("two")])]
    #[case(PROTOCOLS[1], [Message::text(""), Message::text("b25l"), Message::text("dHdv")])]
    #[tokio::test]
    async fn messages(#[case] protocol: Protocol, #[case] expected: [Message; 3]) {
        let (near, far) = duplex(256);
        let pieces = stream::iter([Ok::<_, io::Error>("one".into()), Ok("two".into())]);
        let sent = tokio::spawn(send(near, protocol, pieces));
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        for message in expected {
            assert_eq!(client.next().await.unwrap().unwrap(), message);
        }
        assert!(client.next().await.unwrap().unwrap().is_close());
        sent.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_it() {
        let (near, far) = duplex(256);
        let sent = tokio::spawn(send(near, PROTOCOLS[0], stream::pending::<io::Result<Bytes>>()));
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        client.send(Message::text("ignored")).await.unwrap();
        client.close(None).await.unwrap();
        sent.await.unwrap().unwrap();
    }
}
