//! JSON patch, RFC 6902, as upstream's `evanphx/json-patch` v4 applies it.
//!
//! Where the library is laxer than the RFC, so is this: `replace` of a field that is not there
//! sets it, `copy` of one gives null, negative indices count from the end, and what stands before
//! a path's first `/` is ignored.

use super::unprocessable;
use crate::codec::json::{self, DEPTH_MAX};
use crate::status::Status;
use crate::value::{Map, Value};

/// Operations that one patch may contain (`maxJSONPatchOperations`): more cost too much time
/// within one request.
pub const OPERATIONS_MAX: usize = 10_000;
/// Bytes of JSON that one patch's `copy` operations may add (`JSONPatchMaxCopyBytes`). Without it, each could double
/// the document.
pub const COPIED_BYTES_MAX: usize = 3 << 20;

/// Why a patch was refused. Clients are told the text of the first two only.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The patch is no list of operations.
    #[error("{0}")]
    Malformed(String),
    /// More than [`OPERATIONS_MAX`].
    #[error("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {0}")]
    TooMany(usize),
    /// An operation does not fit the document.
    #[error("{0}")]
    Failed(String),
}

/// A decoded patch; it can be applied again when the object has changed meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    operations: Vec<Operation>,
}

/// The fields are kept as they came: upstream notices a bad one only when it gets there.
#[derive(Clone, Debug, PartialEq)]
struct Operation {
    op: Value,
    path: Value,
    from: Value,
    value: Value,
}

/// How far a patch has made its document grow.
struct Growth {
    copied_bytes: usize,
    /// The document is not deeper than this.
    depth: usize,
    /// How often the whole document may still be looked at to know better.
    looks: usize,
}

/// Only moves and copies within documents nested half as deep as any may be have to look.
const LOOKS_MAX: usize = 16;

const NO_PATH: &str = "operation missing path field: missing value";

// === impl Patch ===

impl Patch {
    /// Reads a patch. `checked` is field validation Warn or Strict: fields that no operation has
    /// are then listed in the second result, in upstream's words.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::TooMany`].
    pub fn decode(patch: Value, checked: bool) -> Result<(Patch, Vec<String>), Error> {
        let items = match patch {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => return Err(mistyped(&other, checked, "value", "[]handlers.jsonPatchOp", "jsonpatch.Patch")),
        };
        let mut unknown = Vec::new();
        let mut operations = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let fields = match item {
                Value::Object(fields) => fields,
                Value::Null => Map::new(),
                other => {
                    return Err(mistyped(&other, checked, "value", "handlers.jsonPatchOp", "jsonpatch.Operation"));
                }
            };
            operations.push(Operation::decode(fields, at, checked, &mut unknown)?);
        }
        match operations.len() {
            count if count > OPERATIONS_MAX => Err(Error::TooMany(count)),
            _ => Ok((Patch { operations }, unknown)),
        }
    }

    /// Carries out all operations in turn.
    ///
    /// Objects on the way of a path come out sorted by name, as from upstream: the text of the
    /// outcome is shown in errors.
    ///
    /// # Errors
    /// [`Error::Failed`] at the first operation that does not fit; the document is then lost.
    pub fn apply(&self, mut document: Value) -> Result<Value, Error> {
        sort(&mut document);
        let mut growth = Growth { copied_bytes: 0, depth: document.depth(), looks: LOOKS_MAX };
        for operation in &self.operations {
            operation.apply(&mut document, &mut growth).map_err(Error::Failed)?;
        }
        Ok(document)
    }
}

// === impl Growth ===

