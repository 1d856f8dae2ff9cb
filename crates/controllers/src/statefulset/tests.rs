use client::View;
use rstest::rstest;

use super::*;

fn now() -> jiff::Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

/// A pod `web-N` of a revision; `Ready` means running and ready, `Dying` the same and being deleted.
fn pod(ordinal: i32, revision: &str, phase: &str) -> Arc<Object<Pod>> {
    let ready = r#""phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]"#;
    let (status, deleted) = match phase {
        "Ready" => (ready.to_owned(), ""),
        "Dying" => (ready.to_owned(), r#","deletionTimestamp":"2026-01-01T00:59:00Z""#),
        phase => (format!(r#""phase":"{phase}""#), ""),
    };
    let text = format!(
        r#"{{"metadata":{{"name":"web-{ordinal}","uid":"{ordinal}","labels":{{"controller-revision-hash":"{revision}","statefulset.kubernetes.io/pod-name":"web-{ordinal}"}}{deleted}}},"status":{{{status}}}}}"#
    );
    Arc::new(Object::decode(text.into()).unwrap())
}

fn observed(replicas: i32, pods: Vec<Arc<Object<Pod>>>) -> Observed {
    let strategy = Strategy::Rolling { partition: Some(0), max_unavailable: 1 };
    let (current, update) = ("old".to_owned(), "new".to_owned());
    Observed { name: "web".into(), replicas, strategy, current, update, pods, ..Observed::default() }
}

fn created(plan: &Plan) -> Vec<i32> {
    plan.create.iter().map(|(ordinal, _)| *ordinal).collect()
}

#[rstest]
#[case::first(3, &[], &[0], &[])]
#[case::waits_for_the_one_before(3, &[(0, "Running")], &[], &[])]
#[case::then_the_next(3, &[(0, "Ready")], &[1], &[])]
#[case::fills_gaps_first(3, &[(0, "Ready"), (2, "Ready")], &[1], &[])]
#[case::waits_for_the_dying(2, &[(0, "Dying"), (1, "Ready")], &[], &[])]
#[case::shrinks_from_the_end(1, &[(0, "Ready"), (1, "Ready"), (2, "Ready")], &[], &["web-2"])]
#[case::shrinks_one_at_a_time(1, &[(0, "Ready"), (1, "Ready"), (2, "Dying")], &[], &[])]
#[case::does_not_shrink_while_one_is_down(1, &[(0, "Running"), (1, "Ready")], &[], &[])]
#[case::a_broken_one_at_the_end_goes(1, &[(0, "Ready"), (1, "Running")], &[], &["web-1"])]
#[case::ended_pods_are_made_anew(2, &[(0, "Failed"), (1, "Ready")], &[], &["web-0"])]
fn in_order(#[case] replicas: i32, #[case] there: &[(i32, &str)], #[case] make: &[i32], #[case] delete: &[&str]) {
    let pods = there.iter().map(|(ordinal, phase)| pod(*ordinal, "new", phase)).collect();
    let plan = plan(&observed(replicas, pods), now());
    assert_eq!((created(&plan).as_slice(), plan.delete), (make, delete.iter().map(|name| name.to_string()).collect()));
}

#[test]
fn in_parallel_all_at_once() {
    let pods = vec![pod(1, "new", "Running"), pod(5, "new", "Ready"), pod(6, "new", "Ready")];
    let plan = plan(&Observed { is_parallel: true, ..observed(3, pods) }, now());
    assert_eq!((created(&plan), plan.delete), (vec![0, 2], vec!["web-6".to_owned(), "web-5".to_owned()]));
}

#[rstest]
#[case::the_last_first(0, 1, "Ready", &["web-2"])]
#[case::down_to_the_partition(3, 1, "Ready", &[])]
#[case::several(0, 2, "Ready", &["web-2", "web-1"])]
#[case::not_while_one_is_missing(0, 1, "Dying", &[])]
fn rolling_update(#[case] partition: i32, #[case] max_unavailable: usize, #[case] last: &str, #[case] delete: &[&str]) {
    let pods = vec![pod(0, "old", "Ready"), pod(1, "old", "Ready"), pod(2, "old", last)];
    let strategy = Strategy::Rolling { partition: Some(partition), max_unavailable };
    let plan = plan(&Observed { strategy, ..observed(3, pods) }, now());
    assert_eq!(plan.delete, delete);
}

#[test]
fn new_pods_below_the_partition_are_of_the_old_revision() {
    let strategy = Strategy::Rolling { partition: Some(2), max_unavailable: 1 };
    let plan = plan(&Observed { strategy, is_parallel: true, ..observed(3, vec![]) }, now());
    let revisions: Vec<&str> = plan.create.iter().map(|(_, revision)| revision.as_str()).collect();
    assert_eq!(revisions, ["old", "old", "new"]);
}

#[test]
fn ordinals_start_where_they_are_told() {
    let plan = plan(&Observed { start: 5, ..observed(2, vec![pod(0, "new", "Ready")]) }, now());
    assert_eq!(created(&plan), [5]);
}

#[rstest]
#[case("web-0", Some(0))]
#[case("web-12", Some(12))]
#[case("web-a", None)]
#[case("web2-0", None)]
#[case("web-", None)]
fn ordinals_in_names(#[case] name: &str, #[case] expected: Option<i32>) {
    assert_eq!(ordinal("web", name), expected);
}

#[test]
fn a_pod_has_its_name_its_claims_and_its_labels() {
    let set = json::parse(
        br#"{"metadata":{"name":"web"},"spec":{"serviceName":"svc","selector":{"matchLabels":{"a":"b"}},
            "volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"]}}],
            "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[],"volumes":[{"name":"data"},{"name":"tmp","emptyDir":{}}]}}}}"#,
    )
    .unwrap();
    let owner = Owner {
        api_version: "apps/v1".into(),
        kind: "StatefulSet".into(),
        name: "web".into(),
        uid: "u".into(),
        is_deleting: false,
    };
    let made = template::pod(&owner, &set, set.at("spec.template"), 3, "web-h");
    let pod: Pod = Pod::decode(&json::write(&made)).unwrap();
    assert_eq!((pod.name(), revision(&pod), pod.label("apps.kubernetes.io/pod-index")), ("web-3", "web-h", Some("3")));
    let spec = pod.spec.unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("web-3"), Some("svc")));
    let volumes = spec.volumes.unwrap();
    assert_eq!(volumes.len(), 2);
    assert_eq!(volumes[0].persistent_volume_claim.as_ref().unwrap().claim_name, "data-web-3");
    let claims = template::claims(&set, "web", 3);
    assert_eq!((claims[0].0.as_str(), claims[0].1.str_at("metadata.labels.a")), ("data-web-3", "b"));
}

