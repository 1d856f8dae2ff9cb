//! What a request says beside its object: selectors, revisions, options, patches.

use std::time::Duration;

use api::value::Value;
use bytes::Bytes;
use http::HeaderValue;

use crate::json;

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListParams {
    /// `app=web,tier in (a,b)`; empty for all.
    pub label_selector: String,
    /// `spec.nodeName=n1`; empty for all.
    pub field_selector: String,
    /// Objects on a page at most.
    pub limit: Option<u32>,
    /// From the page before.
    pub continue_token: String,
    /// The revision asked for; empty for the newest.
    pub resource_version: String,
    /// `Exact` or `NotOlderThan`.
    pub resource_version_match: String,
}

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchParams {
    /// As for lists.
    pub label_selector: String,
    /// As for lists.
    pub field_selector: String,
    /// The revision after which events are wanted.
    pub resource_version: String,
    /// First the objects that are there, then a bookmark that says so (`initial-events-end`), then events.
    pub initial_events: bool,
    /// Bookmarks move the revision on where nothing happens.
    pub bookmarks: bool,
    /// After this time the server ends the watch.
    pub timeout: Option<Duration>,
}

/// How to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Who owns the written fields; the user agent's first part if empty. Apply needs one.
    pub field_manager: String,
    /// Do everything but store it.
    pub dry_run: bool,
    /// `Ignore`, `Warn` or `Strict`.
    pub field_validation: String,
}

/// A change to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902: a list of operations.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own merge: lists by their keys.
    Strategic(Value),
    /// Server-side apply of a (partial) object.
    Apply {
        /// The object; needs kind and apiVersion.
        object: Value,
        /// Take fields over from other managers.
        force: bool,
    },
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds until a pod is killed; 0 deletes at once.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of dependents.
    pub propagation: Option<Propagation>,
    /// Only if the object has this UID.
    pub uid: Option<String>,
    /// Only if the object is at this revision.
    pub resource_version: Option<String>,
    /// Do everything but delete it.
    pub dry_run: bool,
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without the owner.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

/// A URL's query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(String);

// === impl ListParams ===

impl ListParams {
    /// All objects with these labels.
    pub fn labels(selector: impl Into<String>) -> ListParams {
        ListParams { label_selector: selector.into(), ..ListParams::default() }
    }

    /// All objects with these fields.
    pub fn fields(selector: impl Into<String>) -> ListParams {
        ListParams { field_selector: selector.into(), ..ListParams::default() }
    }

    pub(crate) fn write(&self, query: &mut Query) {
        query.add("labelSelector", &self.label_selector);
        query.add("fieldSelector", &self.field_selector);
        query.add("limit", &self.limit.map(|limit| limit.to_string()).unwrap_or_default());
        query.add("continue", &self.continue_token);
        query.add("resourceVersion", &self.resource_version);
        query.add("resourceVersionMatch", &self.resource_version_match);
    }
}

// === impl WatchParams ===

impl WatchParams {
    pub(crate) fn write(&self, query: &mut Query) {
        query.add("watch", "true");
        query.add("labelSelector", &self.label_selector);
        query.add("fieldSelector", &self.field_selector);
        query.add("resourceVersion", &self.resource_version);
        if self.initial_events {
            query.add("sendInitialEvents", "true");
            query.add("resourceVersionMatch", "NotOlderThan");
        }
        query.add("allowWatchBookmarks", if self.bookmarks { "true" } else { "" });
        query.add("timeoutSeconds", &self.timeout.map(|timeout| timeout.as_secs().to_string()).unwrap_or_default());
    }
}

// === impl WriteOptions ===

impl WriteOptions {
    /// Writes as this field manager.
    pub fn manager(field_manager: impl Into<String>) -> WriteOptions {
        WriteOptions { field_manager: field_manager.into(), ..WriteOptions::default() }
    }

    pub(crate) fn write(&self, query: &mut Query) {
        query.add("fieldManager", &self.field_manager);
        query.add("dryRun", if self.dry_run { "All" } else { "" });
        query.add("fieldValidation", &self.field_validation);
    }
}

// === impl Patch ===

impl Patch {
    pub(crate) fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Patch::Json(_) => "application/json-patch+json",
            Patch::Merge(_) => "application/merge-patch+json",
            Patch::Strategic(_) => "application/strategic-merge-patch+json",
            // JSON is YAML, and upstream's servers know this type in every version.
            Patch::Apply { .. } => "application/apply-patch+yaml",
        })
    }

    pub(crate) fn body(&self) -> Bytes {
        match self {
            Patch::Json(value) | Patch::Merge(value) | Patch::Strategic(value) | Patch::Apply { object: value, .. } => {
                json::write(value)
            }
        }
    }
}

// === impl DeleteOptions ===

impl DeleteOptions {
    /// Only the object with this UID.
    pub fn of_uid(uid: impl Into<String>) -> DeleteOptions {
        DeleteOptions { uid: Some(uid.into()), ..DeleteOptions::default() }
    }

    /// The same with what becomes of dependents.
    pub fn propagate(self, propagation: Propagation) -> DeleteOptions {
        DeleteOptions { propagation: Some(propagation), ..self }
    }

    /// The same with seconds of grace.
    pub fn grace(self, seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: Some(seconds), ..self }
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut value = Value::object();
        value.set("kind", "DeleteOptions");
        value.set("apiVersion", "v1");
        if let Some(seconds) = self.grace_period_seconds {
            value.set("gracePeriodSeconds", seconds);
        }
        if let Some(propagation) = self.propagation {
            value.set("propagationPolicy", propagation.as_str());
        }
        if let Some(uid) = &self.uid {
            value.set("preconditions.uid", uid.as_str());
        }
        if let Some(version) = &self.resource_version {
            value.set("preconditions.resourceVersion", version.as_str());
        }
        if self.dry_run {
            value.set("dryRun", vec!["All"]);
        }
        value
    }
}

// === impl Propagation ===

impl Propagation {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        }
    }
}

// === impl Query ===

impl Query {
    /// Adds a parameter unless its value is empty.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.0.push(if self.0.is_empty() { '?' } else { '&' });
            self.0.push_str(name);
            self.0.push('=');
            self.0.push_str(&escape(value));
        }
    }

    /// The path with this query.
    pub(crate) fn onto(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// Percent-encodes what is not unreserved in a URL.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped_and_empty_parameters_left_out() {
        let params = ListParams { limit: Some(2), ..ListParams::labels("app in (a,b)") };
        let mut query = Query::default();
        params.write(&mut query);
        assert_eq!(query.onto("/p"), "/p?labelSelector=app%20in%20%28a%2Cb%29&limit=2");
    }

    #[test]
    fn streaming_list_asks_for_what_the_server_demands() {
        let params = WatchParams { initial_events: true, bookmarks: true, ..WatchParams::default() };
        let mut query = Query::default();
        params.write(&mut query);
        let expected = "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        assert_eq!(query.onto(""), expected);
    }

    #[test]
    fn delete_options_as_upstream_writes_them() {
        let options = DeleteOptions::of_uid("u").propagate(Propagation::Background).grace(0);
        let expected = r#"{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,"propagationPolicy":"Background","preconditions":{"uid":"u"}}"#;
        assert_eq!(json::write(&options.to_value()), expected);
    }
}