impl Growth {
    /// Counts a copy.
    fn copy(&mut self, value: &Value) -> Result<(), String> {
        let mut text = Vec::new();
        json::write(value, &mut text);
        self.copied_bytes += text.len();
        match self.copied_bytes {
            fits if fits <= COPIED_BYTES_MAX => Ok(()),
            bytes => Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {bytes}, exceeding the limit {COPIED_BYTES_MAX}"
            )),
        }
    }

    /// Counts the levels below `path` that a value adds, which is not deeper than `depth_max`. It is looked at only
    /// where it matters: a value can be moved often.
    fn place(&mut self, document: &Value, path: &str, value: &Value, depth_max: usize) -> Result<(), String> {
        let levels = path.matches('/').count();
        let mut depth = levels + depth_max;
        if depth > DEPTH_MAX && self.looks > 0 {
            self.looks -= 1;
            depth = levels + value.depth();
            self.depth = document.depth();
        }
        self.depth = self.depth.max(depth);
        match depth <= DEPTH_MAX {
            true => Ok(()),
            false => Err("exceeded max depth".to_owned()),
        }
    }
}

// === impl Operation ===

impl Operation {
    fn decode(fields: Map, at: usize, checked: bool, unknown: &mut Vec<String>) -> Result<Operation, Error> {
        let mut operation = Operation { op: Value::Null, path: Value::Null, from: Value::Null, value: Value::Null };
        for (key, value) in fields {
            let slot = match key.as_str() {
                "op" => &mut operation.op,
                "path" => &mut operation.path,
                "from" => &mut operation.from,
                "value" => {
                    operation.value = value;
                    continue;
                }
                _ => {
                    if checked {
                        unknown.push(format!("json patch unknown field \"[{at}].{key}\""));
                    }
                    continue;
                }
            };
            if checked && !matches!(value, Value::String(_) | Value::Null) {
                let what = format!("Go struct field jsonPatchOp.{key} of type string");
                let kind = kind_of(&value);
                return Err(Error::Malformed(format!(
                    "error decoding patch: json: cannot unmarshal {kind} into {what}"
                )));
            }
            *slot = value;
        }
        Ok(operation)
    }

    fn apply(&self, document: &mut Value, growth: &mut Growth) -> Result<(), String> {
        match self.op.as_str().unwrap_or("unknown") {
            "add" => self.add(document, growth),
            "remove" => self.remove(document),
            "replace" => self.replace(document, growth),
            "move" => self.transfer(document, "move", growth),
            "copy" => self.transfer(document, "copy", growth),
            "test" => self.test(document),
            other => Err(format!("Unexpected kind: {other}")),
        }
    }

    fn add(&self, document: &mut Value, growth: &mut Growth) -> Result<(), String> {
        let path = text(&self.path).ok_or("add operation failed to decode path: missing value")?;
        growth.place(document, path, &self.value, self.value.depth())?;
        let (container, key) = find(document, path)
            .ok_or_else(|| format!("add operation does not apply: doc is missing path: \"{path}\": missing value"))?;
        add(container, key, self.value.clone()).map_err(|why| format!("error in add for path: '{path}': {why}"))
    }

