use client::{ApiError, ClientError, View};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use rstest::rstest;

use super::plan::BURST_MAX;
use super::*;

fn pod(name: &str, status: &str) -> Arc<Object<Pod>> {
    let json = format!(r#"{{"metadata":{{"name":"{name}","labels":{{"app":"web"}}}},"status":{{{status}}}}}"#);
    Arc::new(Object::decode(json.into()).unwrap())
}

fn running(name: &str) -> Arc<Object<Pod>> {
    pod(
        name,
        r#""phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]"#,
    )
}

fn now() -> jiff::Timestamp {
    "2026-01-01T00:00:10Z".parse().unwrap()
}

#[rstest]
#[case::none_missing(2, 2, 0, 0)]
#[case::some_missing(5, 2, 3, 0)]
#[case::too_many(1, 3, 0, 2)]
#[case::all(0, 3, 0, 3)]
#[case::a_burst_at_once(2000, 0, BURST_MAX, 0)]
fn how_many(#[case] replicas: i32, #[case] there: usize, #[case] create: usize, #[case] delete: usize) {
    let owned: Vec<_> = (0..there).map(|at| running(&format!("p{at}"))).collect();
    let plan = plan(replicas, &owned, &[], now());
    assert_eq!((plan.create, plan.delete.len()), (create, delete));
}

#[test]
fn pods_that_do_not_run_go_first() {
    let owned = [running("a"), pod("b", r#""phase":"Pending""#), running("c")];
    assert_eq!(plan(2, &owned, &[], now()).delete, ["b"]);
}

const SET: &str = r#"{"kind":"ReplicaSet","apiVersion":"apps/v1","metadata":{"name":"web","generation":4},
    "spec":{"replicas":2,"minReadySeconds":30,"selector":{"matchLabels":{"app":"web"}},
            "template":{"metadata":{"labels":{"app":"web"}}}},
    "status":{"replicas":7,"laterField":true}}"#;

#[test]
fn the_status_counts_and_keeps_what_it_does_not_know() {
    let set = ReplicaSet::decode(SET.as_bytes()).unwrap();
    let owned = [running("a"), pod("b", "")];
    let (tree, is_settled) = status::update(json::parse(SET.as_bytes()).unwrap(), &set, &owned, Some(1), None, now());
    let status = tree.unwrap().get("status").clone();
    let expected = r#"{"replicas":2,"laterField":true,"fullyLabeledReplicas":2,"readyReplicas":1,"terminatingReplicas":1,"observedGeneration":4}"#;
    assert_eq!(json::write(&status), expected);
    assert!(!is_settled, "one pod will become available by waiting");
    let next = pods::next_availability(owned.iter().map(|pod| &pod.view), 30, now());
    assert_eq!(next, Some(std::time::Duration::from_secs(20)));
}

#[test]
fn a_status_that_is_right_is_not_written() {
    let set = ReplicaSet::decode(SET.as_bytes()).unwrap();
    let (tree, _) = status::update(json::parse(SET.as_bytes()).unwrap(), &set, &[], Some(0), None, now());
    let (again, _) = status::update(tree.unwrap(), &set, &[], Some(0), None, now());
    assert_eq!(again, None);
}

#[test]
fn a_failure_is_a_condition_until_it_is_over() {
    let set = ReplicationController::decode(br#"{"metadata":{},"spec":{"replicas":1}}"#).unwrap();
    let error = ClientError::Api(Box::new(ApiError { message: "exceeded quota".into(), ..ApiError::default() }));
    let failure = Failure { reason: "FailedCreate", error };
    let (tree, _) = status::update(api::value::Value::object(), &set, &[], None, Some(&failure), now());
    let tree = tree.unwrap();
    let expected = r#"[{"type":"ReplicaFailure","status":"True","lastTransitionTime":"2026-01-01T00:00:10Z","reason":"FailedCreate","message":"exceeded quota"}]"#;
    assert_eq!(json::write(tree.at("status.conditions")), expected);
    let (tree, _) = status::update(tree, &set, &[], None, None, now());
    assert!(tree.unwrap().at("status.conditions").is_null());
}

#[test]
fn an_empty_selector_owns_nothing() {
    let set = ReplicaSet::decode(br#"{"metadata":{},"spec":{"selector":{}}}"#).unwrap();
    assert!(!selects(&set.selector(), &Some([("a".to_owned(), "b".to_owned())].into())));
}
