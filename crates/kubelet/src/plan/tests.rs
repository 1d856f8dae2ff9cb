//! The decision as tables: a pod, what runs, what the probes say, and what follows.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::observed::{Container as Seen, Sandbox};

fn pod(policy: &str, init: Value, containers: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"restartPolicy": policy, "initContainers": init, "containers": containers},
    }))
    .unwrap()
}

fn c(name: &str) -> Value {
    json!({"name": name, "image": "i"})
}

fn sidecar(name: &str) -> Value {
    json!({"name": name, "image": "i", "restartPolicy": "Always"})
}

/// `name=state` in sandbox `s0`: `run`, `made`, `ok`, `bad` (exit 1), `lost`.
fn seen(pod: &Pod, ready: bool, containers: &[&str]) -> Observed {
    let sandbox = Sandbox { id: "s0".into(), ready, addresses: Some(vec!["10.0.0.2".into()]), ..Sandbox::default() };
    let containers = containers.iter().map(|text| {
        let (name, state) = text.split_once('=').unwrap();
        let (_, spec) = pod.find_container(name).unwrap();
        let (state, exit_code) = match state {
            "run" => (RunState::Running, 0),
            "made" => (RunState::Created, 0),
            "ok" => (RunState::Exited, 0),
            "bad" => (RunState::Exited, 1),
            _ => (RunState::Unknown, 0),
        };
        let sandbox = "s0".into();
        Seen {
            id: format!("id-{name}"),
            name: name.into(),
            sandbox,
            state,
            exit_code,
            hash: labels::hash(&spec),
            ..Seen::default()
        }
    });
    Observed { containers: containers.collect(), sandboxes: vec![sandbox] }
}