    fn remove(&self, document: &mut Value) -> Result<(), String> {
        let path = text(&self.path).ok_or("remove operation failed to decode path: missing value")?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("remove operation does not apply: doc is missing path: \"{path}\": missing value")
        })?;
        remove(container, &key).map(drop).map_err(|why| format!("error in remove for path: '{path}': {why}"))
    }

    fn replace(&self, document: &mut Value, growth: &mut Growth) -> Result<(), String> {
        let path =
            text(&self.path).ok_or(NO_PATH).map_err(|why| format!("replace operation failed to decode path: {why}"))?;
        growth.place(document, path, &self.value, self.value.depth())?;
        if path.is_empty() {
            if !matches!(self.value, Value::Object(_) | Value::Array(_)) {
                return Err("replace operation value must be object or array: <nil>".into());
            }
            *document = self.value.clone();
            return Ok(());
        }
        let (container, key) = find(document, path)
            .ok_or_else(|| format!("replace operation does not apply: doc is missing path: {path}: missing value"))?;
        match container {
            Value::Array(items) => {
                let at = index(&key, items.len()).map_err(|_| {
                    format!("replace operation does not apply: doc is missing key: {path}: missing value")
                })?;
                items[at] = self.value.clone();
            }
            container => drop(container.make_object().insert(key, self.value.clone())),
        }
        Ok(())
    }

    fn transfer(&self, document: &mut Value, action: &str, growth: &mut Growth) -> Result<(), String> {
        let from = text(&self.from).ok_or_else(|| {
            format!("{action} operation failed to decode from: operation, missing from field: missing value")
        })?;
        let (container, key) = find(document, from).ok_or_else(|| {
            format!("{action} operation does not apply: doc is missing from path: {from}: missing value")
        })?;
        let value = match action {
            "move" => remove(container, &key).map_err(|why| format!("error in move for path: '{key}': {why}"))?,
            _ => {
                let value = get(container, &key).map_err(|why| format!("error in copy for from: '{from}': {why}"))?;
                growth.copy(value)?;
                value.clone()
            }
        };
        let path = text(&self.path).ok_or_else(|| match action {
            "move" => format!("move operation failed to decode path: {NO_PATH}"),
            _ => "copy operation failed to decode path: missing value".into(),
        })?;
        // The value was that much above the deepest at most.
        let depth_max = growth.depth.saturating_sub(from.matches('/').count());
        growth.place(document, path, &value, depth_max)?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("{action} operation does not apply: doc is missing destination path: {path}: missing value")
        })?;
        add(container, key, value).map_err(|why| match action {
            "move" => format!("error in move for path: '{path}': {why}"),
            _ => format!("error while adding value during copy: {why}"),
        })
    }

    fn test(&self, document: &mut Value) -> Result<(), String> {
        let path =
            text(&self.path).ok_or(NO_PATH).map_err(|why| format!("test operation failed to decode path: {why}"))?;
        let actual = if path.is_empty() {
            &*document
        } else {
            let (container, key) = find(document, path)
                .ok_or_else(|| format!("test operation does not apply: is missing path: {path}: missing value"))?;
            get(container, &key).map_err(|why| format!("error in test for path: '{path}': {why}"))?
        };
        match *actual == self.value {
            true => Ok(()),
            false => Err(format!("testing value {path} failed: test failed")),
        }
    }
}

// === the document ===

/// The object or array that a path's last part lies in, and that part.
fn find<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (_, path) = path.split_once('/')?;
    let (parents, key) = path.rsplit_once('/').map_or((None, path), |(parents, key)| (Some(parents), key));
    let container = parents.into_iter().flat_map(|parents| parents.split('/')).try_fold(document, |value, part| {
        let part = unescape(part);
        let next = match value {
            Value::Object(fields) => fields.get_mut(&part),
            Value::Array(items) => index(&part, items.len()).ok().map(|at| &mut items[at]),
            _ => None,
        }?;
        sort(next);
        Some(next)
    })?;
    matches!(container, Value::Object(_) | Value::Array(_)).then(|| (container, unescape(key)))
}

fn sort(value: &mut Value) {
    if let Value::Object(fields) = value.open() {
        fields.sort();
    }
}

/// Decodes `~1` and `~0` in one pass.
fn unescape(part: &str) -> String {
    part.split("~1").map(|piece| piece.replace("~0", "~")).collect::<Vec<_>>().join("/")
}

fn get<'a>(container: &'a Value, key: &str) -> Result<&'a Value, String> {
    match container {
        Value::Array(items) => Ok(&items[index(key, items.len())?]),
        container => Ok(container.get(key)),
    }
}

fn add(container: &mut Value, key: String, value: Value) -> Result<(), String> {
    match container {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&key, items.len() + 1).map_err(|why| match why.strip_prefix("strconv") {
                Some(_) => format!("value was not a proper array index: '{key}': {why}"),
                None => why,
            })?;
            items.insert(at, value);
        }
        container => drop(container.make_object().insert(key, value)),
    }
    Ok(())
}

