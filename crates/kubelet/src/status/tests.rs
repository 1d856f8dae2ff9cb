//! Statuses as tables: a pod, what runs, what was known before, and the status that follows.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::observed::{Container as Seen, RunState, Sandbox};
use crate::plan::Outcome;

fn pod(spec: Value, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 2}, "spec": spec, "status": status,
    }))
    .unwrap()
}

/// `name=run`, `name=ok`, `name=bad`, newest first.
fn seen(containers: &[&str]) -> Observed {
    let sandbox =
        Sandbox { id: "s".into(), ready: true, addresses: Some(vec!["10.0.0.2".into()]), ..Sandbox::default() };
    let containers = containers.iter().enumerate().map(|(at, text)| {
        let (name, state) = text.split_once('=').unwrap();
        let (state, exit_code, reason) = match state {
            "run" => (RunState::Running, 0, ""),
            "ok" => (RunState::Exited, 0, "Completed"),
            "made" => (RunState::Created, 0, ""),
            _ => (RunState::Exited, 1, "Error"),
        };
        Seen {
            id: format!("{name}{at}"),
            name: name.into(),
            sandbox: "s".into(),
            state,
            exit_code,
            reason: reason.into(),
            started_at: 5_000_000_000,
            finished_at: if state == RunState::Exited { 9_000_000_000 } else { 0 },
            ..Seen::default()
        }
    });
    Observed { containers: containers.collect(), sandboxes: vec![sandbox] }
}

struct Case {
    pod: Pod,
    observed: Observed,
    findings: Findings,
    waiting: BTreeMap<String, Waiting>,
    ended: bool,
}

impl Case {
    fn new(spec: Value, status: Value, containers: &[&str]) -> Self {
        let observed = if containers == ["none"] { Observed::default() } else { seen(containers) };
        Case { pod: pod(spec, status), observed, findings: Findings::default(), waiting: BTreeMap::new(), ended: false }
    }

    fn status(&self) -> PodStatus {
        generate(Input {
            pod: &self.pod,
            old: &self.pod.status.clone().unwrap_or_default(),
            observed: &self.observed,
            findings: &self.findings,
            waiting: &self.waiting,
            runtime: "containerd",
            ended: self.ended,
            eviction: None,
            host_ips: &["192.0.2.1".into()],
            started_at: 0,
            recursive_read_only: false,
            resize: &[],
        })
    }
}

fn two(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]})
}

fn condition(status: &PodStatus, type_: &str) -> (String, String, String) {
    let found = status.conditions.iter().flatten().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone().unwrap_or_default(), found.message.clone().unwrap_or_default())
}

#[rstest]
#[case::nothing_yet("Always", &["none"], "Pending")]
#[case::half("Always", &["a=run"], "Pending")]
#[case::all_run("Always", &["a=run", "b=run"], "Running")]
#[case::crashed_always("Always", &["a=bad", "b=ok"], "Running")]
#[case::one_left("Never", &["a=run", "b=bad"], "Running")]
#[case::succeeded("Never", &["a=ok", "b=ok"], "Succeeded")]
#[case::failed("Never", &["a=ok", "b=bad"], "Failed")]
#[case::retries("OnFailure", &["a=ok", "b=bad"], "Running")]
#[case::done("OnFailure", &["a=ok", "b=ok"], "Succeeded")]
fn phases(#[case] policy: &str, #[case] containers: &[&str], #[case] phase: &str) {
    let status = Case::new(two(policy), json!({}), containers).status();
    assert_eq!(status.phase.as_deref(), Some(phase));
}

#[rstest]
#[case(&["i=run"], "Always", "Pending")]
#[case(&["i=bad"], "Always", "Pending")]
#[case(&["i=bad"], "Never", "Failed")]
#[case(&["i=ok"], "Never", "Pending")]
#[case(&["i=ok", "a=run"], "Never", "Running")]
fn phases_while_initializing(#[case] containers: &[&str], #[case] policy: &str, #[case] phase: &str) {
    let spec = json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    assert_eq!(Case::new(spec, json!({}), containers).status().phase.as_deref(), Some(phase));
}

#[test]
fn an_ended_pod_has_a_last_phase_whatever_its_policy() {
    let mut case = Case::new(two("Always"), json!({"phase": "Running"}), &["a=ok", "b=bad"]);
    case.ended = true;
    assert_eq!(case.status().phase.as_deref(), Some("Failed"));
    case.observed = seen(&["a=ok", "b=ok"]);
    assert_eq!(case.status().phase.as_deref(), Some("Succeeded"));
}

#[test]
fn a_terminal_phase_stays() {
    let case =
        Case::new(two("Always"), json!({"phase": "Failed", "reason": "Evicted", "message": "m"}), &["a=run", "b=run"]);
    let status = case.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Evicted")));
}

