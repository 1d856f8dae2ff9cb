//! Our documents held against those that upstream publishes (`api/openapi-spec` of k8s.io/kubernetes).
//!
//! What differs, and why:
//!
//! | difference | reason |
//! |---|---|
//! | media types of CBOR | upstream's are written with all alpha features on |
//! | groups and versions that are off by default | likewise: not served |
//! | `enum`, and possible values in words | upstream's are written with `OpenAPIEnums` off; servers have it on |
//! | `/logs` | not served |
//! | the version in `info` | left out by upstream |
//!
//! With these left out on both sides, documents have to be the same. The committed digests are of upstream's; where Go's
//! module cache has the documents, the digests are held against them, and what differs is told.
//! `WRITE_DIGESTS=1` writes the digests anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use api::codec::json;
use api::value::Value;
use sha2::{Digest, Sha256};

use super::documents::Format;
use super::prose::Prose;
use super::types::Dialect;
use super::{documents, one, whole};

const DIGESTS: &str = include_str!("../../tests/data/openapi-digests.txt");

/// Ours and upstream's names of documents.
fn files() -> Vec<(String, String)> {
    let of_version_3 = documents().into_iter().map(|path| {
        let file = format!("v3/{}_openapi.json", path.replace('/', "__"));
        (path, file)
    });
    std::iter::once(("v2".to_owned(), "swagger.json".to_owned())).chain(of_version_3).collect()
}

fn ours(path: &str, prose: &Prose) -> Value {
    let mut document = if path == "v2" { whole(prose) } else { one(path, prose) };
    without_values(&mut document);
    canonical(document)
}

/// Upstream's document, where Go has it.
fn upstreams(file: &str) -> Option<Value> {
    let cache = match (std::env::var_os("GOMODCACHE"), std::env::var_os("GOPATH"), std::env::var_os("HOME")) {
        (Some(cache), ..) => PathBuf::from(cache),
        (_, Some(path), _) => PathBuf::from(path).join("pkg/mod"),
        (.., home) => PathBuf::from(home?).join("go/pkg/mod"),
    };
    let version = api::GIT_VERSION.split(['+', '-']).next()?;
    let folder = cache.join(format!("k8s.io/kubernetes@{version}/api/openapi-spec"));
    let mut document = json::parse(&std::fs::read(folder.join(file)).ok()?).unwrap();
    without_cbor(&mut document);
    if let Some(paths) = document.at_mut("paths").and_then(Value::as_object_mut) {
        paths.retain(|path, _| !path.starts_with("/logs/") && is_served(path));
    }
    let (folder, members) = match document.field("definitions") {
        Some(_) => ("#/definitions/", "definitions"),
        None => ("#/components/schemas/", "components.schemas"),
    };
    let mut named = BTreeSet::new();
    references(document.get("paths"), "#/parameters/", &document, "none", &mut named);
    if let Some(parameters) = document.at_mut("parameters").and_then(Value::as_object_mut) {
        parameters.retain(|name, _| named.contains(name.as_str()));
    }
    let mut reached = BTreeSet::new();
    for from in ["paths", "parameters"] {
        references(document.get(from), folder, &document, members, &mut reached);
    }
    if let Some(schemas) = document.at_mut(members).and_then(Value::as_object_mut) {
        schemas.retain(|name, _| reached.contains(name.as_str()));
    }
    Some(canonical(document))
}

/// Whether a path's group and version is served by default.
fn is_served(path: &str) -> bool {
    let mut parts = path.trim_matches('/').split('/');
    let (root, group, version) = (parts.next(), parts.next(), parts.next());
    match (root, group, version) {
        (Some("apis"), Some(group), Some(version)) => documents().contains(&format!("apis/{group}/{version}")),
        (Some("apis"), Some(group), None) => documents().contains(&format!("apis/{group}")),
        _ => true,
    }
}

