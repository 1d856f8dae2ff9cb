//! Patches of every type, applied to an object of any kind: the kind, the object, 0xff, the patch.
#![no_main]

use api::codec::json::{self, DEPTH_MAX};
use api::decode::{self, FieldValidation};
use api::managed::{self, Filter, Request, SamePaths};
use api::patch::{json as json_patch, merge, strategic};
use api::schema::Shape;
use api::value::Value;
use fuzz::{Kind, Limit, assert_same, halves, kind};

fuzz::target!(Limit { per_byte: 2000, besides: 16 << 20 }, |input| {
    let Some((kind, rest)) = kind(input) else { return };
    let Some((object, patch)) = halves(rest) else { return };
    let (Ok(object), Ok(patch)) = (json::parse(object), json::parse(patch)) else { return };
    let Ok(decoded) = decode::decode(kind.schema, kind.id, object, FieldValidation::Ignore) else { return };
    operations(kind, &decoded.value, &patch);
    merged(kind, &decoded.value, &patch);
    merged_strategically(kind, &decoded.value, &patch);
    applied(kind, &decoded.value, &patch);
});

fn operations(kind: Kind, object: &Value, patch: &Value) {
    let lax = json_patch::Patch::decode(patch.clone(), false);
    let checked = json_patch::Patch::decode(patch.clone(), true);
    assert!(lax.is_ok() || checked.is_err());
    let Ok((patch, _)) = lax else { return };
    if let Ok(patched) = patch.apply(object.clone()) {
        is_an_object_like_any(kind, patched);
    }
}

fn merged(kind: Kind, object: &Value, patch: &Value) {
    let Ok(once) = merge::apply(object.clone(), patch.clone()) else { return };
    let twice = merge::apply(once.clone(), patch.clone()).expect("a patch that was merged is merged again");
    assert_same(&once, &twice);
    is_an_object_like_any(kind, once);
}

fn merged_strategically(kind: Kind, object: &Value, patch: &Value) {
    let Ok(patched) = strategic::apply(object.clone(), patch.clone(), kind.schema, kind.id) else { return };
    let _ = strategic::shown(patch);
    let _ = strategic::check_types(&patched, kind.schema, kind.id);
    is_an_object_like_any(kind, patched);
}

/// Server-side apply: who applied owns fields, and applying the same again changes nothing.
fn applied(kind: Kind, object: &Value, config: &Value) {
    // What has no metadata of an object's is nobody's.
    let metadata = kind.schema.get(kind.id).field("metadata").map(|field| &field.shape);
    if !matches!(metadata, Some(Shape::Struct(id)) if kind.schema.get(*id).field("managedFields").is_some()) {
        return;
    }
    let api_version = kind.name.group_version().to_key();
    let request = Request {
        schema: kind.schema,
        of: Some(kind.id),
        api_version: &api_version,
        kind: &kind.name.kind,
        subresource: "",
        filter: &Filter::All,
        versions: &SamePaths(&[]),
        manager: "fuzz",
        now: "2026-01-01T00:00:00Z",
    };
    let mut live = object.clone();
    if managed::update(&request, None, &mut live).is_err() {
        return;
    }
    let Ok(config) = decode::decode(kind.schema, kind.id, config.clone(), FieldValidation::Ignore) else { return };
    let Ok(once) = managed::apply(&request, Some(&live), &config.value, true) else { return };
    is_an_object_like_any(kind, once.object.clone());
    let twice = managed::apply(&request, Some(&once.object), &config.value, false);
    match twice {
        Ok(twice) => assert_same(&once.object, &twice.object),
        Err(status) => panic!("what was applied is applied again: {status:?}"),
    }
}

/// The result of a patch is as deep as any text may be, can be written and read, and decoded or refused.
fn is_an_object_like_any(kind: Kind, mut patched: Value) {
    assert!(patched.depth() <= DEPTH_MAX, "{} levels", patched.depth());
    assert_same(&patched, &json::parse(&json::to_vec(&patched)).expect("what was written is JSON"));
    if decode::canonicalize(kind.schema, kind.id, &mut patched).is_ok() {
        let once = patched.clone();
        decode::canonicalize(kind.schema, kind.id, &mut patched).expect("what is canonical stays so");
        assert_same(&once, &patched);
    }
}
