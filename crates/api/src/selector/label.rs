//! Label selectors and how they match.

use std::fmt;

use super::{SelectorError, parse};
use crate::field::go_quote;
use crate::names;
use crate::value::{Key, Map, Value};

/// Requirements that must all hold, sorted by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    /// Selects nothing: what an absent selector object means.
    nothing: bool,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    pub key: Key,
    pub operator: Operator,
    /// Sorted; as many as the operator takes.
    pub values: Vec<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    /// Selects nothing.
    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    /// Reads the text form, as in `labelSelector=` of a request.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        LabelSelector::of(parse::requirements(text)?)
    }

    /// Reads a `LabelSelector` object: `matchLabels` and `matchExpressions`. Null selects nothing,
    /// an empty object everything.
    pub fn from_object(object: &Value) -> Result<LabelSelector, SelectorError> {
        if object.is_null() {
            return Ok(LabelSelector::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in object.get("matchLabels").as_object().into_iter().flat_map(Map::iter) {
            let value = value.as_str().unwrap_or_default();
            requirements.push(Requirement::new(key.clone(), Operator::Equals, vec![value.into()])?);
        }
        for expression in object.array_at("matchExpressions") {
            let operator = match expression.str_at("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let said = format!("{} is not a valid label selector operator", go_quote(other));
                    return Err(SelectorError(said));
                }
            };
            let values = expression.array_at("values").iter().filter_map(Value::as_str).map(Key::from).collect();
            requirements.push(Requirement::new(expression.str_at("key").into(), operator, values)?);
        }
        LabelSelector::of(requirements)
    }

    /// Reads a plain map of labels (`spec.selector` of Services and replication controllers).
    /// Values are not validated. No labels select everything; upstream's callers check for that.
    pub fn from_labels(labels: &Value) -> LabelSelector {
        let labels = labels.as_object().into_iter().flat_map(Map::iter);
        let mut requirements: Vec<Requirement> = labels
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::Equals,
                values: vec![value.as_str().unwrap_or_default().into()],
            })
            .collect();
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        LabelSelector { requirements, nothing: false }
    }

    /// The selector of these requirements.
    pub fn of(mut requirements: Vec<Requirement>) -> Result<LabelSelector, SelectorError> {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements, nothing: false })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels match; `lookup` gives a label's value.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|one| one.matches(lookup(&one.key)))
    }

    /// Whether an object's labels match (`metadata.labels`, null where there are none).
    pub fn matches_labels(&self, labels: &Value) -> bool {
        self.matches(|key| labels.as_object().and_then(|labels| labels.get(key)).and_then(Value::as_str))
    }

    /// The same for labels as pairs.
    pub fn matches_pairs<K: AsRef<str>, V: AsRef<str>>(&self, labels: &[(K, V)]) -> bool {
        self.matches(|key| labels.iter().find(|(name, _)| name.as_ref() == key).map(|(_, value)| value.as_ref()))
    }

    /// The one value that a label must have, if there is just one.
    pub fn requires(&self, key: &str) -> Option<&str> {
        let one = self.requirements.iter().find(|one| one.key == key)?;
        match (one.operator, one.values.as_slice()) {
            (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) => Some(value),
            _ => None,
        }
    }
}

/// The text form, which parses back.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, one) in self.requirements.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{one}")?;
        }
        Ok(())
    }
}

// === impl Requirement ===

impl Requirement {
    /// A requirement with a valid key and as many valid values as the operator takes.
    pub fn new(key: Key, operator: Operator, mut values: Vec<Key>) -> Result<Requirement, SelectorError> {
        use Operator::*;
        let mut said: Vec<String> = Vec::new();
        let complaints = names::label_key(&key);
        if !complaints.is_empty() {
            said.push(invalid("key", &key, &complaints.join("; ")));
        }
        let wrong_number = match operator {
            In | NotIn if values.is_empty() => Some("for 'in', 'notin' operators, values set can't be empty"),
            Equals | DoubleEquals | NotEquals if values.len() != 1 => {
                Some("exact-match compatibility requires one single value")
            }
            Exists | DoesNotExist if !values.is_empty() => {
                Some("values set must be empty for exists and does not exist")
            }
            GreaterThan | LessThan if values.len() != 1 => {
                Some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
            _ => None,
        };
        if let Some(why) = wrong_number {
            said.push(invalid_list("values", &values, why));
        }
        for (at, value) in values.iter().enumerate() {
            if matches!(operator, GreaterThan | LessThan) && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                said.push(invalid(&format!("values[{at}]"), value, why));
            }
        }
        for (at, value) in values.iter().enumerate() {
            let complaints = names::label_value(value);
            if !complaints.is_empty() {
                said.push(invalid(&format!("values[{at}][{key}]"), value, &complaints.join("; ")));
            }
        }
        match said.as_slice() {
            [] => {
                values.sort();
                values.dedup();
                Ok(Requirement { key, operator, values })
            }
            [one] => Err(SelectorError(one.clone())),
            many => Err(SelectorError(format!("[{}]", many.join(", ")))),
        }
    }

