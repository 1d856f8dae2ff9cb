//! What upstream's golden files lack, written by `tools/schema-gen -golden`: every kind empty, every kind (lists
//! too) with all pointers, lists and maps there but holding zero values, and the frames of a watch.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use api::codec::{json, protobuf};
use api::decode::{FieldValidation, decode, zero};
use api::registry::Registry;
use api::schema::{self, StructId};

/// The texts and messages of a variant, by kind (`core.v1.Pod`).
fn variant(name: &str) -> BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)> {
    let files = support::files();
    let texts = files.iter().filter_map(|(file, text)| {
        let kind = file.strip_prefix(name)?.strip_prefix('/')?.strip_suffix(".json")?;
        let message = files.get(&format!("{name}/{kind}.pb")).cloned();
        Some((kind.to_owned(), (text.clone(), message)))
    });
    texts.collect()
}

fn kind(name: &str) -> StructId {
    let (group_version, kind) = name.rsplit_once('.').unwrap();
    let (group, version) = group_version.rsplit_once('.').unwrap();
    let group = if group == "core" { "" } else { group };
    Registry::builtin().kind(group, version, kind).unwrap_or_else(|| panic!("{name} is not registered"))
}

fn check(name: &str, text: &[u8], message: Option<&[u8]>, failures: &mut Vec<String>) {
    let (schema, id) = (schema::builtin(), kind(name));
    let expected = String::from_utf8_lossy(text);
    let decoded = match decode(schema, id, json::parse(text).unwrap(), FieldValidation::Strict) {
        Ok(decoded) => decoded.value,
        Err(error) => return failures.push(format!("{name}: {error}\n  {expected}")),
    };
    let found = String::from_utf8(json::to_vec(&decoded)).unwrap();
    if found != expected {
        failures.push(format!("{name}: json\n  found    {found}\n  expected {expected}"));
    }
    let Some(message) = message else { return };
    match protobuf::decode(schema, id, message) {
        Ok(value) => {
            let found = String::from_utf8(json::to_vec(&value)).unwrap();
            if found != expected {
                failures.push(format!("{name}: from protobuf\n  found    {found}\n  expected {expected}"));
            }
        }
        Err(error) => failures.push(format!("{name}: protobuf: {error}")),
    }
    let mut encoded = Vec::new();
    protobuf::encode(schema, id, &decoded, &mut encoded).unwrap();
    if encoded != message {
        failures.push(format!("{name}: to protobuf\n  found    {encoded:?}\n  expected {message:?}"));
    }
}

#[test]
fn empty_objects() {
    let (kinds, mut failures) = (variant("zero"), Vec::new());
    assert!(kinds.len() > 340, "only {} kinds", kinds.len());
    for (name, (text, message)) in kinds {
        check(&name, &text, message.as_deref(), &mut failures);
        let mut empty = zero(schema::builtin(), kind(&name));
        let expected = json::parse(&text).unwrap();
        for key in ["kind", "apiVersion"] {
            if let Some(text) = expected.field(key) {
                empty.set(key, text.clone());
            }
        }
        if empty != expected {
            failures.push(format!("{name}: zero is {empty:?}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn zero_values_that_are_there() {
    let (kinds, mut failures) = (variant("sparse"), Vec::new());
    assert!(kinds.len() > 340, "only {} kinds", kinds.len());
    for (name, (text, message)) in kinds {
        check(&name, &text, message.as_deref(), &mut failures);
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn watch_frames_are_read_and_written() {
    let files = support::files();
    let id = kind("core.v1.ConfigMap");
    let mut stream = files["watch/configmaps.pb"].as_slice();
    let mut lines = files["watch/configmaps.json"].split(|byte| *byte == b'\n');
    let (mut written, mut events) = (Vec::new(), Vec::new());
    while let Some(frame) = protobuf::WatchFrame::take(&mut stream).unwrap() {
        let object = protobuf::decode(schema::builtin(), id, frame.object).unwrap();
        let event = json::parse(lines.next().unwrap()).unwrap();
        assert_eq!((frame.event, &object), (event.str_at("type"), event.get("object")));
        let mut bytes = Vec::new();
        protobuf::encode(schema::builtin(), id, &object, &mut bytes).unwrap();
        written.extend_from_slice(&protobuf::watch_frame(frame.event, &bytes));
        events.push(frame.event.to_owned());
    }
    assert_eq!(events, ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]);
    assert_eq!(written, files["watch/configmaps.pb"]);
}
