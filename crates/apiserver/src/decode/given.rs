//! The kind and version that a body says it has, and what upstream says where they are not the expected ones.
//!
//! Upstream: apimachinery's `SimpleMetaFactory.Interpret`, the serializers' `Decode`, `Scheme.New` and `Scheme.Convert`.

use api::registry::Registry;
use api::value::Value;

use super::Expected;

/// Kind and version of a body; what it leaves out is what is expected.
pub struct Given {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// How Go's decoder calls what upstream reads kind and version into.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
/// Upstream's scheme in its messages.
const SCHEME: &str = r#"scheme "pkg/runtime/scheme.go:111""#;
/// Groups that upstream serves with a scheme of their own, which knows no other kinds.
const APART: [&str; 2] = ["apiextensions.k8s.io", "apiregistration.k8s.io"];

// === impl Given ===

impl Given {
    /// # Errors
    /// Upstream's words for a body that is no object, or whose kind and version are no text.
    pub fn of(tree: &Value, expected: &Expected<'_>) -> Result<Given, String> {
        if !matches!(tree, Value::Object(_) | Value::Null) {
            return Err(mistyped(tree, &format!("value of type {TYPE_META}")));
        }
        let text = |field: &str| match tree.get(field) {
            Value::Null => Ok(""),
            Value::String(text) => Ok(&**text),
            other => Err(mistyped(other, &format!("struct field .{field} of type string"))),
        };
        let api_version = text("apiVersion")?;
        let kind = text("kind")?;
        let (group, version) = match api_version.split_once('/') {
            None => ("", api_version),
            Some((_, version)) if version.contains('/') => {
                return Err(format!("unexpected GroupVersion string: {api_version}"));
            }
            Some(both) => both,
        };
        let (expected_group, expected_version) = expected.group_version();
        let version = match version {
            "" if group.is_empty() || group == expected_group => expected_version,
            version => version,
        };
        let group = if group.is_empty() && api_version.trim_matches('/').is_empty() { expected_group } else { group };
        let kind = if kind.is_empty() { expected.kind } else { kind };
        Ok(Given { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() })
    }

    /// Whether this is what is expected, perhaps in another version.
    ///
    /// # Errors
    /// Upstream's words where it is something else.
    pub fn check(&self, expected: &Expected<'_>, body: &[u8]) -> Result<(), String> {
        let Given { group, version, kind } = self;
        let (expected_group, expected_version) = expected.group_version();
        if (group.as_str(), kind.as_str()) == (expected_group, expected.kind) && version == expected_version {
            return Ok(());
        }
        if version.is_empty() {
            return Err(format!("Object 'apiVersion' is missing in '{}'", String::from_utf8_lossy(body)));
        }
        let registry = Registry::builtin();
        let is_known = |kind: &str| registry.kind(group, version, kind).is_some();
        let known = is_known(kind) || kind.strip_suffix("List").is_some_and(is_known);
        let apart = |group| APART.contains(&group);
        let seen = group == expected_group || !(apart(expected_group) || apart(group));
        match known && seen {
            true if (group.as_str(), kind.as_str()) == (expected_group, expected.kind) => Ok(()),
            true => Err(format!(
                "converting ({version}.{kind}) to ({}.{}): unknown conversion",
                package(expected_group),
                expected.kind
            )),
            false => Err(self.unregistered()),
        }
    }

    /// Whether this is of a kind that is known in any group and version, as options are.
    ///
    /// # Errors
    /// Upstream's words where it is not.
    pub fn check_kind(&self, kind: &str) -> Result<(), String> {
        match self.kind == kind {
            true => Ok(()),
            false => Err(self.unregistered()),
        }
    }

    fn unregistered(&self) -> String {
        let (kind, version) = (&self.kind, self.api_version());
        format!("no kind {kind:?} is registered for version {version:?} in {SCHEME}")
    }

    pub fn api_version(&self) -> String {
        crate::served::api_version(&self.group, &self.version)
    }
}

/// The Go package of a group's internal types.
fn package(group: &str) -> &str {
    match group.split('.').next().unwrap_or_default() {
        "" | "events" => "core",
        "internal" => "apiserverinternal",
        first => first,
    }
}

fn mistyped(value: &Value, what: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) | Value::Json(_) => "object",
    };
    format!("couldn't get version/kind; json parse error: json: cannot unmarshal {kind} into Go {what}")
}