fn decide(pod: &Pod, observed: &Observed) -> Actions {
    plan(pod, observed, &Findings::default(), None, false)
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_containers() {
    let pod = pod("Always", json!([]), json!([c("a"), c("b")]));
    let actions = decide(&pod, &Observed::default());
    assert_eq!(actions, Actions { kill_pod: true, create_sandbox: true, start: vec![0, 1], ..Actions::default() });
}

#[test]
fn a_new_pod_with_init_containers_starts_the_first() {
    let pod = pod("Always", json!([c("i"), c("j")]), json!([c("a")]));
    let actions = decide(&pod, &Observed::default());
    assert_eq!((actions.start_init, actions.start), (vec![0], vec![]));
}

#[rstest]
#[case::all_run("Always", &["a=run", "b=run"], false, &[])]
#[case::one_is_new("Always", &["a=run"], false, &[1])]
#[case::one_failed_always("Always", &["a=run", "b=bad"], false, &[1])]
#[case::one_succeeded_always("Always", &["a=run", "b=ok"], false, &[1])]
#[case::one_failed_on_failure("OnFailure", &["a=run", "b=bad"], false, &[1])]
#[case::one_succeeded_on_failure("OnFailure", &["a=run", "b=ok"], false, &[])]
#[case::one_failed_never("Never", &["a=run", "b=bad"], false, &[])]
#[case::all_done("Never", &["a=bad", "b=ok"], true, &[])]
#[case::all_succeeded_on_failure("OnFailure", &["a=ok", "b=ok"], true, &[])]
#[case::made_but_not_started("Never", &["a=run", "b=made"], false, &[1])]
fn regular_containers(#[case] policy: &str, #[case] state: &[&str], #[case] kill_pod: bool, #[case] start: &[usize]) {
    let pod = pod(policy, json!([]), json!([c("a"), c("b")]));
    let actions = decide(&pod, &seen(&pod, true, state));
    assert_eq!((actions.kill_pod, actions.start.as_slice()), (kill_pod, start));
    assert!(actions.kill.is_empty() && !actions.create_sandbox);
}

#[rstest]
#[case::first_runs("Always", &["i=run"], false, &[])]
#[case::first_done("Always", &["i=ok"], false, &[1])]
#[case::first_failed("Always", &["i=bad"], false, &[0])]
#[case::first_failed_for_good("Never", &["i=bad"], true, &[])]
#[case::first_not_started("Always", &["i=made"], false, &[0])]
#[case::second_runs("Always", &["i=ok", "j=run"], false, &[])]
#[case::second_failed("OnFailure", &["i=ok", "j=bad"], false, &[1])]
#[case::only_the_last_is_remembered("Always", &["j=run"], false, &[])]
fn init_containers(#[case] policy: &str, #[case] state: &[&str], #[case] kill_pod: bool, #[case] start: &[usize]) {
    let pod = pod(policy, json!([c("i"), c("j")]), json!([c("a")]));
    let actions = decide(&pod, &seen(&pod, true, state));
    assert_eq!((actions.kill_pod, actions.start_init.as_slice()), (kill_pod, start));
    assert!(actions.start.is_empty());
}

#[test]
fn regular_containers_follow_the_last_init_container() {
    let pod = pod("Always", json!([c("i"), c("j")]), json!([c("a")]));
    let actions = decide(&pod, &seen(&pod, true, &["i=ok", "j=ok"]));
    assert_eq!((actions.start_init, actions.start), (vec![], vec![0]));
}

/// Regression: an init container that the runtime has forgotten ran again beside the running pod.
#[test]
fn a_running_pod_never_initializes_again() {
    let pod = pod("Always", json!([c("i")]), json!([c("a")]));
    let actions = decide(&pod, &seen(&pod, true, &["a=run"]));
    assert_eq!(actions, Actions { sandbox: Some("s0".into()), ..Actions::default() });
}

#[rstest]
#[case::starts_the_next_once_up(&["s=run"], &[1], &[])]
#[case::restarts_while_initializing(&["s=ok", "j=run"], &[0], &[])]
#[case::restarts_beside_the_pod(&["s=bad", "j=ok", "a=run"], &[0], &[])]
#[case::is_kept(&["s=run", "j=ok", "a=run"], &[], &[])]
#[case::pod_starts_after_both(&["s=run", "j=ok"], &[], &[0])]
fn sidecars(#[case] state: &[&str], #[case] start_init: &[usize], #[case] start: &[usize]) {
    let pod = pod("OnFailure", json!([sidecar("s"), c("j")]), json!([c("a")]));
    let actions = decide(&pod, &seen(&pod, true, state));
    assert_eq!((actions.start_init.as_slice(), actions.start.as_slice()), (start_init, start));
    assert!(!actions.kill_pod);
}

#[test]
fn a_sidecar_does_not_keep_a_finished_pod_alive() {
    let pod = pod("OnFailure", json!([sidecar("s")]), json!([c("a")]));
    let actions = decide(&pod, &seen(&pod, true, &["s=bad", "a=ok"]));
    assert!(actions.kill_pod && actions.start_init.is_empty());
}

#[test]
fn a_sidecar_with_a_startup_probe_holds_the_next_back() {
    let slow =
        json!({"name": "s", "image": "i", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["x"]}}});
    let pod = pod("Always", json!([slow, c("j")]), json!([c("a")]));
    let observed = seen(&pod, true, &["s=run"]);
    let mut findings = Findings::default();
    let mut start = |outcome| {
        findings.startup.insert("id-s".into(), outcome);
        let actions = plan(&pod, &observed, &findings, None, false);
        (actions.start_init, actions.kill.first().map(|kill| kill.message.clone()))
    };
    assert_eq!(start(Outcome::Unknown), (vec![], None));
    assert_eq!(start(Outcome::Failure), (vec![0], Some("Init container s failed startup probe".into())));
    assert_eq!(start(Outcome::Success), (vec![1], None));
}

#[rstest]
#[case::restarts("Always", "Container a failed liveness probe, will be restarted", &[0])]
#[case::only_dies("Never", "Container a failed liveness probe", &[])]
fn a_failed_liveness_probe(#[case] policy: &str, #[case] message: &str, #[case] start: &[usize]) {
    let pod = pod(policy, json!([]), json!([c("a"), c("b")]));
    let findings = Findings { liveness: [("id-a".to_owned(), Outcome::Failure)].into(), ..Findings::default() };
    let actions = plan(&pod, &seen(&pod, true, &["a=run", "b=run"]), &findings, None, false);
    assert_eq!(actions.kill, [kill("id-a", "a", message.into(), Cause::LivenessProbe)]);
    assert_eq!(actions.start, start);
}

#[test]
fn another_image_restarts_the_container_whatever_the_policy() {
    let before = pod("Never", json!([]), json!([c("a")]));
    let observed = seen(&before, true, &["a=run"]);
    let after = pod("Never", json!([]), json!([{"name": "a", "image": "new"}]));
    let actions = decide(&after, &observed);
    assert_eq!(actions.kill[0].message, "Container a definition changed, will be restarted");
    assert_eq!(actions.start, [0]);
}

