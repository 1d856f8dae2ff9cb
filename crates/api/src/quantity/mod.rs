//! Quantities: `500m`, `1.5Gi`, `1e3`, exactly as upstream's `resource.Quantity` reads, rounds, computes and prints them.
//!
//! Numbers are decimal with 128 bits and never go through floating point. Upstream has no bound
//! on digits; ours ends beyond 36 of them, which no resource comes near.

mod format;
mod parse;

use std::cmp::Ordering;

use smol_str::SmolStr;

pub use parse::QuantityError;

/// A number with the suffix family in which it is printed.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// The number is `digits * 10^scale`.
    digits: i128,
    scale: i32,
    format: Format,
    /// How it was written, where that counts as canonical and is kept.
    text: Option<SmolStr>,
}

/// The suffix family of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySi,
    /// `12M`
    DecimalSi,
}

/// Finer parts are rounded up.
const SCALE_MIN: i32 = -9;
/// Larger numbers are not kept: two zeros more, which a suffix may ask for, still fit.
const DIGITS_MAX: i128 = 10i128.pow(36);

// === impl Quantity ===

impl Quantity {
    pub const ZERO: Quantity = Quantity { digits: 0, scale: 0, format: Format::DecimalSi, text: None };

    /// A whole number.
    pub fn new(value: i64, format: Format) -> Quantity {
        Quantity { digits: value.into(), scale: 0, format, text: None }
    }

    /// So many thousandths.
    pub fn from_milli(value: i64, format: Format) -> Quantity {
        Quantity { digits: value.into(), scale: -3, format, text: None }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// The whole value, rounded away from zero; the nearest `i64` where it does not fit.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// The value in thousandths, rounded away from zero; the nearest `i64` where it does not fit.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// The value in units of `10^scale`, rounded away from zero; the nearest `i64` where it does not fit.
    pub fn scaled_value(&self, scale: i32) -> i64 {
        let value = match self.scale >= scale {
            true => shifted(self.digits, (self.scale - scale) as u32).unwrap_or(self.limit()),
            false => divided(self.digits, (scale - self.scale) as u32).0,
        };
        i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
    }

    /// The value where it is whole and fits.
    pub fn as_i64(&self) -> Option<i64> {
        let value = match self.scale >= 0 {
            true => shifted(self.digits, self.scale as u32)?,
            false => match divided(self.digits, self.scale.unsigned_abs()) {
                (value, true) => value,
                _ => return None,
            },
        };
        i64::try_from(value).ok()
    }

    /// The nearest float.
    pub fn as_f64(&self) -> f64 {
        self.digits as f64 * 10f64.powi(self.scale)
    }

    pub fn is_zero(&self) -> bool {
        self.digits == 0
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.digits.signum() as i32
    }

    /// Rounds up (away from zero) to a multiple of `10^scale`; false if that changed the value.
    pub fn round_up(&mut self, scale: i32) -> bool {
        if self.scale >= scale {
            return true;
        }
        let (digits, exact) = divided(self.digits, (scale - self.scale) as u32);
        *self = Quantity { digits, scale, format: self.format, text: None };
        exact
    }

    pub fn add(&mut self, other: &Quantity) {
        self.combine(other, i128::saturating_add);
    }

    pub fn sub(&mut self, other: &Quantity) {
        self.combine(other, i128::saturating_sub);
    }

    pub fn neg(&mut self) {
        self.digits = -self.digits;
        self.text = None;
    }

    /// Multiplies by a whole number.
    pub fn mul(&mut self, factor: i64) {
        self.digits = self.digits.saturating_mul(factor.into()).clamp(-DIGITS_MAX, DIGITS_MAX);
        self.text = None;
    }

    /// A zero takes the other one's format.
    fn combine(&mut self, other: &Quantity, op: fn(i128, i128) -> i128) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.text = None;
        if other.is_zero() {
            return;
        }
        let scale = if self.is_zero() { other.scale } else { self.scale.min(other.scale) };
        let at = |one: &Quantity| shifted(one.digits, (one.scale - scale).max(0) as u32).unwrap_or(one.limit());
        self.digits = op(at(self), at(other)).clamp(-DIGITS_MAX, DIGITS_MAX);
        self.scale = scale;
    }

    /// Where a number goes that is too large.
    fn limit(&self) -> i128 {
        self.digits.signum() * DIGITS_MAX
    }
}

/// Quantities are equal when their numbers are, however written.
impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        let scale = self.scale.min(other.scale);
        let at = |one: &Quantity| shifted(one.digits, (one.scale - scale) as u32).unwrap_or(one.limit());
        at(self).cmp(&at(other))
    }
}

impl Default for Quantity {
    fn default() -> Quantity {
        Quantity::ZERO
    }
}

/// `digits * 10^places`, if it fits.
fn shifted(digits: i128, places: u32) -> Option<i128> {
    match digits {
        0 => Some(0),
        _ => 10i128.checked_pow(places)?.checked_mul(digits).filter(|shifted| shifted.abs() <= DIGITS_MAX),
    }
}

