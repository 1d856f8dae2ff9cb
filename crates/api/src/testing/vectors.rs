//! Upstream's own answers: vectors made by `tools/patchvectors`, one JSON array a line.
//!
//! `VECTORS=DIR cargo test -p api vectors` takes others than the committed ones: the tool makes
//! as many as are wanted.

use super::item_schema;
use crate::codec::json;
use crate::managed::typed::{Duplicates, Type, compare, merge, remove, to_set, validate};
use crate::managed::{Filter, Request, SamePaths, Set, apply, fields, update};
use crate::patch;
use crate::schema::{Schema, StructId, builtin};
use crate::value::Value;

/// Checks every vector of a file; fails with the first ones that differ.
fn each(file: &str, check: impl Fn(&[Value]) -> Result<(), String>) {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let path = format!("{}/{file}", std::env::var("VECTORS").unwrap_or_else(|_| committed.into()));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for (at, line) in text.lines().enumerate() {
        let vector = json::parse(line.as_bytes()).unwrap();
        count += 1;
        if let Err(why) = check(vector.as_array().unwrap()) {
            wrong.push(format!("line {}: {why}", at + 1));
        }
    }
    assert!(count > 100, "{file} has only {count} vectors");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong[..wrong.len().min(3)].join("\n\n"));
}

fn text(value: &Value) -> String {
    String::from_utf8(json::to_vec(value)).unwrap()
}

fn same(what: &str, ours: &Value, upstreams: &Value) -> Result<(), String> {
    match crate::managed::equal(ours, upstreams) {
        true => Ok(()),
        false => Err(format!("{what}\n  ours:     {}\n  upstream: {}", text(ours), text(upstreams))),
    }
}

fn same_error(what: &str, ours: &str, upstreams: &str) -> Result<(), String> {
    match ours == upstreams {
        true => Ok(()),
        false => Err(format!("{what}\n  ours:     {ours}\n  upstream: {upstreams}")),
    }
}

/// The outcome of a patch as [result, error] vectors have it.
fn outcome<E: std::fmt::Display>(result: Result<Value, E>, vector: &[Value]) -> Result<(), String> {
    let what = || vector.iter().take(3).map(text).collect::<Vec<_>>().join("\n  ");
    let [.., expected, error] = vector else { return Err("a vector of another form".into()) };
    match result {
        Ok(result) if error.as_str() == Some("") => same(&what(), &result, expected),
        Ok(result) => Err(format!("{}\n  ours: {}\n  upstream fails: {}", what(), text(&result), text(error))),
        Err(ours) => same_error(&what(), &ours.to_string(), error.as_str().unwrap_or_default()),
    }
}

fn type_named<'a>(name: &str, item: &'a (Schema, StructId)) -> (&'a Schema, StructId) {
    match builtin().find(name) {
        Some(id) => (builtin(), id),
        None => (&item.0, item.1),
    }
}

#[test]
fn strategic_merge_patch() {
    let item = item_schema();
    each("strategic.jsonl", |vector| {
        let (schema, id) = type_named(vector[0].as_str().unwrap(), &item);
        outcome(patch::strategic::apply(vector[1].clone(), vector[2].clone(), schema, id), vector)
    });
}

#[test]
fn json_and_merge_patch() {
    each("json.jsonl", |vector| {
        let (document, patch) = (vector[1].clone(), vector[2].clone());
        match vector[0].as_str() {
            Some("merge") => outcome(patch::merge::apply(document, patch), vector),
            _ => {
                let patch = patch::json::Patch::decode(patch, true).map_err(|error| error.to_string())?.0;
                outcome(patch.apply(document), vector)
            }
        }
    });
}

/// Fields in upstream's order, as text.
fn same_set(what: &str, ours: &Set, upstreams: &Value) -> Result<(), String> {
    same_error(what, &text(&fields::write(ours)), &text(upstreams))
}

