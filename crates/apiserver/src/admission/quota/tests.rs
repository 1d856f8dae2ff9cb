use api::codec::json;
use rstest::rstest;

use super::*;

fn value(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap()
}

fn quota(scope: &str, hard: &str, used: &str) -> Value {
    value(&format!(
        r#"{{"metadata":{{"name":"q"}},"spec":{{"scopes":[{scope}]}},"status":{{"hard":{hard},"used":{used}}}}}"#
    ))
}

const POD: &str = r#"{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"500m"}}}]}}"#;

#[rstest]
#[case::fits(quota("", r#"{"pods":"2","cpu":"1"}"#, r#"{"pods":"1","cpu":"500m"}"#), Ok(Some("cpu=1,pods=2")))]
#[case::too_many(
    quota("", r#"{"pods":"1","cpu":"1"}"#, r#"{"pods":"1","cpu":"600m"}"#),
    Err("exceeded quota: q, requested: cpu=500m,pods=1, used: cpu=600m,pods=1, limited: cpu=1,pods=1")
)]
#[case::about_others(quota("", r#"{"services":"1"}"#, r#"{"services":"1"}"#), Ok(None))]
#[case::in_another_scope(quota(r#""BestEffort""#, r#"{"pods":"1"}"#, r#"{"pods":"1"}"#), Ok(None))]
#[case::not_yet_counted(quota("", r#"{"pods":"1"}"#, "{}"), Err("status unknown for quota: q, resources: pods"))]
#[case::says_too_little(
    quota("", r#"{"limits.cpu":"1"}"#, r#"{"limits.cpu":"0"}"#),
    Err("failed quota: q: must specify limits.cpu for: c")
)]
fn a_new_pod(#[case] quota: Value, #[case] expected: Result<Option<&str>, &str>) {
    let api = crate::served::Catalog::builtin();
    let served = api.stored("", "pods").unwrap();
    let pod = value(POD);
    let write = Written { served, subresource: "", new: &pod, old: None };
    let outcome = used(&Evaluator::Pods, write, &[&quota], Timestamp::UNIX_EPOCH);
    let outcome = outcome.map(|mut all| all.remove(0).map(|used| used.printed()));
    assert_eq!(outcome, expected.map(|used| used.map(str::to_owned)).map_err(str::to_owned));
}

#[rstest]
#[case::more(r#"{"requests.storage":"10Gi"}"#, r#"{"requests.storage":"5Gi"}"#, "", Ok(Some("requests.storage=7Gi")))]
#[case::too_much(
    r#"{"requests.storage":"6Gi"}"#,
    r#"{"requests.storage":"5Gi"}"#,
    "",
    Err(
        "exceeded quota: q, requested: requests.storage=2Gi, used: requests.storage=5Gi, limited: requests.storage=6Gi"
    )
)]
#[case::only_said(
    r#"{"requests.storage":"6Gi"}"#,
    r#"{"requests.storage":"5Gi"}"#,
    "status",
    Ok(Some("requests.storage=7Gi"))
)]
#[case::the_number_stays(r#"{"persistentvolumeclaims":"1"}"#, r#"{"persistentvolumeclaims":"1"}"#, "", Ok(None))]
fn a_claim_that_grows(
    #[case] hard: &str,
    #[case] known: &str,
    #[case] subresource: &str,
    #[case] expected: Result<Option<&str>, &str>,
) {
    let api = crate::served::Catalog::builtin();
    let served = api.stored("", "persistentvolumeclaims").unwrap();
    let claim = |size: &str| value(&format!(r#"{{"spec":{{"resources":{{"requests":{{"storage":"{size}"}}}}}}}}"#));
    let (new, old, quota) = (claim("3Gi"), claim("1Gi"), quota("", hard, known));
    let write = Written { served, subresource, new: &new, old: Some(&old) };
    let outcome = used(&Evaluator::Claims, write, &[&quota], Timestamp::UNIX_EPOCH);
    let outcome = outcome.map(|mut all| all.remove(0).map(|used| used.printed()));
    assert_eq!(outcome, expected.map(|used| used.map(str::to_owned)).map_err(str::to_owned));
}