/// `digits / 10^places` rounded away from zero, and whether that was exact.
fn divided(digits: i128, places: u32) -> (i128, bool) {
    match 10i128.checked_pow(places) {
        Some(divisor) => match digits % divisor {
            0 => (digits / divisor, true),
            _ => (digits / divisor + digits.signum(), false),
        },
        None => (digits.signum(), digits == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("1", 1, 1000)]
    #[case("1500m", 2, 1500)]
    #[case("-1500m", -2, -1500)]
    #[case("1n", 1, 1)]
    #[case("1Ki", 1024, 1_024_000)]
    #[case("0.5Gi", 536_870_912, 536_870_912_000)]
    #[case("9223372036854775807", i64::MAX, i64::MAX)]
    #[case("1e30", i64::MAX, i64::MAX)]
    fn values(#[case] text: &str, #[case] value: i64, #[case] milli: i64) {
        assert_eq!((quantity(text).value(), quantity(text).milli_value()), (value, milli));
    }

    #[rstest]
    #[case("1", Some(1))]
    #[case("1500m", None)]
    #[case("2000m", Some(2))]
    #[case("2k", Some(2000))]
    #[case("1e30", None)]
    fn whole(#[case] text: &str, #[case] value: Option<i64>) {
        assert_eq!(quantity(text).as_i64(), value);
    }

    #[rstest]
    #[case("1", "1000m", Ordering::Equal)]
    #[case("1Ki", "1k", Ordering::Greater)]
    #[case("-1", "1n", Ordering::Less)]
    #[case("1e100", "1e99", Ordering::Greater)]
    #[case("1e100", "9Ei", Ordering::Greater)]
    fn order(#[case] a: &str, #[case] b: &str, #[case] expected: Ordering) {
        assert_eq!(quantity(a).cmp(&quantity(b)), expected);
        assert_eq!(quantity(b).cmp(&quantity(a)), expected.reverse());
    }

    #[rstest]
    #[case("1", "500m", "1500m", "500m")]
    #[case("0", "1Gi", "1Gi", "-1Gi")]
    #[case("1Gi", "1G", "2073741824", "73741824")]
    #[case("1Gi", "512Mi", "1536Mi", "512Mi")]
    fn sums(#[case] a: &str, #[case] b: &str, #[case] sum: &str, #[case] difference: &str) {
        let mut total = quantity(a);
        total.add(&quantity(b));
        assert_eq!(total.to_string(), sum);
        let mut rest = quantity(a);
        rest.sub(&quantity(b));
        assert_eq!(rest.to_string(), difference);
    }

    #[rstest]
    #[case("100u", -3, "1m", false)]
    #[case("1500m", -3, "1500m", true)]
    #[case("-1500m", 0, "-2", false)]
    fn rounding(#[case] text: &str, #[case] scale: i32, #[case] rounded: &str, #[case] exact: bool) {
        let mut quantity = quantity(text);
        assert_eq!(quantity.round_up(scale), exact);
        assert_eq!(quantity.to_string(), rounded);
    }

    /// Found by fuzzing: what was computed near the end of 128 bits could be written and not read.
    #[rstest]
    #[case("1000000000000000000000000000000000000")]
    #[case("123456789012345678901234567890123456e1")]
    #[case("302996666666666669999")]
    #[case("303000E3000000")]
    fn computing_ends_where_reading_does(#[case] text: &str) {
        let changes: [fn(&mut Quantity); 4] = [
            |one| one.mul(i64::MIN),
            |one| one.sub(&quantity("-1e36")),
            |one| one.add(&quantity("1e30")),
            Quantity::neg,
        ];
        for change in changes {
            let mut changed = quantity(text);
            change(&mut changed);
            let written = changed.to_string();
            assert_eq!(written.parse::<Quantity>().map(|again| again.to_string()), Ok(written));
        }
    }

    proptest! {
        #[test]
        fn canonical_text_reads_back(digits in any::<i64>(), places in 0usize..12, suffix in "(|n|u|m|k|M|G|Ki|Mi|Gi|Ti|e3|E-2)") {
            let text = format!("{digits}.{:0places$}{suffix}", 5);
            let once: Quantity = text.parse().unwrap();
            let again: Quantity = once.to_string().parse().unwrap();
            prop_assert_eq!(&once, &again);
            prop_assert_eq!(again.to_string(), once.to_string());
        }

        #[test]
        fn adding_and_taking_away_changes_nothing(a in any::<i32>(), b in any::<i32>()) {
            let (a, b) = (Quantity::from_milli(a.into(), Format::DecimalSi), Quantity::new(b.into(), Format::BinarySi));
            let mut sum = a.clone();
            sum.add(&b);
            sum.sub(&b);
            prop_assert_eq!(sum, a);
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,44}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                let _ = (quantity.to_string(), quantity.value(), quantity.milli_value());
            }
        }
    }
}
