//! From a request's body to a tree of the served version, with defaults.
//!
//! Upstream: `apiserver/pkg/endpoints/handlers/create.go`, `rest.go` (`transformDecodeError`).

mod given;

use api::codec::json::Duplicates;
use api::codec::yaml;
use api::codec::{json, protobuf};
use api::decode::{self, Decoded};
use api::registry::Registry;
use api::schema::{self, Schema, StructId};
use api::status::Status;
use api::value::Value;
use bytes::Bytes;

use self::given::Given;
use crate::context::Context;
use crate::request::Encoding;
use crate::request::options::FieldValidation;
use crate::served::Served;

/// What a body must hold.
pub struct Expected<'a> {
    pub api_version: String,
    pub kind: &'a str,
    pub schema: (&'static Schema, StructId),
}

// === impl Expected ===

impl<'a> Expected<'a> {
    /// The resource itself.
    pub fn of(served: &'a Served) -> Expected<'a> {
        Expected { api_version: served.api_version(), kind: served.kind(), schema: served.schema() }
    }

    /// A kind of its own that a subresource takes (`Scale`, `Binding`, `TokenRequest`, …).
    ///
    /// # Errors
    /// 500 where the tables lack the kind.
    pub fn kind(group: &str, version: &str, kind: &'a str) -> Result<Expected<'a>, Status> {
        let registry = Registry::builtin();
        let id = registry
            .kind(group, version, kind)
            .ok_or_else(|| Status::internal(format!("no schema for {group}/{version} {kind}")))?;
        Ok(Expected { api_version: crate::served::api_version(group, version), kind, schema: (schema::builtin(), id) })
    }

    fn group_version(&self) -> (&str, &str) {
        self.api_version.split_once('/').unwrap_or(("", &self.api_version))
    }
}

/// Decodes a body; unknown and duplicate fields are met as the request says.
///
/// # Errors
/// 400 in upstream's words, 415 for an unknown content type.
pub fn body(
    context: &Context,
    body: &Bytes,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let encoding = Encoding::of_body(context.content_type())?;
    let unrecognized = |why: String| {
        let kind = expected.kind;
        let summary = summary(body);
        Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({summary})"))
    };
    let (tree, duplicates) = parse(encoding, body, expected).map_err(unrecognized)?;
    let given = Given::of(&tree, expected).map_err(unrecognized)?;
    let unfit = |why: String| {
        let Given { kind, version, .. } = &given;
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {}: {why}", expected.kind))
    };
    given.check(expected, body).map_err(unfit)?;
    let Typed(mut value) = tree_of(context, tree, &duplicates, expected, validation).map_err(unfit)?;
    if given.api_version() != expected.api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({})",
            given.api_version(),
            expected.api_version
        )));
    }
    set_type(&mut value, expected);
    Ok(value)
}

/// Decodes options that came as a body.
///
/// # Errors
/// 400 in upstream's words, 415 for an unknown content type.
pub fn options(context: &Context, body: &Bytes, kind: &str) -> Result<Value, Status> {
    let encoding = Encoding::of_body(context.content_type())?;
    let schema = crate::served::kind_type("", "v1", kind);
    let expected = Expected { api_version: "meta.k8s.io/v1".to_owned(), kind, schema };
    let (tree, _) = parse(encoding, body, &expected).map_err(Status::bad_request)?;
    Given::of(&tree, &expected).and_then(|given| given.check_kind(kind)).map_err(Status::bad_request)?;
    tree_of(context, tree, &Duplicates::default(), &expected, FieldValidation::Ignore)
        .map(|Typed(value)| value)
        .map_err(Status::bad_request)
}

/// Brings a tree (a patch's result, for instance) into the schema's shape and gives it defaults.
///
/// # Errors
/// What does not fit the types, or the unknown fields in strict mode.
pub fn tree_of(
    context: &Context,
    tree: Value,
    duplicates: &Duplicates,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Typed, String> {
    let (schema, id) = expected.schema;
    let reset = resets_owners(&tree);
    let decoded = decode::decode_with_duplicates(schema, id, tree, duplicates, validation);
    let Decoded { mut value, warnings } = decoded.map_err(|error| error.to_string())?;
    if reset {
        reset_owners(&mut value);
    }
    warnings.iter().for_each(|one| self::warn(context, one));
    Ok(Typed(value))
}

/// Warns the client of what is odd about its body; each line of what YAML's decoder says is a warning.
pub fn warn(context: &Context, said: &str) {
    let lines = said.strip_prefix("yaml: unmarshal errors:\n").unwrap_or(said);
    lines.lines().for_each(|line| context.warn(line.trim_start()));
}

/// Whether a client empties `managedFields`, which is more than leaving it out: Go tells an empty
/// list from none, a typed tree does not.
pub fn resets_owners(tree: &Value) -> bool {
    matches!(tree.get("metadata").get("managedFields"), Value::Array(entries) if entries.is_empty())
}

/// Says the same in the form that a typed tree can hold: one empty entry.
pub fn reset_owners(tree: &mut Value) {
    tree.set("metadata.managedFields", Value::Array(vec![Value::object()]));
}

/// A tree whose fields all have their types.
pub struct Typed(pub Value);

/// Sets kind and version, at the front where they are missing.
pub fn set_type(value: &mut Value, expected: &Expected<'_>) {
    let fields = value.make_object();
    for (at, (key, text)) in
        [("kind", expected.kind), ("apiVersion", expected.api_version.as_str())].into_iter().enumerate()
    {
        fields.remove(key);
        fields.entries_mut().insert(at, (key.into(), text.into()));
    }
}

/// Static defaults, then those of the kind's rules.
pub fn apply_defaults(value: &mut Value, served: &Served) {
    let (schema, id) = served.schema();
    api::defaults::apply(schema, id, value);
    (served.rules().defaults)(value);
}

/// The tree, and messages about duplicate fields.
fn parse(encoding: Encoding, body: &Bytes, expected: &Expected<'_>) -> Result<(Value, Duplicates), String> {
    match encoding {
        Encoding::Json => json::parse_body(body)
            .map(|parsed| (parsed.value, parsed.duplicates))
            .map_err(|error| format!("couldn't get version/kind; json parse error: {error}")),
        Encoding::Yaml => {
            yaml::parse_strict(body).map(|parsed| (parsed.value, parsed.duplicates)).map_err(|error| error.to_string())
        }
        Encoding::Protobuf => {
            let (schema, id) = expected.schema;
            protobuf::decode(schema, id, body)
                .map(|tree| (tree, Duplicates::default()))
                .map_err(|error| error.to_string())
        }
    }
}

/// The beginning of a body for an error message: JSON as it is, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    const BYTES_MAX: usize = 30;
    let (part, more) = match body.len() > BYTES_MAX {
        true => (&body[..BYTES_MAX], " ..."),
        false => (body, ""),
    };
    match part.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(part)),
        Some(_) => format!("{}{more}", hex(part)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
