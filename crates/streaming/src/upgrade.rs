//! Changing a connection's protocol.

use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE},
};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The version of a protocol within SPDY.
pub const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// `Upgrade` of SPDY.
pub const SPDY: HeaderValue = HeaderValue::from_static("SPDY/3.1");

/// What of a request's headers belongs to the change of protocol and is passed on with it.
const PASSED: [&str; 8] = [
    "connection",
    "upgrade",
    "x-stream-protocol-version",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-accept",
    "sec-websocket-extensions",
];

/// A request could not be sent or was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Reaching the other side.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Speaking with it.
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// Whether a request asks for another protocol.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    let asks = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("upgrade"));
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(asks)
}

/// Whether it asks for WebSocket.
pub fn is_web_socket(headers: &HeaderMap) -> bool {
    let named = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    is_upgrade(headers) && named.is_some_and(|name| name.eq_ignore_ascii_case("websocket"))
}

/// The headers that make the change of protocol.
pub fn headers_of(headers: &HeaderMap) -> HeaderMap {
    let passed = PASSED.iter().map(|name| HeaderName::from_static(name));
    passed.flat_map(|name| headers.get_all(&name).iter().map(move |value| (name.clone(), value.clone()))).collect()
}

/// The answer that changes the protocol, with the headers given.
pub fn switched<B: Default>(headers: HeaderMap) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

/// Sends one request over a connection, which may change its protocol with the answer; to `host`, where the request
/// does not name another one.
///
/// # Errors
/// [`SendError`].
pub async fn send<I, B>(io: I, host: &str, mut request: Request<B>) -> Result<Response<Incoming>, SendError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_for() {
        let headers = |connection: &'static str, upgrade: &'static str| {
            [(CONNECTION, connection), (UPGRADE, upgrade)]
                .map(|(name, value)| (name, HeaderValue::from_static(value)))
                .into_iter()
                .collect::<HeaderMap>()
        };
        assert!(is_web_socket(&headers("keep-alive, Upgrade", "WebSocket")));
        assert!(is_upgrade(&headers("Upgrade", "SPDY/3.1")) && !is_web_socket(&headers("Upgrade", "SPDY/3.1")));
        assert!(!is_upgrade(&headers("keep-alive", "websocket")));
        let mut all = headers("Upgrade", "websocket");
        all.insert("authorization", HeaderValue::from_static("secret"));
        assert_eq!(headers_of(&all), headers("Upgrade", "websocket"));
    }
}
