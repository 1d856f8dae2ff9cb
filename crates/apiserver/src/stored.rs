//! Stored bytes: how an object lies in the store, and the index record derived from it.
//!
//! JSON in the storage version: `{"kind":K,"apiVersion":V,"metadata":{…},…}` without
//! `resourceVersion`. The place of the metadata is kept beside the bytes, so that serving is
//! a splice. Made once, at commit; [`Extractor`] derives the record of bytes that others wrote.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use api::codec::protobuf::Envelope;
use api::codec::{json, protobuf};
use api::kinds::{Rules, convert};
use api::registry::GroupVersion;
use api::status::Status;
use api::value::Value;
use bytes::Bytes;
use store::{Entry, Extract, Parts, Record};

use crate::decode::apply_defaults;
use crate::served::{Catalog, Served};

/// What stands between the kind and the metadata's opening brace.
pub const METADATA_FIELD: &str = "\"metadata\":";

/// The stored bytes of a tree and their record. `tree` is in the storage version and has its
/// kind and API version; a `resourceVersion` in it is dropped.
pub fn encode(tree: &mut Value, rules: &Rules) -> (Bytes, Record) {
    tree.remove("metadata.resourceVersion");
    let mut out = Vec::with_capacity(8 << 10);
    out.push(b'{');
    for key in ["kind", "apiVersion"] {
        field(key, tree.get(key), &mut out);
        out.push(b',');
    }
    out.extend_from_slice(METADATA_FIELD.as_bytes());
    let start = out.len() as u32;
    match tree.field("metadata") {
        Some(metadata) => json::write(metadata, &mut out),
        None => out.extend_from_slice(b"{}"),
    }
    let end = out.len() as u32;
    let rest = tree.as_object().into_iter().flat_map(|map| map.iter());
    for (key, value) in rest.filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion" | "metadata")) {
        out.push(b',');
        field(key, value, &mut out);
    }
    out.push(b'}');
    let record = record(tree, rules, start..end);
    // A copy of the right size: what grew by doubling would keep up to twice the room for as long as the object lives.
    (Bytes::copy_from_slice(&out), record)
}

/// The tree of an entry's bytes.
///
/// # Errors
/// 500 where they can't be read.
pub fn parse(entry: &Entry) -> Result<Value, Status> {
    json::parse_object(&entry.value)
        .map_err(|error| Status::internal(format!("object stored at {} can't be read: {error}", entry.key)))
}

fn field(key: &str, value: &Value, out: &mut Vec<u8>) {
    json::write_string(key, out);
    out.push(b':');
    json::write(value, out);
}

/// Labels, selectable fields, owners and marks of a tree whose metadata lies at this span of its bytes.
fn record(tree: &Value, rules: &Rules, metadata_at: Range<u32>) -> Record {
    let metadata = tree.get("metadata");
    let labels = metadata.get("labels").as_object().into_iter().flat_map(|labels| labels.iter());
    let texts = |list: &'static str, path: &'static str| {
        let items = metadata.get(list).as_array().unwrap_or_default();
        items
            .iter()
            .map(move |item| if path.is_empty() { item } else { item.get(path) })
            .map(|text| Cow::Borrowed(text.as_str().unwrap_or_default()))
            .collect::<Vec<Cow<'_, str>>>()
    };
    let selectable = rules.selectable.iter().map(|(name, read)| {
        let value: Cow<'_, str> = Cow::Owned(read(tree).to_string());
        (Cow::Borrowed(*name), value)
    });
    Record::new(&Parts {
        namespace: metadata.str_at("namespace").into(),
        name: metadata.str_at("name").into(),
        uid: metadata.str_at("uid").into(),
        labels: labels
            .map(|(key, value)| (Cow::Borrowed(key.as_str()), value.as_str().unwrap_or_default().into()))
            .collect(),
        fields: selectable.filter(|(_, value)| !value.is_empty()).collect(),
        owners: texts("ownerReferences", "uid"),
        finalizers: texts("finalizers", ""),
        deleting: metadata.field("deletionTimestamp").is_some(),
        revision_at: metadata_at.start + 1,
        metadata: metadata_at,
    })
}

