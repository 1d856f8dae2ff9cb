//! Validation errors about fields, with upstream's wording.
//!
//! A [`Path`] is a linked list on the stack: walking an object costs nothing, the path is
//! written out only when an error is reported. [`FieldErrors`] collects what was found and
//! becomes the causes of a 422 [`Status`].
//!
//! Upstream: `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt::{self, Write};

use crate::codec::json;
use crate::status::{Cause, Status};
use crate::value::Value;

/// Where in an object: `spec.containers[0].image`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    /// One field name or several joined by dots.
    Child(&'a str),
    Index(usize),
    Key(&'a str),
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooShort,
    TooMany,
    TooFew,
    TypeInvalid,
    Internal,
}

/// One error about one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub kind: ErrorKind,
    pub field: String,
    /// The offending value; what the kind's text leaves out is null here.
    pub value: Value,
    /// The message leaves the value out although the kind shows it.
    pub value_omitted: bool,
    pub detail: String,
}

/// What validation found, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldErrors {
    list: Vec<FieldError>,
}

// === impl Path ===

impl<'a> Path<'a> {
    /// The object itself; its children are written without a leading dot.
    pub const ROOT: Path<'static> = Path::new("");

    /// A path that starts at a field of the object, several levels joined by dots.
    pub const fn new(name: &'a str) -> Path<'a> {
        Path { parent: None, step: Step::Child(name) }
    }

    /// A field below, or several levels of them joined by dots.
    pub const fn child<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path { parent: Some(self), step: Step::Child(name) }
    }

