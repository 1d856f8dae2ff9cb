//! Numbers: `int64` where the text is whole and fits, `float64` otherwise.

use super::parse::ParseError;
use crate::value::Value;

/// Reads the text of a number whose syntax has been checked.
pub(super) fn parse(text: &str, whole: bool) -> Result<Value, ParseError> {
    if whole && let Some(number) = short_int(text).or_else(|| text.parse().ok()) {
        return Ok(Value::Int(number));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Float(number)),
        _ => Err(ParseError::other(format!("json: cannot unmarshal number {text} into Go value of type float64"))),
    }
}

/// Whole numbers that can't overflow, without the general parser's checks.
fn short_int(text: &str) -> Option<i64> {
    /// Any number of so many decimal digits fits `i64`.
    const DIGITS_MAX: usize = 18;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.len() > DIGITS_MAX {
        return None;
    }
    let number = digits.bytes().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", Value::Int(0))]
    #[case("-0", Value::Int(0))]
    #[case("9223372036854775807", Value::Int(i64::MAX))]
    #[case("-9223372036854775808", Value::Int(i64::MIN))]
    #[case("9223372036854775808", Value::Float(9223372036854775808.0))]
    fn whole(#[case] text: &str, #[case] expected: Value) {
        assert_eq!(parse(text, true), Ok(expected));
    }

    #[test]
    fn too_large_for_a_float() {
        let error = parse("1e999", false).unwrap_err();
        assert_eq!(error.to_string(), "json: cannot unmarshal number 1e999 into Go value of type float64");
    }
}
