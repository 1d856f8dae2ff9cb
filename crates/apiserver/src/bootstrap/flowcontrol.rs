//! Flow schemas and priority levels.
//!
//! Upstream: k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap (the data),
//! pkg/registry/flowcontrol/ensurer (the rules).

use api::value::Value;

use super::{Step, rows};

pub(super) const TABLE: &str = include_str!("../../tables/bootstrap-flowcontrol.jsonl");

/// Who writes these objects, in their managed fields.
pub const FIELD_MANAGER: &str = "api-priority-and-fairness-config-producer-v1";

/// Says whether the spec follows upstream's.
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Objects that may never differ from upstream's; all others are suggestions.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// All PriorityLevelConfigurations, then all FlowSchemas; the mandatory ones first of each.
pub fn objects() -> impl Iterator<Item = Value> {
    rows(TABLE)
}

/// The resource (plural) of an object of [`objects`].
pub fn resource(object: &Value) -> &'static str {
    match object.str_at("kind") {
        "FlowSchema" => "flowschemas",
        _ => "prioritylevelconfigurations",
    }
}

/// What brings `existing` to the spec of `expected` (one of [`objects`]), unless its owner took it over.
pub fn reconcile(existing: Option<&Value>, expected: &Value) -> Step {
    let Some(existing) = existing else { return Step::Create(expected.clone()) };
    let given = existing.at("metadata.annotations").get(AUTOUPDATE).as_str().and_then(parse_bool);
    // Without the annotation, an object that was never changed follows.
    let follows = given.unwrap_or_else(|| existing.i64_at("metadata.generation") == Some(1));
    let follows = follows || MANDATORY.contains(&expected.str_at("metadata.name"));
    let spec_differs = follows && existing.at("spec") != expected.at("spec");
    if given == Some(follows) && !spec_differs {
        return Step::None;
    }
    let mut revised = existing.clone();
    if spec_differs {
        revised.set("spec", expected.at("spec").clone());
    }
    if given != Some(follows) {
        let annotations = revised.at_or_insert("metadata.annotations").make_object();
        annotations.insert(AUTOUPDATE, if follows { "true" } else { "false" });
    }
    Step::Update(revised)
}

/// Whether an object that is no longer among [`objects`] is upstream's and is to go.
pub fn is_obsolete(existing: &Value) -> bool {
    let kind = existing.str_at("kind");
    let name = existing.str_at("metadata.name");
    let wanted = objects().any(|object| object.str_at("kind") == kind && object.str_at("metadata.name") == name);
    !wanted && existing.at("metadata.annotations").get(AUTOUPDATE).as_str().and_then(parse_bool) == Some(true)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The suggested level `system` (or the mandatory `exempt`) as a cluster may have it.
    fn existing(name: &str, annotation: Option<&str>, generation: i64, changed: bool) -> Value {
        let mut object = objects().find(|object| object.str_at("metadata.name") == name).unwrap();
        object.remove("metadata.annotations");
        if let Some(annotation) = annotation {
            object.at_or_insert("metadata.annotations").make_object().insert(AUTOUPDATE, annotation);
        }
        object.set("metadata.generation", generation);
        if changed {
            object.set("spec.type", "mine");
        }
        object
    }

    #[rstest]
    #[case::as_it_should_be("system", Some("true"), 1, false, None)]
    #[case::changed_and_following("system", Some("true"), 2, true, Some(("true", false)))]
    #[case::changed_and_taken_over("system", Some("false"), 2, true, None)]
    #[case::changed_without_annotation("system", None, 2, true, Some(("false", true)))]
    #[case::untouched_without_annotation("system", None, 1, true, Some(("true", false)))]
    #[case::mandatory_is_never_taken_over("exempt", Some("false"), 2, true, Some(("true", false)))]
    fn reconciles(
        #[case] name: &str,
        #[case] annotation: Option<&str>,
        #[case] generation: i64,
        #[case] changed: bool,
        #[case] result: Option<(&str, bool)>,
    ) {
        let expected = objects().find(|object| object.str_at("metadata.name") == name).unwrap();
        match (reconcile(Some(&existing(name, annotation, generation, changed)), &expected), result) {
            (Step::None, None) => {}
            (Step::Update(revised), Some((annotation, keeps))) => {
                assert_eq!(revised.at("metadata.annotations").get(AUTOUPDATE).as_str(), Some(annotation));
                assert_eq!(revised.str_at("spec.type") == "mine", keeps);
            }
            (step, wanted) => panic!("{step:?}, expected {wanted:?}"),
        }
    }

    #[test]
    fn obsolete_objects_are_upstreams_only() {
        let mut gone = existing("system", Some("true"), 1, false);
        assert!(!is_obsolete(&gone));
        gone.set("metadata.name", "old");
        assert!(is_obsolete(&gone));
        gone.remove("metadata.annotations");
        assert!(!is_obsolete(&gone));
    }
}
