//! Reading quantities: a sign, digits, perhaps a fraction, and a suffix.

use std::str::FromStr;

use smol_str::SmolStr;

use super::{DIGITS_MAX, Format, Quantity, SCALE_MIN, divided, shifted};

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// More digits than these go upstream's slow way, which does not keep the text.
const FAST_DIGITS_MAX: usize = 18;
/// Exponents beyond this stand for no number that could be computed with.
const EXPONENT_MAX: i64 = 1_000_000;

/// A text taken apart.
struct Parts<'a> {
    negative: bool,
    /// Without leading zeros, but never empty.
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
    /// There is a digit at all; without one upstream reads zero, except on its slow way.
    has_digits: bool,
}

/// A suffix's meaning: a factor of 2 or 10 to the exponent.
struct Suffix {
    format: Format,
    exponent: i32,
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let parts = split(text)?;
        let suffix = interpret(parts.suffix).ok_or(QuantityError::Suffix)?;
        let keep = parts.keeps_text(&suffix);
        let quantity = parts.quantity(&suffix)?;
        Ok(Quantity { text: keep.then(|| SmolStr::new(text)), ..quantity })
    }
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let (negative, rest) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let significant = rest.trim_start_matches('0');
    let has_zeros = significant.len() < rest.len();
    let (whole, rest) = digits(significant);
    let (fraction, suffix) = rest.strip_prefix('.').map(digits).unwrap_or(("", rest));
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let (_, after) = digits(letters.strip_prefix(['-', '+']).unwrap_or(letters));
    if !after.is_empty() {
        return Err(QuantityError::Format);
    }
    let has_digits = has_zeros || !whole.is_empty() || !fraction.is_empty();
    Ok(Parts { negative, whole: if whole.is_empty() { "0" } else { whole }, fraction, suffix, has_digits })
}

/// The digits at the start, and what follows.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn interpret(suffix: &str) -> Option<Suffix> {
    let (format, exponent) = match suffix {
        "n" => (Format::DecimalSi, -9),
        "u" => (Format::DecimalSi, -6),
        "m" => (Format::DecimalSi, -3),
        "" => (Format::DecimalSi, 0),
        "k" => (Format::DecimalSi, 3),
        "M" => (Format::DecimalSi, 6),
        "G" => (Format::DecimalSi, 9),
        "T" => (Format::DecimalSi, 12),
        "P" => (Format::DecimalSi, 15),
        "E" => (Format::DecimalSi, 18),
        "Ki" => (Format::BinarySi, 10),
        "Mi" => (Format::BinarySi, 20),
        "Gi" => (Format::BinarySi, 30),
        "Ti" => (Format::BinarySi, 40),
        "Pi" => (Format::BinarySi, 50),
        "Ei" => (Format::BinarySi, 60),
        _ => {
            let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (Format::DecimalExponent, exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX) as i32)
        }
    };
    Some(Suffix { format, exponent })
}

// === impl Parts ===

impl Parts<'_> {
    fn quantity(&self, suffix: &Suffix) -> Result<Quantity, QuantityError> {
        if !self.has_digits && !self.is_fast(suffix) {
            return Err(QuantityError::Number);
        }
        let mut digits: i128 = 0;
        for digit in self.whole.bytes().chain(self.fraction.bytes()) {
            let next = digits.checked_mul(10).and_then(|sum| sum.checked_add(i128::from(digit - b'0')));
            digits = next.ok_or(QuantityError::Number)?;
        }
        let mut scale = -(self.fraction.len() as i32);
        let mut format = suffix.format;
        match format {
            Format::BinarySi => digits = digits.checked_mul(1 << suffix.exponent).unwrap_or(i128::MAX),
            Format::DecimalSi | Format::DecimalExponent => scale += suffix.exponent,
        }
        if scale < SCALE_MIN {
            digits = divided(digits, (SCALE_MIN - scale) as u32).0;
            scale = SCALE_MIN;
        }
        if format == Format::BinarySi {
            let max = i128::from(i64::MAX);
            if shifted(max, scale.unsigned_abs()).is_none_or(|max| digits > max) {
                (digits, scale) = (max, 0);
            }
            if digits > 0 && divided(digits, scale.unsigned_abs()) == (1, false) {
                format = Format::DecimalSi;
            }
        }
        // Zeros at the end belong to the exponent, where there is too much of either.
        while (digits > DIGITS_MAX || scale > EXPONENT_MAX as i32 / 2) && digits != 0 && digits % 10 == 0 {
            digits /= 10;
            scale += 1;
        }
        if digits > DIGITS_MAX {
            return Err(QuantityError::Number);
        }
        let scale = scale.min(EXPONENT_MAX as i32);
        let digits = if self.negative { -digits } else { digits };
        Ok(Quantity { digits, scale, format, text: None })
    }

    /// Whether upstream reads it without arbitrary precision.
    fn is_fast(&self, suffix: &Suffix) -> bool {
        let digits = self.whole.len() + self.fraction.len();
        match suffix.format {
            Format::BinarySi => self.fraction.is_empty() && digits + suffix.exponent as usize * 3 / 10 < 15,
            Format::DecimalSi | Format::DecimalExponent => digits <= FAST_DIGITS_MAX && self.scale(suffix) >= SCALE_MIN,
        }
    }

    fn scale(&self, suffix: &Suffix) -> i32 {
        suffix.exponent - self.fraction.len() as i32
    }

    /// Upstream takes some texts for canonical as they are, not all of them rightly (`1.500`, `+1`),
    /// and gives them back unchanged.
    fn keeps_text(&self, suffix: &Suffix) -> bool {
        self.is_fast(suffix)
            && match suffix.format {
                Format::BinarySi => self.whole.parse::<u64>().is_ok_and(|whole| whole & 7 != 0),
                Format::DecimalSi | Format::DecimalExponent => {
                    let ends_in_zeros = || format!("{}{}", self.whole, self.fraction).ends_with("000");
                    self.scale(suffix) % 3 == 0 && !self.whole.starts_with('0') && !ends_in_zeros()
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", QuantityError::Format)]
    #[case("abc", QuantityError::Format)]
    #[case("1 ", QuantityError::Format)]
    #[case("1.1.1", QuantityError::Format)]
    #[case("--1", QuantityError::Suffix)]
    #[case("1mm", QuantityError::Suffix)]
    #[case("1K", QuantityError::Suffix)]
    #[case("1e", QuantityError::Suffix)]
    #[case("1ki", QuantityError::Suffix)]
    #[case("Ei", QuantityError::Number)]
    #[case("e-10", QuantityError::Number)]
    fn errors(#[case] text: &str, #[case] expected: QuantityError) {
        assert_eq!(text.parse::<Quantity>().unwrap_err(), expected);
    }
}
