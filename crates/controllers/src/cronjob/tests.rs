use std::time::Duration;

use client::View;
use rstest::rstest;

use super::*;

fn time(text: &str) -> Timestamp {
    format!("2026-01-01T{text}Z").parse().unwrap()
}

fn cron(spec: &str, status: &str) -> CronJob {
    let text = format!(
        r#"{{"metadata":{{"name":"tick","uid":"c","creationTimestamp":"2026-01-01T08:00:30Z"}},
            "spec":{{"schedule":"0 * * * *",{spec}"jobTemplate":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"template":{{}}}}}}}},"status":{{{status}}}}}"#
    );
    CronJob::decode(text.as_bytes()).unwrap()
}

/// A job with this condition (or none), started at that minute.
fn job(name: &str, condition: &str, minute: u8) -> Arc<Object<Job>> {
    let conditions = match condition {
        "" => String::new(),
        kind => format!(
            r#","completionTime":"2026-01-01T09:{minute:02}:50Z","conditions":[{{"type":"{kind}","status":"True"}}]"#
        ),
    };
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","uid":"{name}"}},"spec":{{"template":{{}}}},"status":{{"startTime":"2026-01-01T09:{minute:02}:00Z"{conditions}}}}}"#
    );
    Arc::new(Object::decode(text.into()).unwrap())
}

fn decide(cron: &CronJob, jobs: &[Arc<Object<Job>>], now: &str) -> Plan {
    plan(&Observed { cron, jobs, timetable: timetable(cron), now: time(now) })
}

fn reasons(plan: &Plan) -> Vec<&str> {
    plan.said.iter().map(|(_, reason, _)| *reason).collect()
}

#[rstest]
#[case::before_the_time("", "", "08:59:00", None)]
#[case::at_the_time("", "", "09:00:00", Some("09:00:00"))]
#[case::only_the_last_of_those_missed("", "", "11:20:00", Some("11:00:00"))]
#[case::started_already("", r#""lastScheduleTime":"2026-01-01T09:00:00Z""#, "09:30:00", None)]
#[case::suspended(r#""suspend":true,"#, "", "09:00:00", None)]
#[case::within_the_deadline(r#""startingDeadlineSeconds":60,"#, "", "09:00:30", Some("09:00:00"))]
#[case::past_the_deadline(r#""startingDeadlineSeconds":60,"#, "", "09:05:00", None)]
fn when_to_start(#[case] spec: &str, #[case] status: &str, #[case] now: &str, #[case] expected: Option<&str>) {
    assert_eq!(decide(&cron(spec, status), &[], now).start, expected.map(time));
}

#[test]
fn the_next_look_is_just_after_the_next_time() {
    let plan = decide(&cron("", r#""lastScheduleTime":"2026-01-01T09:00:00Z""#), &[], "09:30:00");
    assert_eq!(plan.again_in, Some(Duration::from_millis(30 * 60_000 + 100)));
}

const ACTIVE: &str = r#""lastScheduleTime":"2026-01-01T09:00:00Z","active":[{"name":"j","uid":"j"}]"#;

#[rstest]
#[case::allow("Allow", true, &[])]
#[case::forbid("Forbid", false, &[])]
#[case::replace("Replace", true, &["j"])]
fn a_job_that_still_runs(#[case] policy: &str, #[case] starts: bool, #[case] replaced: &[&str]) {
    let cron = cron(&format!(r#""concurrencyPolicy":"{policy}","#), ACTIVE);
    let plan = decide(&cron, &[job("j", "", 0)], "10:00:00");
    assert_eq!((plan.start.is_some(), plan.replace), (starts, replaced.iter().map(|name| name.to_string()).collect()));
}

#[test]
fn finished_and_missing_jobs_leave_the_status() {
    let done = decide(&cron("", ACTIVE), &[job("j", "Complete", 5)], "09:30:00");
    assert_eq!((done.active.len(), reasons(&done)), (0, vec!["SawCompletedJob"]));
    assert_eq!(done.last_success, Some(time("09:05:50")));
    let missing = decide(&cron("", ACTIVE), &[], "09:30:00");
    assert_eq!((missing.active.len(), reasons(&missing)), (0, vec!["MissingJob"]));
    let running = decide(&cron("", ACTIVE), &[job("j", "", 0)], "09:30:00");
    assert_eq!((running.active, running.said), (vec!["j".to_owned()], vec![]));
}

#[test]
fn old_jobs_are_forgotten_by_kind_and_age() {
    let cron = cron(r#""successfulJobsHistoryLimit":1,"failedJobsHistoryLimit":0,"#, "");
    let jobs = [job("b", "Complete", 2), job("a", "Complete", 1), job("f", "Failed", 3), job("r", "", 4)];
    assert_eq!(decide(&cron, &jobs, "08:30:00").forget, ["a", "f"]);
}

#[rstest]
#[case::schedule(r#""schedule":"a b c d e","#, "UnparseableSchedule")]
#[case::zone(r#""timeZone":"Mars/Olympus","#, "UnknownTimeZone")]
#[case::never(r#""schedule":"59 23 31 2 *","#, "InvalidSchedule")]
fn what_is_wrong_is_told(#[case] spec: &str, #[case] reason: &str) {
    let mut cron = cron("", "");
    let text = format!(
        r#"{{"metadata":{{}},"spec":{{{}"jobTemplate":{{}}}}}}"#,
        if spec.contains("schedule") { spec.to_owned() } else { format!(r#""schedule":"* * * * *",{spec}"#) }
    );
    cron.spec = CronJob::decode(text.as_bytes()).unwrap().spec;
    let plan = decide(&cron, &[], "12:00:00");
    assert_eq!((plan.start, reasons(&plan)), (None, vec![reason]));
}

#[test]
fn a_job_is_named_after_its_time() {
    let tree = json::parse(br#"{"spec":{"jobTemplate":{"metadata":{"labels":{"a":"b"}},"spec":{"x":1}}}}"#).unwrap();
    let owner = Owner {
        api_version: "batch/v1".into(),
        kind: "CronJob".into(),
        name: "tick".into(),
        uid: "c".into(),
        is_deleting: false,
    };
    let body = job_body(&owner, &tree, &Timetable::new("* * * * *", None).unwrap(), time("09:00:00"));
    assert_eq!(body.str_at("metadata.name"), "tick-29454300");
    assert_eq!(body.at("metadata.annotations").get(SCHEDULED).as_str(), Some("2026-01-01T09:00:00Z"));
    assert_eq!((body.str_at("metadata.labels.a"), body.i64_at("spec.x")), ("b", Some(1)));
}
