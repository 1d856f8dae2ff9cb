//! Upstream's golden files: every registered kind with every field filled, of this release and the four before.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use api::codec::{json, protobuf, yaml};
use api::decode::{FieldValidation, decode};
use api::registry::Registry;
use api::schema::{self, StructId};

/// The forms of one object.
type Forms = BTreeMap<String, Vec<u8>>;

/// The files of a release, by kind (`core.v1.Pod`) and form (`json`, `after_roundtrip.pb`).
fn release(name: &str) -> BTreeMap<String, Forms> {
    let mut kinds: BTreeMap<String, Forms> = BTreeMap::new();
    for (file, content) in support::files() {
        let Some(file) = file.strip_prefix(name).and_then(|file| file.strip_prefix('/')) else { continue };
        let (kind, form) = match file.split_once(".after_roundtrip.") {
            Some((kind, form)) => (kind, format!("after_roundtrip.{form}")),
            None => file.rsplit_once('.').map(|(kind, form)| (kind, form.to_owned())).unwrap(),
        };
        kinds.entry(kind.to_owned()).or_default().insert(form, content);
    }
    assert!(!kinds.is_empty(), "no golden files of {name}");
    kinds
}

/// The type of a kind that still exists.
fn kind(name: &str) -> Option<StructId> {
    let (group_version, kind) = name.rsplit_once('.')?;
    let (group, version) = group_version.rsplit_once('.')?;
    let group = if group == "core" { "" } else { group };
    Registry::builtin().kind(group, version, kind)
}

fn compact(text: &[u8]) -> String {
    String::from_utf8(json::to_vec(&json::parse(text).unwrap())).unwrap()
}

#[test]
fn every_kind_of_this_release_in_json_and_protobuf() {
    let kinds = release("HEAD");
    assert_eq!(kinds.len(), 193);
    let schema = schema::builtin();
    let mut failures = Vec::new();
    for (name, forms) in kinds {
        let id = kind(&name).unwrap_or_else(|| panic!("{name} is not registered"));
        let from_protobuf =
            protobuf::decode(schema, id, &forms["pb"]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut back = Vec::new();
        protobuf::encode(schema, id, &from_protobuf, &mut back).unwrap();
        let parsed = json::parse(&forms["json"]).unwrap();
        let from_json =
            decode(schema, id, parsed, FieldValidation::Strict).unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = |value| String::from_utf8(json::to_vec(value)).unwrap();
        if back != forms["pb"] {
            failures.push(format!("{name}: protobuf differs: {}", difference(&back, &forms["pb"])));
        }
        if text(&from_json.value) != compact(&forms["json"]) {
            failures.push(format!(
                "{name}: json differs: {}",
                difference(text(&from_json.value).as_bytes(), compact(&forms["json"]).as_bytes())
            ));
        }
        let from_yaml = yaml::parse(&forms["yaml"]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let from_yaml =
            decode(schema, id, from_yaml, FieldValidation::Strict).unwrap_or_else(|error| panic!("{name}: {error}"));
        if from_yaml.value != from_json.value {
            failures.push(format!(
                "{name}: yaml differs: {}",
                difference(text(&from_yaml.value).as_bytes(), text(&from_json.value).as_bytes())
            ));
        }
        let mut written = Vec::new();
        yaml::write(&from_json.value, &mut written);
        if written != forms["yaml"] {
            failures.push(format!("{name}: written yaml differs: {}", difference(&written, &forms["yaml"])));
        }
        if text(&from_protobuf) != text(&from_json.value) {
            failures.push(format!(
                "{name}: trees differ: {}",
                difference(text(&from_protobuf).as_bytes(), text(&from_json.value).as_bytes())
            ));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn kinds_of_earlier_releases_survive_a_round_trip() {
    let schema = schema::builtin();
    let (mut tried, mut failures) = (0, Vec::new());
    for name in ["v1.33.0", "v1.34.0", "v1.35.0", "v1.36.0"] {
        for (kind_name, forms) in release(name) {
            let Some(id) = kind(&kind_name) else { continue };
            let expected = |form: &str| forms.get(&format!("after_roundtrip.{form}")).or(forms.get(form));
            if let (Some(text), Some(expected)) = (forms.get("json"), expected("json")) {
                tried += 1;
                let decoded = decode(schema, id, json::parse(text).unwrap(), FieldValidation::Ignore).unwrap().value;
                let found = String::from_utf8(json::to_vec(&decoded)).unwrap();
                if found != compact(expected) {
                    failures.push(format!(
                        "{name} {kind_name}: json: {}",
                        difference(found.as_bytes(), compact(expected).as_bytes())
                    ));
                }
            }
            if let (Some(bytes), Some(expected)) = (forms.get("pb"), expected("pb")) {
                tried += 1;
                let decoded =
                    protobuf::decode(schema, id, bytes).unwrap_or_else(|error| panic!("{name} {kind_name}: {error}"));
                let mut found = Vec::new();
                protobuf::encode(schema, id, &decoded, &mut found).unwrap();
                if found != *expected {
                    failures.push(format!("{name} {kind_name}: protobuf: {}", difference(&found, expected)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(tried > 200, "only {tried} files tried");
}

/// Where two texts part.
fn difference(found: &[u8], expected: &[u8]) -> String {
    let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let range = at.saturating_sub(60).min(bytes.len())..(at + 60).min(bytes.len());
        String::from_utf8_lossy(&bytes[range]).into_owned()
    };
    format!("at {at}: found {:?}, expected {:?}", around(found), around(expected))
}
