use super::*;
use crate::schema::builtin;
use crate::testing::{json, value};
use proptest::prelude::*;
use rstest::rstest;
use std::borrow::Cow;

const NOW: &str = "2024-05-01T10:00:00Z";

fn request<'a>(kind: &'a str, manager: &'a str) -> Request<'a> {
    let (group, api_version) = if kind == "Deployment" { ("apps", "apps/v1") } else { ("core", "v1") };
    Request {
        schema: builtin(),
        of: builtin().find(&format!("io.k8s.api.{group}.v1.{kind}")),
        api_version,
        kind,
        subresource: "",
        filter: &Filter::All,
        versions: &SamePaths(&[]),
        manager,
        now: NOW,
    }
}

/// `manager operation [version] [/subresource] fields`, an entry a line.
fn owners(object: &Value) -> Vec<String> {
    let entry = |entry: &Value| {
        let fields = String::from_utf8(crate::codec::json::to_vec(entry.get("fieldsV1"))).unwrap();
        let subresource = entry.str_at("subresource");
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{} {}{slash}{subresource} {fields}", entry.str_at("manager"), entry.str_at("operation"))
    };
    object.array_at("metadata.managedFields").iter().map(entry).collect()
}

fn config_map(data: &str) -> Value {
    json(&format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"x","namespace":"d"}},"data":{data}}}"#
    ))
}

fn created(manager: &str, mut object: Value) -> Value {
    let kind = object.str_at("kind").to_owned();
    update(&request(&kind, manager), None, &mut object).unwrap();
    object.set("metadata.uid", "u");
    object
}

fn applied(manager: &str, live: Option<&Value>, config: &Value) -> Value {
    let mut object = apply(&request(config.str_at("kind"), manager), live, config, false).unwrap().object;
    object.set("metadata.uid", "u");
    object
}

// === updates ===

