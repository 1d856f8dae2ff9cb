//! JSON: any text into a tree and back, and into any kind.
#![no_main]

use api::codec::json;
use api::decode::{self, FieldValidation};
use api::value::Value;
use fuzz::{Kind, Limit, assert_same, kind};

fuzz::target!(Limit { per_byte: 1000, besides: 1 << 20 }, |input| {
    let Some((kind, text)) = kind(input) else { return };
    let parsed = json::parse_strict(text);
    assert_eq!(parsed.as_ref().map(|parsed| &parsed.value), json::parse(text).as_ref());
    let Ok(parsed) = parsed else { return };
    reads_back(&parsed.value);
    let strict = |mode| {
        let json::Parsed { value, duplicates } = parsed.clone();
        decode::decode_with_duplicates(kind.schema, kind.id, value, &duplicates, mode)
    };
    let lax = strict(FieldValidation::Ignore);
    let warned = strict(FieldValidation::Warn);
    assert_eq!(lax.is_ok(), warned.is_ok());
    if let Ok(warned) = warned {
        assert_eq!(strict(FieldValidation::Strict).is_ok(), warned.warnings.is_empty());
    }
    if let Ok(lax) = lax {
        is_canonical(kind, lax.value);
    }
});

/// A tree is what comes back of its own text.
fn reads_back(value: &Value) {
    let mut pretty = Vec::new();
    json::write_pretty(value, &mut pretty);
    for text in [json::to_vec(value), pretty] {
        assert_same(value, &json::parse(&text).expect("what was written is JSON"));
    }
}

/// A decoded tree stays the same whatever becomes of it.
fn is_canonical(kind: Kind, value: Value) {
    reads_back(&value);
    let again = json::parse(&json::to_vec(&value)).expect("what was written is JSON");
    let again = decode::decode(kind.schema, kind.id, again, FieldValidation::Strict).expect("what was decoded decodes");
    assert_same(&again.value, &value);
    let mut canonical = value.clone();
    decode::canonicalize(kind.schema, kind.id, &mut canonical).expect("what was decoded is canonical");
    assert_same(&canonical, &value);
}