fn remove(container: &mut Value, key: &str) -> Result<Value, String> {
    match container {
        Value::Array(items) => {
            let at = index(key, items.len())?;
            Ok(items.remove(at))
        }
        container => container
            .make_object()
            .remove(key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value")),
    }
}

/// An index below `length`; negative ones count from the end.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let number: i64 = key.parse().map_err(|why: std::num::ParseIntError| {
        let why = match why.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {key:?}: {why}")
    })?;
    let at = if number < 0 { number.checked_add(length as i64) } else { Some(number) };
    at.and_then(|at| usize::try_from(at).ok())
        .filter(|at| *at < length)
        .ok_or_else(|| format!("Unable to access invalid index: {number}: invalid index referenced"))
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn mistyped(value: &Value, checked: bool, what: &str, strict: &str, lax: &str) -> Error {
    let kind = kind_of(value);
    Error::Malformed(match checked {
        true => format!("error decoding patch: json: cannot unmarshal {kind} into Go {what} of type {strict}"),
        false => format!("json: cannot unmarshal {kind} into Go {what} of type {lax}"),
    })
}

/// A value's kind in the words of Go's decoder.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) | Value::Json(_) => "object",
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        match error {
            Error::Malformed(why) => Status::bad_request(why),
            Error::TooMany(_) => Status::too_large(format!("Request entity too large: {error}")),
            Error::Failed(_) => unprocessable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{json, value};
    use proptest::prelude::*;
    use rstest::rstest;

    fn run(document: &str, patch: &str) -> Result<Value, Error> {
        Patch::decode(json(patch), true)?.0.apply(json(document))
    }

    #[rstest]
    #[case::add(r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, r#"{"foo":"bar","baz":"qux"}"#)]
    #[case::add_between(r#"{"a":[1,2]}"#, r#"[{"op":"add","path":"/a/1","value":9}]"#, r#"{"a":[1,9,2]}"#)]
    #[case::add_at_the_end(r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/-","value":[2]}]"#, r#"{"a":[1,[2]]}"#)]
    #[case::add_at_length(r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/1","value":2}]"#, r#"{"a":[1,2]}"#)]
    #[case::add_negative_is_from_the_end(
        r#"{"a":[1]}"#,
        r#"[{"op":"add","path":"/a/-1","value":2}]"#,
        r#"{"a":[1,2]}"#
    )]
    #[case::add_without_value(r#"{}"#, r#"[{"op":"add","path":"/a"}]"#, r#"{"a":null}"#)]
    #[case::add_replaces(r#"{"a":1}"#, r#"[{"op":"add","path":"/a","value":{"b":null}}]"#, r#"{"a":{"b":null}}"#)]
    #[case::remove(r#"{"a":1,"b":2}"#, r#"[{"op":"remove","path":"/b"}]"#, r#"{"a":1}"#)]
    #[case::remove_item(r#"{"a":[1,2,3]}"#, r#"[{"op":"remove","path":"/a/-1"}]"#, r#"{"a":[1,2]}"#)]
    #[case::replace(r#"{"a":[1,{"b":2}]}"#, r#"[{"op":"replace","path":"/a/1/b","value":3}]"#, r#"{"a":[1,{"b":3}]}"#)]
    #[case::replace_of_nothing_sets(r#"{}"#, r#"[{"op":"replace","path":"/a","value":3}]"#, r#"{"a":3}"#)]
    #[case::replace_all(r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"b":1}}]"#, r#"{"b":1}"#)]
    #[case::escapes(r#"{"a/b":{"~1":1}}"#, r#"[{"op":"remove","path":"/a~1b/~01"}]"#, r#"{"a/b":{}}"#)]
    #[case::moves(r#"{"a":{"b":1},"c":[]}"#, r#"[{"op":"move","from":"/a/b","path":"/c/0"}]"#, r#"{"a":{},"c":[1]}"#)]
    #[case::copies(r#"{"a":{"b":1}}"#, r#"[{"op":"copy","from":"/a","path":"/c"}]"#, r#"{"a":{"b":1},"c":{"b":1}}"#)]
    #[case::copies_nothing(r#"{}"#, r#"[{"op":"copy","from":"/a","path":"/c"}]"#, r#"{"c":null}"#)]
    #[case::tests(
        r#"{"a":{"b":[1,"x"]}}"#,
        r#"[{"op":"test","path":"/a","value":{"b":[1,"x"]}}]"#,
        r#"{"a":{"b":[1,"x"]}}"#
    )]
    #[case::tests_absent_as_null(r#"{}"#, r#"[{"op":"test","path":"/a","value":null}]"#, r#"{}"#)]
    #[case::prefix_is_ignored(r#"{"a":1}"#, r#"[{"op":"remove","path":"spec/a"}]"#, r#"{}"#)]
    #[case::nothing("{}", "null", "{}")]
    fn applies(#[case] document: &str, #[case] patch: &str, #[case] expected: &str) {
        assert_eq!(run(document, patch), Ok(json(expected)));
    }

    #[rstest]
    #[case(
        r#"{"op":"add","path":"","value":1}"#,
        r#"add operation does not apply: doc is missing path: "": missing value"#
    )]
    #[case(
        r#"{"op":"add","path":"/x/y","value":1}"#,
        r#"add operation does not apply: doc is missing path: "/x/y": missing value"#
    )]
    #[case(
        r#"{"op":"add","path":"/s/y","value":1}"#,
        r#"add operation does not apply: doc is missing path: "/s/y": missing value"#
    )]
    #[case(
        r#"{"op":"add","path":"/l/3","value":1}"#,
        "error in add for path: '/l/3': Unable to access invalid index: 3: invalid index referenced"
    )]
    #[case(
        r#"{"op":"add","path":"/l/-4","value":1}"#,
        "error in add for path: '/l/-4': Unable to access invalid index: -4: invalid index referenced"
    )]
    #[case(r#"{"op":"add","path":"/l/x","value":1}"#, r#"error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing "x": invalid syntax"#)]
    #[case(r#"{"op":"add","value":1}"#, "add operation failed to decode path: missing value")]
    #[case(
        r#"{"op":"remove","path":"/x"}"#,
        "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value"
    )]
    #[case(
        r#"{"op":"remove","path":"/l/2"}"#,
        "error in remove for path: '/l/2': Unable to access invalid index: 2: invalid index referenced"
    )]
    #[case(
        r#"{"op":"replace","path":"/l/2","value":1}"#,
        "replace operation does not apply: doc is missing key: /l/2: missing value"
    )]
    #[case(r#"{"op":"replace","path":"","value":1}"#, "replace operation value must be object or array: <nil>")]
    #[case(
        r#"{"op":"move","from":"/x","path":"/y"}"#,
        "error in move for path: 'x': Unable to remove nonexistent key: x: missing value"
    )]
    #[case(r#"{"op":"test","path":"/s","value":"t"}"#, "testing value /s failed: test failed")]
    #[case(
        r#"{"op":"test","path":"/l/7","value":1}"#,
        "error in test for path: '/l/7': Unable to access invalid index: 7: invalid index referenced"
    )]
    #[case(r#"{"op":"twist","path":"/s"}"#, "Unexpected kind: twist")]
    #[case(r#"{"path":"/s"}"#, "Unexpected kind: unknown")]
    fn fails(#[case] operation: &str, #[case] why: &str) {
        let error = run(r#"{"s":"text","l":[1,2]}"#, &format!("[{operation}]")).unwrap_err();
        assert_eq!(error, Error::Failed(why.into()));
        assert_eq!((Status::from(error.clone()).code, Status::from(error).reason), (422, "Invalid"));
    }

    #[rstest]
    #[case(
        r#"{}"#,
        true,
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
    )]
    #[case(r#"{}"#, false, "json: cannot unmarshal object into Go value of type jsonpatch.Patch")]
    #[case(r#"["a"]"#, false, "json: cannot unmarshal string into Go value of type jsonpatch.Operation")]
    #[case(
        r#"[{"op":1}]"#,
        true,
        "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
    )]
    fn malformed(#[case] patch: &str, #[case] checked: bool, #[case] why: &str) {
        let error = Patch::decode(json(patch), checked).unwrap_err();
        assert_eq!(Status::from(error), Status::bad_request(why));
    }

    #[test]
    fn unknown_fields_are_named_when_checked() {
        let patch = json(r#"[{"op":"test","path":"/a","values":1}]"#);
        assert_eq!(Patch::decode(patch.clone(), false).unwrap().1, Vec::<String>::new());
        assert_eq!(Patch::decode(patch, true).unwrap().1, [r#"json patch unknown field "[0].values""#]);
    }

    #[test]
    fn more_operations_than_allowed_are_refused() {
        let operation = json(r#"{"op":"test","path":"/a"}"#);
        let patch = |count| Patch::decode(Value::Array(vec![operation.clone(); count]), false);
        assert!(patch(OPERATIONS_MAX).is_ok());
        let status = Status::from(patch(OPERATIONS_MAX + 1).unwrap_err());
        assert_eq!(status.code, 413);
        let message = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
        assert_eq!(status.message, message);
    }

    /// Found by hand: 9,000 copies of an object into itself took all of the machine's memory.
    #[test]
    fn copies_do_not_grow_without_bounds() {
        let copies = (0..9_000).map(|at| format!(r#"{{"op":"copy","from":"/a","path":"/a/{at}"}}"#));
        let patch = format!("[{}]", copies.collect::<Vec<_>>().join(","));
        let Err(Error::Failed(why)) = run(r#"{"a":{"b":"0123456789"}}"#, &patch) else { panic!("not refused") };
        assert!(why.starts_with("Unable to complete the copy, the accumulated size increase of copy is "), "{why}");
    }

    /// Each of these operations alone is fine; what they make together would break whoever walks down it.
    #[test]
    fn documents_do_not_become_deeper_than_the_decoder_allows() {
        let tower = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let path = |levels: usize| format!("/a{}", "/0".repeat(levels));
        let half = DEPTH_MAX / 2;
        let add = |path: &str| format!(r#"{{"op":"add","path":"{path}","value":{}}}"#, tower(half));
        let copy = format!(r#"{{"op":"copy","from":"/b","path":"{}"}}"#, path(half));
        for (patch, refused) in [
            (format!("[{}]", add("/a")), false),
            (format!("[{},{}]", add("/a"), add(&path(half))), true),
            (format!("[{},{},{copy}]", add("/a"), add("/b")), true),
            (format!("[{},{},{}]", add("/a"), add("/b"), copy.replace("copy", "move")), true),
        ] {
            assert_eq!(run("{}", &patch).is_err(), refused);
        }
        let moves = |from: &str, to: &str| format!(r#"{{"op":"move","from":"{from}","path":"{to}"}}"#);
        let often = [moves("/a/0", "/b/1"), moves("/b/1", "/a/0")].join(",");
        let patch = format!("[{}]", vec![often; OPERATIONS_MAX / 2].join(","));
        assert!(run(r#"{"a":[1],"b":[2]}"#, &patch).is_ok(), "a value may move as often as it likes");
    }

    /// Found while fuzzing: each such move looked at the whole document twice, and a patch may hold 10,000 of them.
    #[test]
    fn deep_documents_are_not_looked_at_without_end() {
        let document = format!(r#"{{"a":{}1{},"b":[1]}}"#, "[".repeat(200), "]".repeat(200));
        let inner = format!("/a{}/1", "/0".repeat(100));
        let there = format!(r#"{{"op":"move","from":"/b/0","path":"{inner}"}}"#);
        let back = format!(r#"{{"op":"move","from":"{inner}","path":"/b/0"}}"#);
        let patch = |pairs: usize| format!("[{}]", vec![format!("{there},{back}"); pairs].join(","));
        assert!(run(&document, &patch(LOOKS_MAX)).is_ok());
        assert!(run(&document, &patch(LOOKS_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_tree_is_a_patch_or_an_error(document in value(), patch in value(), path in "(/[a-c0-2~-]{0,2}){0,3}") {
            if let Ok((patch, _)) = Patch::decode(patch.clone(), false) {
                let _ = patch.apply(document.clone());
            }
            for op in ["add", "remove", "replace", "move", "copy", "test"] {
                let mut operation = Value::object();
                operation.set("op", op);
                operation.set("path", path.as_str());
                operation.set("from", "/a");
                operation.set("value", patch.clone());
                let patch = Patch::decode(Value::Array(vec![operation]), true).unwrap().0;
                let _ = patch.apply(document.clone());
            }
        }
    }
}
