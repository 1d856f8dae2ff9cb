//! The token by which a client asks for the next page of a list: its form is upstream's, so that the page may be asked
//! of another server.
//!
//! Upstream: `apiserver/pkg/storage/continue.go`.

use api::codec::json;
use api::value::Value;
use base64::alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use base64::{DecodeError, Engine};

/// Go's `RawURLEncoding`, which does not look at bits that are left over.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// Where the next page begins; `start` is followed by a zero byte there: "just after this key".
pub fn encode(revision: i64, start: &str) -> String {
    let mut token = Value::object();
    token.set("v", "meta.k8s.io/v1");
    token.set("rv", revision);
    token.set("start", format!("{start}\u{0}"));
    let mut text = Vec::new();
    json::write(&token, &mut text);
    BASE64.encode(text)
}

/// The revision and the last key already seen. The key may have a slash in front: some of upstream's have.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub fn decode(token: &str) -> Result<(i64, String), String> {
    let text = BASE64.decode(token).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(length) => length - length % 4,
            DecodeError::InvalidPadding => token.find('=').unwrap_or_default(),
        };
        format!("illegal base64 data at input byte {at}")
    })?;
    let token = json::parse(&text).map_err(|error| error.to_string())?;
    if token.str_at("v") != "meta.k8s.io/v1" {
        return Err(format!("server does not recognize this encoded version {}", token.str_at("v")));
    }
    let revision = token.i64_at("rv").filter(|revision| *revision != 0);
    let revision = revision.ok_or("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")?;
    let start = token.str_at("start");
    if start.is_empty() {
        return Err("encoded start key empty (version meta.k8s.io/v1)".to_owned());
    }
    let key = start.strip_prefix('/').unwrap_or(start);
    // What a path can't have: it would lead elsewhere.
    if key.is_empty() || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(start.to_owned());
    }
    Ok((revision, key.trim_end_matches('\u{0}').to_owned()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn tokens_come_back() {
        let token = encode(42, "default/web");
        assert_eq!(decode(&token), Ok((42, "default/web".to_owned())));
    }

    /// What upstream's watch cache writes.
    #[test]
    fn another_servers_token_may_have_a_slash_in_front() {
        let token = BASE64.encode(br#"{"v":"meta.k8s.io/v1","rv":7,"start":"/web\u0000"}"#);
        assert_eq!(decode(&token), Ok((7, "web".to_owned())));
    }

    #[rstest]
    #[case(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../x"}"#, "../x")]
    #[case(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a//x"}"#, "a//x")]
    #[case(r#"{"v":"meta.k8s.io/v1","rv":1}"#, "encoded start key empty (version meta.k8s.io/v1)")]
    #[case(r#"{"v":"meta.k8s.io/v1"}"#, "incorrect encoded start resourceVersion (version meta.k8s.io/v1)")]
    #[case(r#"{"v":"v2"}"#, "server does not recognize this encoded version v2")]
    fn what_is_wrong_is_said_in_upstreams_words(#[case] token: &str, #[case] why: &str) {
        assert_eq!(decode(&BASE64.encode(token)).unwrap_err(), why);
    }

    #[rstest]
    #[case("!", 0)]
    #[case("YWJj!", 4)]
    #[case("YWJjZ", 4)]
    #[case("YWI=", 3)]
    fn what_is_no_base64(#[case] token: &str, #[case] at: usize) {
        assert_eq!(decode(token).unwrap_err(), format!("illegal base64 data at input byte {at}"));
    }
}
