use rstest::rstest;
use serde_json::json;

use super::*;
use crate::kinds::testing::{create, object, said, tree, update};

fn job(change: serde_json::Value) -> Value {
    let mut job = object(
        true,
        json!({"metadata": {"uid": "u"}, "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}}}),
    );
    for (path, value) in tree(change).as_object().unwrap().iter() {
        job.set(path, value);
    }
    job
}

#[rstest]
#[case::sound(json!({}), "")]
#[case::restart(json!({"spec.template.spec.restartPolicy": "Always"}),
    r#"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#)]
#[case::parallelism(json!({"spec.parallelism": -1}),
    "spec.parallelism: Invalid value: -1: must be greater than or equal to 0")]
#[case::indexed(json!({"spec.completionMode": "Indexed", "spec.parallelism": 1}),
    "spec.completions: Required value: when completion mode is Indexed")]
#[case::mode(json!({"spec.completionMode": "Odd"}),
    r#"spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed""#)]
#[case::per_index(json!({"spec.backoffLimitPerIndex": 1}),
    "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode")]
#[case::wrong_label(json!({"spec.template.metadata.labels": {"job-name": "other"}}),
    r#"spec.template.metadata.labels[job-name]: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"a","controller-uid":"u","job-name":"other"}: must be 'a'"#)]
#[case::failure_rule(json!({"spec.podFailurePolicy": {"rules": [{"action": "FailJob"}]}}),
    "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required")]
#[case::exit_codes(json!({"spec.podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 0]}}]}}),
    "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator; spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0]: must be ordered")]
#[case::managed_by(json!({"spec.managedBy": "me"}),
    r#"spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")"#)]
fn new_jobs(#[case] change: serde_json::Value, #[case] expected: &str) {
    assert_eq!(create(&RULES, true, job(change)).err().unwrap_or_default().join("; "), expected);
}

#[test]
fn a_job_selects_its_pods_by_uid() {
    let created = create(&RULES, true, job(json!({}))).unwrap();
    assert_eq!(created.at("spec.selector"), &tree(json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})));
    assert_eq!((created.int("spec.completions"), created.int("spec.backoffLimit")), (1, 6));
    assert_eq!(created.str_at("spec.podReplacementPolicy"), "TerminatingOrFailed");
}

#[rstest]
#[case::parallelism(json!({"spec.parallelism": 3}), "")]
#[case::completions(json!({"spec.completions": 3}), "spec.completions: Invalid value: 3: field is immutable")]
#[case::template(json!({"spec.template.spec.nodeName": "n"}), "spec.template: Invalid value: ")]
fn job_updates(#[case] change: serde_json::Value, #[case] expected: &str) {
    let old = create(&RULES, true, job(json!({}))).unwrap();
    let mut new = old.clone();
    for (path, value) in tree(change).as_object().unwrap().iter() {
        new.set(path, value);
    }
    let said = update(&RULES, true, new, old).err().unwrap_or_default().join("; ");
    assert!(if expected.is_empty() { said.is_empty() } else { said.starts_with(expected) }, "{said}");
}

#[rstest]
#[case(json!({"succeeded": 1}), json!({"succeeded": 0}), "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter")]
#[case(json!({}), json!({"ready": 1}), "status.ready: Invalid value: 1: cannot set more ready pods than active")]
#[case(json!({}), json!({"startTime": "2020-01-01T00:00:00Z", "completionTime": "2020-01-01T00:00:00Z", "conditions": [{"type": "Complete", "status": "True"}]}),
    "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition")]
#[case(json!({"conditions": [{"type": "Failed", "status": "True"}, {"type": "FailureTarget", "status": "True"}], "startTime": "x"}), json!({"startTime": "x"}),
    "status.conditions: Invalid value: cannot disable the terminal Failed=True condition; status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition")]
fn status_transitions(#[case] old: serde_json::Value, #[case] new: serde_json::Value, #[case] expected: &str) {
    let mut errors = FieldErrors::new();
    status::validate(&tree(json!({"status": new})), &tree(json!({"status": old})), &mut errors);
    assert_eq!(said(&errors).join("; "), expected);
}
