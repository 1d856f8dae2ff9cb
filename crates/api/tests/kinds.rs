//! The rules of the built-in kinds, held against kube-apiserver v1.37.2: `data/kinds.jsonl.gz`
//! has what was written and what it answered, one case a line.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read as _;

use api::codec::json;
use api::decode::{self, FieldValidation};
use api::kinds::{self, Context, strategy};
use api::registry::Registry;
use api::user::UserInfo;
use api::value::Value;

/// What both may differ in: uids, and differences for people, which upstream prints of its
/// internal types.
fn neutral(text: &str) -> String {
    let text = text.split('\n').next().unwrap_or_default();
    let is_uid = |part: &str| {
        let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
        part.bytes().enumerate().all(|(at, b)| if dash(at) { b == b'-' } else { b.is_ascii_hexdigit() })
    };
    let mut neutral = String::new();
    let mut rest = text;
    while let Some(part) = rest.get(..36) {
        if is_uid(part) {
            neutral.push_str("UID");
            rest = &rest[36..];
        } else {
            let next = rest.chars().next().map_or(0, char::len_utf8);
            neutral.push_str(&rest[..next]);
            rest = &rest[next..];
        }
        while !rest.is_char_boundary(rest.len().min(36)) {
            let next = rest.chars().next().map_or(0, char::len_utf8);
            neutral.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    neutral + rest
}

/// Set by the apiserver, not by rules: allocated addresses and ports; times.
fn is_allocated(resource: &str, path: &str) -> bool {
    const SERVICE: [&str; 5] = [
        ".spec.clusterIP",
        ".spec.clusterIPs",
        ".spec.ipFamilies",
        ".spec.ipFamilyPolicy",
        ".spec.healthCheckNodePort",
    ];
    (resource == "services" && (SERVICE.contains(&path) || path.ends_with(".nodePort")))
        || path.ends_with("TransitionTime")
        || path.ends_with("timeAdded")
}

struct Case {
    text: Value,
}

impl Case {
    fn decoded(&self, field: &str) -> Value {
        let (group, version) = (self.text.str_at("group"), self.text.str_at("version"));
        let id = Registry::builtin().kind(group, version, self.text.str_at("kind")).expect("a kind");
        let schema = api::schema::builtin();
        let mut value =
            decode::decode(schema, id, self.text.at(field).clone(), FieldValidation::Ignore).expect("decodes").value;
        api::defaults::apply(schema, id, &mut value);
        let rules = kinds::rules(group, self.text.str_at("resource"));
        (rules.defaults)(&mut value);
        value
    }

    fn canonical(&self, mut value: Value) -> Value {
        let (group, version) = (self.text.str_at("group"), self.text.str_at("version"));
        let id = Registry::builtin().kind(group, version, self.text.str_at("kind")).expect("a kind");
        decode::canonicalize(api::schema::builtin(), id, &mut value).expect("canonical");
        for field in ["uid", "creationTimestamp", "resourceVersion"] {
            value.remove(&format!("metadata.{field}"));
        }
        value
    }

    fn run(&self) -> Result<Value, Vec<String>> {
        let (group, resource) = (self.text.str_at("group"), self.text.str_at("resource"));
        let rules = kinds::rules(group, resource);
        let namespaced = Registry::builtin().resource(group, self.text.str_at("version"), resource).unwrap().namespaced;
        let user = UserInfo { uid: "1".into(), ..UserInfo::authenticated("admin", &["system:masters"]) };
        let context = Context { user: &user, now: jiff::Timestamp::UNIX_EPOCH };
        let mut object = self.decoded("object");
        if namespaced {
            object.set("metadata.namespace", "ns");
        }
        if resource == "services" {
            let old = (self.text.str_at("op") == "update").then(|| self.decoded("old"));
            kinds::service::normalize_cluster_ips(&mut object, old.as_ref());
        }
        object.set("metadata.uid", "00000000-0000-0000-0000-000000000000");
        let done = match self.text.str_at("op") {
            "create" => strategy::before_create(rules, namespaced, &mut object, &context),
            _ => {
                object.set("metadata.resourceVersion", "1");
                let mut old = self.decoded("old");
                old.set("metadata.uid", "00000000-0000-0000-0000-000000000000");
                old.set("metadata.resourceVersion", "1");
                strategy::before_update(rules, namespaced, &mut object, &old, &context)
            }
        };
        match done {
            Ok(_) => Ok(self.canonical(object)),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }
}

/// Says how two trees differ, by path.
fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                differences(&format!("{path}.{key}"), ours.get(key), theirs.get(key), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{index}]"), a, b, found);
            }
        }
        (Value::String(a), Value::String(b)) if neutral(a) == neutral(b) => {}
        _ if ours == theirs => {}
        _ => {
            let text = |value: &Value| String::from_utf8(json::to_vec(value)).unwrap();
            found.push(format!("{path}: {} instead of {}", text(ours), text(theirs)));
        }
    }
}

#[test]
fn upstream_answers_the_same() {
    let path = std::env::var("KINDS_GOLDEN")
        .unwrap_or_else(|_| format!("{}/tests/data/kinds.jsonl.gz", env!("CARGO_MANIFEST_DIR")));
    let file = std::fs::File::open(path).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut failed = Vec::new();
    for line in text.lines() {
        let case = Case { text: json::parse(line.as_bytes()).unwrap() };
        let mut found = Vec::new();
        match (case.run(), case.text.at("result")) {
            (Ok(ours), Value::Object(_)) => {
                differences("", &ours, case.text.at("result"), &mut found);
                found.retain(|one| {
                    !is_allocated(case.text.str_at("resource"), one.split(':').next().unwrap_or_default())
                });
            }
            (Ok(_), _) => found
                .push(format!("accepted, not {}", String::from_utf8(json::to_vec(case.text.at("causes"))).unwrap())),
            (Err(said), Value::Object(_)) => found.push(format!("refused: {said:?}")),
            (Err(ours), _) => {
                let mut ours: Vec<String> = ours.iter().map(|one| neutral(one)).collect();
                let mut theirs: Vec<String> =
                    case.text.array_at("causes").iter().map(|one| neutral(one.as_str().unwrap())).collect();
                ours.sort_unstable();
                theirs.sort_unstable();
                theirs.dedup();
                ours.dedup();
                for one in ours.iter().filter(|one| !theirs.contains(one)) {
                    found.push(format!("says   {one}"));
                }
                for one in theirs.iter().filter(|one| !ours.contains(one)) {
                    found.push(format!("misses {one}"));
                }
            }
        }
        if !found.is_empty() {
            let object = String::from_utf8(json::to_vec(case.text.at("object"))).unwrap();
            failed.push(format!(
                "{} {}: {object}\n    {}",
                case.text.str_at("op"),
                case.text.str_at("resource"),
                found.join("\n    ")
            ));
        }
    }
    assert!(failed.is_empty(), "{} cases\n{}", failed.len(), failed.join("\n"));
}
