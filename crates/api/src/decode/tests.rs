//! What is decoded, and what is said of it. That results are byte for byte Go's is held by the golden files.

use super::*;
use crate::codec::json;
use crate::registry::Registry;
use crate::schema;
use rstest::rstest;

fn kind(group: &str, version: &str, kind: &str) -> StructId {
    Registry::builtin().kind(group, version, kind).unwrap()
}

fn decoded(root: StructId, text: &str, mode: FieldValidation) -> Result<Decoded, DecodeError> {
    let parsed = json::parse_strict(text.as_bytes()).unwrap();
    decode_with_duplicates(schema::builtin(), root, parsed.value, &parsed.duplicates, mode)
}

fn pod(text: &str) -> String {
    let value = decoded(kind("", "v1", "Pod"), text, FieldValidation::Ignore).unwrap().value;
    String::from_utf8(json::to_vec(&value)).unwrap()
}

fn pod_error(text: &str, mode: FieldValidation) -> String {
    decoded(kind("", "v1", "Pod"), text, mode).unwrap_err().to_string()
}

/// Expected texts are what Go's encoder wrote for the object that it had read from the first text.
#[rstest]
#[case::nothing("{}", r#"{"metadata":{},"spec":{"containers":null},"status":{}}"#)]
#[case::order_and_unknown(
    r#"{"spec":{"nodeName":"n","foo":1,"containers":[]},"x":1,"kind":"Pod","apiVersion":"v1"}"#,
    r#"{"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":[],"nodeName":"n"},"status":{}}"#
)]
#[case::empty_is_left_out(
    r#"{"metadata":{"name":"","labels":{},"finalizers":[],"creationTimestamp":null,"generation":0},"spec":{"containers":null,"priority":0,"hostNetwork":false}}"#,
    r#"{"metadata":{},"spec":{"containers":null,"priority":0},"status":{}}"#
)]
#[case::nulls(
    r#"{"metadata":null,"spec":{"containers":[{"name":null,"resources":{"limits":{"cpu":null}}},null],"nodeSelector":{"b":null,"a":"x"},"securityContext":null},"status":null}"#,
    r#"{"metadata":{},"spec":{"containers":[{"name":"","resources":{"limits":{"cpu":"0"}}},{"name":"","resources":{}}],"nodeSelector":{"a":"x","b":""}},"status":{}}"#
)]
#[case::quantities(
    r#"{"spec":{"containers":[{"name":"c","resources":{"requests":{"memory":"1024Mi","cpu":0.5}}}]}}"#,
    r#"{"metadata":{},"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"500m","memory":"1Gi"}}}]},"status":{}}"#
)]
#[case::times(
    r#"{"metadata":{"creationTimestamp":"2024-02-29T14:30:01.5+02:00"},"status":{"conditions":[{"type":"Ready"}]}}"#,
    r#"{"metadata":{"creationTimestamp":"2024-02-29T12:30:01Z"},"spec":{"containers":null},"status":{"conditions":[{"type":"Ready","status":"","lastProbeTime":null,"lastTransitionTime":null}]}}"#
)]
fn as_go_writes_it(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(pod(text), expected);
}

#[rstest]
#[case(
    r#"{"spec":{"priority":"x"}}"#,
    "json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32"
)]
#[case(
    r#"{"spec":{"priority":1.5}}"#,
    "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32"
)]
#[case(
    r#"{"spec":{"priority":3000000000}}"#,
    "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32"
)]
#[case(r#"{"spec":[]}"#, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec")]
#[case(
    r#"{"spec":{"containers":{}}}"#,
    "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
)]
#[case(
    r#"{"spec":{"containers":["a"]}}"#,
    "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"
)]
#[case(
    r#"{"metadata":{"labels":{"a":1}}}"#,
    "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
)]
#[case(
    r#"{"metadata":{"labels":[]}}"#,
    "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"
)]
#[case(
    r#"{"spec":{"dnsPolicy":1}}"#,
    "json: cannot unmarshal number into Go struct field PodSpec.spec.dnsPolicy of type v1.DNSPolicy"
)]
#[case(
    r#"{"spec":{"volumes":[{"emptyDir":1}]}}"#,
    "json: cannot unmarshal number into Go struct field Volume.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource"
)]
#[case(
    r#"{"metadata":{"creationTimestamp":5}}"#,
    "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"
)]
#[case(
    r#"{"metadata":{"creationTimestamp":"x"}}"#,
    r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#
)]
#[case(
    r#"{"spec":{"priority":"x","overhead":{"cpu":"1x"}}}"#,
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
#[case("[]", "json: cannot unmarshal array into Go value of type v1.Pod")]
fn wrong_types(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(pod_error(text, FieldValidation::Ignore), expected);
}

const SLOPPY: &str = r#"{"foo":1,"spec":{"containers":[{"name":"a","nmae":"b","name":"c"}],"nodeSelector":{"a":"1","a":"2"}},"foo":2,
    "metadata":{"managedFields":[{"fieldsV1":{"x":1,"x":2}}]}}"#;

#[test]
fn strict_names_what_is_unknown_and_what_came_twice() {
    assert_eq!(
        pod_error(SLOPPY, FieldValidation::Strict),
        r#"strict decoding error: unknown field "foo", unknown field "spec.containers[0].nmae", duplicate field "spec.containers[0].name", duplicate field "spec.nodeSelector.a""#
    );
}