#[rstest]
#[case::pod_starts_over("Always", &["a=bad"], true, &[0])]
#[case::done_is_done("OnFailure", &["a=ok"], false, &[])]
#[case::never_runs_twice("Never", &["a=bad"], false, &[])]
#[case::nothing_had_started("Never", &[], true, &[0])]
fn a_dead_sandbox(#[case] policy: &str, #[case] state: &[&str], #[case] create: bool, #[case] start: &[usize]) {
    let pod = pod(policy, json!([]), json!([c("a")]));
    let actions = decide(&pod, &seen(&pod, false, state));
    assert_eq!((actions.create_sandbox, actions.start.as_slice(), actions.attempt), (create, start, 1));
    assert!(actions.kill_pod);
}

#[test]
fn ephemeral_containers_start_once() {
    let mut pod = pod("Always", json!([]), json!([c("a")]));
    pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(json!([c("d"), c("e")])).unwrap();
    let actions = decide(&pod, &seen(&pod, true, &["a=run", "d=bad"]));
    assert_eq!(actions.start_ephemeral, [1]);
}

#[test]
fn a_deleted_pod_starts_nothing() {
    let mut pod = pod("Always", json!([]), json!([c("a"), c("b")]));
    pod.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    assert!(decide(&pod, &seen(&pod, true, &["a=run", "b=bad"])).start.is_empty());
}

#[rstest]
#[case::in_matches(json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]), true)]
#[case::in_does_not(json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [2]}}]), false)]
#[case::not_in(json!([{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [2]}}]), true)]
fn rules_by_exit_code(#[case] rules: Value, #[case] restarts: bool) {
    let ruled = json!({"name": "a", "image": "i", "restartPolicy": "Never", "restartPolicyRules": rules});
    let pod = pod("Never", json!([]), json!([ruled, c("b")]));
    let actions = decide(&pod, &seen(&pod, true, &["a=bad", "b=run"]));
    assert_eq!(!actions.start.is_empty(), restarts);
}

#[test]
fn a_restart_of_all_removes_the_cause_last() {
    let rules = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]);
    let cause = json!({"name": "a", "image": "i", "restartPolicy": "Never", "restartPolicyRules": rules});
    let pod = pod("Never", json!([c("i")]), json!([cause, c("b")]));
    let observed = seen(&pod, true, &["i=ok", "a=bad", "b=run"]);
    assert!(restart::all_should(&pod, Some(&observed), &Default::default()));
    let names: Vec<_> = plan(&pod, &observed, &Findings::default(), None, true)
        .reset
        .into_iter()
        .map(|reset| (reset.name, reset.kill))
        .collect();
    assert_eq!(names, [("b".into(), true), ("i".into(), false), ("a".into(), false)]);
}

#[test]
fn sidecars_stop_after_the_others_and_in_reverse() {
    let pod = pod("Always", json!([sidecar("s"), sidecar("t")]), json!([c("a"), c("b")]));
    assert_eq!(termination::prerequisites(&pod, "a"), Vec::<String>::new());
    assert_eq!(termination::prerequisites(&pod, "t"), ["a", "b"]);
    assert_eq!(termination::prerequisites(&pod, "s"), ["a", "b", "t"]);
}

proptest::proptest! {
    /// Whatever the state, nothing that runs well is started or killed, and what is done stays done.
    #[test]
    fn carried_out_it_settles(states in proptest::collection::vec(0..4usize, 5), policy in 0..3usize) {
        let pod = pod(["Always", "OnFailure", "Never"][policy], json!([sidecar("s"), c("i")]), json!([c("a"), c("b"), c("d")]));
        let names = ["s", "i", "a", "b", "d"];
        let texts: Vec<String> = names.iter().zip(&states).filter(|(_, state)| **state < 3)
            .map(|(name, state)| format!("{name}={}", ["run", "ok", "bad"][*state])).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let observed = seen(&pod, true, &texts);
        let actions = decide(&pod, &observed);
        for index in &actions.start {
            let status = observed.container(&pod.containers()[*index].name);
            proptest::prop_assert!(status.is_none_or(|status| status.state != RunState::Running));
        }
        proptest::prop_assert!(actions.kill.is_empty());
        proptest::prop_assert!(!actions.kill_pod || actions.start.is_empty());
    }
}
