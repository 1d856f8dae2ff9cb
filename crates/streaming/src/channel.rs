//! The messages of a WebSocket: a channel's number, then its bytes.
//!
//! Upstream: k8s.io/streaming/pkg/httpstream/wsstream and client-go's remotecommand.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};
use tokio_tungstenite::tungstenite::{Message, handshake::derive_accept_key};

/// A version of the protocol, by what differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// Its name among the WebSocket's subprotocols.
    pub name: &'static str,
    /// The end is told as a Status; else errors are told in words and success not at all.
    pub has_status: bool,
    /// A client can end a channel.
    pub has_close: bool,
    /// Messages are text, bytes in base64.
    pub is_text: bool,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Bytes for a channel.
    Data(u8, Bytes),
    /// No more will come for a channel.
    Close(u8),
}

/// Standard input.
pub const STDIN: u8 = 0;
/// Standard output.
pub const STDOUT: u8 = 1;
/// Standard error.
pub const STDERR: u8 = 2;
/// How it ended.
pub const ERROR: u8 = 3;
/// The terminal's size.
pub const RESIZE: u8 = 4;
/// The channel on which version 5 tells that another one ends.
const CLOSE: u8 = 255;

const fn binary(name: &'static str, has_status: bool, has_close: bool) -> Protocol {
    Protocol { name, has_status, has_close, is_text: false }
}

/// All that are spoken, the best first.
pub const PROTOCOLS: [Protocol; 6] = [
    binary("v5.channel.k8s.io", true, true),
    binary("v4.channel.k8s.io", true, false),
    Protocol { name: "v4.base64.channel.k8s.io", has_status: true, has_close: false, is_text: true },
    binary("channel.k8s.io", false, false),
    Protocol { name: "base64.channel.k8s.io", has_status: false, has_close: false, is_text: true },
    binary("", false, false),
];

/// The subprotocols a client offers.
pub fn offered(headers: &HeaderMap) -> Vec<&str> {
    let texts = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// The protocol to speak: the client's first one that is known.
pub fn choose(headers: &HeaderMap) -> Option<Protocol> {
    let offered = offered(headers);
    if offered.is_empty() {
        return PROTOCOLS.into_iter().find(|protocol| protocol.name.is_empty());
    }
    offered.into_iter().find_map(|name| PROTOCOLS.into_iter().find(|protocol| protocol.name == name))
}

/// The headers that accept a WebSocket; none where the client's own are no good.
pub fn accepted(request: &HeaderMap, protocol: &str) -> Option<HeaderMap> {
    let key = derive_accept_key(request.get(SEC_WEBSOCKET_KEY)?.as_bytes());
    let mut headers = HeaderMap::new();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&key).ok()?);
    if !protocol.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).ok()?);
    }
    Some(headers)
}

// === impl Protocol ===

impl Protocol {
    /// What a message says; none for what says nothing.
    pub fn read(&self, message: Message) -> Option<Said> {
        let data = message.into_data();
        let (channel, rest) = (*data.first()?, data.slice(1..));
        if self.is_text {
            let channel = channel.checked_sub(b'0')?;
            return STANDARD.decode(rest).ok().map(|bytes| Said::Data(channel, bytes.into()));
        }
        match channel {
            CLOSE if self.has_close => rest.first().map(|closed| Said::Close(*closed)),
            channel => Some(Said::Data(channel, rest)),
        }
    }

    /// A message with a channel's bytes.
    pub fn write(&self, channel: u8, bytes: &[u8]) -> Message {
        if self.is_text {
            return Message::text(format!("{}{}", char::from(b'0' + channel), STANDARD.encode(bytes)));
        }
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(channel);
        message.extend_from_slice(bytes);
        Message::binary(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(name: &str) -> Protocol {
        PROTOCOLS.into_iter().find(|one| one.name == name).unwrap()
    }

    #[test]
    fn messages() {
        let v5 = protocol("v5.channel.k8s.io");
        assert_eq!(v5.write(STDOUT, b"hi"), Message::binary(b"\x01hi".to_vec()));
        assert_eq!(v5.read(Message::binary(b"\x00hi".to_vec())), Some(Said::Data(STDIN, "hi".into())));
        assert_eq!(v5.read(Message::binary(vec![255, 0])), Some(Said::Close(STDIN)));
        assert_eq!(v5.read(Message::binary(Vec::new())), None);
        let text = protocol("base64.channel.k8s.io");
        assert_eq!(text.write(STDERR, b"hi"), Message::text("2aGk="));
        assert_eq!(text.read(Message::text("0aGk=")), Some(Said::Data(STDIN, "hi".into())));
    }

    #[test]
    fn the_clients_order_decides() {
        let headers =
            |offer: &str| [(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(offer).unwrap())].into_iter().collect();
        let name = |offer: &str| choose(&headers(offer)).map(|protocol| protocol.name);
        assert_eq!(name("x, v4.channel.k8s.io, v5.channel.k8s.io"), Some("v4.channel.k8s.io"));
        assert_eq!(name("x"), None);
        assert_eq!(choose(&HeaderMap::new()).map(|protocol| protocol.name), Some(""));
    }

    /// RFC 6455's own example.
    #[test]
    fn the_key_is_answered() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let request = [(SEC_WEBSOCKET_KEY, key)].into_iter().collect();
        let headers = accepted(&request, "v5.channel.k8s.io").unwrap();
        assert_eq!(headers[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "v5.channel.k8s.io");
        assert!(accepted(&HeaderMap::new(), "").is_none());
    }
}