    /// An item of a list.
    pub const fn index(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// An entry of a map.
    pub const fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        Path { parent: Some(self), step: Step::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_root = |path: &Path<'_>| path.parent.is_none() && matches!(path.step, Step::Child(""));
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            if matches!(self.step, Step::Child(_)) && !is_root(parent) {
                f.write_char('.')?;
            }
        }
        match self.step {
            Step::Child(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

// === impl ErrorKind ===

impl ErrorKind {
    /// The machine-readable cause.
    pub const fn reason(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooShort => "FieldValueTooShort",
            ErrorKind::TooMany => "FieldValueTooMany",
            ErrorKind::TooFew => "FieldValueTooFew",
            ErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            ErrorKind::Internal => "InternalError",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "Not found",
            ErrorKind::Required => "Required value",
            ErrorKind::Duplicate => "Duplicate value",
            ErrorKind::Invalid | ErrorKind::TypeInvalid => "Invalid value",
            ErrorKind::NotSupported => "Unsupported value",
            ErrorKind::Forbidden => "Forbidden",
            ErrorKind::TooLong => "Too long",
            ErrorKind::TooShort => "Too short",
            ErrorKind::TooMany => "Too many",
            ErrorKind::TooFew => "Too few",
            ErrorKind::Internal => "Internal error",
        }
    }

    const fn shows_value(self) -> bool {
        use ErrorKind::*;
        !matches!(self, Required | Forbidden | TooLong | TooShort | Internal)
    }
}

// === impl FieldError ===

impl FieldError {
    /// The message without the field: `Invalid value: "x": must be …`.
    pub fn body(&self) -> String {
        let mut text = String::from(self.kind.text());
        if self.kind.shows_value() && !self.value_omitted {
            text.push_str(": ");
            write_value(&mut text, &self.value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl From<FieldError> for Cause {
    fn from(error: FieldError) -> Cause {
        Cause { reason: error.kind.reason().into(), message: error.body(), field: error.field }
    }
}

// === impl FieldErrors ===

impl FieldErrors {
    pub fn new() -> FieldErrors {
        FieldErrors::default()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.list.iter()
    }

    /// Whether something was reported since [`len`](Self::len) was `before`.
    pub fn grew_since(&self, before: usize) -> bool {
        self.list.len() > before
    }

    /// Drops what was said before, word for word: rules may run twice on update.
    pub fn dedup(&mut self) {
        let mut at = 1;
        while at < self.list.len() {
            match self.list[..at].contains(&self.list[at]) {
                true => drop(self.list.remove(at)),
                false => at += 1,
            }
        }
    }

    /// Moves what is said about certain fields behind all else, in the order in which they are given.
    pub fn put_last(&mut self, fields: &[(&str, ErrorKind)]) {
        let place = |error: &FieldError| {
            let field = without_indexes(&error.field);
            fields.iter().position(|(one, kind)| *kind == error.kind && *one == field).map_or(0, |at| at + 1)
        };
        if !fields.is_empty() && self.list.len() > 1 {
            self.list.sort_by_cached_key(place);
        }
    }

    pub fn add(&mut self, error: FieldError) {
        self.list.push(error);
    }

    pub fn extend(&mut self, other: FieldErrors) {
        self.list.extend(other.list);
    }

    pub fn push(&mut self, kind: ErrorKind, at: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        let (field, detail) = (at.to_string(), detail.into());
        self.list.push(FieldError { kind, field, value: value.into(), value_omitted: false, detail });
    }

    /// A value that has to be there is not: empty string, null or empty list.
    pub fn required(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorKind::Required, at, Value::Null, detail);
    }

    /// A malformed value.
    pub fn invalid(&mut self, at: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(ErrorKind::Invalid, at, value, detail);
    }

    /// A malformed value that is too large to be shown.
    pub fn invalid_omitted(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorKind::Invalid, at, Value::Null, detail);
        if let Some(last) = self.list.last_mut() {
            last.value_omitted = true;
        }
    }

    /// One [`invalid`](Self::invalid) for each message.
    pub fn invalid_each<M: Into<String>>(&mut self, at: &Path<'_>, value: &str, messages: impl IntoIterator<Item = M>) {
        for message in messages {
            self.invalid(at, value, message);
        }
    }

    /// A value of the wrong type.
    pub fn type_invalid(&mut self, at: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(ErrorKind::TypeInvalid, at, value, detail);
    }

    /// A value that must be unique is there twice.
    pub fn duplicate(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.push(ErrorKind::Duplicate, at, value, "");
    }

    /// A value outside its enumeration, whose members are named in upstream's order.
    pub fn not_supported(&mut self, at: &Path<'_>, value: impl Into<Value>, supported: &[&str]) {
        let quoted: Vec<String> = supported.iter().map(|one| go_quote(one)).collect();
        let detail = match quoted.is_empty() {
            true => String::new(),
            false => format!("supported values: {}", quoted.join(", ")),
        };
        self.push(ErrorKind::NotSupported, at, value, detail);
    }

    /// A well-formed value that is not permitted here.
    pub fn forbidden(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorKind::Forbidden, at, Value::Null, detail);
    }

    /// More than `max` bytes.
    pub fn too_long(&mut self, at: &Path<'_>, max: usize) {
        let unit = if max == 1 { "byte" } else { "bytes" };
        self.push(ErrorKind::TooLong, at, Value::Null, format!("may not be more than {max} {unit}"));
    }

    /// More than `max` characters.
    pub fn too_long_characters(&mut self, at: &Path<'_>, max: usize) {
        let unit = if max == 1 { "character" } else { "characters" };
        self.push(ErrorKind::TooLong, at, Value::Null, format!("may not be more than {max} {unit}"));
    }

    /// Fewer than `min` characters.
    pub fn too_short(&mut self, at: &Path<'_>, min: usize) {
        let unit = if min == 1 { "character" } else { "characters" };
        self.push(ErrorKind::TooShort, at, Value::Null, format!("must be at least {min} {unit}"));
    }

    /// More than `max` items.
    pub fn too_many(&mut self, at: &Path<'_>, actual: usize, max: usize) {
        let unit = if max == 1 { "item" } else { "items" };
        self.push(ErrorKind::TooMany, at, actual as i64, format!("must have at most {max} {unit}"));
    }

    /// Fewer than `min` items.
    pub fn too_few(&mut self, at: &Path<'_>, actual: usize, min: usize) {
        let unit = if min == 1 { "item" } else { "items" };
        self.push(ErrorKind::TooFew, at, actual as i64, format!("must have at least {min} {unit}"));
    }

    /// A value that refers to something that is not there.
    pub fn not_found(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.push(ErrorKind::NotFound, at, value, "");
    }

    /// Something went wrong that is no fault of the field.
    pub fn internal(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.push(ErrorKind::Internal, at, Value::Null, detail);
    }

    /// The 422 that says all of it, about an object of `kind` in `group`.
    pub fn into_status(self, group: &str, kind: &str, name: &str) -> Status {
        Status::invalid(group, kind, name, self.list.into_iter().map(Cause::from).collect())
    }

    /// Nothing where nothing was found, else [`into_status`](Self::into_status).
    ///
    /// # Errors
    /// The 422.
    pub fn into_result(self, group: &str, kind: &str, name: &str) -> Result<(), Status> {
        if self.is_empty() { Ok(()) } else { Err(self.into_status(group, kind, name)) }
    }
}

/// `spec.ports[2].name` as `spec.ports[].name`.
fn without_indexes(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut inside = false;
    for c in field.chars() {
        inside = (inside || c == '[') && c != ']';
        if !inside || c == '[' {
            text.push(c);
        }
    }
    text
}

impl IntoIterator for FieldErrors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

// === How Go prints ===

/// A string as Go's `%q` prints it.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            ' '..='~' => quoted.push(c),
            c if c < ' ' || c == '\x7f' => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_printable(c) => quoted.push(c),
            c if c <= '\u{ffff}' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    quoted.push('"');
    quoted
}

/// Go's `unicode.IsPrint` (letters, marks, numbers, punctuation, symbols and the plain space).
pub fn is_printable(c: char) -> bool {
    // `escape_debug` of a string leaves marks alone that don't stand first, as Go does.
    c == ' '
        || !c.is_whitespace()
            && (c == '"' || c == '\\' || c == '\'' || ['x', c].iter().collect::<String>().escape_debug().count() == 2)
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::String(string) => text.push_str(&go_quote(string)),
        other => text.push_str(&String::from_utf8_lossy(&json::to_vec(other))),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_path_is_written_as_upstream_writes_it() {
        let spec = Path::new("spec");
        let containers = spec.child("template.spec.containers");
        assert_eq!(containers.index(3).child("env").key("A").to_string(), "spec.template.spec.containers[3].env[A]");
        assert_eq!(Path::ROOT.child("spec").to_string(), "spec");
        assert_eq!(Path::ROOT.key("a").to_string(), "[a]");
    }

    #[test]
    fn declared_fields_come_last_in_their_order() {
        let mut errors = FieldErrors::new();
        let (a, b) = (Path::new("a"), Path::new("b"));
        errors.required(&b.index(1).child("x"), "");
        errors.required(&a, "");
        errors.invalid(&a, 1i64, "");
        errors.invalid(&Path::new("c"), 1i64, "");
        errors.put_last(&[("a", ErrorKind::Required), ("b[].x", ErrorKind::Required)]);
        let order: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(order, ["a", "c", "a", "b[1].x"]);
    }

    fn said(report: impl Fn(&mut FieldErrors, &Path<'_>)) -> String {
        let mut errors = FieldErrors::new();
        report(&mut errors, &Path::new("f"));
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[rstest]
    #[case::invalid_string(said(|e, p| e.invalid(p, "x\n", "bad")), r#"f: Invalid value: "x\n": bad"#)]
    #[case::invalid_number(said(|e, p| e.invalid(p, -1i64, "bad")), "f: Invalid value: -1: bad")]
    #[case::invalid_bool(said(|e, p| e.invalid(p, true, "")), "f: Invalid value: true")]
    #[case::invalid_list(said(|e, p| e.invalid(p, vec!["<a>"], "bad")), r#"f: Invalid value: ["\u003ca\u003e"]: bad"#)]
    #[case::invalid_null(said(|e, p| e.invalid(p, Value::Null, "bad")), "f: Invalid value: null: bad")]
    #[case::required(said(|e, p| e.required(p, "")), "f: Required value")]
    #[case::required_why(said(|e, p| e.required(p, "why")), "f: Required value: why")]
    #[case::duplicate(said(|e, p| e.duplicate(p, "a")), r#"f: Duplicate value: "a""#)]
    #[case::unsupported(said(|e, p| e.not_supported(p, "C", &["A", "B"])),
        r#"f: Unsupported value: "C": supported values: "A", "B""#)]
    #[case::forbidden(said(|e, p| e.forbidden(p, "no")), "f: Forbidden: no")]
    #[case::too_long(said(|e, p| e.too_long(p, 10)), "f: Too long: may not be more than 10 bytes")]
    #[case::too_many(said(|e, p| e.too_many(p, 3, 1)), "f: Too many: 3: must have at most 1 item")]
    #[case::too_few(said(|e, p| e.too_few(p, 0, 2)), "f: Too few: 0: must have at least 2 items")]
    #[case::not_found(said(|e, p| e.not_found(p, "v")), r#"f: Not found: "v""#)]
    #[case::internal(said(|e, p| e.internal(p, "oops")), "f: Internal error: oops")]
    fn errors_read_like_upstreams(#[case] said: String, #[case] expected: &str) {
        assert_eq!(said, expected);
    }

    #[rstest]
    #[case("ä\u{301}€😀", "\"ä\u{301}€😀\"")]
    #[case("\u{0}\u{7f}\u{85}\u{a0}\u{200b}", r#""\x00\x7f\u0085\u00a0\u200b""#)]
    #[case("'\"\\", r#""'\"\\""#)]
    fn strings_are_quoted_like_go(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(go_quote(text), expected);
    }

    #[test]
    fn errors_become_a_422() {
        let mut errors = FieldErrors::new();
        errors.required(&Path::new("spec.a"), "");
        errors.invalid(&Path::new("spec.b"), 1i64, "bad");
        let status = errors.into_status("apps", "Deployment", "web");
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: [spec.a: Required value, spec.b: Invalid value: 1: bad]"
        );
        assert_eq!(status.details.unwrap().causes[1].reason, "FieldValueInvalid");
    }
}
