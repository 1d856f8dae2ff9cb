//! What a plain scalar means in YAML 1.1, as go-yaml v2 has it.

use crate::value::Value;

/// What a scalar without quotes or tag stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number beyond `int64`.
    Large(u64),
    Float(f64),
    /// Read as text, but written in quotes.
    Timestamp,
    /// `<<`
    Merge,
    Text,
}

pub(super) fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        "<<" => return Scalar::Merge,
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' if is_float(text) => text.parse().map_or(Scalar::Text, Scalar::Float),
        b'0'..=b'9' | b'+' | b'-' => number(text),
        _ => Scalar::Text,
    }
}

fn number(text: &str) -> Scalar {
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes() {
        [b'-', ..] => (true, &plain[1..]),
        [b'+', ..] => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    if let Some(number) = whole(digits) {
        return match (i128::from(number) * if negative { -1 } else { 1 }).try_into() {
            Ok(number) => Scalar::Int(number),
            Err(_) if !negative && !plain.starts_with('+') => Scalar::Large(number),
            Err(_) => Scalar::Float(plain.parse().unwrap_or_default()),
        };
    }
    match is_float(&plain) {
        true => plain.parse().map_or(Scalar::Text, Scalar::Float),
        false => Scalar::Text,
    }
}

/// Digits with Go's prefixes: `0x`, `0o`, `0b`, and a zero for octal.
fn whole(digits: &str) -> Option<u64> {
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    match digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => u64::from_str_radix(digits, radix).ok(),
        false => None,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// A date, perhaps with a time: `2001-1-2`, `2001-1-2 3:4:5.6`, `2001-1-2T3:4:5Z`.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let date = parts.next().is_some_and(|year| year.len() == 4 && in_range(year, 0, 9999))
        && parts.next().is_some_and(|month| in_range(month, 1, 12))
        && parts.next().is_some_and(|day| in_range(day, 1, 31))
        && parts.next().is_none();
    date && match time {
        None => true,
        Some((b' ', time)) => is_clock(time),
        Some((_, time)) => match time.find(['Z', '+', '-']) {
            Some(at) => is_clock(&time[..at]) && (&time[at..] == "Z" || is_offset(&time[at + 1..])),
            None => false,
        },
    }
}

fn is_clock(text: &str) -> bool {
    let mut parts = text.split(':');
    let (Some(hour), Some(minute), Some(second), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    in_range(hour, 0, 23) && in_range(minute, 0, 59) && in_range(second, 0, 59) && fraction
}

fn is_offset(text: &str) -> bool {
    text.len() == 5
        && text.split_once(':').is_some_and(|(hour, minute)| in_range(hour, 0, 24) && in_range(minute, 0, 60))
}

fn in_range(digits: &str, min: u32, max: u32) -> bool {
    let plain = !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain && digits.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
}

/// `1:30`, which YAML 1.1 reads as a number to base 60; written in quotes for the sake of others.
pub(super) fn is_base_60(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((first, rest)) = digits.split_once(':') else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let (rest, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let places = rest.split(':').all(|place| matches!(place.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']));
    first.starts_with(|c: char| c.is_ascii_digit())
        && number(first)
        && places
        && (fraction.is_empty() || number(fraction))
}

/// The value of a float as it comes out of JSON: whole where its text is.
pub(super) fn float(number: f64) -> Value {
    const PLAIN_MAX: f64 = 1e21;
    match number.fract() == 0.0 && number.abs() < PLAIN_MAX && number.abs() <= i64::MAX as f64 {
        true => Value::Int(number as i64),
        false => Value::Float(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("yes", Scalar::Bool(true))]
    #[case("off", Scalar::Bool(false))]
    #[case("y", Scalar::Bool(true))]
    #[case("~", Scalar::Null)]
    #[case("0777", Scalar::Int(511))]
    #[case("0o17", Scalar::Int(15))]
    #[case("0x1F", Scalar::Int(31))]
    #[case("-0b101", Scalar::Int(-5))]
    #[case("1_000", Scalar::Int(1000))]
    #[case("+5", Scalar::Int(5))]
    #[case("08", Scalar::Float(8.0))]
    #[case("1.", Scalar::Float(1.0))]
    #[case(".5", Scalar::Float(0.5))]
    #[case("1e3", Scalar::Float(1000.0))]
    #[case("18446744073709551615", Scalar::Large(u64::MAX))]
    #[case("-9223372036854775808", Scalar::Int(i64::MIN))]
    #[case("2001-01-02", Scalar::Timestamp)]
    #[case("2001-1-2T3:4:5.6+01:00", Scalar::Timestamp)]
    #[case("2001-01-02 03:04:05", Scalar::Timestamp)]
    #[case("2001-13-02", Scalar::Text)]
    #[case("1:30", Scalar::Text)]
    #[case("-", Scalar::Text)]
    #[case(".", Scalar::Text)]
    #[case("1.2.3", Scalar::Text)]
    #[case("0xg", Scalar::Text)]
    #[case("Yess", Scalar::Text)]
    fn resolved(#[case] text: &str, #[case] expected: Scalar) {
        assert_eq!(resolve(text), expected);
    }

    #[rstest]
    #[case("1:30", true)]
    #[case("190:20:30.15", true)]
    #[case("a:30", false)]
    #[case("1:60", false)]
    fn base_60(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(is_base_60(text), expected);
    }
}