/// Derives records of what lies in the store, by the resource that a key belongs to.
pub struct Extractor {
    /// Prefixes and the rules of what lies below, longest first.
    resources: Vec<(String, Served)>,
}

// === impl Extractor ===

impl Extractor {
    pub fn new(catalog: &Catalog) -> Arc<Extractor> {
        let stored = catalog.iter().filter(|one| one.is_stored_version() && !one.prefix().is_empty());
        let mut resources: Vec<(String, Served)> = stored.map(|one| (one.prefix().to_owned(), one.clone())).collect();
        resources.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Arc::new(Extractor { resources })
    }

    fn find(&self, key: &str) -> Option<&Served> {
        self.resources.iter().find(|(prefix, _)| key.starts_with(prefix.as_str())).map(|(_, served)| served)
    }
}

impl Extract for Extractor {
    fn extract(&self, key: &str, value: &Bytes) -> Record {
        let Some(served) = self.find(key) else { return Record::default() };
        let Ok(tree) = json::parse(value) else { return Record::default() };
        record(&tree, served.rules(), metadata_span(value))
    }

    /// Upstream's protobuf envelope, or its JSON with other field order, becomes our form.
    fn ingest(&self, key: &str, raw: Bytes) -> Bytes {
        let Some(served) = self.find(key) else { return raw };
        if is_ours(served, &raw) {
            return raw;
        }
        match read(served, &raw) {
            Ok(mut tree) => encode(&mut tree, served.rules()).0,
            Err(error) => {
                tracing::warn!(key, %error, "a stored value can't be read");
                raw
            }
        }
    }
}

/// What another server wrote, as it would read it itself: in the version that we store, with the defaults of today.
///
/// Upstream's server gives defaults whenever it decodes what is stored, and stores some kinds in versions that are not
/// served.
fn read(served: &Served, raw: &[u8]) -> Result<Value, String> {
    let (schema, stored) = served.stored_schema();
    let mut tree = match raw.starts_with(protobuf::MAGIC) {
        true => {
            let envelope = Envelope::parse(raw).map_err(|error| error.to_string())?;
            let id = envelope.builtin_kind().unwrap_or(stored);
            let mut tree = protobuf::decode_message(schema, id, envelope.raw).map_err(|error| error.to_string())?;
            envelope.name(&mut tree);
            tree
        }
        false => json::parse(raw).map_err(|error| error.to_string())?,
    };
    let from = GroupVersion::parse(tree.str_at("apiVersion")).map_err(|error| error.to_string())?;
    let to = (served.group(), served.version());
    convert::convert(&mut tree, (&from.group, &from.version), to, served.kind())?;
    apply_defaults(&mut tree, served);
    api::decode::canonicalize(schema, stored, &mut tree).map_err(|error| error.to_string())?;
    Ok(tree)
}

/// Whether the bytes have our form and are of the version that we store. Upstream's JSON ends in a line end.
fn is_ours(served: &Served, value: &[u8]) -> bool {
    let head = format!(r#"{{"kind":"{}","apiVersion":"{}",{METADATA_FIELD}{{"#, served.kind(), served.api_version());
    value.starts_with(head.as_bytes()) && value.ends_with(b"}")
}

/// Where the metadata object of stored bytes lies; empty where they are not of our form.
fn metadata_span(value: &[u8]) -> Range<u32> {
    let Some(start) = metadata_start(value) else { return 0..0 };
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, byte) in value.iter().enumerate().skip(start) {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{') => depth += 1,
            (false, b'}') => {
                depth -= 1;
                if depth == 0 {
                    return start as u32..at as u32 + 1;
                }
            }
            _ => {}
        }
    }
    0..0
}

