//! The canonical text: no fraction, the largest suffix that loses nothing.

use std::fmt;

use super::{Format, Quantity, divided, shifted};

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        match (self.digits, self.format) {
            (0, _) => f.write_str("0"),
            (_, Format::BinarySi) => match self.binary_digits() {
                Some(digits) => write_binary(digits, f),
                None => self.write_decimal(Format::DecimalSi, f),
            },
            (_, format) => self.write_decimal(format, f),
        }
    }
}

impl Quantity {
    /// The whole number that is written with a binary suffix; none where a decimal one serves
    /// better: below 1024, and where the number is not whole.
    fn binary_digits(&self) -> Option<i128> {
        let digits = match self.scale >= 0 {
            true => shifted(self.digits, self.scale as u32)?,
            false => match divided(self.digits, self.scale.unsigned_abs()) {
                (digits, true) => digits,
                _ => return None,
            },
        };
        (digits.unsigned_abs() >= 1024).then_some(digits)
    }

    fn write_decimal(&self, format: Format, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut digits, mut exponent) = (self.digits, self.scale);
        while digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        while exponent % 3 != 0 {
            // At most twice, for which there is room.
            digits *= 10;
            exponent -= 1;
        }
        match (format, exponent) {
            (_, 0) => write!(f, "{digits}"),
            (Format::DecimalExponent, _) => write!(f, "{digits}e{exponent}"),
            // Upstream has no suffix beyond these and writes none.
            _ => write!(f, "{digits}{}", decimal_suffix(exponent)),
        }
    }
}

fn write_binary(mut digits: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut times = 0;
    while digits % 1024 == 0 {
        digits /= 1024;
        times += 1;
    }
    write!(f, "{digits}{}", SUFFIXES.get(times).unwrap_or(&""))
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// Expected texts are upstream's own (`resource.ParseQuantity(text).String()`).
    #[rstest]
    #[case("0", "0")]
    #[case("0Ki", "0")]
    #[case("1.5", "1500m")]
    #[case("0.1m", "100u")]
    #[case("0.0000000001", "1n")]
    #[case("1000m", "1")]
    #[case("1000", "1k")]
    #[case("100", "100")]
    #[case("1024", "1024")]
    #[case("1024Mi", "1Gi")]
    #[case("1.5Gi", "1536Mi")]
    #[case("1025Mi", "1025Mi")]
    #[case("0.5Ki", "512")]
    #[case("0.1Ki", "102400m")]
    #[case("12e5", "1200e3")]
    #[case("1e3", "1e3")]
    #[case("1E3", "1E3")]
    #[case("1E", "1E")]
    #[case("10000Ei", "9223372036854775807")]
    #[case("-1.5Gi", "-1536Mi")]
    #[case("+1", "+1")]
    #[case("1.500", "1.500")]
    #[case("0.500", "500m")]
    #[case(".5", "500m")]
    #[case("5.", "5.")]
    #[case("5.Gi", "5.Gi")]
    #[case(".", "0")]
    #[case("+", "0")]
    #[case("-0", "0")]
    #[case("8Mi", "8Mi")]
    #[case("1000E", "1")]
    #[case("1e21", "1e21")]
    #[case("1000000e-3", "1e3")]
    #[case("1e-10", "1e-9")]
    #[case("+100000Gi", "100000Gi")]
    #[case("-0.00001Ki", "-10240u")]
    #[case("01", "01")]
    fn canonical(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Quantity>().unwrap().to_string(), expected);
    }
}