#[rstest]
#[case::kept(false, false, false, &[])]
#[case::with_the_set(true, false, false, &["StatefulSet"])]
#[case::with_the_pod_when_scaled(false, true, true, &["Pod"])]
#[case::scaled_pods_first(true, true, true, &["Pod"])]
#[case::living_pods_not(false, true, false, &[])]
fn claims_have_owners_by_policy(
    #[case] goes_with_set: bool,
    #[case] goes_with_pod: bool,
    #[case] is_condemned: bool,
    #[case] expected: &[&str],
) {
    let set = StatefulSet::decode(br#"{"metadata":{"name":"web","uid":"s"}}"#).unwrap();
    let pod = Pod::decode(br#"{"metadata":{"name":"web-0","uid":"p"}}"#).unwrap();
    let claim = json::parse(br#"{"metadata":{"name":"data-web-0"}}"#).unwrap();
    let owners = Retention { goes_with_set, goes_with_pod }.owners(&claim, &set, &pod, is_condemned);
    let kinds: Vec<String> = owners.unwrap_or_default().iter().map(|one| one.str_at("kind").to_owned()).collect();
    assert_eq!(kinds, expected);
    // Owners of the same name that are gone are left to the garbage collector.
    let stale =
        r#"{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","uid":"gone"}]}}"#;
    let stale = json::parse(stale.as_bytes()).unwrap();
    assert_eq!(Retention { goes_with_set, goes_with_pod }.owners(&stale, &set, &pod, is_condemned), None);
}

#[test]
fn the_status_counts_by_revision() {
    let pods = vec![pod(0, "old", "Ready"), pod(1, "new", "Running"), pod(2, "old", "Dying")];
    let counts = observed(3, pods).counts(now());
    assert_eq!(counts, Counts { replicas: 3, ready: 2, available: 2, current: 1, updated: 1 });
}