/// What is referred to from here on, with what that refers to.
fn references(from: &Value, folder: &str, all: &Value, members: &str, reached: &mut BTreeSet<String>) {
    match from {
        Value::Object(fields) => {
            if let Some(name) = from.str_at("$ref").strip_prefix(folder)
                && reached.insert(name.to_owned())
            {
                references(all.at(members).get(name), folder, all, members, reached);
            }
            fields.values().for_each(|value| references(value, folder, all, members, reached));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, folder, all, members, reached)),
        _ => {}
    }
}

fn without_cbor(value: &mut Value) {
    let is_cbor = |text: &str| text.starts_with("application/") && text.contains("cbor");
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !is_cbor(name));
            fields.iter_mut().for_each(|(_, value)| without_cbor(value));
        }
        Value::Array(items) => {
            items.retain(|item| !item.as_str().is_some_and(is_cbor));
            items.iter_mut().for_each(without_cbor);
        }
        _ => {}
    }
}

/// Possible values, and the words for them at the end of descriptions.
fn without_values(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("enum").is_some_and(|values| values.as_array().is_some()) {
                fields.remove("enum");
            }
            if let Some(Value::String(text)) = fields.get_mut("description")
                && let Some(at) = text.find("\n\nPossible enum values:")
            {
                *text = text[..at].trim_end().into();
            }
            fields.iter_mut().for_each(|(_, value)| without_values(value));
        }
        Value::Array(items) => items.iter_mut().for_each(without_values),
        _ => {}
    }
}

fn canonical(mut document: Value) -> Value {
    document.set("info.version", "");
    sort(&mut document);
    document
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.sort();
            fields.iter_mut().for_each(|(_, value)| sort(value));
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

fn digest(document: &Value) -> String {
    Sha256::digest(json::to_vec(document)).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What differs, by path.
fn differences(ours: &Value, theirs: &Value, path: &str, out: &mut Vec<String>) {
    let short = |value: &Value| String::from_utf8_lossy(&json::to_vec(value)).chars().take(160).collect::<String>();
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&str> = a.keys().chain(b.keys()).map(|name| name.as_str()).collect();
            for name in names {
                differences(ours.get(name), theirs.get(name), &format!("{path} {name}"), out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(at, (a, b))| differences(a, b, &format!("{path} {at}"), out));
        }
        (a, b) if a != b => out.push(format!("{path}: ours {}, upstream's {}", short(a), short(b))),
        _ => {}
    }
}

/// Every document, member for member.
#[test]
fn documents_are_upstreams() {
    const SHOWN: usize = 40;
    let prose = Prose::read().unwrap();
    let (mut written, mut complaints) = (String::new(), Vec::new());
    for (path, file) in files() {
        let (ours, theirs) = (ours(&path, &prose), upstreams(&file));
        let line = format!("{path} {}", digest(theirs.as_ref().unwrap_or(&ours)));
        writeln!(written, "{line}").unwrap();
        if let Some(theirs) = theirs {
            differences(&ours, &theirs, &path, &mut complaints);
        }
        if !DIGESTS.lines().any(|known| known == line) {
            complaints.push(format!("{path}: another digest"));
        }
    }
    if std::env::var_os("WRITE_DIGESTS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/openapi-digests.txt"), &written).unwrap();
    }
    let shown: Vec<&str> = complaints.iter().take(SHOWN).map(String::as_str).collect();
    assert!(complaints.is_empty(), "{} differences:\n{}", complaints.len(), shown.join("\n"));
}

/// What is kept of all that can be asked for, in bytes.
#[test]
fn documents_are_kept_small() {
    const BYTES_MAX: usize = 3 << 20;
    let prose = Prose::read().unwrap();
    let formats = |dialect| [Format::Json, Format::Protobuf(dialect)];
    let whole = whole(&prose);
    let of_version_2: usize = formats(Dialect::V2).iter().map(|format| format.write(&whole).unwrap().len()).sum();
    let of_version_3 = documents().into_iter().map(|path| {
        let document = one(&path, &prose);
        formats(Dialect::V3).iter().map(|format| format.write(&document).unwrap().len()).sum::<usize>()
    });
    let kept = of_version_2 + of_version_3.sum::<usize>();
    assert!(kept < BYTES_MAX, "{kept}");
}
