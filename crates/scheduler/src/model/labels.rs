//! Label selectors and node selectors, read once and matched often.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// A label selector: all requirements must hold. Without any it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    requirements: Vec<Requirement>,
    /// Selects nothing: an absent selector, or one that can't be read.
    nothing: bool,
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// Not an operator: holds for nothing.
    Unknown,
}

/// A selector as the API writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawSelector {
    #[serde(deserialize_with = "nullable")]
    match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    match_expressions: Vec<RawRequirement>,
}

/// A requirement as the API writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawRequirement {
    #[serde(deserialize_with = "nullable")]
    key: String,
    #[serde(deserialize_with = "nullable")]
    operator: String,
    #[serde(deserialize_with = "nullable")]
    values: Vec<String>,
}

/// A node selector term as the API writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawNodeTerm {
    #[serde(deserialize_with = "nullable")]
    match_expressions: Vec<RawRequirement>,
    #[serde(deserialize_with = "nullable")]
    match_fields: Vec<RawRequirement>,
}

/// A node selector term: requirements on labels and on the node's name. Without any it matches nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeTerm {
    labels: Vec<Requirement>,
    names: Vec<Requirement>,
}

// === impl Requirement ===

impl Requirement {
    fn new(raw: &RawRequirement) -> Requirement {
        let operator = match raw.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            _ => Operator::Unknown,
        };
        Requirement { key: raw.key.clone(), operator, values: raw.values.clone() }
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|wanted| wanted == value));
        let number = |text: &str| text.parse::<i64>().ok();
        let compare = |is: fn(i64, i64) -> bool| {
            let bound = self.values.first().and_then(|bound| number(bound));
            matches!((value.and_then(number), bound), (Some(value), Some(bound)) if is(value, bound))
        };
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compare(|value, bound| value > bound),
            Operator::Lt => compare(|value, bound| value < bound),
            Operator::Unknown => false,
        }
    }
}

// === impl Selector ===

impl Selector {
    /// Reads a selector; an absent one selects nothing.
    pub fn new(raw: Option<&RawSelector>) -> Selector {
        let Some(raw) = raw else { return Selector { nothing: true, ..Selector::default() } };
        let mut selector = Selector::of_labels(&raw.match_labels);
        selector.requirements.extend(raw.match_expressions.iter().map(Requirement::new));
        selector
    }

    /// Selects what has all of these labels.
    pub fn of_labels(labels: &Labels) -> Selector {
        let requirement = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        };
        Selector { requirements: labels.iter().map(requirement).collect(), nothing: false }
    }

    /// Adds that a label must have a value.
    pub fn and(&mut self, key: &str, value: &str) {
        let values = vec![value.to_string()];
        self.requirements.push(Requirement { key: key.to_string(), operator: Operator::In, values });
    }

    /// Adds that a label must not have a value.
    pub fn and_not(&mut self, key: &str, value: &str) {
        let values = vec![value.to_string()];
        self.requirements.push(Requirement { key: key.to_string(), operator: Operator::NotIn, values });
    }

    /// Adds another selector's requirements.
    pub fn and_all(&mut self, other: &Selector) {
        self.requirements.extend(other.requirements.iter().cloned());
        self.nothing |= other.nothing;
    }

    /// Whether it has no requirement at all, so that it selects everything.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Whether it can't select anything.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels.get(&r.key).map(String::as_str)))
    }
}

// === impl NodeTerm ===

impl NodeTerm {
    /// Reads a term.
    pub fn new(raw: &RawNodeTerm) -> NodeTerm {
        NodeTerm {
            labels: raw.match_expressions.iter().map(Requirement::new).collect(),
            names: raw.match_fields.iter().map(Requirement::new).collect(),
        }
    }

    /// Whether a node with this name and these labels matches.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        let empty = self.labels.is_empty() && self.names.is_empty();
        !empty
            && self.labels.iter().all(|r| r.matches(labels.get(&r.key).map(String::as_str)))
            && self.names.iter().all(|r| r.key == "metadata.name" && r.matches(Some(name)))
    }

    /// The names to which the term is bound, if it is.
    pub fn bound_names(&self) -> Option<Vec<&str>> {
        let field = self.names.iter().find(|r| r.key == "metadata.name" && r.operator == Operator::In)?;
        Some(field.values.iter().map(String::as_str).collect())
    }
}

/// Reads `null` as the default, as Go does.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn labels() -> Labels {
        [("app", "web"), ("cpu", "8")].map(|(k, v)| (k.to_string(), v.to_string())).into()
    }

    #[rstest]
    #[case::absent_selects_nothing("null", false)]
    #[case::empty_selects_all("{}", true)]
    #[case::labels(r#"{"matchLabels":{"app":"web"}}"#, true)]
    #[case::other_value(r#"{"matchLabels":{"app":"db"}}"#, false)]
    #[case::in_list(r#"{"matchExpressions":[{"key":"app","operator":"In","values":["db","web"]}]}"#, true)]
    #[case::not_in_holds_for_absent(r#"{"matchExpressions":[{"key":"x","operator":"NotIn","values":["a"]}]}"#, true)]
    #[case::exists(r#"{"matchExpressions":[{"key":"x","operator":"Exists"}]}"#, false)]
    #[case::does_not_exist(r#"{"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]}"#, true)]
    fn selects(#[case] json: &str, #[case] expected: bool) {
        let raw: Option<RawSelector> = serde_json::from_str(json).unwrap();
        assert_eq!(Selector::new(raw.as_ref()).matches(&labels()), expected);
    }

    #[rstest]
    #[case::empty_matches_nothing("{}", false)]
    #[case::greater(r#"{"matchExpressions":[{"key":"cpu","operator":"Gt","values":["4"]}]}"#, true)]
    #[case::less(r#"{"matchExpressions":[{"key":"cpu","operator":"Lt","values":["8"]}]}"#, false)]
    #[case::no_number(r#"{"matchExpressions":[{"key":"app","operator":"Gt","values":["4"]}]}"#, false)]
    #[case::by_name(r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]}"#, true)]
    #[case::name_and_label(
        r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}],"matchExpressions":[{"key":"x","operator":"Exists"}]}"#, false)]
    fn node_terms(#[case] json: &str, #[case] expected: bool) {
        let raw: RawNodeTerm = serde_json::from_str(json).unwrap();
        assert_eq!(NodeTerm::new(&raw).matches("n1", &labels()), expected);
    }
}
