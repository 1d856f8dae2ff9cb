//! Bad input: upstream's answer (recorded from kube-apiserver v1.37.2), nothing stored, no panic, bounded memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use api::codec::json;
use rstest::rstest;
use support::{ask, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const BODY_BYTES_MAX: usize = 3 << 20;

const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
const SCHEME: &str = r#"in scheme "pkg/runtime/scheme.go:111""#;

/// `%` stands for what begins every such message, `@` for Go's type of kind and version, `$` for upstream's scheme.
#[rstest]
#[case::array(
    JSON,
    b"[]",
    "%couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type @ (5b5d)"
)]
#[case::number(
    JSON,
    b"5",
    "%couldn't get version/kind; json parse error: json: cannot unmarshal number into Go value of type @ (35)"
)]
#[case::yaml_list(
    YAML,
    b"- a",
    "%couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type @ (2d2061)"
)]
#[case::mistyped_version(JSON, br#"{"apiVersion":1}"#, r#"%couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .apiVersion of type string ({"apiVersion":1})"#)]
#[case::mistyped_kind(JSON, br#"{"kind":7}"#, r#"%couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string ({"kind":7})"#)]
#[case::bad_group_version(
    JSON,
    br#"{"apiVersion":"a/b/c"}"#,
    r#"%unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c"})"#
)]
#[case::no_version(JSON, br#"{"apiVersion":"apps/","kind":"ConfigMap"}"#, r#"ConfigMap in version "" cannot be handled as a ConfigMap: Object 'apiVersion' is missing in '{"apiVersion":"apps/","kind":"ConfigMap"}'"#)]
#[case::unknown_kind(
    JSON,
    br#"{"apiVersion":"v1","kind":"Nosuch"}"#,
    r#"Nosuch in version "v1" cannot be handled as a ConfigMap: no kind "Nosuch" is registered for version "v1" $"#
)]
#[case::unknown_version(JSON, br#"{"apiVersion":"v9","kind":"ConfigMap"}"#, r#"ConfigMap in version "v9" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v9" $"#)]
#[case::other_kind(JSON, br#"{"kind":"Secret"}"#, r#"Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion"#)]
#[case::other_group(JSON, br#"{"apiVersion":"apps/v1","kind":"Deployment"}"#, r#"Deployment in version "v1" cannot be handled as a ConfigMap: converting (v1.Deployment) to (core.ConfigMap): unknown conversion"#)]
#[case::a_list(JSON, br#"{"apiVersion":"v1","kind":"ConfigMapList"}"#, r#"ConfigMapList in version "v1" cannot be handled as a ConfigMap: converting (v1.ConfigMapList) to (core.ConfigMap): unknown conversion"#)]
#[case::other_protobuf(PROTOBUF, b"k8s\x00\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x02\x0a\x00", r#"Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion"#)]
#[case::mistyped_field(JSON, br#"{"data":5}"#, r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type map[string]string"#)]
#[tokio::test]
async fn a_body_that_is_something_else(#[case] media_type: &str, #[case] body: &'static [u8], #[case] words: &str) {
    let server = server().await;
    let (code, answer) = ask(&server, "POST", MAPS, ("content-type", media_type), body).await;
    let expected = words
        .replace('%', "the object provided is unrecognized (must be of type ConfigMap): ")
        .replace('@', TYPE_META)
        .replace('$', SCHEME);
    let answer = json::parse(answer.as_bytes()).unwrap();
    assert_eq!((code, answer.str_at("message")), (400, expected.as_str()));
}

#[rstest]
#[case::too_large(&"x".repeat(BODY_BYTES_MAX + 1), JSON, 413)]
#[case::deep(&format!(r#"{{"data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), JSON, 400)]
#[case::deep_yaml(&format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000)), YAML, 400)]
#[case::aliases_of_aliases(&aliases(), YAML, 400)]
#[case::truncated(r#"{"metadata":{"name":"x""#, JSON, 400)]
#[case::followed_by_more(r#"{"metadata":{"name":"x"}}{}"#, JSON, 400)]
#[case::no_protobuf(r#"{"metadata":{"name":"x"}}"#, PROTOBUF, 400)]
#[case::unknown_media_type(r#"{"metadata":{"name":"x"}}"#, "text/plain", 415)]
#[case::no_media_type(r#"{"metadata":{"name":"x"}}"#, ";;;", 415)]
#[tokio::test]
async fn what_can_not_be_read_is_not_stored(#[case] body: &str, #[case] media_type: &str, #[case] code: u16) {
    let server = server().await;
    let (_, before) = ask(&server, "GET", MAPS, ("accept", JSON), "").await;
    let (answered, text) = ask(&server, "POST", MAPS, ("content-type", media_type), body.to_owned()).await;
    assert_eq!(answered, code, "{text}");
    assert_eq!(json::parse(text.as_bytes()).unwrap().str_at("kind"), "Status");
    let (_, after) = ask(&server, "GET", MAPS, ("accept", JSON), "").await;
    assert_eq!(before, after);
}

fn aliases() -> String {
    let levels = ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"]);
    let lines = levels.map(|(name, of)| format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(",")));
    format!("a: &a [x,x,x,x,x,x,x,x,x]\n{}", lines.collect::<String>())
}

