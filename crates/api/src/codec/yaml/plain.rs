//! JSON that YAML reads the same way: what programs apply is such, and JSON's parser is far quicker.

/// A longer key is none to YAML.
const KEY_BYTES_MAX: usize = 1000;

/// Whether a text looks like a JSON object of which YAML, should it be JSON, makes the same tree.
/// What the two treat differently is left to YAML's parser: other than printable ASCII, escapes
/// beyond the common ones, long keys.
pub(super) fn may_be_plain_json(text: &[u8]) -> bool {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return false;
    }
    let mut string_from = None;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, string_from) {
            (b'"', None) => string_from = Some(at),
            (b'"', Some(from)) => {
                let is_key = || text[at + 1..].trim_ascii_start().first() == Some(&b':');
                if at - from > KEY_BYTES_MAX && is_key() {
                    return false;
                }
                string_from = None;
            }
            (b'\\', Some(_)) => {
                if !matches!(text.get(at + 1), Some(b'"' | b'\\' | b'n' | b'r' | b't')) {
                    return false;
                }
                at += 1;
            }
            (b' '..=b'~', _) | (b'\n', None) => {}
            _ => return false,
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::codec::{json, yaml};
    use crate::value::Value;

    #[rstest]
    #[case(" {\"a\": [1, true, null, \"x\\\"y\\n\"]}\n", true)]
    #[case("a: 1", false)]
    #[case("{\"a\": \"\u{e9}\"}", false)]
    #[case("{\"a\": \"\\u0041\"}", false)]
    #[case("{\"a\": \"\\/\"}", false)]
    #[case("{\t\"a\": 1}", false)]
    #[case("{\"a\n\": 1}", false)]
    fn is_recognized(#[case] text: &str, #[case] plain: bool) {
        assert_eq!(may_be_plain_json(text.as_bytes()), plain);
    }

    #[test]
    fn a_long_key_is_left_to_yaml() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        assert!(!may_be_plain_json(format!("{{\"{long}\" : 1}}").as_bytes()));
        assert!(may_be_plain_json(format!("{{\"a\":\"{long}\"}}").as_bytes()));
    }

    /// Texts that YAML would take for something else without quotes.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~\n\t]{0,12}",
            "(yes|no|null|~|<<|=|0x10|1e3|1_0|0o7|\\.inf|2001-01-01|12:30|- a|a: b|#|&a|\\*a)"
        ]
    }

    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::Float),
            text().prop_map(Value::from),
        ];
        let tree = leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((text(), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        });
        prop::collection::vec((text(), tree), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect()))
    }

    fn written(value: &Value) -> [Vec<u8>; 2] {
        let mut pretty = Vec::new();
        json::write_pretty(value, &mut pretty);
        [json::to_vec(value), pretty]
    }

    proptest! {
        #[test]
        fn both_parsers_make_the_same_of_it(value in object()) {
            for text in written(&value) {
                if may_be_plain_json(&text) {
                    prop_assert_eq!(json::parse(&text).unwrap(), yaml::read_as_yaml(&text).unwrap().value);
                }
            }
        }
    }
}
