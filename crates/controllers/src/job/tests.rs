use client::View;
use jiff::Timestamp;
use rstest::rstest;

use super::plan::NewPod;
use super::*;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn job(spec: &str, status: &str) -> Job {
    let text = format!(
        r#"{{"metadata":{{"name":"calc","uid":"j"}},"spec":{{{spec}"template":{{"spec":{{"containers":[],"restartPolicy":"Never"}}}}}},"status":{{{status}}}}}"#
    );
    Job::decode(text.as_bytes()).unwrap()
}

/// A tracked pod in a phase; `index` is its annotation, `ago` the seconds since it ended.
fn ended(name: &str, phase: &str, index: Option<i32>, ago: i64) -> Arc<Object<Pod>> {
    let annotations = index.map_or(String::new(), |index| format!(r#""{}":"{index}""#, model::INDEX));
    let at = (now() - jiff::SignedDuration::from_secs(ago)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","uid":"{name}","finalizers":["{TRACKING}"],"annotations":{{{annotations}}}}},
            "status":{{"phase":"{phase}","conditions":[{{"type":"Ready","status":"False","lastTransitionTime":"{at}"}}]}}}}"#
    );
    Arc::new(Object::decode(text.into()).unwrap())
}

fn pod(name: &str, phase: &str) -> Arc<Object<Pod>> {
    ended(name, phase, None, 3600)
}

fn decide(job: &Job, pods: &[Arc<Object<Pod>>]) -> Plan {
    plan(&Observed { job, pods, record: Record::default(), now: now() })
}