#[test]
fn typed_trees() {
    let (schema, id) = item_schema();
    let of = Type::of(&schema, id);
    each("typed.jsonl", |vector| {
        let what = vector.iter().take(3).map(text).collect::<Vec<_>>().join("\n  ");
        match (vector[0].as_str().unwrap(), &vector[1..]) {
            ("set", [object, expected]) => same_set(&what, &to_set(of, object), expected),
            ("compare", [old, new, added, modified, removed]) => {
                let difference = compare(of, old, new).map_err(|problems| problems.to_string())?;
                same_set(&format!("added {what}"), &difference.added, added)?;
                same_set(&format!("modified {what}"), &difference.modified, modified)?;
                same_set(&format!("removed {what}"), &difference.removed, removed)
            }
            ("merge", [live, config, expected]) => same(&what, &merge(of, live, config), expected),
            ("remove", [object, set, expected]) => {
                same(&what, &remove(of, object, &fields::read(set).unwrap()), expected)
            }
            ("validate", [object, error]) => {
                let found = validate(of, object, Duplicates::Forbidden).err().map(|problems| problems.to_string());
                same_error(&what, &found.unwrap_or_default(), error.as_str().unwrap())
            }
            other => Err(format!("a vector of another form: {other:?}")),
        }
    });
}

#[test]
fn managed_fields() {
    const NOW: &str = "2030-01-01T00:00:00Z";
    each("managed.jsonl", |vector| {
        let [operation, subresource, manager, force, live, sent, expected, status] = vector else {
            return Err("a vector of another form".into());
        };
        let subresource = subresource.as_str().unwrap();
        let kind = match live.is_null() {
            true => sent,
            false => live,
        };
        let kind = kind.str_at("kind");
        let (group, api_version) = if kind == "Deployment" { ("apps", "apps/v1") } else { ("core", "v1") };
        let request = Request {
            schema: builtin(),
            of: builtin().find(&format!("io.k8s.api.{group}.v1.{kind}")),
            api_version,
            kind,
            subresource,
            filter: Filter::of(if group == "core" { "" } else { group }, kind, subresource),
            versions: &SamePaths(&[]),
            manager: manager.as_str().unwrap(),
            now: NOW,
        };
        let live = Some(live).filter(|live| !live.is_null());
        let what = format!(
            "{} by {} {subresource} {}\n  live: {}\n  sent: {}",
            text(operation),
            text(manager),
            text(force),
            live.map(text).unwrap_or_default(),
            text(sent)
        );
        let result = match operation.as_str().unwrap() {
            "update" => {
                let mut new = sent.clone();
                update(&request, live, &mut new).map_err(|problems| problems.to_string())?;
                Ok(new)
            }
            _ => apply(&request, live, sent, force.as_bool().unwrap()).map(|applied| applied.object),
        };
        match result {
            Err(ours) if status.is_null() => Err(format!("{what}\n  ours fails: {}", ours.message)),
            Err(ours) => {
                let [code, reason, message, causes] = status.as_array().unwrap() else { return Err("status".into()) };
                same_error(&what, &ours.message, message.as_str().unwrap())?;
                same_error(
                    &what,
                    &format!("{} {}", ours.code, ours.reason),
                    &format!("{} {}", code.as_i64().unwrap(), reason.as_str().unwrap()),
                )?;
                let ours = ours.details.map(|details| details.causes).unwrap_or_default();
                let mut ours: Vec<_> = ours.iter().map(|cause| format!("{} {}", cause.field, cause.message)).collect();
                ours.sort();
                let mut theirs: Vec<_> = causes
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|cause| {
                        let cause = cause.as_array().unwrap();
                        format!("{} {}", cause[0].as_str().unwrap(), cause[1].as_str().unwrap())
                    })
                    .collect();
                theirs.sort();
                same_error(&what, &format!("{ours:?}"), &format!("{theirs:?}"))
            }
            Ok(ours) if !status.is_null() => {
                Err(format!("{what}\n  ours: {}\n  upstream fails: {}", text(&ours), text(status)))
            }
            Ok(ours) => {
                let entries = |object: &Value| object.array_at("metadata.managedFields").to_vec();
                let (ours_entries, theirs) = (entries(&ours), entries(expected));
                same(&what, &Value::Array(ours_entries.clone()), &Value::Array(theirs.clone()))?;
                for (ours, theirs) in ours_entries.iter().zip(&theirs) {
                    same_error(&what, &text(ours.get("fieldsV1")), &text(theirs.get("fieldsV1")))?;
                }
                // What Go's types make of both: nulls and what is empty are the decoder's to put right.
                let typed = |object: &Value| {
                    let mut object = object.clone();
                    let id = request.of.ok_or("no such kind")?;
                    crate::decode::canonicalize(builtin(), id, &mut object).map_err(|error| error.to_string())?;
                    Ok::<Value, String>(object)
                };
                same(&what, &typed(&ours)?, &typed(expected)?)
            }
        }
    });
}
