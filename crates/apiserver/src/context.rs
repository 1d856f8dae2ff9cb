//! One request on its way through the pipeline.

use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use api::user::UserInfo;
use bytes::Bytes;
use client::Body;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use hyper::upgrade::OnUpgrade;
use jiff::Timestamp;
use parking_lot::Mutex;
use store::Origin;

use crate::flow::schemas::Matched;
use crate::request::{Accept, Query, RequestInfo};
use crate::serve::Connection;

/// Upstream's limit of a request body that is decoded.
pub const BODY_BYTES_MAX: usize = 3 << 20;
/// A manager's name taken from the user agent is cut to this.
const MANAGER_BYTES_MAX: usize = 128;
/// A client's own audit id is taken up to this length.
const AUDIT_ID_BYTES_MAX: usize = 64;
/// Warnings beyond these bytes are dropped, as upstream: headers must stay small.
const WARNINGS_BYTES_MAX: usize = 4 << 10;

/// What is known of a request besides its body.
pub struct Context {
    pub info: RequestInfo,
    pub query: Query,
    pub headers: HeaderMap,
    pub user: Arc<UserInfo>,
    /// `None` for calls within the process.
    pub connection: Option<Arc<Connection>>,
    /// When the request came.
    pub now: Timestamp,
    pub method: Method,
    /// What was asked for, as it was written.
    pub uri: Uri,
    /// The connection's other life, for requests that ask for one; taken by who upgrades.
    pub upgrade: Mutex<Option<OnUpgrade>>,
    /// The flow that it belongs to, for those who are told.
    pub flow: Option<Matched>,
    audit_id: String,
    warnings: Mutex<Vec<String>>,
}

// === impl Context ===

impl Context {
    pub fn new(
        info: RequestInfo,
        query: Query,
        headers: HeaderMap,
        user: Arc<UserInfo>,
        connection: Option<Arc<Connection>>,
        now: Timestamp,
    ) -> Context {
        let given = headers.get("audit-id").and_then(|id| id.to_str().ok()).filter(|id| id.len() <= AUDIT_ID_BYTES_MAX);
        let audit_id = given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        Context {
            info,
            query,
            headers,
            user,
            connection,
            now,
            method: Method::GET,
            uri: Uri::default(),
            upgrade: Mutex::default(),
            flow: None,
            audit_id,
            warnings: Mutex::default(),
        }
    }

    /// Names this request in answers, logs and history.
    pub fn audit_id(&self) -> &str {
        &self.audit_id
    }

    /// Who makes a change, for those who read history.
    pub fn origin(&self, manager: &str) -> Arc<Origin> {
        Arc::new(Origin {
            user: self.user.name.as_str().into(),
            manager: self.field_manager(manager).into(),
            request: self.audit_id.as_str().into(),
        })
    }

    /// The host that the client meant; empty where it did not say.
    pub fn host(&self) -> &str {
        let named = self.header(http::header::HOST);
        named.or_else(|| self.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
    }

    fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// How the client wants its answer.
    ///
    /// # Errors
    /// 406 where nothing that it accepts is spoken here.
    pub fn accept(&self) -> Result<Accept, Status> {
        Accept::negotiate(self.header(ACCEPT), self.pretty(), self.streams())
    }

    /// The same, where there are no tables.
    pub fn accept_plain(&self) -> Result<Accept, Status> {
        Accept::negotiate_plain(self.header(ACCEPT), self.pretty(), self.streams())
    }

    /// Whether JSON is among what the client accepts, for what has no other form.
    pub fn accepts_json(&self) -> bool {
        let is_json = |clause: &str| {
            matches!(
                clause.split(';').next().unwrap_or_default().trim(),
                "" | "application/json" | "application/*" | "*/*"
            )
        };
        self.header(ACCEPT).is_none_or(|accept| accept.split(',').any(is_json))
    }

    fn streams(&self) -> bool {
        matches!(self.info.verb, "list" | "watch")
    }

    fn pretty(&self) -> bool {
        match self.query.optional_flag("pretty") {
            Some(pretty) => pretty,
            None => {
                let agent = self.header(USER_AGENT).unwrap_or_default();
                agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0")
            }
        }
    }

    pub fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE)
    }

    /// Who manages the fields of this write: the given name, or the user agent's first word.
    pub fn field_manager(&self, given: &str) -> String {
        if !given.is_empty() {
            return given.to_owned();
        }
        let agent = self.header(USER_AGENT).unwrap_or_default();
        let name = agent.split('/').next().unwrap_or_default();
        name.chars()
            .filter(|c| api::field::is_printable(*c))
            .scan(0, |bytes, c| {
                *bytes += c.len_utf8();
                (*bytes <= MANAGER_BYTES_MAX).then_some(c)
            })
            .collect()
    }

    /// Tells the client something that is no error (a `Warning` header).
    pub fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        let mut warnings = self.warnings.lock();
        let bytes: usize = warnings.iter().map(String::len).sum();
        if bytes + warning.len() <= WARNINGS_BYTES_MAX && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// The warnings as header values, `299 - "text"`.
    pub fn warnings(&self) -> Vec<String> {
        let quote = |text: &String| match text.bytes().all(is_plain) {
            true => format!("299 - \"{text}\""),
            false => {
                let clean: String = text.chars().filter(|c| !c.is_control()).collect();
                format!("299 - \"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
            }
        };
        self.warnings.lock().iter().map(quote).collect()
    }
}

/// Whether a character stands in a quoted text as it is, seen without reading characters of several bytes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'"')
}

/// Reads a body up to the limit.
///
/// # Errors
/// 413 beyond it, 400 where the client broke off.
pub async fn read_body(body: Body) -> Result<Bytes, Status> {
    body.collect(BODY_BYTES_MAX).await.map_err(|error| match error.downcast_ref::<client::body::TooLarge>() {
        Some(_) => Status::too_large("Request entity too large: limit is 3145728"),
        None => Status::bad_request(format!("unable to read the request body: {error}")),
    })
}

/// Reads what the client still sends of a body that nobody wants, so that its connection lives on. What is longer than
/// this is not waited for: the connection ends with the answer, as with Go's server.
pub async fn discard_body(body: Body) {
    const DISCARDED_BYTES_MAX: usize = 256 << 10;
    // It may be a stranger's: nobody waits for it for long.
    const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
    match tokio::time::timeout(DISCARD_TIME_MAX, body.collect(DISCARDED_BYTES_MAX)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a body that is not wanted could not be read to its end"),
        Err(_) => tracing::debug!("a body that is not wanted does not come"),
    }
}
