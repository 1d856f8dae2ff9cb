//! Conversions between versions of one kind.
//!
//! Most kinds are served in one version, or in several of one shape: those need nothing but a
//! new `apiVersion`. The others are rows of [`CONVERSIONS`].
//!
//! Upstream: `pkg/apis/*/v*/conversion.go`.

mod autoscaling;
mod definitions;
mod events;

use crate::decode;
use crate::registry::Registry;
use crate::schema;
use crate::value::Value;

/// A group and a version.
type GroupVersion<'a> = (&'a str, &'a str);
/// Kind, from, to, how.
type Conversion = (&'static str, GroupVersion<'static>, GroupVersion<'static>, fn(&mut Value));

const CONVERSIONS: &[Conversion] = &[
    (
        "CustomResourceDefinition",
        ("apiextensions.k8s.io", "v1beta1"),
        ("apiextensions.k8s.io", "v1"),
        definitions::v1beta1_to_v1,
    ),
    ("Event", ("", "v1"), ("events.k8s.io", "v1"), events::to_events),
    ("Event", ("events.k8s.io", "v1"), ("", "v1"), events::to_core),
    ("HorizontalPodAutoscaler", ("autoscaling", "v1"), ("autoscaling", "v2"), autoscaling::v1_to_v2),
    ("HorizontalPodAutoscaler", ("autoscaling", "v2"), ("autoscaling", "v1"), autoscaling::v2_to_v1),
];

/// Brings an object of a built-in kind, or a list of them, from one version to another (each a
/// group and a version) and into canonical form there. `apiVersion` is set too.
///
/// # Errors
/// The result can't be read as the target's kind.
pub fn convert(value: &mut Value, from: GroupVersion<'_>, to: GroupVersion<'_>, kind: &str) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    let (item, is_list) = match kind.strip_suffix("List") {
        Some(item) if !item.is_empty() => (item, true),
        _ => (kind, false),
    };
    let found = CONVERSIONS.iter().find(|(name, a, b, _)| *name == item && *a == from && *b == to);
    let Some((.., convert)) = found else {
        set_version(value, to);
        return Ok(());
    };
    if is_list {
        super::read::each_mut(value, "items", convert);
    } else {
        convert(value);
    }
    set_version(value, to);
    match Registry::builtin().kind(to.0, to.1, kind) {
        Some(id) => decode::canonicalize(schema::builtin(), id, value).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Whether two versions of a kind have different shapes.
pub fn differs(kind: &str, from: GroupVersion<'_>, to: GroupVersion<'_>) -> bool {
    CONVERSIONS.iter().any(|(name, a, b, _)| *name == kind && *a == from && *b == to)
}

fn set_version(value: &mut Value, (group, version): GroupVersion<'_>) {
    if value.as_object().is_some_and(|object| object.contains_key("apiVersion")) {
        value.set("apiVersion", if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") });
    }
}
