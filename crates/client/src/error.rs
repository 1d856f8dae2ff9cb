//! What a request can end with.

use std::borrow::Cow;
use std::time::Duration;

use api::value::Value;

use crate::body::BoxError;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error.
    #[error("{}", .0.message)]
    Api(Box<ApiError>),
    /// No connection, or it broke before the answer was there. Whether the server acted is not known.
    #[error("{context}: {source}")]
    Transport {
        /// What was being done (`GET https://…`).
        context: String,
        /// The transport's own words.
        source: BoxError,
    },
    /// The answer did not come in time. Whether the server acted is not known.
    #[error("{context}: no answer within {after:?}")]
    Timeout {
        /// What was being done.
        context: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer came but can't be read as what it should be.
    #[error("can't decode {what}: {why}")]
    Decode {
        /// What was being read.
        what: Cow<'static, str>,
        /// The decoder's words.
        why: String,
    },
    /// The request can't be made at all (bad name, bad header, no such file of a kubeconfig …).
    #[error("{0}")]
    Request(String),
}

/// An error answer: the `Status` object of the body, or one made from the HTTP status if the body was none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// `NotFound`, `Conflict`, …; empty if the server gave none.
    pub reason: String,
    /// The server's words.
    pub message: String,
    /// `details.retryAfterSeconds` or the `Retry-After` header.
    pub retry_after: Option<Duration>,
    /// The whole object (`details.causes` …); null if the body was no `Status`.
    pub status: Value,
}

// === impl ClientError ===

impl ClientError {
    pub(crate) fn transport(context: impl Into<String>, source: impl Into<BoxError>) -> ClientError {
        ClientError::Transport { context: context.into(), source: source.into() }
    }

    pub(crate) fn decode(what: impl Into<Cow<'static, str>>, why: impl std::fmt::Display) -> ClientError {
        ClientError::Decode { what: what.into(), why: why.to_string() }
    }

    /// The server's answer, if that is what this is.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            ClientError::Api(error) => Some(error),
            _ => None,
        }
    }

    /// The server's reason (`NotFound`), empty if there is none.
    pub fn reason(&self) -> &str {
        self.api().map_or("", |error| error.reason.as_str())
    }

    /// The HTTP status code of the server's answer.
    pub fn code(&self) -> Option<u16> {
        self.api().map(|error| error.code)
    }

    fn is(&self, reason: &str, code: u16) -> bool {
        self.api().is_some_and(|error| error.is(reason, code))
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.is("NotFound", 404)
    }

    /// There is an object of that name already.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// The object was changed by somebody else, or a precondition does not hold.
    pub fn is_conflict(&self) -> bool {
        self.reason() != "AlreadyExists" && self.is("Conflict", 409)
    }

    /// The revision is compacted away (`Gone` or `Expired`): list again.
    pub fn is_gone(&self) -> bool {
        self.api().is_some_and(|error| error.code == 410 || error.reason == "Expired" || error.reason == "Gone")
    }

    /// The request is not allowed.
    pub fn is_forbidden(&self) -> bool {
        self.is("Forbidden", 403)
    }

    /// Nobody is logged in.
    pub fn is_unauthorized(&self) -> bool {
        self.is("Unauthorized", 401)
    }

    /// The object is not valid.
    pub fn is_invalid(&self) -> bool {
        self.is("Invalid", 422)
    }

    /// The server wants fewer requests.
    pub fn is_too_many_requests(&self) -> bool {
        self.is("TooManyRequests", 429)
    }

    /// A new object was refused because its namespace is being deleted: no use to try again.
    pub fn is_namespace_terminating(&self) -> bool {
        self.has_cause("NamespaceTerminating")
    }

    /// The `details.causes` name this reason.
    pub fn has_cause(&self, reason: &str) -> bool {
        self.api().is_some_and(|error| {
            error.status.array_at("details.causes").iter().any(|cause| cause.str_at("reason") == reason)
        })
    }

    /// The server (or the way to it) was too slow; the outcome is not known.
    pub fn is_timeout(&self) -> bool {
        matches!(self, ClientError::Timeout { .. }) || self.is("Timeout", 504) || self.reason() == "ServerTimeout"
    }

    /// Neither the object nor the request is at fault: the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Transport { .. } | ClientError::Timeout { .. } => true,
            ClientError::Api(error) => error.code == 429 || error.code >= 500,
            ClientError::Decode { .. } | ClientError::Request(_) => false,
        }
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.api().and_then(|error| error.retry_after)
    }
}

