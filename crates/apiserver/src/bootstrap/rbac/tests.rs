use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::testing::parse;

#[test]
fn the_table_has_upstreams_objects() {
    let count = |kind: &str| objects().filter(|object| object.str_at("kind") == kind).count();
    let counts = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"].map(count);
    assert_eq!(counts, [73, 54, 7, 7]);
    let names: BTreeSet<String> = objects().map(|object| object.str_at("metadata.name").to_owned()).collect();
    for name in ["cluster-admin", "system:node", "system:kube-scheduler", "system:controller:deployment-controller"] {
        assert!(names.contains(name), "{name}");
    }
    assert!(!PolicyRule::of_role(&node_rules()).is_empty());
}

#[test]
fn every_binding_refers_to_a_role_of_the_table() {
    let id = |kind: &str, namespace: &str, name: &str| format!("{kind} {namespace} {name}");
    let all: BTreeSet<String> = objects()
        .map(|object| id(object.str_at("kind"), object.str_at("metadata.namespace"), object.str_at("metadata.name")))
        .collect();
    for binding in objects().filter(|object| object.field("roleRef").is_some()) {
        let kind = binding.str_at("roleRef.kind");
        let namespace = if kind == "Role" { binding.str_at("metadata.namespace") } else { "" };
        assert!(
            all.contains(&id(kind, namespace, binding.str_at("roleRef.name"))),
            "{}",
            binding.str_at("metadata.name")
        );
    }
}

#[test]
fn a_fresh_cluster_needs_no_second_pass() {
    for object in objects() {
        assert_eq!(reconcile(None, &object), Step::Create(object.clone()));
        assert_eq!(reconcile(Some(&object), &object), Step::None);
    }
}

const ROLE: &str = r#"{"kind":"ClusterRole","metadata":{"name":"r","labels":{"l":"1"},"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"}},
    "rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["pods"]}]}"#;
const AGGREGATED: &str = r#"{"kind":"ClusterRole","metadata":{"name":"r"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]}}"#;
const BINDING: &str = r#"{"kind":"ClusterRoleBinding","metadata":{"name":"b"},"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[{"kind":"User","name":"u"}]}"#;

#[rstest]
#[case::protected(
    r#"{"metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"false"}}}"#,
    ROLE,
    "none"
)]
#[case::labels_are_added_and_kept(
    r#"{"metadata":{"labels":{"l":"mine"}},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}"#, ROLE,
    r#"{"metadata":{"labels":{"l":"mine"},"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"}},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}"#)]
#[case::missing_rules_are_added(
    r#"{"metadata":{"labels":{"l":"1"},"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"}},"rules":[{"verbs":["get","watch"],"apiGroups":[""],"resources":["pods"]}]}"#, ROLE,
    r#"{"metadata":{"labels":{"l":"1"},"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"}},"rules":[{"verbs":["get","watch"],"apiGroups":[""],"resources":["pods"]},{"verbs":["list"],"apiGroups":[""],"resources":["pods"]}]}"#)]
#[case::selectors_are_added(
    r#"{"metadata":{},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"c":"d"}}]}}"#, AGGREGATED,
    r#"{"metadata":{},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"c":"d"}},{"matchLabels":{"a":"b"}}]}}"#)]
#[case::aggregated_rules_stay(
    r#"{"metadata":{},"rules":[{"verbs":["x"]}],"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]}}"#, AGGREGATED, "none")]
#[case::subjects_are_added(
    r#"{"metadata":{},"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[{"kind":"User","name":"mine"}]}"#, BINDING,
    r#"{"metadata":{},"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[{"kind":"User","name":"mine"},{"kind":"User","name":"u"}]}"#)]
fn reconciles(#[case] existing: &str, #[case] expected: &str, #[case] result: &str) {
    let step = reconcile(Some(&parse(existing).unwrap()), &parse(expected).unwrap());
    let wanted = if result == "none" { Step::None } else { Step::Update(parse(result).unwrap()) };
    assert_eq!(step, wanted);
}

#[test]
fn unexpected_aggregation_goes_away_and_another_role_needs_another_binding() {
    let aggregating = {
        let mut role = parse(ROLE).unwrap();
        role.set("aggregationRule.clusterRoleSelectors", Vec::<Value>::new());
        role
    };
    assert_eq!(reconcile(Some(&aggregating), &parse(ROLE).unwrap()), Step::Update(parse(ROLE).unwrap()));
    let mut other = parse(BINDING).unwrap();
    other.set("roleRef.name", "other");
    assert_eq!(reconcile(Some(&other), &parse(BINDING).unwrap()), Step::Recreate(parse(BINDING).unwrap()));
}
