use rstest::rstest;

use super::*;
use crate::authz::{Change, Mode};
use crate::testing::parse;

/// `bob` may get pods everywhere, `binder` may bind the role `viewer`, `escalator` may escalate roles in `ns`.
fn authorizer() -> Authorizer {
    let authorizer = Authorizer::new(vec![Mode::Rbac]);
    let objects = [
        (
            "clusterroles",
            r#"{"metadata":{"name":"pods"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}"#,
        ),
        (
            "clusterroles",
            r#"{"metadata":{"name":"viewer"},"rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["pods"]}]}"#,
        ),
        (
            "clusterroles",
            r#"{"metadata":{"name":"bind"},"rules":[{"verbs":["bind"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"resourceNames":["viewer"]}]}"#,
        ),
        (
            "clusterroles",
            r#"{"metadata":{"name":"escalate"},"rules":[{"verbs":["escalate"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"]}]}"#,
        ),
        (
            "clusterrolebindings",
            r#"{"metadata":{"name":"1"},"roleRef":{"kind":"ClusterRole","name":"pods"},"subjects":[{"kind":"User","name":"bob"}]}"#,
        ),
        (
            "clusterrolebindings",
            r#"{"metadata":{"name":"2"},"roleRef":{"kind":"ClusterRole","name":"bind"},"subjects":[{"kind":"User","name":"binder"}]}"#,
        ),
        (
            "rolebindings",
            r#"{"metadata":{"name":"3","namespace":"ns"},"roleRef":{"kind":"ClusterRole","name":"escalate"},"subjects":[{"kind":"User","name":"escalator"}]}"#,
        ),
    ];
    for (resource, text) in objects {
        authorizer.apply(GROUP, resource, Change::Put(&parse(text).unwrap()));
    }
    authorizer
}

const HELD: &str = r#"{"metadata":{"name":"new"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}"#;
const MORE: &str =
    r#"{"metadata":{"name":"new"},"rules":[{"verbs":["get","list","watch"],"apiGroups":[""],"resources":["pods"]}]}"#;
const AGGREGATED: &str = r#"{"metadata":{"name":"new"},"aggregationRule":{"clusterRoleSelectors":[{}]}}"#;
const TO_VIEWER: &str = r#"{"metadata":{"name":"new"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"viewer"}}"#;
const TO_PODS: &str = r#"{"metadata":{"name":"new"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"pods"}}"#;
const TO_NOTHING: &str = r#"{"metadata":{"name":"new"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"none"}}"#;

#[rstest]
#[case::held("bob", "", "clusterroles", "", HELD, "")]
#[case::not_held(
    "bob",
    "",
    "clusterroles",
    "",
    MORE,
    "clusterroles.rbac.authorization.k8s.io \"new\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) is \
     attempting to grant RBAC permissions not currently held:\n\
     {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}"
)]
#[case::masters("root", "system:masters", "clusterroles", "", MORE, "")]
#[case::may_escalate("escalator", "", "roles", "ns", MORE, "")]
#[case::may_escalate_elsewhere(
    "escalator",
    "",
    "roles",
    "other",
    HELD,
    "roles.rbac.authorization.k8s.io \"new\" is forbidden: user \"escalator\" (groups=[\"system:authenticated\"]) is \
     attempting to grant RBAC permissions not currently held:\n\
     {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}"
)]
#[case::aggregation(
    "bob",
    "",
    "clusterroles",
    "",
    AGGREGATED,
    "clusterroles.rbac.authorization.k8s.io \"new\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
)]
#[case::bind_held("bob", "", "clusterrolebindings", "", TO_PODS, "")]
#[case::bind_not_held(
    "bob",
    "",
    "rolebindings",
    "ns",
    TO_VIEWER,
    "rolebindings.rbac.authorization.k8s.io \"new\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) is \
     attempting to grant RBAC permissions not currently held:\n\
     {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}"
)]
#[case::may_bind("binder", "", "clusterrolebindings", "", TO_VIEWER, "")]
#[case::no_such_role(
    "bob",
    "",
    "clusterrolebindings",
    "",
    TO_NOTHING,
    "clusterrolebindings.rbac.authorization.k8s.io \"none\" not found"
)]
fn writes(
    #[case] user: &str,
    #[case] group: &str,
    #[case] resource: &str,
    #[case] namespace: &str,
    #[case] new: &str,
    #[case] expected: &str,
) {
    let groups = [group];
    let user = UserInfo::authenticated(user, if group.is_empty() { &[] } else { &groups });
    let new = parse(new).unwrap();
    let write = Write { user: &user, resource, namespace, name: "", new: &new, old: None };
    let said = check(&write, &authorizer()).map_or_else(|status| status.message, |()| String::new());
    assert_eq!(said, expected);
}

#[test]
fn the_garbage_collector_needs_no_permissions() {
    let user = UserInfo::authenticated("gc", &[]);
    let new = parse(MORE).unwrap();
    let mut old = new.clone();
    old.set("metadata.finalizers", vec!["orphan"]);
    let mut write =
        Write { user: &user, resource: "clusterroles", namespace: "", name: "new", new: &new, old: Some(&old) };
    assert_eq!(check(&write, &authorizer()), Ok(()));
    let other = parse(HELD).unwrap();
    write.old = Some(&other);
    assert!(check(&write, &authorizer()).is_err());
}
