//! # fuzz
//! What the fuzz targets in `bin/` share: a bound on memory, kinds chosen by the input, and when trees are the same.

mod memory;

use std::borrow::Cow;
use std::sync::LazyLock;

use api::registry::{GroupVersionKind, Registry};
use api::schema::{Schema, StructId};
use api::value::Value;

pub use libfuzzer_sys::fuzz_target;
pub use memory::{Limit, bounded};

/// Declares a target: within which memory it has to stay, and what it does with an input.
#[macro_export]
macro_rules! target {
    ($limit:expr, $run:expr) => {
        $crate::fuzz_target!(|input: &[u8]| {
            let run: fn(&[u8]) = $run;
            $crate::bounded(&$crate::stretched(input), $limit, run);
        });
    };
}

/// What lies between the first two bytes 0xfe of an input comes over and over: so a short input stands for a long one, and
/// what takes quadratic time for it is seen. No UTF-8 text has such a byte.
pub fn stretched(input: &[u8]) -> Cow<'_, [u8]> {
    const BYTES: usize = 128 << 10;
    let mut parts = input.splitn(3, |byte| *byte == 0xfe);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(head), Some(unit), Some(tail)) if !unit.is_empty() => {
            [head, &unit.repeat(BYTES / unit.len()), tail].concat().into()
        }
        _ => input.into(),
    }
}

/// A kind of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub schema: &'static Schema,
    pub name: &'static GroupVersionKind,
    pub id: StructId,
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let schema = api::schema::builtin();
    Registry::builtin().kinds().iter().map(|(name, id)| Kind { schema, name, id: *id }).collect()
});

/// Lets the first two bytes of an input choose a kind, and gives what follows them.
pub fn kind(input: &[u8]) -> Option<(Kind, &[u8])> {
    let (choice, rest) = input.split_first_chunk::<2>()?;
    let kind = KINDS[usize::from(u16::from_le_bytes(*choice)) % KINDS.len()];
    Some((kind, rest))
}

/// Cuts an input in two at the first byte that is 0xff, which is none of any UTF-8 text.
pub fn halves(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = input.iter().position(|byte| *byte == 0xff)?;
    Some((&input[..at], &input[at + 1..]))
}

/// Whether two trees are the same as JSON: a float that is whole is written as a whole number and comes back as one.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(whole), Value::Float(float)) | (Value::Float(float), Value::Int(whole)) => *whole as f64 == *float,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}

/// Fails where two trees are not [`same`].
#[track_caller]
pub fn assert_same(a: &Value, b: &Value) {
    assert!(same(a, b), "{}\nis not\n{}", text(a), text(b));
}

/// A tree as JSON.
pub fn text(value: &Value) -> String {
    String::from_utf8_lossy(&api::codec::json::to_vec(value)).into_owned()
}
