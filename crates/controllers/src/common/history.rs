//! Hashes of templates, and ControllerRevisions.

use api::value::Value;
use client::json;

/// FNV-1, 32 bit, as Go's `hash/fnv.New32`.
pub fn fnv32(bytes: &[u8]) -> u32 {
    const OFFSET: u32 = 2_166_136_261;
    const PRIME: u32 = 16_777_619;
    bytes.iter().fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u32::from(*byte))
}

/// FNV-1a, 32 bit, as Go's `hash/fnv.New32a`.
pub fn fnv32a(bytes: &[u8]) -> u32 {
    const OFFSET: u32 = 2_166_136_261;
    const PRIME: u32 = 16_777_619;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME))
}

/// Apimachinery's `rand.SafeEncodeString` of the decimal number: characters that make no words.
pub fn safe_encode(number: u32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    number.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// The value of `pod-template-hash` and its like: of the template's fields in canonical order, whatever their order
/// was, and the collision count. Stable across releases of this program; not upstream's number, which depends on the
/// layout of Go's structs (an upstream controller that takes over finds its sets by comparing templates).
pub fn template_hash(template: &Value, collision_count: Option<i32>) -> String {
    let mut canonical = template.clone();
    sort(&mut canonical);
    let mut bytes = json::write(&canonical).to_vec();
    if let Some(count) = collision_count {
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    safe_encode(fnv32a(&bytes))
}

/// Sorts fields and drops what Go's comparison takes for nothing: null, and empty lists and maps.
pub fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.iter_mut().for_each(|(_, field)| sort(field));
            map.retain(|_, field| !is_nothing(field));
            map.sort();
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_go_computes_them() {
        // Values of Go's hash/fnv tests.
        assert_eq!(fnv32a(b"a"), 0xe40c292c);
        assert_eq!(fnv32(b"a"), 0x050c5d7e);
        assert_eq!(safe_encode(1_234_567_890), "56789bcdf4");
    }

    #[test]
    fn order_and_absence_do_not_matter_but_collisions_do() {
        let parse = |text: &str| json::parse(text.as_bytes()).unwrap();
        let (a, b) = (parse(r#"{"a":1,"b":{"c":[],"d":null}}"#), parse(r#"{"b":{},"a":1}"#));
        assert_eq!(template_hash(&a, None), template_hash(&b, None));
        assert_ne!(template_hash(&a, None), template_hash(&a, Some(1)));
        assert_ne!(template_hash(&a, Some(1)), template_hash(&a, Some(2)));
    }
}
