//! Quantities: the numbers in `resources`, exact, and their canonical text.
//!
//! Kept in thousand-millionths (nano), which is upstream's finest grain, as `i128`: nothing that a pod may say overflows.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

const NANO: i128 = 1_000_000_000;

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Powers of 1,000: `k`, `M`, `m`.
    #[default]
    Decimal,
    /// Powers of 1,024: `Ki`, `Mi`.
    Binary,
    /// `e3`, `E6`.
    Exponent,
}

/// An amount of something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// Resources by name.
pub type ResourceList = BTreeMap<String, Quantity>;

const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

// === impl Quantity ===

impl Quantity {
    /// Whole units, written with binary suffixes where they fit.
    pub fn bytes(value: u64) -> Self {
        Quantity { nano: i128::from(value) * NANO, format: Format::Binary }
    }

    /// Whole units.
    pub fn units(value: i64) -> Self {
        Quantity { nano: i128::from(value) * NANO, format: Format::Decimal }
    }

    /// Thousandths.
    pub fn milli(value: i64) -> Self {
        Quantity { nano: i128::from(value) * (NANO / 1000), format: Format::Decimal }
    }

    /// Reads a quantity; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text
            .char_indices()
            .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && (*c == '+' || *c == '-'))))
            .map_or(text.len(), |(at, _)| at);
        let (number, suffix) = text.split_at(end);
        let (negative, digits) = match number.as_bytes().first()? {
            b'-' => (true, &number[1..]),
            b'+' => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (format, binary, ten) = suffix_of(suffix)?;
        // mantissa × 10^-len(fraction) × scale, in nano, rounded away from zero.
        let mantissa: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let scaled = mantissa.checked_mul(1i128.checked_shl(binary)?)?;
        let power = ten + 9 - i32::try_from(fraction.len()).ok()?;
        let nano = if power >= 0 {
            scaled.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?
        } else {
            divide_up(scaled, 10i128.checked_pow(power.unsigned_abs())?)
        };
        Some(Quantity { nano: if negative { -nano } else { nano }, format })
    }

    /// Whole units, rounded up.
    pub fn value(self) -> i64 {
        i64::try_from(divide_up(self.nano, NANO)).unwrap_or(i64::MAX)
    }

    /// Thousandths, rounded up.
    pub fn milli_value(self) -> i64 {
        i64::try_from(divide_up(self.nano, NANO / 1000)).unwrap_or(i64::MAX)
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// The sum, written as `self` is unless that is zero.
    #[must_use]
    pub fn plus(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nano: self.nano.saturating_add(other.nano), format }
    }

    /// The difference, written as `self` is.
    #[must_use]
    pub fn minus(self, other: Quantity) -> Quantity {
        Quantity { nano: self.nano.saturating_sub(other.nano), format: self.format }
    }

    /// As the API carries it.
    pub fn wire(self) -> Wire {
        Wire(self.to_string())
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl From<&Wire> for Quantity {
    /// The API server has validated it; what is none counts as nothing.
    fn from(wire: &Wire) -> Self {
        Quantity::parse(&wire.0).unwrap_or_default()
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.format == Format::Binary && self.nano % NANO == 0 && (self.nano / NANO).abs() >= 1024 {
            let mut value = self.nano / NANO;
            let mut suffix = "";
            for (name, _) in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = name;
            }
            return write!(f, "{value}{suffix}");
        }
        let (mut value, mut at) = (self.nano, 0);
        if value == 0 {
            return f.write_str("0");
        }
        while at + 1 < DECIMAL.len() && value % 1000 == 0 {
            value /= 1000;
            at += 1;
        }
        match (self.format, DECIMAL[at]) {
            (Format::Exponent, (_, power)) if power != 0 => write!(f, "{value}e{power}"),
            (_, (suffix, _)) => write!(f, "{value}{suffix}"),
        }
    }
}

fn suffix_of(suffix: &str) -> Option<(Format, u32, i32)> {
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((Format::Binary, *shift, 0));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Format::Decimal, 0, *power));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Format::Exponent, 0, exponent))
}

/// Rounds away from zero.
fn divide_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    if rest == 0 { quotient } else { quotient + rest.signum() }
}

/// The list in a spec as quantities.
pub fn list(wire: Option<&BTreeMap<String, Wire>>) -> ResourceList {
    wire.into_iter().flatten().map(|(name, amount)| (name.clone(), amount.into())).collect()
}

/// The list as the API carries it.
pub fn wire(list: &ResourceList) -> BTreeMap<String, Wire> {
    list.iter().map(|(name, amount)| (name.clone(), amount.wire())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("100m", 1, 100, "100m")]
    #[case("1500m", 2, 1500, "1500m")]
    #[case("2", 2, 2000, "2")]
    #[case("1Gi", 1 << 30, 1000 << 30, "1Gi")]
    #[case("1024Mi", 1 << 30, 1000 << 30, "1Gi")]
    #[case("1500Mi", 1500 << 20, (1500 << 20) * 1000, "1500Mi")]
    #[case("0.5", 1, 500, "500m")]
    #[case("0.5Gi", 1 << 29, (1 << 29) * 1000, "512Mi")]
    #[case("1e3", 1000, 1_000_000, "1e3")]
    #[case("1000k", 1_000_000, 1_000_000_000, "1M")]
    #[case("0", 0, 0, "0")]
    #[case("512", 512, 512_000, "512")]
    fn reads_and_writes(#[case] text: &str, #[case] value: i64, #[case] milli: i64, #[case] canonical: &str) {
        let quantity = Quantity::parse(text).unwrap();
        assert_eq!((quantity.value(), quantity.milli_value()), (value, milli));
        assert_eq!(quantity.to_string(), canonical);
    }

    #[rstest]
    #[case("")]
    #[case("m")]
    #[case("1.2.3")]
    #[case("1Q")]
    #[case("--1")]
    fn refuses(#[case] text: &str) {
        assert!(Quantity::parse(text).is_none());
    }

    #[test]
    fn a_sum_keeps_the_first_format() {
        let sum = Quantity::parse("1Gi").unwrap().plus(Quantity::parse("24M").unwrap());
        assert_eq!(sum.to_string(), "1097741824");
        assert_eq!(Quantity::default().plus(Quantity::bytes(2048)).to_string(), "2Ki");
    }
}
