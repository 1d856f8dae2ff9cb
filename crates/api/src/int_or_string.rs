//! A number or a text: ports by number or name, counts absolute or in percent.

use crate::field::go_quote;
use crate::value::Value;

/// `intstr.IntOrString`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    Int(i32),
    String(String),
}

// === impl IntOrString ===

impl IntOrString {
    /// Reads a field; none where it is absent or something else.
    pub fn from_value(value: &Value) -> Option<IntOrString> {
        match value {
            Value::Int(number) => i32::try_from(*number).ok().map(IntOrString::Int),
            Value::String(text) => Some(IntOrString::String(text.to_string())),
            _ => None,
        }
    }

    /// The number, of a text the number that it spells, else 0 (upstream's `IntValue`).
    pub fn int_value(&self) -> i64 {
        match self {
            IntOrString::Int(number) => (*number).into(),
            IntOrString::String(text) => text.parse().unwrap_or(0),
        }
    }

    /// The number, or the percentage of `total`, rounded up or down.
    ///
    /// Upstream: `GetScaledValueFromIntOrPercent`, also the errors.
    pub fn scaled(&self, total: i64, round_up: bool) -> Result<i64, String> {
        let text = match self {
            IntOrString::Int(number) => return Ok((*number).into()),
            IntOrString::String(text) => text,
        };
        let Some(digits) = text.strip_suffix('%') else {
            return Err("invalid value for IntOrString: invalid type: string is not a percentage".to_owned());
        };
        let Ok(percent) = digits.parse::<i64>() else {
            let (text, digits) = (go_quote(text), go_quote(digits));
            let why = format!("strconv.Atoi: parsing {digits}: invalid syntax");
            return Err(format!("invalid value for IntOrString: invalid value {text}: {why}"));
        };
        let exact = percent as f64 * total as f64 / 100.0;
        Ok(if round_up { exact.ceil() } else { exact.floor() } as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn text(text: &str) -> IntOrString {
        IntOrString::String(text.to_owned())
    }

    #[rstest]
    #[case(IntOrString::Int(3), 10, true, 3)]
    #[case(text("25%"), 10, true, 3)]
    #[case(text("25%"), 10, false, 2)]
    #[case(text("0%"), 10, true, 0)]
    #[case(text("150%"), 10, true, 15)]
    fn scaling(#[case] of: IntOrString, #[case] total: i64, #[case] up: bool, #[case] expected: i64) {
        assert_eq!(of.scaled(total, up), Ok(expected));
    }

    #[test]
    fn errors() {
        let said = |value: &str| text(value).scaled(1, true).unwrap_err();
        assert_eq!(said("5"), "invalid value for IntOrString: invalid type: string is not a percentage");
        assert_eq!(
            said("x%"),
            r#"invalid value for IntOrString: invalid value "x%": strconv.Atoi: parsing "x": invalid syntax"#
        );
    }
}
