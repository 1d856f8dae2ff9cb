//! YAML: any text into a tree, and any tree into a text that reads back.
#![no_main]

use api::codec::{json, yaml};
use api::value::Value;
use fuzz::{Limit, assert_same};

// Aliases may stand for 400,000 nodes, as in upstream's parser, however short the text.
fuzz::target!(Limit { per_byte: 1000, besides: 64 << 20 }, |input| {
    let parsed = yaml::parse_strict(input);
    assert_eq!(parsed.as_ref().map(|parsed| &parsed.value), yaml::parse(input).as_ref());
    if let Ok(parsed) = parsed {
        reads_back(&parsed.value);
    }
    // JSON has texts that YAML rarely comes by.
    if let Ok(value) = json::parse(input) {
        reads_back(&value);
    }
});

fn reads_back(value: &Value) {
    /// Short texts with aliases make large trees; they are written as any other.
    const NODES_MAX: usize = 10_000;
    if nodes(value) > NODES_MAX {
        return;
    }
    let mut written = Vec::new();
    yaml::write(value, &mut written);
    match yaml::parse(&written) {
        Ok(again) => assert_same(value, &again),
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&written)),
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        _ => 0,
    }
}
