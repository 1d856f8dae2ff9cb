//! Selectors of typed objects.

use std::collections::BTreeMap;

use api::selector::{LabelSelector, Operator, Requirement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

/// Labels as typed objects have them.
pub type Labels = Option<BTreeMap<String, String>>;

/// The selector that a typed one means; one that is not valid selects nothing (validation keeps those out).
pub fn selector(typed: &meta::LabelSelector) -> LabelSelector {
    let equal = typed.match_labels.iter().flatten();
    let equal = equal.map(|(key, value)| Requirement::new(key.into(), Operator::In, vec![value.into()]));
    let rest = typed.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.iter().flatten().map(Into::into).collect();
        Requirement::new(expression.key.as_str().into(), operator(&expression.operator), values)
    });
    let all: Result<Vec<Requirement>, _> = equal.chain(rest).collect();
    all.and_then(LabelSelector::of).unwrap_or_else(|_| LabelSelector::nothing())
}

fn operator(name: &str) -> Operator {
    match name {
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => Operator::In,
    }
}

/// The selector of a map of labels; an empty map selects nothing (a controller that selects all owns nothing).
pub fn of_labels(labels: &Labels) -> LabelSelector {
    match labels {
        Some(labels) if !labels.is_empty() => {
            selector(&meta::LabelSelector { match_labels: Some(labels.clone()), match_expressions: None })
        }
        _ => LabelSelector::nothing(),
    }
}

/// Whether labels are selected.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.matches(|key| labels.as_ref()?.get(key).map(String::as_str))
}

/// Whether `labels` hold all of `wanted`.
pub fn contains(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().flatten().all(|(key, value)| labels.as_ref().and_then(|labels| labels.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("In", &["web", "db"], true)]
    #[case("NotIn", &["db"], true)]
    #[case("NotIn", &["web"], false)]
    #[case("Exists", &[], true)]
    #[case("DoesNotExist", &[], false)]
    fn expressions(#[case] operator: &str, #[case] values: &[&str], #[case] expected: bool) {
        let labels: Labels = Some([("app".to_owned(), "web".to_owned())].into());
        let expression = meta::LabelSelectorRequirement {
            key: "app".into(),
            operator: operator.into(),
            values: Some(values.iter().map(|value| value.to_string()).collect()),
        };
        let typed = meta::LabelSelector { match_labels: None, match_expressions: Some(vec![expression]) };
        assert_eq!(selects(&selector(&typed), &labels), expected);
    }
}