/// The place after `{"kind":"…","apiVersion":"…","metadata":`.
fn metadata_start(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in [&b"{\"kind\":\""[..], b"\",\"apiVersion\":\"", b"\",\"metadata\":"] {
        let rest = &value[at..];
        let found = rest.windows(part.len()).take(NAME_BYTES_MAX).position(|window| window == part)?;
        // Only a name may stand between the parts.
        if rest[..found].iter().any(|byte| matches!(byte, b'"' | b'{' | b',')) {
            return None;
        }
        at += found + part.len();
    }
    (value.get(at) == Some(&b'{')).then_some(at)
}

/// Longer kinds and versions do not exist; bounds the search in foreign bytes.
const NAME_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_is_found_in_our_bytes_only() {
        let mut tree = json::parse(br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a}\"{","resourceVersion":"7"},"data":{"k":"v"}}"#).unwrap();
        let (bytes, record) = encode(&mut tree, &Rules::DEFAULT);
        let span = metadata_span(&bytes);
        assert_eq!(&bytes[span.start as usize..span.end as usize], br#"{"name":"a}\"{"}"#);
        assert_eq!(record.revision_at(), span.start as usize + 1);
        for foreign in [
            &br#"{"metadata":{},"kind":"X","apiVersion":"v1"}"#[..],
            b"k8s\0",
            b"{}",
            br#"{"kind":"X","data":{},"metadata":{}}"#,
        ] {
            assert!(metadata_span(foreign).is_empty());
        }
    }

    fn enveloped(tree: &str, schema_of: (&str, &str, &str)) -> Bytes {
        let (group, version, kind) = schema_of;
        let (schema, id) = crate::served::kind_type(group, version, kind);
        let mut out = Vec::new();
        protobuf::encode(schema, id, &json::parse(tree.as_bytes()).unwrap(), &mut out).unwrap();
        out.into()
    }

    /// Upstream 1.37 stores some kinds in versions that it does not serve.
    #[test]
    fn what_others_store_in_another_version_comes_in_ours() {
        let extractor = Extractor::new(&Catalog::builtin());
        let bundle = r#"{"kind":"ClusterTrustBundle","apiVersion":"certificates.k8s.io/v1beta1","metadata":{"name":"a"},"spec":{"trustBundle":"x"}}"#;
        let raw = enveloped(bundle, ("certificates.k8s.io", "v1", "ClusterTrustBundle"));
        let ours = extractor.ingest("/registry/clustertrustbundles/a", raw);
        let expected = bundle.replace("v1beta1", "v1");
        assert_eq!(ours, expected.as_bytes());
        let foreign_json = r#"{"metadata":{"name":"a"},"kind":"ClusterTrustBundle","apiVersion":"certificates.k8s.io/v1beta1","spec":{"trustBundle":"x"}}"#;
        let ours = extractor.ingest("/registry/clustertrustbundles/a", Bytes::from_static(foreign_json.as_bytes()));
        assert_eq!(ours, expected.as_bytes());
    }

    /// Protobuf has no place for the kind of a claim template; defaults bring it back, as upstream's reading does.
    #[test]
    fn what_others_store_gets_defaults() {
        let extractor = Extractor::new(&Catalog::builtin());
        let set = r#"{"kind":"StatefulSet","apiVersion":"apps/v1","metadata":{"name":"a","namespace":"b"},"spec":{"selector":{},"template":{"metadata":{},"spec":{"containers":[]}},"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"resources":{}}}]}}"#;
        let ours = extractor.ingest("/registry/statefulsets/b/a", enveloped(set, ("apps", "v1", "StatefulSet")));
        let tree = json::parse(&ours).unwrap();
        let claim = &tree.array_at("spec.volumeClaimTemplates")[0];
        assert_eq!((claim.str_at("kind"), claim.str_at("apiVersion")), ("PersistentVolumeClaim", "v1"));
        assert_eq!(tree.i64_at("spec.replicas"), Some(1));
    }
}