    /// Whether a label's value (none where the label is absent) is as required.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|one| one == value);
        let compared = |holds: fn(&i64, &i64) -> bool| match (value, self.values.first()) {
            (Some(value), Some(bound)) => match (value.parse(), bound.parse()) {
                (Ok(value), Ok(bound)) => holds(&value, &bound),
                _ => false,
            },
            _ => false,
        };
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compared(i64::gt),
            Operator::LessThan => compared(i64::lt),
        }
    }
}

fn invalid(path: &str, value: &str, why: &str) -> String {
    format!("{path}: Invalid value: {}: {why}", go_quote(value))
}

fn invalid_list(path: &str, values: &[Key], why: &str) -> String {
    let values: Vec<String> = values.iter().map(|value| go_quote(value)).collect();
    format!("{path}: Invalid value: [{}]: {why}", values.join(","))
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requirement { key, values, .. } = self;
        let values = values.join(",");
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;
    use proptest::prelude::*;
    use rstest::rstest;

    fn object(text: &str) -> Result<LabelSelector, SelectorError> {
        LabelSelector::from_object(&json::parse(text.as_bytes()).unwrap())
    }

    #[rstest]
    #[case("", true)]
    #[case("app=web", true)]
    #[case("app==web,tier", true)]
    #[case("app!=web", false)]
    #[case("absent!=web", true)]
    #[case("app in (db,web)", true)]
    #[case("app notin (db,web)", false)]
    #[case("absent notin (db)", true)]
    #[case("absent in (db)", false)]
    #[case("tier", true)]
    #[case("!tier", false)]
    #[case("!absent", true)]
    #[case("n>4", true)]
    #[case("n<5", false)]
    #[case("tier>1", false)]
    #[case("empty=", true)]
    #[case("empty in (,x)", true)]
    fn matching(#[case] selector: &str, #[case] expected: bool) {
        let labels = [("app", "web"), ("tier", "front"), ("n", "5"), ("empty", "")];
        let selector = LabelSelector::parse(selector).unwrap();
        assert_eq!(selector.matches_pairs(&labels), expected);
        let tree: Value = labels.into_iter().collect::<Map>().into();
        assert_eq!(selector.matches_labels(&tree), expected);
    }

    #[test]
    fn the_object_form() {
        let selector = object(
            r#"{"matchLabels":{"b":"1","a":"2"},"matchExpressions":[{"key":"c","operator":"In","values":["y","x"]},
               {"key":"d","operator":"DoesNotExist"}]}"#,
        )
        .unwrap();
        assert_eq!(selector.to_string(), "a=2,b=1,c in (x,y),!d");
        assert_eq!(selector.requires("a"), Some("2"));
        assert_eq!(selector.requires("c"), None);
        assert!(object("{}").unwrap().is_empty());
        assert!(!object("null").unwrap().matches_pairs::<&str, &str>(&[]));
        assert!(!object("null").unwrap().is_empty());
    }

    #[rstest]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"Is"}]}"#, r#""Is" is not a valid label selector operator"#)]
    #[case(
        r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#,
        "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
    )]
    #[case(
        r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":["x"]}]}"#,
        r#"values: Invalid value: ["x"]: values set must be empty for exists and does not exist"#
    )]
    fn object_errors(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(object(text).unwrap_err().to_string(), expected);
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(
            key in "[a-z]{1,4}(/[a-z]{1,3})?",
            values in prop::collection::vec("[a-z0-9]{0,3}", 1..4),
            operator in 0usize..3,
        ) {
            let operator = [Operator::In, Operator::NotIn, Operator::Exists][operator];
            let values = if operator == Operator::Exists { vec![] } else { values.into_iter().map(Key::from).collect() };
            let one = Requirement::new(key.into(), operator, values).unwrap();
            let selector = LabelSelector::of(vec![one]).unwrap();
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn no_text_panics(text in "[a-z=!(),<> ]{0,24}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