#[test]
fn who_creates_owns_all_it_sets() {
    let object = created("kubectl-create", config_map(r#"{"a":"1","b":"2"}"#));
    assert_eq!(owners(&object), [r#"kubectl-create Update {"f:data":{".":{},"f:a":{},"f:b":{}}}"#]);
    assert_eq!(object.array_at("metadata.managedFields")[0].str_at("time"), NOW);
}

#[test]
fn who_changes_takes_over() {
    let live = created("one", config_map(r#"{"a":"1","b":"2","c":"3"}"#));
    let mut new = live.clone();
    new.set("data.a", "9");
    new.remove("data.c");
    update(&Request { now: "2024-05-01T11:00:00Z", ..request("ConfigMap", "two") }, Some(&live), &mut new).unwrap();
    let expected = [r#"one Update {"f:data":{".":{},"f:b":{}}}"#, r#"two Update {"f:data":{"f:a":{}}}"#];
    assert_eq!(owners(&new), expected);
}

/// Who read the object before the last write sends an older time; the fields need not be read again for that.
#[test]
fn stored_fields_that_come_back_are_known_by_their_text() {
    let mut live = created("one", config_map(r#"{"a":"1","b":"2"}"#));
    live.set("data.b", "3");
    let mut known = live.clone();
    known.at_mut("metadata.managedFields").unwrap().as_array_mut().unwrap()[0].set("time", "2024-05-01T09:00:00Z");
    known.set("data.a", "9");
    let mut read = known.clone();
    let entry = &mut read.at_mut("metadata.managedFields").unwrap().as_array_mut().unwrap()[0];
    let fields = entry.get("fieldsV1").opened().into_owned();
    entry.set("fieldsV1", fields);
    for new in [&mut known, &mut read] {
        update(&Request { now: "2024-05-01T11:00:00Z", ..request("ConfigMap", "two") }, Some(&live), new).unwrap();
    }
    let expected = [r#"one Update {"f:data":{".":{},"f:b":{}}}"#, r#"two Update {"f:data":{"f:a":{}}}"#];
    assert_eq!(owners(&known), expected);
    assert_eq!(known, read);
}

#[test]
fn what_changes_nothing_leaves_the_entries_alone() {
    let live = created("one", config_map(r#"{"a":"1"}"#));
    let mut new = live.clone();
    update(&Request { now: "2024-05-01T11:00:00Z", ..request("ConfigMap", "one") }, Some(&live), &mut new).unwrap();
    assert_eq!(new, live);
}

#[rstest]
#[case::dropped("null", &["one Update"])]
#[case::emptied("[]", &[])]
#[case::one_empty_entry("[{}]", &[])]
#[case::unreadable(r#"[{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"data":{}}}]"#, &["one Update"])]
#[case::no_operation(r#"[{"manager":"x","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{}}]"#, &["one Update"])]
#[case::edited(r#"[{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{}}}}]"#, &["x Update"])]
fn entries_may_be_edited(#[case] sent: &str, #[case] expected: &[&str]) {
    let live = created("one", config_map(r#"{"a":"1"}"#));
    let mut new = live.clone();
    new.set("metadata.managedFields", json(sent));
    update(&request("ConfigMap", "two"), Some(&live), &mut new).unwrap();
    let names: Vec<String> = owners(&new).iter().map(|line| line.rsplit_once(' ').unwrap().0.into()).collect();
    assert_eq!(names, expected);
}

#[test]
fn subresources_do_not_edit_entries() {
    let live = created("one", config_map(r#"{"a":"1"}"#));
    let mut new = live.clone();
    new.set("metadata.managedFields", json("[{}]"));
    new.set("data.b", "2");
    let request = Request { subresource: "status", ..request("ConfigMap", "two") };
    update(&request, Some(&live), &mut new).unwrap();
    let expected = [r#"one Update {"f:data":{".":{},"f:a":{}}}"#, r#"two Update/status {"f:data":{"f:b":{}}}"#];
    assert_eq!(owners(&new), expected);
}

#[test]
fn objects_without_owners_stay_so_until_they_are_applied_to() {
    let mut live = config_map(r#"{"a":"1"}"#);
    live.set("metadata.uid", "u");
    let mut new = live.clone();
    new.set("data.a", "2");
    update(&request("ConfigMap", "one"), Some(&live), &mut new).unwrap();
    assert_eq!(owners(&new), Vec::<String>::new());
    let object = applied("two", Some(&new), &config_map(r#"{"b":"3"}"#));
    let expected = [r#"two Apply {"f:data":{"f:b":{}}}"#, r#"before-first-apply Update {"f:data":{".":{},"f:a":{}}}"#];
    assert_eq!(owners(&object), expected);
}

#[test]
fn fields_that_the_endpoint_resets_are_nobodys() {
    let mut pod = json(
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"nodeName":"n"},"status":{"phase":"Running"}}"#,
    );
    update(&Request { filter: Filter::of("", "Pod", ""), ..request("Pod", "one") }, None, &mut pod).unwrap();
    assert_eq!(owners(&pod), [r#"one Update {"f:spec":{"f:nodeName":{}}}"#]);
}

#[test]
fn objects_that_cannot_be_compared_keep_their_entries() {
    let live = created("one", config_map(r#"{"a":"1"}"#));
    let mut new = live.clone();
    new.set("nothing", "x");
    new.remove("metadata.managedFields");
    assert!(update(&request("ConfigMap", "two"), Some(&live), &mut new).is_err());
    assert_eq!(new.at("metadata.managedFields"), live.at("metadata.managedFields"));
}

/// Twelve updaters: the two oldest of a version become one, until ten are left.
#[test]
fn the_oldest_updaters_are_merged() {
    let mut live = created("m00", config_map(r#"{"k00":"1"}"#));
    for n in 1..12 {
        let mut new = live.clone();
        new.set(&format!("data.k{n:02}"), "1");
        let (manager, now) = (format!("m{n:02}"), format!("2024-05-01T10:{n:02}:00Z"));
        update(&Request { now: &now, ..request("ConfigMap", &manager) }, Some(&live), &mut new).unwrap();
        live = new;
    }
    let lines = owners(&live);
    assert_eq!(lines.len(), UPDATERS_MAX);
    let first = r#"ancient-changes Update {"f:data":{".":{},"f:k00":{},"f:k01":{},"f:k02":{}}}"#;
    assert_eq!((lines[0].as_str(), lines[1].as_str()), (first, r#"m03 Update {"f:data":{"f:k03":{}}}"#));
    assert_eq!(live.array_at("metadata.managedFields")[0].str_at("time"), "2024-05-01T10:02:00Z");
}

#[rstest]
#[case("kubectl-edit", "ignored/1.0", "kubectl-edit")]
#[case("", "kubectl/v1.37 (linux/amd64)", "kubectl")]
#[case("", "a\u{1}b\tc", "abc")]
#[case("", "", "")]
fn names_of_managers(#[case] manager: &str, #[case] user_agent: &str, #[case] expected: &str) {
    assert_eq!(manager_or_user_agent(manager, user_agent), expected);
}

#[test]
fn long_names_are_cut_between_characters() {
    let agent = format!("{}é", "x".repeat(127));
    assert_eq!(manager_or_user_agent("", &agent), "x".repeat(127));
}

// === applies ===

#[test]
fn one_conflict() {
    let live = json(
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x","namespace":"d"},"spec":{"replicas":1}}"#,
    );
    let live = created("kubectl-client-side-apply", live);
    let config = json(r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"replicas":2}}"#);
    let status = apply(&request("Deployment", "helm"), Some(&live), &config, false).unwrap_err();
    let expected =
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas"#;
    assert_eq!((status.code, status.reason, status.message.as_str()), (409, "Conflict", expected));
    let cause = &status.details.unwrap().causes[0];
    let parts = (cause.reason.as_str(), cause.message.as_str(), cause.field.as_str());
    let message = r#"conflict with "kubectl-client-side-apply" using apps/v1"#;
    assert_eq!(parts, ("FieldManagerConflict", message, ".spec.replicas"));

    let forced = apply(&request("Deployment", "helm"), Some(&live), &config, true).unwrap();
    assert_eq!((forced.changed, forced.object.i64_at("spec.replicas")), (true, Some(2)));
    assert_eq!(owners(&forced.object), [r#"helm Apply {"f:spec":{"f:replicas":{}}}"#]);
}

#[test]
fn several_conflicts_are_listed_by_owner() {
    let live = applied("zoe", None, &config_map(r#"{"a":"1","b":"1"}"#));
    let mut new = live.clone();
    new.set("data.c", "1");
    let by_status = Request { subresource: "status", ..request("ConfigMap", "bot") };
    update(&by_status, Some(&live), &mut new).unwrap();
    let config = config_map(r#"{"a":"2","b":"2","c":"2"}"#);
    let status = apply(&request("ConfigMap", "me"), Some(&new), &config, false).unwrap_err();
    let expected = "Apply failed with 3 conflicts: conflicts with \"bot\" with subresource \"status\" using v1:\n- .data.c\nconflicts with \"zoe\":\n- .data.a\n- .data.b";
    assert_eq!(status.message, expected);
    assert_eq!(status.details.unwrap().causes.len(), 3);
}

#[test]
fn the_same_value_is_shared() {
    let live = applied("one", None, &config_map(r#"{"a":"1"}"#));
    let again = apply(&request("ConfigMap", "two"), Some(&live), &config_map(r#"{"a":"1"}"#), false).unwrap();
    assert!(!again.changed);
    let expected = [r#"one Apply {"f:data":{"f:a":{}}}"#, r#"two Apply {"f:data":{"f:a":{}}}"#];
    let mut lines = owners(&again.object);
    lines.sort();
    assert_eq!(lines, expected);
    // The object did not change: the new entry has no time, as upstream's.
    let entries = again.object.array_at("metadata.managedFields");
    assert!(entries.iter().any(|entry| entry.str_at("manager") == "two" && entry.field("time").is_none()));
}

#[test]
fn what_is_no_longer_applied_goes_unless_others_own_it() {
    let live = applied("one", None, &config_map(r#"{"a":"1","b":"1","c":"1"}"#));
    let live = applied("two", Some(&live), &config_map(r#"{"b":"1"}"#));
    let object = applied("one", Some(&live), &config_map(r#"{"a":"1"}"#));
    assert_eq!(object.at("data"), &json(r#"{"a":"1","b":"1"}"#));
    let object =
        applied("two", Some(&object), &json(r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}"#));
    assert_eq!(object.at("data"), &json(r#"{"a":"1"}"#));
    assert_eq!(owners(&object), [r#"one Apply {"f:data":{"f:a":{}}}"#]);
}

/// Ports are told apart by number and protocol, which is TCP unless said otherwise.
#[test]
fn list_items_have_defaulted_keys() {
    let service = |ports: &str| {
        json(&format!(r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"x"}},"spec":{{"ports":{ports}}}}}"#))
    };
    let live = applied("one", None, &service(r#"[{"port":53},{"port":53,"protocol":"UDP","name":"u"}]"#));
    assert_eq!(
        owners(&live),
        [
            r#"one Apply {"f:spec":{"f:ports":{"k:{\"port\":53,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":53,\"protocol\":\"UDP\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{}}}}}"#
        ]
    );
    let object = applied("two", Some(&live), &service(r#"[{"port":53,"protocol":"TCP","name":"t"}]"#));
    let expected = json(r#"[{"port":53,"protocol":"TCP","name":"t"},{"port":53,"protocol":"UDP","name":"u"}]"#);
    assert_eq!(object.at("spec.ports"), &expected);
    let twice = service(r#"[{"port":53},{"port":53,"protocol":"TCP"}]"#);
    let status = apply(&request("Service", "two"), None, &twice, false).unwrap_err();
    let why = r#"failed to create typed patch object (/x; /v1, Kind=Service): .spec.ports: duplicate entries for key [port=53,protocol="TCP"]"#;
    assert_eq!((status.code, status.reason, status.message.as_str()), (500, "", why));
}

/// A live list with the same key twice: both are one until an apply replaces them.
#[test]
fn duplicates_in_the_live_object() {
    let mut pod = json(
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"a","env":[{"name":"V","value":"1"},{"name":"W"},{"name":"V","value":"2"}]}]}}"#,
    );
    update(&request("Pod", "one"), None, &mut pod).unwrap();
    let env = r#""f:env":{".":{},"k:{\"name\":\"V\"}":{},"k:{\"name\":\"W\"}":{".":{},"f:name":{}}}"#;
    assert!(owners(&pod)[0].contains(env), "{}", owners(&pod)[0]);
    pod.set("metadata.uid", "u");
    let config = json(
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"a","env":[{"name":"V","value":"3"}]}]}}"#,
    );
    let object = apply(&request("Pod", "two"), Some(&pod), &config, true).unwrap().object;
    let expected = json(r#"[{"name":"V","value":"3"},{"name":"W"}]"#);
    assert_eq!(object.array_at("spec.containers")[0].at("env"), &expected);
}

#[rstest]
#[case(r#"{"apiVersion":"v2","kind":"ConfigMap"}"#, 400, "invalid object type: /v2, Kind=ConfigMap")]
#[case(r#"{"apiVersion":"apps/v1","kind":"Secret"}"#, 400, "invalid object type: apps/v1, Kind=Secret")]
#[case(
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[]}}"#,
    400,
    "metadata.managedFields must be nil"
)]
#[case(
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","namespace":"d"},"dato":{}}"#,
    500,
    "failed to create typed patch object (d/n; /v1, Kind=ConfigMap): .dato: field not declared in schema"
)]
#[case(
    r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":1}}"#,
    500,
    "failed to create typed patch object (/; /v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:1}"
)]
#[case(
    r#"{"apiVersion":"v1","kind":"ConfigMap","data":["a"]}"#,
    500,
    "failed to create typed patch object (/; /v1, Kind=ConfigMap): .data: expected map, got &{[a]}"
)]
#[case(
    r#"{"apiVersion":"v1","kind":"ConfigMap","immutable":"yes","metadata":{"generation":"1"}}"#,
    500,
    "failed to create typed patch object (/; /v1, Kind=ConfigMap): errors:\n  .immutable: expected boolean, got &{yes}\n  .metadata.generation: expected numeric (int or float), got string"
)]
fn refuses(#[case] config: &str, #[case] code: u16, #[case] message: &str) {
    let status = apply(&request("ConfigMap", "one"), None, &json(config), false).unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (code, message));
}

// === kubectl ===

const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn client_side_applied(data: &str) -> Value {
    let mut object = config_map(data);
    let annotation = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"x"}},"data":{data}}}"#);
    object.set("metadata.annotations", Map::from_iter([(LAST, annotation)]));
    created("kubectl-client-side-apply", object)
}

#[test]
fn kubectl_takes_over_what_it_had_applied() {
    let live = client_side_applied(r#"{"a":"1","b":"1"}"#);
    let config = config_map(r#"{"a":"2"}"#);
    assert_eq!(apply(&request("ConfigMap", "helm"), Some(&live), &config, false).unwrap_err().code, 409);
    let object = apply(&request("ConfigMap", "kubectl"), Some(&live), &config, false).unwrap().object;
    assert_eq!(object.str_at("data.a"), "2");
    // … and keeps the annotation up to date: sorted, with a line end, without itself.
    let kept = object.at("metadata.annotations").get(LAST).as_str().unwrap();
    let expected = "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}}\n";
    assert_eq!(kept, expected);
}

#[test]
fn kubectl_does_not_take_over_what_changed_since() {
    let live = client_side_applied(r#"{"a":"1","b":"1"}"#);
    let mut edited = live.clone();
    edited.set("data.a", "9");
    update(&request("ConfigMap", "kubectl-edit"), Some(&live), &mut edited).unwrap();
    let config = config_map(r#"{"a":"2","b":"2"}"#);
    let status = apply(&request("ConfigMap", "kubectl"), Some(&edited), &config, false).unwrap_err();
    let expected = r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.a"#;
    assert_eq!(status.message, expected);
}

#[test]
fn an_annotation_that_no_longer_fits_goes() {
    let live = client_side_applied(r#"{"a":"1"}"#);
    let big = "x".repeat(crate::meta::ANNOTATIONS_BYTES_MAX);
    let config = config_map(&format!(r#"{{"a":"{big}"}}"#));
    let object = apply(&request("ConfigMap", "kubectl"), Some(&live), &config, true).unwrap().object;
    assert_eq!(object.at("metadata.annotations").get(LAST), &Value::Null);
}

// === versions and schemas ===

/// A kind whose `v2` calls `data.a` of `v1` `data.z`, and a `v0` that is gone.
struct Renaming;

impl Versions for Renaming {
    fn in_version<'v>(&'v self, object: &'v Value, version: &str) -> InVersion<'v> {
        if object.str_at("apiVersion") == version {
            return InVersion::Same;
        }
        let (from, to) = match version {
            "v2" => ("data.a", "data.z"),
            "v1" => ("data.z", "data.a"),
            _ => return InVersion::Unknown,
        };
        let mut object = object.clone();
        object.set("apiVersion", version);
        if let Some(value) = object.remove(from) {
            object.set(to, value);
        }
        let of = builtin().find("io.k8s.api.core.v1.ConfigMap").unwrap();
        InVersion::Other { object: Cow::Owned(object), of: typed::Type::of(builtin(), of), filter: &Filter::All }
    }
}

#[test]
fn owners_in_other_versions_are_met_there() {
    let mut live = config_map(r#"{"a":"1","b":"1"}"#);
    let entry = |manager: &str, version: &str, fields: &str| {
        json(&format!(
            r#"{{"manager":"{manager}","operation":"Apply","apiVersion":"{version}","fieldsType":"FieldsV1","fieldsV1":{fields}}}"#
        ))
    };
    let entries =
        [entry("new", "v2", r#"{"f:data":{"f:b":{},"f:z":{}}}"#), entry("old", "v0", r#"{"f:data":{"f:a":{}}}"#)];
    live.set("metadata.managedFields", Value::Array(entries.to_vec()));
    live.set("metadata.uid", "u");
    let request = Request { versions: &Renaming, ..request("ConfigMap", "me") };
    let status = apply(&request, Some(&live), &config_map(r#"{"a":"2"}"#), false).unwrap_err();
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "new": .data.z"#);
    let forced = apply(&request, Some(&live), &config_map(r#"{"a":"2"}"#), true).unwrap().object;
    assert_eq!(owners(&forced), [r#"new Apply {"f:data":{"f:b":{}}}"#, r#"me Apply {"f:data":{"f:a":{}}}"#]);
    // What was applied in one version is removed by an apply in another.
    let by_new = Request { manager: "new", ..request };
    let object = apply(&by_new, Some(&live), &config_map(r#"{"b":"1"}"#), false).unwrap().object;
    assert_eq!(object.at("data"), &json(r#"{"b":"1"}"#));
    assert_eq!(owners(&object), [r#"new Apply {"f:data":{"f:b":{}}}"#]);
}

#[test]
fn owners_in_unknown_versions_lose_all() {
    let mut live = created("one", config_map(r#"{"a":"1"}"#));
    live.at_mut("metadata.managedFields").unwrap().as_array_mut().unwrap()[0].set("apiVersion", "v0");
    let mut new = live.clone();
    new.set("data.b", "1");
    let request = Request { versions: &SamePaths(&["v1"]), ..request("ConfigMap", "two") };
    update(&request, Some(&live), &mut new).unwrap();
    assert_eq!(owners(&new), [r#"two Update {"f:data":{"f:b":{}}}"#]);
}

/// `spec.selector` became one value after the entry was written.
#[test]
fn entries_from_before_a_field_became_atomic() {
    let live = json(
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x","uid":"u","managedFields":[{"manager":"one","operation":"Apply","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:selector":{"f:matchLabels":{"f:a":{}}}}}}]},"spec":{"selector":{"matchLabels":{"a":"1"}}}}"#,
    );
    let mut set = fields::read(live.array_at("metadata.managedFields")[0].get("fieldsV1")).unwrap();
    assert!(typed::reconcile(request("Deployment", "").root(), &mut set));
    assert_eq!(fields::write(&set), json(r#"{"f:spec":{"f:selector":{}}}"#));
    let config = json(r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"selector":{"matchLabels":{"a":"2"}}}}"#);
    let status = apply(&request("Deployment", "two"), Some(&live), &config, false).unwrap_err();
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "one": .spec.selector"#);
    let object = apply(&request("Deployment", "two"), Some(&live), &config, true).unwrap().object;
    assert_eq!(owners(&object), [r#"two Apply {"f:spec":{"f:selector":{}}}"#]);
}

// === times ===

#[test]
fn times_alone_are_no_change() {
    let old = created("one", config_map(r#"{"a":"1"}"#));
    let later = |object: &Value| {
        let mut object = object.clone();
        object.at_mut("metadata.managedFields").unwrap().as_array_mut().unwrap()[0].set("time", "2030-01-01T00:00:00Z");
        object
    };
    let mut new = later(&old);
    keep_times_if_unchanged(&old, &mut new);
    assert_eq!(new, old);
    let mut new = later(&old);
    new.set("data.a", "2");
    let unchanged = new.clone();
    keep_times_if_unchanged(&old, &mut new);
    assert_eq!(new, unchanged);
}

// === scale ===

#[test]
fn replicas_are_handed_to_scale_and_back() {
    let paths = [ReplicasPath { version: "apps/v1", path: Some(&["spec", "replicas"]) }];
    let entry = |manager: &str, operation: &str, version: &str, fields: &str| {
        json(&format!(
            r#"{{"manager":"{manager}","operation":"{operation}","apiVersion":"{version}","fieldsType":"FieldsV1","fieldsV1":{fields}}}"#
        ))
    };
    let replicas = r#"{"f:spec":{"f:replicas":{}}}"#;
    let parent = Value::Array(vec![
        entry("both", "Apply", "apps/v1", r#"{"f:spec":{"f:paused":{},"f:replicas":{}}}"#),
        entry("other", "Apply", "apps/v1", r#"{"f:spec":{"f:paused":{}}}"#),
        entry("gone", "Apply", "apps/v0", replicas),
    ]);
    let scale = to_scale(&parent, &paths).unwrap();
    assert_eq!(scale, Some(Value::Array(vec![entry("both", "Apply", "autoscaling/v1", replicas)])));
    // Nothing happened to the scale: only the entry of the unknown version goes.
    let back = from_scale(&parent, &scale.unwrap(), "apps/v1", &paths).unwrap();
    assert_eq!(back, Some(Value::Array(parent.as_array().unwrap()[..2].to_vec())));
    // Somebody scaled.
    let scaled = Value::Array(vec![entry("me", "Update", "autoscaling/v1", replicas)]);
    let expected = Value::Array(vec![
        entry("both", "Apply", "apps/v1", r#"{"f:spec":{"f:paused":{}}}"#),
        entry("other", "Apply", "apps/v1", r#"{"f:spec":{"f:paused":{}}}"#),
        entry("me", "Update", "apps/v1", replicas),
    ]);
    assert_eq!(from_scale(&parent, &scaled, "apps/v1", &paths), Ok(Some(expected)));
}

// === properties ===

/// An object of a custom resource without a schema.
fn custom(spec: Value) -> Value {
    let mut object = json(r#"{"apiVersion":"x/v1","kind":"X","metadata":{"name":"x"}}"#);
    object.set("spec", spec);
    object
}

fn custom_request(manager: &str) -> Request<'_> {
    Request { of: None, api_version: "x/v1", kind: "X", ..request("", manager) }
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing_more(live in value(), config in value()) {
        let live = { let mut live = custom(live); update(&custom_request("one"), None, &mut live).unwrap(); live.set("metadata.uid", "u"); live };
        let config = custom(config);
        let once = apply(&custom_request("two"), Some(&live), &config, true).unwrap();
        let twice = apply(&custom_request("two"), Some(&once.object), &config, false).unwrap();
        prop_assert!(!twice.changed);
        prop_assert_eq!(twice.object, once.object);
    }

    /// What changed belongs to who changed it, and to nobody else.
    #[test]
    fn the_difference_changes_hands(old in value(), new in value()) {
        let live = { let mut live = custom(old); update(&custom_request("one"), None, &mut live).unwrap(); live.set("metadata.uid", "u"); live };
        let mut changed = live.clone();
        changed.set("spec", new);
        update(&custom_request("two"), Some(&live), &mut changed).unwrap();
        let mut bare = (live.clone(), changed.clone());
        bare.0.remove("metadata.managedFields");
        bare.1.remove("metadata.managedFields");
        let difference = typed::compare(custom_request("").root(), &bare.0, &bare.1).unwrap();
        let set_of = |manager: &str| {
            let entries = changed.array_at("metadata.managedFields").iter();
            let found = entries.filter(|entry| entry.str_at("manager") == manager);
            found.map(|entry| fields::read(entry.get("fieldsV1")).unwrap()).fold(Set::new(), |all, one| all.union(&one))
        };
        let (gained, removed) = difference.split();
        prop_assert_eq!(set_of("two"), gained.clone());
        prop_assert!(set_of("one").intersection(&gained).is_empty());
        prop_assert!(set_of("one").intersection(&removed).is_empty());
    }

    /// Applying something and then nothing leaves what others own.
    #[test]
    fn what_was_applied_goes_again(live in value(), config in value()) {
        let live = { let mut live = custom(live); update(&custom_request("one"), None, &mut live).unwrap(); live.set("metadata.uid", "u"); live };
        let there = apply(&custom_request("two"), Some(&live), &custom(config), true).unwrap().object;
        let mut nothing = custom(Value::Null);
        nothing.remove("spec");
        let back = apply(&custom_request("two"), Some(&there), &nothing, false).unwrap().object;
        prop_assert!(owners(&back).iter().all(|line| line.starts_with("one ")));
    }

    #[test]
    fn any_tree_is_applied_or_refused(live in value(), config in value(), entries in value()) {
        let mut live = custom(live);
        live.set("metadata.managedFields", entries);
        let _ = apply(&custom_request("one"), Some(&live), &custom(config.clone()), false);
        let mut new = custom(config.clone());
        let _ = update(&custom_request("one"), Some(&live), &mut new);
        for kind in ["ConfigMap", "Pod"] {
            let mut object = config.clone();
            object.make_object().insert("kind", kind);
            object.make_object().insert("apiVersion", "v1");
            let _ = apply(&request(kind, "one"), Some(&live), &object, true);
            let _ = update(&request(kind, "one"), Some(&live), &mut object);
        }
    }
}