#[test]
fn a_new_pod_waits() {
    let status = Case::new(two("Always"), json!({}), &["none"]).status();
    let first = &status.container_statuses.as_ref().unwrap()[0];
    let waiting = first.state.as_ref().unwrap().waiting.as_ref().unwrap();
    assert_eq!(
        (waiting.reason.as_deref(), first.ready, first.started),
        (Some("ContainerCreating"), false, Some(false))
    );
    let not = |reason: &str, message: &str| ("False".to_owned(), reason.to_owned(), message.to_owned());
    assert_eq!(condition(&status, "PodReadyToStartContainers"), not("PodSandboxNotReady", "no pod sandbox exists"));
    assert_eq!(condition(&status, "Ready"), not("ContainersNotReady", "containers with unready status: [a b]"));
    assert_eq!(condition(&status, "Initialized").0, "True");
    assert_eq!((status.host_ip.as_deref(), status.pod_ip), (Some("192.0.2.1"), None));
    assert_eq!(status.observed_generation, Some(2));
}

#[test]
fn a_running_pod_is_ready() {
    let status = Case::new(two("Always"), json!({}), &["a=run", "b=run"]).status();
    for type_ in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, type_), ("True".into(), String::new(), String::new()), "{type_}");
    }
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.2"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    let first = &status.container_statuses.unwrap()[0];
    assert_eq!((first.container_id.as_deref(), first.ready), (Some("containerd://a0"), true));
}

#[rstest]
#[case(None, false, false)]
#[case(Some(Outcome::Failure), false, false)]
#[case(Some(Outcome::Success), false, true)]
fn readiness_is_the_probes(#[case] found: Option<Outcome>, #[case] was_ready: bool, #[case] expected: bool) {
    let spec = json!({"containers": [{"name": "a", "readinessProbe": {"tcpSocket": {"port": 1}}}]});
    let conditions = json!({"conditions": [{"type": "Ready", "status": if was_ready { "True" } else { "False" }}]});
    let mut case = Case::new(spec, conditions, &["a=run"]);
    case.findings.readiness.extend(found.map(|found| ("a0".to_owned(), found)));
    assert_eq!(case.status().container_statuses.unwrap()[0].ready, expected);
}

#[test]
fn a_startup_probe_holds_readiness_back() {
    let spec = json!({"containers": [{"name": "a", "startupProbe": {"tcpSocket": {"port": 1}}}]});
    let mut case = Case::new(spec, json!({}), &["a=run"]);
    let of = |case: &Case| {
        let first = case.status().container_statuses.unwrap().remove(0);
        (first.started, first.ready)
    };
    assert_eq!(of(&case), (Some(false), false));
    case.findings.startup.insert("a0".into(), Outcome::Success);
    assert_eq!(of(&case), (Some(true), true));
}

#[test]
fn readiness_gates_count() {
    let mut spec = two("Always");
    spec["readinessGates"] = json!([{"conditionType": "example.com/gate"}]);
    let status = Case::new(spec.clone(), json!({}), &["a=run", "b=run"]).status();
    let message = "corresponding condition of pod readiness gate \"example.com/gate\" does not exist.";
    assert_eq!(condition(&status, "Ready"), ("False".into(), "ReadinessGatesNotReady".into(), message.into()));
    assert_eq!(condition(&status, "ContainersReady").0, "True");
    let gate = json!({"conditions": [{"type": "example.com/gate", "status": "True"}]});
    let status = Case::new(spec, gate, &["a=run", "b=run"]).status();
    assert_eq!(condition(&status, "Ready").0, "True");
    assert_eq!(condition(&status, "example.com/gate").0, "True");
}

#[test]
fn a_crash_loop_waits_and_remembers() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]}), json!({}), &["a=bad", "a=bad"]);
    case.observed.containers[0].restart_count = 1;
    let waiting = Waiting { reason: "CrashLoopBackOff".into(), message: "back-off 10s restarting".into() };
    case.waiting.insert("a".into(), waiting);
    let first = case.status().container_statuses.unwrap().remove(0);
    assert_eq!(first.state.unwrap().waiting.unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    let last = first.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.container_id.as_deref(), first.restart_count), (1, Some("containerd://a0"), 1));
}

#[test]
fn what_vanished_was_killed() {
    let before = json!({"phase": "Running", "containerStatuses": [{"name": "a", "image": "i", "imageID": "", "ready": true,
        "restartCount": 0, "state": {"running": {}}, "containerID": "containerd://x"}]});
    let case = Case::new(json!({"containers": [{"name": "a"}]}), before, &["none"]);
    let status = case.status();
    let first = &status.container_statuses.as_ref().unwrap()[0];
    let last = first.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref(), first.restart_count), (137, Some("ContainerStatusUnknown"), 1));
    assert_eq!(status.phase.as_deref(), Some("Running"));
}

#[test]
fn init_containers_say_how_far_they_are() {
    let spec = json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
    let status = Case::new(spec, json!({}), &["j=run", "i=ok"]).status();
    let message = "containers with incomplete status: [j]";
    assert_eq!(condition(&status, "Initialized"), ("False".into(), "ContainersNotInitialized".into(), message.into()));
    let init = status.init_container_statuses.unwrap();
    assert_eq!((init[0].ready, init[1].ready), (true, false));
    let waiting = status.container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
}

#[test]
fn a_succeeded_pod_is_completed() {
    let status = Case::new(two("Never"), json!({}), &["a=ok", "b=ok"]).status();
    assert_eq!(condition(&status, "Ready"), ("False".into(), "PodCompleted".into(), String::new()));
    assert_eq!(condition(&status, "Initialized"), ("True".into(), "PodCompleted".into(), String::new()));
}
