use rstest::rstest;

use super::*;
use crate::authz::{Change, Mode};
use crate::testing::parse;

/// `bob` may get pods in `ns`, nodes are authorized as nodes.
fn authorizer() -> Authorizer {
    let authorizer = Authorizer::new(vec![Mode::Node, Mode::Rbac]);
    for (resource, text) in [
        (
            "roles",
            r#"{"metadata":{"name":"r","namespace":"ns"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]},{"verbs":["get"],"nonResourceURLs":["/x"]}]}"#,
        ),
        (
            "rolebindings",
            r#"{"metadata":{"name":"b","namespace":"ns"},"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"bob"}]}"#,
        ),
    ] {
        authorizer.apply("rbac.authorization.k8s.io", resource, Change::Put(&parse(text).unwrap()));
    }
    authorizer
}

#[rstest]
#[case::allowed(
    r#"{"spec":{"user":"bob","resourceAttributes":{"verb":"get","resource":"pods","namespace":"ns"}}}"#,
    r#"{"allowed":true,"reason":"RBAC: allowed by RoleBinding \"b/ns\" of Role \"r\" to User \"bob\""}"#
)]
#[case::not_allowed(
    r#"{"spec":{"user":"bob","resourceAttributes":{"verb":"list","resource":"pods","namespace":"ns"}}}"#,
    r#"{"allowed":false}"#
)]
#[case::masters(
    r#"{"spec":{"user":"x","groups":["system:masters"],"nonResourceAttributes":{"verb":"get","path":"/metrics"}}}"#,
    r#"{"allowed":true}"#
)]
#[case::node_with_field_selector(
    r#"{"spec":{"user":"system:node:n","groups":["system:nodes"],"resourceAttributes":{"verb":"list","resource":"pods",
        "fieldSelector":{"rawSelector":"spec.nodeName=n"}}}}"#,
    r#"{"allowed":true}"#
)]
#[case::node_with_broken_selector(
    r#"{"spec":{"user":"system:node:n","groups":["system:nodes"],"resourceAttributes":{"verb":"list","resource":"pods",
        "fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"Exists"}]}}}}"#,
    r#"{"allowed":false,"reason":"node: can only list/watch pods with spec.nodeName field selector",
        "evaluationError":"spec.resourceAttributes.fieldSelector ignored due to parse error"}"#
)]
fn decisions(#[case] review: &str, #[case] status: &str) {
    let answer = subject_access_review(parse(review).unwrap(), &authorizer()).unwrap();
    assert_eq!(*answer.at("status"), parse(status).unwrap());
}

#[rstest]
#[case::nothing_asked(
    r#"{"spec":{"user":"u"}}"#,
    "spec: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
)]
#[case::nobody(
    r#"{"spec":{"resourceAttributes":{}}}"#,
    "spec.user: Invalid value: \"\": at least one of user or group must be specified"
)]
#[case::named(
    r#"{"metadata":{"name":"n"},"spec":{"user":"u","resourceAttributes":{}}}"#,
    "metadata: Invalid value: {\"name\":\"n\"}: must be empty"
)]
fn refused(#[case] review: &str, #[case] why: &str) {
    let status = subject_access_review(parse(review).unwrap(), &authorizer()).unwrap_err();
    assert_eq!(status.code, 422);
    assert_eq!(status.message, format!(".authorization.k8s.io \"\" is invalid: {why}"));
}

#[test]
fn local_reviews_are_of_their_namespace() {
    let review = |namespace: &str| {
        let text = format!(
            r#"{{"metadata":{{"namespace":"ns"}},"spec":{{"user":"bob","resourceAttributes":{{"verb":"get","resource":"pods","namespace":"{namespace}"}}}}}}"#
        );
        local_subject_access_review(parse(&text).unwrap(), "ns", &authorizer())
    };
    assert_eq!(review("ns").unwrap().at("status.allowed"), &Value::Bool(true));
    assert_eq!(review("other").unwrap_err().code, 422);
}

#[test]
fn own_rules() {
    let review =
        parse(r#"{"kind":"SelfSubjectRulesReview","apiVersion":"authorization.k8s.io/v1","spec":{"namespace":"ns"}}"#)
            .unwrap();
    let user = UserInfo::authenticated("bob", &[]);
    let status = self_subject_rules_review(&review, &user, &authorizer()).unwrap().at("status").clone();
    let expected = r#"{"resourceRules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}],
        "nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/x"]}],"incomplete":false}"#;
    assert_eq!(status, parse(expected).unwrap());
    let node = UserInfo::authenticated("system:node:n", &["system:nodes"]);
    let status = self_subject_rules_review(&review, &node, &authorizer()).unwrap().at("status").clone();
    assert_eq!(status.str_at("evaluationError"), "node authorizer does not support user rule resolution");
    assert_eq!(*status.at("incomplete"), Value::Bool(true));
    assert_eq!(self_subject_rules_review(&Value::object(), &user, &authorizer()).unwrap_err().code, 400);
}
