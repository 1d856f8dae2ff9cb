//! The writer: compact JSON, byte for byte as Go's `encoding/json` writes it with HTML escaping on.

use super::scan::ESCAPED;
use crate::value::Value;

/// Appends the tree as compact JSON, without a line end.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => write_int(*number, out),
        Value::Float(number) => write_float(*number, out),
        Value::String(text) => write_string(text, out),
        Value::Json(text) => out.extend_from_slice(text.as_bytes()),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (at, (key, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

/// The tree as compact JSON, without a line end.
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write(value, &mut out);
    out
}

/// Appends the tree indented by two spaces a level, as Go's `MarshalIndent` (`?pretty=true`).
pub fn write_pretty(value: &Value, out: &mut Vec<u8>) {
    pretty(value, 0, out);
}

fn pretty(value: &Value, level: usize, out: &mut Vec<u8>) {
    match &*value.opened() {
        Value::Array(items) if !items.is_empty() => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                line(at > 0, level + 1, out);
                pretty(item, level + 1, out);
            }
            line(false, level, out);
            out.push(b']');
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push(b'{');
            for (at, (key, value)) in fields.iter().enumerate() {
                line(at > 0, level + 1, out);
                write_string(key, out);
                out.extend_from_slice(b": ");
                pretty(value, level + 1, out);
            }
            line(false, level, out);
            out.push(b'}');
        }
        flat => write(flat, out),
    }
}

fn line(comma: bool, level: usize, out: &mut Vec<u8>) {
    if comma {
        out.push(b',');
    }
    out.push(b'\n');
    out.resize(out.len() + 2 * level, b' ');
}

fn write_int(number: i64, out: &mut Vec<u8>) {
    /// Digits and sign of the longest `i64`.
    const LENGTH_MAX: usize = 20;
    let mut buffer = [0u8; LENGTH_MAX];
    let mut start = LENGTH_MAX;
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        start -= 1;
        buffer[start] = b'-';
    }
    out.extend_from_slice(&buffer[start..]);
}

/// Appends a float as Go does: shortest digits, an exponent only below 1e-6 and from 1e21 on.
/// Go refuses infinities and NaN; they can't come from any text and are written as null.
pub fn write_float(number: f64, out: &mut Vec<u8>) {
    use std::io::Write;
    let size = number.abs();
    // Writing to a vector never fails.
    let _ = if !number.is_finite() {
        out.write_all(b"null")
    } else if size != 0.0 && size < 1e-6 {
        write!(out, "{number:e}")
    } else if size >= 1e21 {
        write!(out, "{}", format!("{number:e}").replace('e', "e+"))
    } else {
        write!(out, "{number}")
    };
}

/// Appends a string in quotes. `<`, `>`, `&`, U+2028 and U+2029 are escaped as in Go, for HTML's sake.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_escaped(text, out);
    out.push(b'"');
}

/// Appends what stands between a string's quotes.
pub(crate) fn write_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let (mut done, mut at) = (0, 0);
    loop {
        at += ESCAPED.plain(&bytes[at..]);
        let length = match bytes.get(at) {
            None => break,
            Some(0xe2) if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => 3,
            Some(0xe2) => {
                at += 1;
                continue;
            }
            Some(_) => 1,
        };
        out.extend_from_slice(&bytes[done..at]);
        write_escape(&bytes[at..at + length], out);
        at += length;
        done = at;
    }
    out.extend_from_slice(&bytes[done..]);
}

fn write_escape(character: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match character {
        b"\"" => out.extend_from_slice(b"\\\""),
        b"\\" => out.extend_from_slice(b"\\\\"),
        b"\n" => out.extend_from_slice(b"\\n"),
        b"\r" => out.extend_from_slice(b"\\r"),
        b"\t" => out.extend_from_slice(b"\\t"),
        b"\x08" => out.extend_from_slice(b"\\b"),
        b"\x0c" => out.extend_from_slice(b"\\f"),
        [byte] => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
        [.., 0xa8] => out.extend_from_slice(b"\\u2028"),
        _ => out.extend_from_slice(b"\\u2029"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json::parse;
    use crate::value::Map;
    use proptest::prelude::*;
    use rstest::rstest;

    fn text(value: &Value) -> String {
        String::from_utf8(to_vec(value)).unwrap()
    }

    /// Expected texts are what Go 1.26 printed for the same values.
    #[rstest]
    #[case(0.0, "0")]
    #[case(-0.5, "-0.5")]
    #[case(1.0, "1")]
    #[case(1e-6, "0.000001")]
    #[case(1e-7, "1e-7")]
    #[case(-1.5e-9, "-1.5e-9")]
    #[case(1e20, "100000000000000000000")]
    #[case(1e21, "1e+21")]
    #[case(1.7976931348623157e308, "1.7976931348623157e+308")]
    fn floats(#[case] number: f64, #[case] expected: &str) {
        assert_eq!(text(&Value::Float(number)), expected);
    }

    #[rstest]
    #[case("a<b>&c", r#""a\u003cb\u003e\u0026c""#)]
    #[case("\u{2028}\u{2029}\u{20ac}", r#""\u2028\u2029€""#)]
    #[case("\u{0}\u{1f}\u{7f}\u{8}\u{c}", "\"\\u0000\\u001f\u{7f}\\b\\f\"")]
    #[case("\"\\\n\r\t", r#""\"\\\n\r\t""#)]
    fn strings(#[case] plain: &str, #[case] expected: &str) {
        assert_eq!(text(&Value::from(plain)), expected);
    }

    #[test]
    fn pretty_is_indented_by_two() {
        let value = parse(br#"{"a":[1,{"b":[]}],"c":{}}"#).unwrap();
        let mut out = Vec::new();
        write_pretty(&value, &mut out);
        let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ],\n  \"c\": {}\n}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("whole numbers come back whole", |f| f.fract() != 0.0).prop_map(Value::Float),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_value()) {
            prop_assert_eq!(parse(&to_vec(&value)).unwrap(), value.clone());
            let mut pretty = Vec::new();
            write_pretty(&value, &mut pretty);
            prop_assert_eq!(parse(&pretty).unwrap(), value);
        }

        #[test]
        fn any_bytes_parse_or_fail_cleanly(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