/// Copies that double the object took all of the machine's memory once.
#[rstest]
#[case::copies(&(0..9_000).map(|at| format!(r#"{{"op":"copy","from":"/data","path":"/data/{at}"}}"#)).collect::<Vec<_>>(), 422)]
#[case::towers(&(0..3).map(|at| tower(at * 200)).collect::<Vec<_>>(), 422)]
#[case::too_many(&vec![r#"{"op":"test","path":"/kind","value":"ConfigMap"}"#.to_owned(); 10_001], 413)]
#[tokio::test]
async fn a_patch_that_grows_is_refused(#[case] operations: &[String], #[case] code: u16) {
    let server = server().await;
    let made =
        ask(&server, "POST", MAPS, ("content-type", JSON), r#"{"metadata":{"name":"x"},"data":{"a":"b"}}"#).await;
    assert_eq!(made.0, 201);
    let patch = format!("[{}]", operations.join(","));
    let path = format!("{MAPS}/x");
    let (answered, text) = ask(&server, "PATCH", &path, ("content-type", "application/json-patch+json"), patch).await;
    assert_eq!(answered, code, "{text}");
    assert_eq!(ask(&server, "GET", &path, ("accept", JSON), "").await.1, made.1);
}

/// An operation that puts a tower of 200 lists at a depth where the last one ended.
fn tower(depth: usize) -> String {
    let (path, value) = ("/0".repeat(depth), format!("{}{}", "[".repeat(200), "]".repeat(200)));
    format!(r#"{{"op":"add","path":"/x{path}","value":{value}}}"#)
}

/// Paths and queries that make no sense, or another one than they seem to.
#[rstest]
#[case::empty_segment("/api/v1//namespaces", 404, "the server could not find the requested resource")]
#[case::slash_in_a_name(
    "/api/v1/namespaces/default/configmaps/a%2fb",
    404,
    "the server could not find the requested resource"
)]
#[case::parent("/api/v1/namespaces/default/configmaps/%2e%2e", 400, r#"Name parameter invalid: "..": may not be '..'"#)]
#[case::percent(
    "/api/v1/namespaces/default/configmaps/a%25b",
    400,
    r#"Name parameter invalid: "a%b": may not contain '%'"#
)]
#[case::broken_escape("/api/v1/namespaces/default/configmaps/%zz", 400, "400 Bad Request")]
#[case::broken_query(
    "/api/v1/namespaces/default/configmaps/none?resourceVersion=%zz",
    404,
    r#"configmaps "none" not found"#
)]
#[case::semicolon(
    "/api/v1/namespaces/default/configmaps/none?resourceVersion=a;b=c",
    404,
    r#"configmaps "none" not found"#
)]
#[case::slash_after_a_file("/healthz/", 404, "404 page not found\n")]
#[case::future(
    "/api/v1/namespaces/default/configmaps/none?resourceVersion=999999",
    504,
    "Timeout: Too large resource version: 999999, current: "
)]
#[tokio::test]
async fn odd_paths(#[case] path: &str, #[case] code: u16, #[case] words: &str) {
    let server = server().await;
    let (answered, text) = ask(&server, "GET", path, ("accept", JSON), "").await;
    let message = json::parse(text.as_bytes()).map(|status| status.str_at("message").to_owned()).unwrap_or(text);
    assert_eq!(answered, code, "{message}");
    assert!(message.starts_with(words), "{message}");
}

#[rstest]
#[case("HEAD", "/api/v1/namespaces/default/configmaps", 405)]
#[case("HEAD", "/version", 405)]
#[case("POST", "/version", 405)]
#[case("POST", "/healthz", 200)]
#[case("POST", "/nosuch", 404)]
#[tokio::test]
async fn odd_methods(#[case] method: &str, #[case] path: &str, #[case] code: u16) {
    let server = server().await;
    assert_eq!(ask(&server, method, path, ("accept", JSON), "").await.0, code);
}

#[rstest]
#[case::no_json(
    "junk",
    "couldn't get version/kind; json parse error: invalid character 'j' looking for beginning of value"
)]
#[case::other_kind(r#"{"kind":"Secret","apiVersion":"v1"}"#, r#"no kind "Secret" is registered for version "v1" $"#)]
#[case::unnamed_version(r#"{"kind":"Foo"}"#, r#"no kind "Foo" is registered for version "meta.k8s.io/v1" $"#)]
#[case::mistyped(
    r#"{"gracePeriodSeconds":"x"}"#,
    "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
)]
#[tokio::test]
async fn what_are_no_delete_options_deletes_nothing(#[case] body: &'static str, #[case] words: &str) {
    let server = server().await;
    let path = format!("{MAPS}/x");
    let made = ask(&server, "POST", MAPS, ("content-type", JSON), r#"{"metadata":{"name":"x"}}"#).await;
    let (code, answer) = ask(&server, "DELETE", &path, ("content-type", JSON), body).await;
    let answer = json::parse(answer.as_bytes()).unwrap();
    assert_eq!((code, answer.str_at("message")), (400, words.replace('$', SCHEME).as_str()));
    assert_eq!(ask(&server, "GET", &path, ("accept", JSON), "").await.1, made.1);
}

/// Each line of what the decoder of YAML says is a warning of its own.
#[tokio::test]
async fn keys_that_come_twice() {
    let server = server().await;
    let twice = "kind: ConfigMap\nmetadata: {name: x}\nmetadata: {name: x}\ndata: {a: b, a: c}\n";
    let request = http::Request::post(format!("{MAPS}?dryRun=All")).header("content-type", YAML);
    let request = request.extension(apiserver::server::own_user()).body(client::Body::full(twice)).unwrap();
    let answer = server.pipeline.call(request).await;
    let warnings: Vec<_> = answer.headers().get_all("warning").iter().collect();
    let expected =
        [r#"299 - "line 3: key \"metadata\" already set in map""#, r#"299 - "line 4: key \"a\" already set in map""#];
    assert_eq!(warnings, expected);
}
