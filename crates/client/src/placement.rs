//! Whether a pod may run on a node: selector, required affinity, taints. Controllers and the kubelet ask the same.

use api::selector::{Operator, Requirement};
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};

use crate::views::MetaExt;

/// Whether the node is one that the pod asks for: `nodeSelector` and required node affinity.
pub fn is_wanted(spec: &PodSpec, node: &Node) -> bool {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
    let labels = spec.node_selector.iter().flatten().all(|(key, value)| node.label(key) == Some(value));
    labels && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// All of a term's requirements hold; a term without any matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = |key: &str| node.label(key);
    let fields = |key: &str| (key == "metadata.name").then(|| node.name());
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let field_expressions = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !field_expressions.is_empty())
        && expressions.iter().all(|one| holds(one, labels(&one.key)))
        && field_expressions.iter().all(|one| holds(one, fields(&one.key)))
}

/// A requirement that can't be read holds nowhere.
fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let operator = match requirement.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return false,
    };
    let values = requirement.values.iter().flatten().map(Into::into).collect();
    Requirement::new(requirement.key.as_str().into(), operator, values).is_ok_and(|one| one.matches(value))
}

/// The first of the node's taints with one of these effects that no toleration covers.
pub fn untolerated<'a>(node: &'a Node, tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    let mut relevant = taints.filter(|taint| effects.contains(&taint.effect.as_str()));
    relevant.find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    let (wanted, there) = (text(&toleration.value), text(&taint.value));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    let numbers = || Some((there.parse::<i64>().ok()?, wanted.parse::<i64>().ok()?));
    match toleration.operator.as_deref() {
        None | Some("" | "Equal") => wanted == there,
        Some("Exists") => true,
        Some("Lt") => numbers().is_some_and(|(there, wanted)| there < wanted),
        Some("Gt") => numbers().is_some_and(|(there, wanted)| there > wanted),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::views::View;
    use rstest::rstest;

    fn node() -> Node {
        Node::decode(
            br#"{"metadata":{"name":"n1","labels":{"disk":"ssd","cores":"8"}},"spec":{"taints":[{"key":"gpu","value":"a","effect":"NoSchedule"}]}}"#,
        )
        .unwrap()
    }

    #[rstest]
    #[case::nothing_asked(r#"{}"#, true)]
    #[case::selector(r#"{"nodeSelector":{"disk":"ssd"}}"#, true)]
    #[case::other_selector(r#"{"nodeSelector":{"disk":"hdd"}}"#, false)]
    #[case::any_term(r#"[{"matchExpressions":[{"key":"disk","operator":"In","values":["hdd"]}]},{"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]}]"#, true)]
    #[case::all_of_a_term(
        r#"[{"matchExpressions":[{"key":"disk","operator":"Exists"},{"key":"cores","operator":"Gt","values":["8"]}]}]"#,
        false
    )]
    #[case::more(r#"[{"matchExpressions":[{"key":"cores","operator":"Gt","values":["7"]}]}]"#, true)]
    #[case::no_terms(r#"[]"#, false)]
    #[case::an_empty_term(r#"[{}]"#, false)]
    fn wanted(#[case] spec: &str, #[case] expected: bool) {
        let mut tree = json::parse(br#"{"containers":[]}"#).unwrap();
        let given = json::parse(spec.as_bytes()).unwrap();
        if given.as_array().is_some() {
            let path = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
            tree.set(path, given);
        } else {
            tree.set("nodeSelector", given.get("nodeSelector").clone());
        }
        let spec: PodSpec = json::from_tree(&tree).unwrap();
        assert_eq!(is_wanted(&spec, &node()), expected);
    }

    #[rstest]
    #[case::none("[]", false)]
    #[case::everything(r#"[{"operator":"Exists"}]"#, true)]
    #[case::equal(r#"[{"key":"gpu","value":"a"}]"#, true)]
    #[case::other_value(r#"[{"key":"gpu","value":"b"}]"#, false)]
    #[case::other_effect(r#"[{"key":"gpu","operator":"Exists","effect":"NoExecute"}]"#, false)]
    fn taints(#[case] tolerations: &str, #[case] expected: bool) {
        let tolerations: Vec<Toleration> = json::from_tree(&json::parse(tolerations.as_bytes()).unwrap()).unwrap();
        assert_eq!(untolerated(&node(), &tolerations, &["NoSchedule"]).is_none(), expected);
    }
}
