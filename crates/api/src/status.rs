//! `Status`: the error that every request can end with, in upstream's words.
//!
//! Constructors mirror `k8s.io/apimachinery/pkg/api/errors`: same code, reason, message and
//! details, which clients compare.

use crate::value::{Map, Value};

/// A failed request, as the API answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Details>,
    /// Where an interrupted list may go on; empty for other errors.
    pub continue_token: String,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// Resource or kind, as upstream fills it for the reason.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
}

/// One of several reasons, for instance one invalid field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

/// A resource and its group as messages name it: `pods`, `deployments.apps`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupResource<'a> {
    pub group: &'a str,
    pub resource: &'a str,
}

impl std::fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group {
            "" => write!(f, "{}", self.resource),
            group => write!(f, "{}.{group}", self.resource),
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

// === impl Status ===

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status { code, reason, message: message.into(), details: None, continue_token: String::new() }
    }

    fn about(mut self, of: GroupResource<'_>, name: &str) -> Status {
        self.details =
            Some(Details { name: name.into(), group: of.group.into(), kind: of.resource.into(), ..Details::default() });
        self
    }

    /// The same with a hint when to try again.
    pub fn retry_after(mut self, seconds: u32) -> Status {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// The same with one more cause.
    pub fn cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Status {
        let cause = Cause { reason: reason.into(), message: message.into(), field: field.into() };
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    pub fn not_found(of: GroupResource<'_>, name: &str) -> Status {
        Status::new(404, "NotFound", format!("{of} \"{name}\" not found")).about(of, name)
    }

    pub fn already_exists(of: GroupResource<'_>, name: &str) -> Status {
        Status::new(409, "AlreadyExists", format!("{of} \"{name}\" already exists")).about(of, name)
    }

    pub fn conflict(of: GroupResource<'_>, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {of} \"{name}\": {why}");
        Status::new(409, "Conflict", message).about(of, name)
    }

    /// The conflict of an update whose resourceVersion is not the stored one.
    pub fn modified(of: GroupResource<'_>, name: &str) -> Status {
        const WHY: &str = "the object has been modified; please apply your changes to the latest version and try again";
        Status::conflict(of, name, WHY)
    }

    pub fn forbidden(of: GroupResource<'_>, name: &str, why: &str) -> Status {
        let message = match (of.resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{of} is forbidden: {why}"),
            _ => format!("{of} \"{name}\" is forbidden: {why}"),
        };
        Status::new(403, "Forbidden", message).about(of, name)
    }

    pub fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn bad_request(why: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", why)
    }

    /// A field error list of `kind`, which belongs to `group`; see `field::FieldErrors`.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Status {
        let qualified = GroupResource { group, resource: kind };
        let said: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let said = match said.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status = Status::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {said}"));
        status = status.about(qualified, name);
        status.details.get_or_insert_default().causes = causes;
        status
    }

    pub fn internal(why: impl std::fmt::Display) -> Status {
        Status::new(500, "InternalError", format!("Internal error occurred: {why}")).cause("", why.to_string(), "")
    }

    pub fn method_not_supported(of: GroupResource<'_>, action: &str) -> Status {
        let message = format!("{action} is not supported on resources of kind \"{of}\"");
        Status::new(405, "MethodNotAllowed", message).about(of, "")
    }

    /// The answer to a revision that is compacted away.
    pub fn expired(why: impl Into<String>) -> Status {
        Status::new(410, "Expired", why)
    }

    pub fn too_many_requests(why: impl Into<String>, retry_after_seconds: u32) -> Status {
        Status::new(429, "TooManyRequests", why).retry_after(retry_after_seconds)
    }

    pub fn unsupported_media_type(why: impl Into<String>) -> Status {
        Status::new(415, "UnsupportedMediaType", why)
    }

    pub fn not_acceptable(why: impl Into<String>) -> Status {
        Status::new(406, "NotAcceptable", why)
    }

    pub fn too_large(why: impl Into<String>) -> Status {
        Status::new(413, "RequestEntityTooLarge", why)
    }

    pub fn timeout(why: impl Into<String>) -> Status {
        Status::new(504, "Timeout", why)
    }

    pub fn unavailable(why: impl Into<String>) -> Status {
        Status::new(503, "ServiceUnavailable", why)
    }

    /// The answer to a path that nothing serves.
    pub fn no_such_path() -> Status {
        Status {
            details: Some(Details::default()),
            ..Status::new(404, "NotFound", "the server could not find the requested resource")
        }
    }

    /// The object as it goes to the client.
    pub fn to_value(&self) -> Value {
        let mut value = Value::object();
        value.set("kind", "Status");
        value.set("apiVersion", "v1");
        let mut metadata = Map::new();
        if !self.continue_token.is_empty() {
            metadata.insert("continue", self.continue_token.as_str());
        }
        value.set("metadata", metadata);
        value.set("status", "Failure");
        value.set("message", self.message.as_str());
        if !self.reason.is_empty() {
            value.set("reason", self.reason);
        }
        if let Some(details) = &self.details {
            value.set("details", details.to_value());
        }
        value.set("code", i64::from(self.code));
        value
    }
}

// === impl Details ===

impl Details {
    fn to_value(&self) -> Value {
        let mut value = Value::object();
        for (key, text) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)] {
            if !text.is_empty() {
                value.set(key, text.as_str());
            }
        }
        if !self.causes.is_empty() {
            value.set("causes", self.causes.iter().map(Cause::to_value).collect::<Vec<_>>());
        }
        if self.retry_after_seconds > 0 {
            value.set("retryAfterSeconds", i64::from(self.retry_after_seconds));
        }
        value
    }
}

// === impl Cause ===

impl Cause {
    fn to_value(&self) -> Value {
        let mut value = Value::object();
        for (key, text) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !text.is_empty() {
                value.set(key, text.as_str());
            }
        }
        value
    }
}