#[test]
fn warnings_say_the_same() {
    let decoded = decoded(kind("", "v1", "Pod"), SLOPPY, FieldValidation::Warn).unwrap();
    assert_eq!(decoded.warnings.len(), 4);
    assert_eq!(decoded.value.at("spec.containers").as_array().unwrap()[0].str_at("name"), "c");
}

#[test]
fn types_come_before_strictness() {
    assert!(pod_error(r#"{"foo":1,"spec":1}"#, FieldValidation::Strict).starts_with("json: cannot unmarshal"));
}

#[rstest]
#[case("aGVsbG8=", Ok("aGVsbG8="))]
#[case("aGVs\\nbG8=", Ok("aGVsbG8="))]
#[case("aGVsbG9=", Ok("aGVsbG8="))]
#[case("", Ok(""))]
#[case("a", Err("illegal base64 data at input byte 0"))]
#[case("aGVsb", Err("illegal base64 data at input byte 4"))]
#[case("aGVsbG8", Err("illegal base64 data at input byte 4"))]
#[case("aG%s", Err("illegal base64 data at input byte 2"))]
fn base64(#[case] text: &str, #[case] expected: Result<&str, &str>) {
    let text = format!(r#"{{"data":{{"k":"{text}"}}}}"#);
    let decoded = decoded(kind("", "v1", "Secret"), &text, FieldValidation::Ignore);
    let found = decoded.map(|decoded| decoded.value.at("data.k").clone()).map_err(|error| error.to_string());
    assert_eq!(found, expected.map(Value::from).map_err(str::to_owned));
}

#[test]
fn schemas_of_custom_resources_are_typed_inside_their_unions() {
    let text = r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"additionalProperties":{"type":"string","foo":1,"items":[{"type":"x","format":"y"}]},
        "properties":{"a":{"type":"object","default":{"z":1,"b":2}}},"dependencies":{"d":["e"]}}}}]}}"#;
    let root = kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let decoded = decoded(root, text, FieldValidation::Strict).unwrap();
    let schema = decoded.value.array_at("spec.versions")[0].at("schema.openAPIV3Schema");
    assert_eq!(
        String::from_utf8(json::to_vec(schema)).unwrap(),
        r#"{"properties":{"a":{"type":"object","default":{"z":1,"b":2}}},"additionalProperties":{"type":"string","items":[{"type":"x","format":"y"}]},"dependencies":{"d":["e"]}}"#
    );
}

/// Found by fuzzing: what is no time once its fraction is gone was one when it came.
#[test]
fn a_fraction_of_the_first_second_is_no_time() {
    let text = r#"{"metadata":{"deletionTimestamp":"0001-01-01T00:00:00.5Z"}}"#;
    let value = decoded(kind("", "v1", "Pod"), text, FieldValidation::Ignore).unwrap().value;
    assert!(value.at("metadata.deletionTimestamp").is_null());
}

/// Found by fuzzing: a hundred paths may be a hundred times as long as the text.
#[test]
fn long_paths_of_unknown_fields_are_told_once() {
    let fields: Vec<String> = (0..100).map(|at| format!("\"u{at}\":0")).collect();
    let key = "k".repeat(STRICT_ERRORS_BYTES_MAX);
    let text = format!("{{\"{key}\":0,{}}}", fields.join(","));
    let warnings = decoded(kind("", "v1", "Pod"), &text, FieldValidation::Warn).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
}

#[test]
fn canonicalizing_twice_changes_nothing() {
    let root = kind("", "v1", "Pod");
    let mut value = decoded(root, SLOPPY, FieldValidation::Ignore).unwrap().value;
    value.set("spec.hostNetwork", false);
    value.set("spec.dnsPolicy", "None");
    let mut once = value.clone();
    canonicalize(schema::builtin(), root, &mut once).unwrap();
    assert!(once.at("spec.hostNetwork").is_null());
    let mut twice = once.clone();
    canonicalize(schema::builtin(), root, &mut twice).unwrap();
    assert_eq!(json::to_vec(&once), json::to_vec(&twice));
}

/// What Go reads from its store, where protobuf does not tell empty from absent.
#[rstest]
#[case("rbac.authorization.k8s.io", "v1", "Role", r#"{"rules":[]}"#, r#"{"metadata":{},"rules":null}"#)]
#[case(
    "rbac.authorization.k8s.io",
    "v1",
    "Role",
    r#"{"rules":[{"verbs":[],"resources":[]}]}"#,
    r#"{"metadata":{},"rules":[{"verbs":null}]}"#
)]
#[case(
    "discovery.k8s.io",
    "v1",
    "EndpointSlice",
    r#"{"addressType":"IPv4","endpoints":[],"ports":[]}"#,
    r#"{"metadata":{},"addressType":"IPv4","endpoints":null,"ports":null}"#
)]
fn as_stored(
    #[case] group: &str,
    #[case] version: &str,
    #[case] name: &str,
    #[case] text: &str,
    #[case] expected: &str,
) {
    let mut value = json::parse(text.as_bytes()).unwrap();
    canonicalize_stored(schema::builtin(), kind(group, version, name), &mut value).unwrap();
    assert_eq!(String::from_utf8(json::to_vec(&value)).unwrap(), expected);
}
