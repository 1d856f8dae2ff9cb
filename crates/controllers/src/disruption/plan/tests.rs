use client::{View, json};
use rstest::rstest;

use super::*;

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn budget(spec: &str, status: &str) -> PodDisruptionBudget {
    let text = format!(r#"{{"metadata":{{"name":"b","generation":2}},"spec":{spec},"status":{status}}}"#);
    PodDisruptionBudget::decode(text.as_bytes()).unwrap()
}

fn pod(name: &str, ready: bool, more: &str) -> Arc<Object<Pod>> {
    let ready = if ready { "True" } else { "False" };
    let text = format!(
        r#"{{"metadata":{{"name":"{name}"{more}}},"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
    );
    Arc::new(Object::decode(text.into()).unwrap())
}

#[rstest]
#[case::at_least_a_number(r#"{"minAvailable":3}"#, 5, 5, 3)]
#[case::at_least_a_share(r#"{"minAvailable":"28%"}"#, 10, 10, 3)]
#[case::at_most_a_number(r#"{"maxUnavailable":1}"#, 5, 5, 4)]
#[case::at_most_more_than_there_are(r#"{"maxUnavailable":7}"#, 5, 5, 0)]
#[case::at_most_a_share_rounds_up(r#"{"maxUnavailable":"30%"}"#, 4, 4, 2)]
#[case::nothing_asked("{}", 5, 0, 0)]
fn what_is_expected(#[case] spec: &str, #[case] count: i32, #[case] pods: i32, #[case] healthy: i32) {
    let budget = budget(spec, "{}");
    assert_eq!(expected(budget.spec.as_ref().unwrap(), count), Ok(Expected { pods, healthy }));
}

#[test]
fn a_share_that_is_none() {
    let budget = budget(r#"{"minAvailable":"many"}"#, "{}");
    assert!(expected(budget.spec.as_ref().unwrap(), 3).unwrap_err().contains("string is not a percentage"));
}

#[test]
fn evicted_pods_count_as_gone_until_it_turns_out_that_they_stay() {
    let status = r#"{"disruptedPods":{"fresh":"2026-01-01T00:59:00Z","stays":"2026-01-01T00:50:00Z","going":"2026-01-01T00:59:00Z","gone":"2026-01-01T00:59:00Z"}}"#;
    let pods = [
        pod("fresh", true, ""),
        pod("stays", true, ""),
        pod("going", true, r#","deletionTimestamp":"2026-01-01T00:59:01Z""#),
        pod("other", true, ""),
        pod("sick", false, ""),
    ];
    let outcome = disrupted(&budget("{}", status), &pods, now());
    assert_eq!(outcome.pods.keys().collect::<Vec<_>>(), ["fresh"]);
    assert_eq!(
        (outcome.not_deleted.as_slice(), outcome.recheck),
        (&["stays".to_owned()][..], Some(Duration::from_mins(1)))
    );
    assert_eq!(healthy(&pods, &outcome), 2);
}

#[rstest]
#[case::enough(5, 4, 5, 1, "True", "SufficientPods")]
#[case::just_enough(4, 4, 5, 0, "False", "InsufficientPods")]
#[case::too_few(1, 4, 5, 0, "False", "InsufficientPods")]
#[case::no_pods(0, 0, 0, 0, "False", "InsufficientPods")]
fn statuses(
    #[case] healthy: i32,
    #[case] desired: i32,
    #[case] pods: i32,
    #[case] allowed: i32,
    #[case] state: &str,
    #[case] reason: &str,
) {
    let mut budget = budget("{}", "{}");
    let wanted = Expected { pods, healthy: desired };
    let status = status(&budget, healthy, wanted, &Disrupted::default(), now()).unwrap();
    assert_eq!((status.disruptions_allowed, status.observed_generation), (Some(allowed), Some(2)));
    let condition = &status.conditions.as_ref().unwrap()[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), (state, reason));
    budget.status = Some(status);
    assert_eq!(super::status(&budget, healthy, wanted, &Disrupted::default(), now()), None, "nothing changed");
}

#[test]
fn a_failure_allows_nothing_and_says_why() {
    let known = r#"{"disruptionsAllowed":3,"currentHealthy":5,"conditions":[{"type":"DisruptionAllowed","status":"True","reason":"SufficientPods","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#;
    let tree = json::to_tree(&failed(&budget("{}", known), "no such thing", now())).unwrap();
    assert_eq!((tree.i64_at("disruptionsAllowed"), tree.i64_at("currentHealthy")), (Some(0), Some(5)));
    let condition = &tree.array_at("conditions")[0];
    let said = ["status", "reason", "message", "lastTransitionTime"].map(|field| condition.str_at(field));
    assert_eq!(said, ["False", "SyncFailed", "no such thing", NOW]);
}

#[rstest]
#[case::not_marked("False", "", None)]
#[case::freshly_marked("True", "EvictionByEvictionAPI", Some(60))]
#[case::by_the_kubelet("True", "TerminationByKubelet", None)]
fn marks_wear_off(#[case] state: &str, #[case] reason: &str, #[case] seconds: Option<u64>) {
    let text = format!(
        r#"{{"status":{{"conditions":[{{"type":"DisruptionTarget","status":"{state}","reason":"{reason}","lastTransitionTime":"2026-01-01T00:59:00Z"}}]}}}}"#
    );
    let pod = Pod::decode(text.as_bytes()).unwrap();
    assert_eq!(stale_after(&pod, now()), seconds.map(Duration::from_secs));
}
