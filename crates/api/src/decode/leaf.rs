//! Values without parts: numbers, times, quantities, bytes.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::frame::Frame;
use super::typed::Stop;
use crate::codec::json;
use crate::quantity::Quantity;
use crate::schema::Shape;
use crate::time::Time;
use crate::value::Value;

/// As Go reads it: the bits after the last byte may be anything.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// How Go names what it found instead; a number that does not fit is quoted.
pub(super) fn described(value: &Value, shape: &Shape) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) | Value::Json(_) => "object".to_owned(),
        Value::Int(_) | Value::Float(_) if matches!(shape, Shape::Int32 | Shape::Int64 | Shape::IntOrString) => {
            format!("number {}", text(value))
        }
        Value::Int(_) | Value::Float(_) => "number".to_owned(),
    }
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&json::to_vec(value)).into_owned()
}

/// A quantity in canonical form. Numbers are accepted; anything else fails as its JSON text would.
pub(super) fn quantity(value: &mut Value) -> Stop {
    let parsed = match value {
        Value::String(text) => text.trim().parse::<Quantity>(),
        ref other => text(other).parse(),
    };
    let canonical = parsed.map_err(|error| error.to_string())?;
    *value = Value::String(smol_str::format_smolstr!("{canonical}"));
    Ok(())
}

pub(super) fn int_or_string(value: &mut Value, frame: &Frame<'_>) -> Stop {
    match value {
        Value::String(_) => Ok(()),
        Value::Int(number) if i32::try_from(*number).is_ok() => Ok(()),
        other => Err(frame.mismatch(&described(other, &Shape::IntOrString), "int32")),
    }
}

pub(super) fn time(value: &mut Value, frame: &Frame<'_>, micro: bool) -> Stop {
    let Value::String(text) = value else {
        return Err(frame.mismatch(&described(value, &Shape::String), "string"));
    };
    let parsed = if micro { Time::parse_micro(text) } else { Time::parse(text) };
    let mut time = parsed.map_err(|error| error.to_string())?;
    if !micro {
        time.nanos = 0;
    }
    if time.is_zero() {
        *value = Value::Null;
    } else if micro {
        *value = Value::String(time.to_micro_text());
    } else if text.len() != "2006-01-02T15:04:05Z".len() {
        // A text of that length that was read is canonical already.
        *value = Value::String(time.to_text());
    }
    Ok(())
}

/// Base64, re-encoded where it was not canonical.
pub(super) fn bytes(value: &mut Value) -> Result<(), String> {
    let Value::String(text) = value else { return Ok(()) };
    if STANDARD.decode(text.as_bytes()).is_ok() {
        return Ok(());
    }
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match LENIENT.decode(&joined) {
        Ok(bytes) => {
            *value = Value::from(STANDARD.encode(bytes));
            Ok(())
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", corrupt_at(text))),
    }
}

/// Go also takes a list of numbers for bytes. The result, and what was wrong.
pub(super) fn bytes_of_numbers(items: &[Value], frame: &Frame<'_>) -> (Value, Option<String>) {
    let mut wrong = None;
    let bytes: Vec<u8> = items
        .iter()
        .map(|item| match item {
            Value::Null => 0,
            Value::Int(number) if (0..=255).contains(number) => *number as u8,
            other => {
                wrong.get_or_insert_with(|| frame.mismatch(&described(other, &Shape::Int32), "uint8"));
                0
            }
        })
        .collect();
    (Value::from(STANDARD.encode(bytes)), wrong)
}

/// The first byte that Go's decoder stumbles over.
fn corrupt_at(text: &str) -> usize {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'\r' | b'\n');
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| !is_digit(byte)).unwrap_or(bytes.len());
    let digits = bytes[..at].iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count();
    match bytes.get(at) {
        // Padding where none can be, or too little or more than padding after it.
        Some(b'=') if digits % 4 >= 2 => (at + 4 - digits % 4).min(bytes.len()),
        Some(_) => at,
        // Go names the start of the group that is not whole.
        None => bytes.len() - digits % 4,
    }
}

/// Whole numbers stay so while a float holds them exactly.
pub(super) fn float(value: &mut Value) {
    const EXACT_MAX: u64 = 1 << 53;
    if let Value::Int(number) = value
        && number.unsigned_abs() > EXACT_MAX
    {
        *value = Value::Float(*number as f64);
    }
}