// === impl ApiError ===

impl ApiError {
    /// A known reason decides; the code decides only when there is none (as client-go's `IsNotFound` and others).
    fn is(&self, reason: &str, code: u16) -> bool {
        self.reason == reason || (self.code == code && (self.reason.is_empty() || self.reason == "Unknown"))
    }

    /// From a `Status` object (an answer's body, or the object of an ERROR event).
    pub fn from_status(status: Value) -> ApiError {
        ApiError {
            code: status.i64_at("code").and_then(|code| u16::try_from(code).ok()).unwrap_or(500),
            reason: status.str_at("reason").to_owned(),
            message: status.str_at("message").to_owned(),
            retry_after: status
                .i64_at("details.retryAfterSeconds")
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            status,
        }
    }

    /// From an error answer. `retry_after` is that header's value.
    pub(crate) fn from_answer(code: u16, body: &[u8], retry_after: Option<Duration>) -> ApiError {
        let mut error = match crate::json::parse(body) {
            Ok(value) if value.str_at("kind") == "Status" => ApiError::from_status(value),
            _ => ApiError {
                reason: reason_of_code(code).to_owned(),
                message: match String::from_utf8_lossy(body).trim() {
                    "" => format!("the server answered with status code {code}"),
                    text => text.chars().take(MESSAGE_CHARS_MAX).collect(),
                },
                ..ApiError::default()
            },
        };
        error.code = code;
        error.retry_after = retry_after.or(error.retry_after);
        error
    }
}

/// Most characters of a body that is no `Status` in an error's message; upstream cuts at 2,048 bytes.
const MESSAGE_CHARS_MAX: usize = 2048;

/// As apimachinery's `NewGenericServerResponse` names the reasons of plain HTTP answers.
fn reason_of_code(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        406 => "NotAcceptable",
        409 => "Conflict",
        410 => "Gone",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn answer(code: u16, body: &str) -> ClientError {
        ClientError::Api(Box::new(ApiError::from_answer(code, body.as_bytes(), None)))
    }

    #[rstest]
    #[case::not_found(404, r#"{"kind":"Status","reason":"NotFound","code":404}"#, ClientError::is_not_found)]
    #[case::plain_text(404, "404 page not found", ClientError::is_not_found)]
    #[case::conflict(409, r#"{"kind":"Status","reason":"Conflict","code":409}"#, ClientError::is_conflict)]
    #[case::exists(409, r#"{"kind":"Status","reason":"AlreadyExists","code":409}"#, ClientError::is_already_exists)]
    #[case::expired(410, r#"{"kind":"Status","reason":"Expired","code":410}"#, ClientError::is_gone)]
    #[case::unavailable(503, "", ClientError::is_transient)]
    fn kinds_of_errors(#[case] code: u16, #[case] body: &str, #[case] is: fn(&ClientError) -> bool) {
        assert!(is(&answer(code, body)));
    }

    #[test]
    fn already_exists_is_no_conflict() {
        assert!(!answer(409, r#"{"kind":"Status","reason":"AlreadyExists","code":409}"#).is_conflict());
    }

    #[test]
    fn namespace_terminating_is_seen_in_the_causes() {
        let body = r#"{"kind":"Status","reason":"Forbidden","code":403,"message":"m",
            "details":{"causes":[{"reason":"NamespaceTerminating"}]}}"#;
        assert!(answer(403, body).is_namespace_terminating());
    }
}
