//! Field selectors: `metadata.name=x,status.phase!=y`, with `\` escaping `\`, `,` and `=` in values.
//!
//! Upstream: apimachinery/pkg/fields/selector.go.

use std::fmt;

use super::SelectorError;
use crate::value::Key;

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// What one field must or must not be; an absent field is the empty text.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldRequirement {
    pub field: Key,
    pub value: Key,
    /// `!=`
    pub not: bool,
}

// === impl FieldSelector ===

impl FieldSelector {
    /// Selects everything.
    pub fn everything() -> FieldSelector {
        FieldSelector::default()
    }

    /// Selects the objects that have a value in a field.
    pub fn equals(field: impl Into<Key>, value: impl Into<Key>) -> FieldSelector {
        FieldSelector { requirements: vec![FieldRequirement { field: field.into(), value: value.into(), not: false }] }
    }

    /// Reads the text form, as in `fieldSelector=` of a request.
    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let mut terms = split(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, not, value)) = operator(term) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            let value = unescape(value)?;
            // Upstream takes a term without field and value for no term at all.
            if !field.is_empty() || !value.is_empty() {
                requirements.push(FieldRequirement { field: field.into(), value: value.into(), not });
            }
        }
        Ok(FieldSelector { requirements })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The terms, to be called by other names.
    pub fn requirements_mut(&mut self) -> &mut [FieldRequirement] {
        &mut self.requirements
    }

    /// Whether fields match; `lookup` gives a field's value, none or empty where it has none.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|one| (lookup(&one.field).unwrap_or_default() == one.value) != one.not)
    }

    /// The one value that a field must have.
    pub fn requires(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|one| one.field == field && !one.not).map(|one| one.value.as_str())
    }
}

/// The text form, which parses back.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, FieldRequirement { field, value, not }) in self.requirements.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let operator = if *not { "!=" } else { "=" };
            write!(f, "{comma}{field}{operator}{}", escape(value))?;
        }
        Ok(())
    }
}

/// The terms between commas that are not escaped.
fn split(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Field, whether `!=`, and value, at the first operator.
fn operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.char_indices().find(|&(at, c)| c == '=' || term[at..].starts_with("!="))?.0;
    let (field, rest) = term.split_at(at);
    let (not, value) = match rest.strip_prefix("!=") {
        Some(value) => (true, value),
        None => (false, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?),
    };
    Some((field, not, value))
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => plain.push(c),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{other}")));
                }
            },
            ',' | '=' => {
                let code = c as u32;
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {code}")));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "")]
    #[case("metadata.name=a", "metadata.name=a")]
    #[case("metadata.name==a", "metadata.name=a")]
    #[case("b!=1,a=2,", "a=2,b!=1")]
    #[case(r"a=x\,y\=z\\", r"a=x\,y\=z\\")]
    #[case("a=", "a=")]
    #[case("=,a=b", "a=b")]
    fn read(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(FieldSelector::parse(text).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("a", "invalid selector: 'a'; can't understand 'a'")]
    #[case("a=b=c", "invalid field selector: unescaped character in value: 61")]
    #[case(r"a=\x", r"invalid field selector: invalid escape sequence: \x")]
    #[case(r"a=\", r"invalid field selector: invalid escape sequence: \")]
    fn errors(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), expected);
    }

    #[rstest]
    #[case("spec.nodeName=n1", true)]
    #[case("spec.nodeName!=n1", false)]
    #[case("spec.nodeName=", false)]
    #[case("absent=", true)]
    #[case("absent!=x", true)]
    fn matching(#[case] text: &str, #[case] expected: bool) {
        let lookup = |field: &str| (field == "spec.nodeName").then_some("n1");
        assert_eq!(FieldSelector::parse(text).unwrap().matches(lookup), expected);
    }

    proptest! {
        #[test]
        fn any_value_survives(value in any::<String>()) {
            let selector = FieldSelector::equals("metadata.name", value.as_str());
            prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}
