//! Which objects a quota is about.

use smol_str::SmolStr;

use crate::kinds::pod::aggregate::qos_class;
use crate::kinds::read::Read;
use crate::selector::{LabelSelector, Operator, Requirement};
use crate::value::Value;

/// One requirement of a quota: a scope, and for some what of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    pub name: SmolStr,
    pub operator: SmolStr,
    pub values: Vec<SmolStr>,
}

/// All requirements of a quota.
pub fn of(quota: &Value) -> Vec<Scope> {
    let texts = |list: &[Value]| list.iter().filter_map(Value::as_str).map(SmolStr::from).collect::<Vec<_>>();
    let plain = texts(quota.array_at("spec.scopes"));
    let plain = plain.into_iter().map(|name| Scope { name, operator: "Exists".into(), values: Vec::new() });
    let selected = quota.array_at("spec.scopeSelector.matchExpressions").iter().map(|one| Scope {
        name: one.str_at("scopeName").into(),
        operator: one.str_at("operator").into(),
        values: texts(one.array_at("values")),
    });
    plain.chain(selected).collect()
}

/// Whether a pod is in a scope.
pub fn has_pod(scope: &Scope, pod: &Value) -> bool {
    let spec = pod.at("spec");
    match scope.name.as_str() {
        "Terminating" => is_terminating(pod),
        "NotTerminating" => !is_terminating(pod),
        "BestEffort" => qos_class(spec) == "BestEffort",
        "NotBestEffort" => qos_class(spec) != "BestEffort",
        "PriorityClass" => {
            let class = Some(spec.str_at("priorityClassName")).filter(|class| !class.is_empty());
            if scope.operator == "Exists" { class.is_some() } else { scope.selects(class) }
        }
        "CrossNamespacePodAffinity" => reaches_other_namespaces(spec),
        _ => false,
    }
}

/// Whether the pod ends by itself.
pub fn is_terminating(pod: &Value) -> bool {
    pod.i64_at("spec.activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

/// Whether a claim is in a scope.
pub fn has_claim(scope: &Scope, claim: &Value) -> bool {
    if scope.name != "VolumeAttributesClass" {
        return false;
    }
    let paths = [
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    let classes: Vec<&str> = paths.iter().map(|path| claim.str_at(path)).filter(|name| !name.is_empty()).collect();
    match scope.operator.as_str() {
        "Exists" => !classes.is_empty(),
        _ if classes.is_empty() => scope.selects(None),
        _ => classes.iter().any(|class| scope.selects(Some(class))),
    }
}

impl Scope {
    /// Whether a class by this name, or none, is meant.
    fn selects(&self, class: Option<&str>) -> bool {
        let operator = match self.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return false,
        };
        let values = self.values.iter().map(|value| value.as_str().into()).collect();
        let requirement = Requirement::new(self.name.as_str().into(), operator, values);
        let selector = requirement.and_then(|one| LabelSelector::of(vec![one]));
        selector.is_ok_and(|selector| selector.matches(|key| class.filter(|_| key == self.name)))
    }
}

fn reaches_other_namespaces(spec: &Value) -> bool {
    let reaches = |term: &Value| term.filled("namespaces") || term.has("namespaceSelector");
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let affinity = spec.at("affinity").at(kind);
        let required = affinity.array_at("requiredDuringSchedulingIgnoredDuringExecution");
        let preferred = affinity.array_at("preferredDuringSchedulingIgnoredDuringExecution");
        required.iter().any(reaches) || preferred.iter().any(|one| reaches(one.at("podAffinityTerm")))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::codec::json;

    #[rstest]
    #[case::ends_by_itself(r#"{"scopes":["Terminating"]}"#, r#"{"activeDeadlineSeconds":5}"#, true)]
    #[case::runs_on(r#"{"scopes":["Terminating"]}"#, "{}", false)]
    #[case::both(r#"{"scopes":["NotTerminating","BestEffort"]}"#, r#"{"containers":[{}]}"#, true)]
    #[case::of_a_class(
        r#"{"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["a"]}]}}"#,
        r#"{"priorityClassName":"a"}"#,
        true
    )]
    #[case::of_another_class(
        r#"{"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["a"]}]}}"#,
        r#"{"priorityClassName":"b"}"#,
        false
    )]
    #[case::of_no_class(
        r#"{"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"NotIn","values":["a"]}]}}"#,
        "{}",
        true
    )]
    #[case::across(
        r#"{"scopes":["CrossNamespacePodAffinity"]}"#,
        r#"{"affinity":{"podAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"podAffinityTerm":{"namespaceSelector":{}}}]}}}"#,
        true
    )]
    fn pods(#[case] quota: &str, #[case] spec: &str, #[case] expected: bool) {
        let value = |text: String| json::parse(text.as_bytes()).unwrap();
        let (quota, pod) = (value(format!(r#"{{"spec":{quota}}}"#)), value(format!(r#"{{"spec":{spec}}}"#)));
        assert_eq!(of(&quota).iter().all(|scope| has_pod(scope, &pod)), expected);
    }
}