fn indexes(plan: &Plan) -> Vec<i32> {
    match &plan.action {
        Action::Create(new) => new.iter().filter_map(|pod| pod.index).collect(),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::up_to_parallelism(r#""completions":5,"parallelism":2,"#, &[], 2)]
#[case::no_more_than_left(r#""completions":3,"parallelism":5,"#, &["Succeeded"], 2)]
#[case::those_missing(r#""completions":5,"parallelism":3,"#, &["Running"], 2)]
#[case::a_queue_keeps_its_width(r#""parallelism":3,"#, &["Running"], 2)]
#[case::a_queue_makes_no_more_after_a_success(r#""parallelism":3,"#, &["Succeeded", "Running"], 0)]
fn how_many_pods(#[case] spec: &str, #[case] phases: &[&str], #[case] expected: usize) {
    let pods: Vec<_> = phases.iter().enumerate().map(|(at, phase)| pod(&format!("p{at}"), phase)).collect();
    let made = match decide(&job(spec, ""), &pods).action {
        Action::Create(new) => new.len(),
        Action::None => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!(made, expected);
}

#[test]
fn too_many_pods_are_deleted_and_not_counted() {
    let pods = [pod("a", "Running"), pod("b", "Running"), pod("c", "Succeeded")];
    let plan = decide(&job(r#""completions":2,"parallelism":2,"#, ""), &pods);
    assert!(matches!(plan.action, Action::Delete { names, uncounted: true } if names.len() == 1));
}

#[rstest]
#[case::first(1, 5)]
#[case::doubled(2, 15)]
#[case::capped(20, 595)]
fn failures_are_replaced_after_a_wait(#[case] failures: i32, #[case] left: u64) {
    let record = Record { failures, last: Some(now() - jiff::SignedDuration::from_secs(5)) };
    assert_eq!(record.left(now()), Duration::from_secs(left));
    let plan = plan(&Observed { job: &job("", ""), pods: &[], record, now: now() });
    assert_eq!((plan.action, plan.again_in), (Action::None, Some(Duration::from_secs(left))));
}

#[test]
fn a_success_forgives_earlier_failures() {
    let (old, new) = (ended("a", "Failed", None, 50), ended("b", "Failed", None, 10));
    let success = ended("c", "Succeeded", None, 30);
    let record = Record { failures: 7, last: None }.after(&[&success], &[&old, &new]);
    assert_eq!((record.failures, record.last), (1, Some(now() - jiff::SignedDuration::from_secs(10))));
}

fn reason(plan: &Plan) -> &str {
    plan.finished.as_ref().and_then(|condition| condition.reason.as_deref()).unwrap_or("")
}

#[rstest]
#[case::within_the_limit(r#""backoffLimit":1,"#, r#""failed":0"#, "")]
#[case::beyond_the_limit(r#""backoffLimit":0,"#, "", "BackoffLimitExceeded")]
#[case::counted_before(r#""backoffLimit":1,"#, r#""failed":1"#, "BackoffLimitExceeded")]
#[case::deadline(
    r#""backoffLimit":9,"activeDeadlineSeconds":60,"#,
    r#""startTime":"2026-01-01T00:58:00Z""#,
    "DeadlineExceeded"
)]
#[case::suspended_clocks_stand(
    r#""backoffLimit":9,"activeDeadlineSeconds":60,"suspend":true,"#,
    r#""startTime":"2026-01-01T00:58:00Z""#,
    ""
)]
fn when_a_job_fails(#[case] spec: &str, #[case] status: &str, #[case] expected: &str) {
    let pods = [pod("a", "Failed"), pod("b", "Running")];
    let plan = decide(&job(spec, status), &pods);
    assert_eq!(reason(&plan), expected);
    if !expected.is_empty() {
        assert_eq!(plan.action, Action::Delete { names: vec!["b".into()], uncounted: false });
    }
}

#[test]
fn a_deadline_is_waited_for() {
    let job = job(r#""activeDeadlineSeconds":60,"#, r#""startTime":"2026-01-01T00:59:30Z""#);
    assert_eq!(decide(&job, &[pod("a", "Running")]).again_in, Some(Duration::from_secs(30)));
}

#[test]
fn the_failure_policy_ends_ignores_and_fails_indexes() {
    let failing = |code: i32| {
        let text = format!(
            r#"{{"metadata":{{"name":"a","namespace":"x","uid":"a","finalizers":["{TRACKING}"]}},"status":{{"phase":"Failed","containerStatuses":[{{"name":"main","image":"","imageID":"","ready":false,"restartCount":0,"state":{{"terminated":{{"exitCode":{code}}}}}}}]}}}}"#
        );
        [Arc::new(Object::decode(text.into()).unwrap())]
    };
    let job = job(
        r#""backoffLimit":0,"podFailurePolicy":{"rules":[{"action":"FailJob","onExitCodes":{"operator":"In","values":[42]}},{"action":"Ignore","onExitCodes":{"operator":"In","values":[7]}}]},"#,
        "",
    );
    let ends = decide(&job, &failing(42));
    assert_eq!(reason(&ends), "PodFailurePolicy");
    let message = ends.finished.unwrap().message.unwrap();
    assert_eq!(message, "Container main for pod x/a failed with exit code 42 matching FailJob rule at index 0");
    assert_eq!(reason(&decide(&job, &failing(7))), "");
    assert_eq!(reason(&decide(&job, &failing(1))), "BackoffLimitExceeded");
}

const INDEXED: &str = r#""completionMode":"Indexed","completions":5,"parallelism":3,"#;

#[test]
fn an_indexed_job_makes_the_missing_indexes() {
    let job = job(INDEXED, r#""completedIndexes":"0,2""#);
    let pods = [ended("a", "Running", Some(1), 0), ended("b", "Succeeded", Some(3), 0)];
    let plan = decide(&job, &pods);
    assert_eq!((indexes(&plan), plan.counts.succeeded), (vec![4], 3));
}

#[test]
fn of_two_pods_with_one_index_one_goes() {
    let pods =
        [ended("a", "Running", Some(1), 0), ended("b", "Pending", Some(1), 0), ended("c", "Running", Some(9), 0)];
    let Action::Delete { mut names, .. } = decide(&job(INDEXED, ""), &pods).action else { panic!() };
    names.sort();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn failures_are_limited_per_index() {
    let job = job(&format!(r#"{INDEXED}"backoffLimitPerIndex":1,"maxFailedIndexes":3,"backoffLimit":1000,"#), "");
    let with = |name: &str, index: i32, failures: i32, ago: i64| {
        let pod = ended(name, "Failed", Some(index), ago);
        let tree = pod.edit(|tree| {
            let annotations = tree.at_or_insert("metadata.annotations").make_object();
            annotations.insert(model::FAILURES, failures.to_string());
        });
        Arc::new(Object::decode(json::write(&tree.unwrap())).unwrap())
    };
    // Index 0 has failed twice: it is over. Index 1 once, long ago; index 2 once, just now.
    let pods = [with("a", 0, 1, 100), with("b", 1, 0, 100), with("c", 2, 0, 1)];
    let plan = decide(&job, &pods);
    assert_eq!(plan.indexes.as_ref().unwrap().failed.as_ref().unwrap().to_string(), "0");
    let expected =
        [NewPod { index: Some(1), failures: Some((1, 0)) }, NewPod { index: Some(3), failures: Some((0, 0)) }];
    assert_eq!(plan.action, Action::Create(expected.to_vec()));
    // The failed pods of indexes 1 and 2 stay until replacements have taken over their counts.
    let tracked = track(&job, &pods, &plan, plan.counts, None, now());
    assert_eq!(tracked.release, [("a".to_owned(), "a".to_owned())]);
    assert_eq!(tracked.status.failed_indexes.as_deref(), Some("0"));
}

#[rstest]
#[case::a_count(r#"[{"succeededCount":2}]"#, true)]
#[case::the_leader(r#"[{"succeededIndexes":"0"}]"#, true)]
#[case::all_of_these(r#"[{"succeededIndexes":"0,4"}]"#, false)]
#[case::some_of_these(r#"[{"succeededIndexes":"0-2","succeededCount":1}]"#, true)]
#[case::too_few(r#"[{"succeededCount":3}]"#, false)]
fn some_successes_are_enough(#[case] rules: &str, #[case] is_met: bool) {
    let job = job(&format!(r#"{INDEXED}"successPolicy":{{"rules":{rules}}},"#), r#""completedIndexes":"0,1""#);
    let plan = decide(&job, &[ended("a", "Running", Some(2), 0)]);
    assert_eq!(plan.finished.map(|condition| condition.type_), is_met.then(|| "SuccessCriteriaMet".to_owned()));
}

/// One reconcile without a server: every request succeeds.
fn step(job: &mut Job, pods: &mut Vec<Arc<Object<Pod>>>) {
    let plan = decide(job, pods);
    let mut counts = plan.counts;
    if let Action::Delete { names, .. } = &plan.action {
        pods.retain(|pod| !names.contains(&pod.name().to_owned()));
        counts.active -= i32::try_from(names.len()).unwrap();
    }
    let finished = outcome(job, &plan, counts, now());
    let Tracked { mut status, release, mut tracked, finished } = track(job, pods, &plan, counts, finished, now());
    for (name, uid) in release {
        tracked.remove(&uid);
        pods.retain(|pod| pod.name() != name);
    }
    count_released(&mut status, &tracked);
    if let Some(finished) = finished {
        finish(&mut status, &finished);
    }
    job.status = Some(status);
}

#[test]
fn every_pod_is_counted_once_and_then_the_job_is_complete() {
    let mut job = job(r#""completions":2,"parallelism":2,"backoffLimit":6,"#, "");
    let mut pods = vec![pod("a", "Succeeded"), pod("b", "Failed")];
    step(&mut job, &mut pods);
    let status = job.status.clone().unwrap();
    assert_eq!((status.succeeded, status.failed, pods.len()), (Some(1), Some(1), 0));
    assert!(!job.is_finished());
    step(&mut job, &mut pods);
    assert_eq!(job.status.as_ref().unwrap().succeeded, Some(1));
    pods.push(pod("c", "Succeeded"));
    step(&mut job, &mut pods);
    let status = job.status.clone().unwrap();
    assert_eq!((status.succeeded, status.active, status.completion_time.is_some()), (Some(2), None, true));
    let kinds: Vec<&str> = status.conditions.iter().flatten().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, ["SuccessCriteriaMet", "Complete"]);
    assert!(job.is_finished());
}

#[test]
fn a_crash_after_the_status_was_written_counts_nothing_twice() {
    let job = job(r#""completions":3,"parallelism":1,"#, "");
    let pods = [pod("a", "Succeeded")];
    let plan = decide(&job, &pods);
    let first = track(&job, &pods, &plan, plan.counts, None, now());
    // The finalizer is still there when the next process looks.
    let crashed = Job { status: Some(first.status), ..job };
    let again = decide(&crashed, &pods);
    assert_eq!(again.counts.succeeded, 1);
    let second = track(&crashed, &pods, &again, again.counts, None, now());
    assert_eq!(second.release.len(), 1);
    let mut status = second.status;
    assert!(count_released(&mut status, &Default::default()));
    assert_eq!(status.succeeded, Some(1));
}

#[test]
fn a_failed_job_counts_running_pods_as_failed() {
    let mut job = job(r#""backoffLimit":0,"parallelism":3,"#, "");
    let mut pods = vec![pod("a", "Failed")];
    step(&mut job, &mut pods);
    let conditions = job.status.as_ref().unwrap().conditions.clone().unwrap();
    let kinds: Vec<&str> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!((kinds, job.status.unwrap().failed), (vec!["FailureTarget", "Failed"], Some(1)));
}

#[test]
fn suspending_deletes_pods_and_stops_the_clock() {
    let job = job(r#""suspend":true,"parallelism":2,"#, r#""startTime":"2026-01-01T00:00:00Z""#);
    let plan = decide(&job, &[pod("a", "Running")]);
    assert_eq!(plan.action, Action::Delete { names: vec!["a".into()], uncounted: true });
    assert_eq!((plan.event, plan.status.start_time.clone()), (Some(("Suspended", "Job suspended")), None));
    let resumed = Job { status: Some(plan.status), ..self::job("", "") };
    let plan = decide(&resumed, &[]);
    assert_eq!(
        (plan.event, plan.status.start_time.map(|time| time.0)),
        (Some(("Resumed", "Job resumed")), Some(now()))
    );
}

#[test]
fn the_pod_of_an_index_knows_it() {
    let tree = json::parse(br#"{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c"}]}}"#).unwrap();
    let owner = Owner {
        api_version: "batch/v1".into(),
        kind: "Job".into(),
        name: "calc".into(),
        uid: "j".into(),
        is_deleting: false,
    };
    let made = template::pod(&owner, &tree, NewPod { index: Some(3), failures: Some((1, 0)) });
    let pod = Pod::decode(&json::write(&made)).unwrap();
    assert_eq!((pod.annotation(model::INDEX), pod.label(model::INDEX)), (Some("3"), Some("3")));
    assert_eq!(pod.annotation(model::FAILURES), Some("1"));
    let spec = pod.spec.clone().unwrap();
    assert_eq!((spec.hostname.as_deref(), pod.metadata.generate_name.as_deref()), (Some("calc-3"), Some("calc-3-")));
    let env = &spec.containers[0].env.as_ref().unwrap()[0];
    assert_eq!(env.name, "JOB_COMPLETION_INDEX");
    assert!(model::is_tracked(&pod));
}
