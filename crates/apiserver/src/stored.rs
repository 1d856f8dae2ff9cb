//! Stored bytes: how an object lies in the store, and the index record derived from it.
//!
//! JSON in the storage version: `{"kind":K,"apiVersion":V,"metadata":{…},…}` without
//! `resourceVersion`. The place of the metadata is kept beside the bytes, so that serving is
//! a splice. Made once, at commit; [`Extractor`] derives the record of bytes that others wrote.

use std::sync::Arc;

use api::codec::json;
use api::kinds::Rules;
use api::registry::Registry;
use api::value::Value;
use bytes::Bytes;
use smol_str::SmolStr;
use store::{Extract, Record};

/// What stands between the kind and the metadata's opening brace.
pub const METADATA_FIELD: &str = "\"metadata\":";

/// The stored bytes of a tree and their record. `tree` is in the storage version and has its
/// kind and API version; a `resourceVersion` in it is dropped.
pub fn encode(tree: &mut Value, rules: &Rules) -> (Bytes, Record) {
    tree.remove("metadata.resourceVersion");
    let record = record_of_tree(tree, rules);
    let mut out = Vec::with_capacity(2048);
    out.push(b'{');
    for key in ["kind", "apiVersion"] {
        json::write_string(key, &mut out);
        out.push(b':');
        json::write(tree.get(key), &mut out);
        out.push(b',');
    }
    out.extend_from_slice(METADATA_FIELD.as_bytes());
    let start = out.len() as u32;
    json::write(tree.get("metadata"), &mut out);
    let end = out.len() as u32;
    let rest = tree.as_object().into_iter().flat_map(|map| map.iter());
    for (key, value) in rest.filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion" | "metadata")) {
        out.push(b',');
        json::write_string(key, &mut out);
        out.push(b':');
        json::write(value, &mut out);
    }
    out.push(b'}');
    out.shrink_to_fit();
    (Bytes::from(out), Record { metadata: start..end, revision_at: start + 1, ..record })
}

/// Labels, selectable fields, owners and marks of a tree; spans are left empty.
pub fn record_of_tree(tree: &Value, rules: &Rules) -> Record {
    let metadata = tree.get("metadata");
    let text = |key: &str| SmolStr::new(metadata.get(key).as_str().unwrap_or_default());
    let labels = metadata.get("labels").as_object().into_iter().flat_map(|labels| labels.iter());
    Record {
        namespace: text("namespace"),
        name: text("name"),
        uid: text("uid"),
        labels: labels.map(|(key, value)| (key.clone(), SmolStr::new(value.as_str().unwrap_or_default()))).collect(),
        fields: rules.selectable_fields(tree),
        owners: metadata.array_at("ownerReferences").iter().map(|owner| SmolStr::new(owner.str_at("uid"))).collect(),
        finalizers: !metadata.array_at("finalizers").is_empty(),
        deleting: metadata.field("deletionTimestamp").is_some(),
        metadata: 0..0,
        revision_at: 0,
    }
}

/// Derives records of what lies in the store, by the resource that a key belongs to.
pub struct Extractor {
    registry: &'static Registry,
}

// === impl Extractor ===

impl Extractor {
    pub fn new(registry: &'static Registry) -> Arc<Extractor> {
        Arc::new(Extractor { registry })
    }
}
