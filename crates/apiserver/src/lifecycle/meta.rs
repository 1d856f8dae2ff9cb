//! The fields of `metadata` that the server itself keeps.

use api::value::Value;
use jiff::Timestamp;
use rand::Rng;

/// Characters of generated names: no vowels and nothing that looks like another, as upstream.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const NAME_SUFFIX_LENGTH: usize = 5;
/// A generated name's prefix is cut so that the whole stays a DNS label.
const NAME_LENGTH_MAX: usize = 63;

pub fn is_deleting(object: &Value) -> bool {
    object.get("metadata").field("deletionTimestamp").is_some()
}

/// One more, where the kind counts generations at all.
pub fn bump_generation(object: &mut Value) {
    if let Some(generation) = object.i64_at("metadata.generation").filter(|generation| *generation > 0) {
        object.set("metadata.generation", generation + 1);
    }
}

/// A time as `metadata` has it: whole seconds, UTC.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads a time; `None` for an empty or malformed text.
pub fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Drops what a client may not set on an object it creates.
pub fn wipe_system_fields(object: &mut Value) {
    if let Some(metadata) = object.at_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(key);
        }
    }
}

/// Gives a new object its identity.
pub fn fill_system_fields(object: &mut Value, now: Timestamp, uid: String) {
    object.set("metadata.uid", uid);
    object.set("metadata.creationTimestamp", rfc3339(now));
}

/// A name from a `generateName`.
pub fn generate_name(base: &str, rng: &mut impl Rng) -> String {
    let mut keep = base.len().min(NAME_LENGTH_MAX - NAME_SUFFIX_LENGTH);
    while !base.is_char_boundary(keep) {
        keep -= 1;
    }
    let suffix = (0..NAME_SUFFIX_LENGTH).map(|_| char::from(NAME_ALPHABET[rng.random_range(0..NAME_ALPHABET.len())]));
    base[..keep].chars().chain(suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_stay_short() {
        let mut rng = rand::rng();
        let name = generate_name(&"a".repeat(80), &mut rng);
        assert_eq!(name.len(), 63);
        let name = generate_name("web-", &mut rng);
        assert!(name.starts_with("web-") && name.len() == 9);
    }
}
