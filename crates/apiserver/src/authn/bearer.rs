//! Where requests carry tokens: `Authorization: Bearer …`, or a WebSocket subprotocol, since
//! browsers can't set headers there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};

use super::Attempt;

const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The token of the `Authorization` header.
pub fn header(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let mut parts = value.split(' ');
    let scheme = parts.next()?;
    parts.next().filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// The token among the WebSocket subprotocols, and the other protocols.
///
/// # Errors
/// Several tokens, a token that is no text, or no other protocol to answer with.
pub fn websocket(headers: &HeaderMap) -> Attempt<(String, String)> {
    let has = |name, wanted: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(wanted))
    };
    if !has(UPGRADE, "websocket") || !has(CONNECTION, "upgrade") {
        return Ok(None);
    }
    let (mut token, mut others) = (None, Vec::new());
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    for protocol in values.flat_map(|value| value.split(',')).map(str::trim) {
        let Some(encoded) = protocol.strip_prefix(PROTOCOL_PREFIX) else {
            others.push(protocol);
            continue;
        };
        if token.is_some() {
            return Err("multiple base64.bearer.authorization tokens specified".into());
        }
        let decoded = URL_SAFE_NO_PAD.decode(encoded);
        let decoded = decoded.map_err(|_| "invalid base64.bearer.authorization token encoding")?;
        token = Some(String::from_utf8(decoded).map_err(|_| "invalid base64.bearer.authorization token")?);
    }
    match token.filter(|token| !token.is_empty()) {
        Some(_) if others.is_empty() => Err("missing additional subprotocol".into()),
        token => Ok(token.map(|token| (token, others.join(",")))),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Bearer abc", Some("abc"))]
    #[case("bearer abc", Some("abc"))]
    #[case("  Bearer abc def", Some("abc"))]
    #[case("Bearer", None)]
    #[case("Bearer  abc", None)]
    #[case("Basic abc", None)]
    fn headers(#[case] value: &'static str, #[case] expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(header(&headers), expected);
    }

    #[rstest]
    #[case::token_and_protocol("base64url.bearer.authorization.k8s.io.YWJj, v4.channel.k8s.io", Ok(Some(("abc", "v4.channel.k8s.io"))))]
    #[case::no_token("v4.channel.k8s.io", Ok(None))]
    #[case::alone("base64url.bearer.authorization.k8s.io.YWJj", Err("missing additional subprotocol"))]
    #[case::two(
        "base64url.bearer.authorization.k8s.io.YWJj,base64url.bearer.authorization.k8s.io.YWJj,x",
        Err("multiple base64.bearer.authorization tokens specified")
    )]
    #[case::broken(
        "base64url.bearer.authorization.k8s.io.!,x",
        Err("invalid base64.bearer.authorization token encoding")
    )]
    fn websockets(#[case] value: &'static str, #[case] expected: Result<Option<(&str, &str)>, &str>) {
        let mut headers = HeaderMap::from_iter([(SEC_WEBSOCKET_PROTOCOL, value.parse().unwrap())]);
        assert_eq!(websocket(&headers), Ok(None));
        headers.insert(UPGRADE, "WebSocket".parse().unwrap());
        headers.insert(CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        let expected = expected.map(|found| found.map(|(token, rest)| (token.to_owned(), rest.to_owned())));
        assert_eq!(websocket(&headers), expected.map_err(String::from));
    }
}
