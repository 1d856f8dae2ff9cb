use client::View;
use rstest::rstest;

use super::*;

fn now() -> jiff::Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn node(name: &str, rest: &str) -> Arc<Object<Node>> {
    Arc::new(Object::decode(format!(r#"{{"metadata":{{"name":"{name}"{rest}}}}}"#).into()).unwrap())
}

fn tainted(name: &str, effect: &str) -> Arc<Object<Node>> {
    let json = format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"taints":[{{"key":"k","effect":"{effect}"}}]}}}}"#);
    Arc::new(Object::decode(json.into()).unwrap())
}

/// A pod of revision `hash` on `node`, in the given phase; `Ready` means running and ready.
fn pod(name: &str, node: &str, hash: &str, phase: &str) -> Arc<Object<Pod>> {
    let status = match phase {
        "Ready" => r#""phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]"#.to_owned(),
        phase => format!(r#""phase":"{phase}""#),
    };
    let json = format!(
        r#"{{"metadata":{{"name":"{name}","labels":{{"controller-revision-hash":"{hash}"}}}},"spec":{{"nodeName":"{node}","containers":[]}},"status":{{{status}}}}}"#
    );
    Arc::new(Object::decode(json.into()).unwrap())
}

fn observed(nodes: Vec<Arc<Object<Node>>>, pods: Vec<Arc<Object<Pod>>>, strategy: Strategy) -> Observed {
    Observed { hash: "new".into(), nodes, pods, strategy, ..Observed::default() }
}

fn decide(nodes: Vec<Arc<Object<Node>>>, pods: Vec<Arc<Object<Pod>>>) -> Plan {
    plan(&observed(nodes, pods, Strategy::OnDelete), now())
}

#[test]
fn a_pod_on_each_node_and_one_only() {
    let nodes = vec![node("a", ""), node("b", ""), tainted("c", "NoSchedule")];
    let pods = vec![pod("b2", "b", "new", "Running"), pod("b1", "b", "new", "Running")];
    let plan = decide(nodes, pods);
    assert_eq!((plan.create_on, plan.delete), (vec!["a".to_owned()], vec!["b2".to_owned()]));
}

#[rstest]
#[case::may_stay("NoSchedule", &[])]
#[case::must_go("NoExecute", &["a1"])]
fn a_taint_comes(#[case] effect: &str, #[case] deleted: &[&str]) {
    let plan = decide(vec![tainted("a", effect)], vec![pod("a1", "a", "new", "Running")]);
    assert_eq!(plan.delete, deleted);
    assert!(plan.create_on.is_empty());
}

#[test]
fn failed_pods_are_made_anew_but_not_too_often() {
    let nodes = || vec![node("a", "")];
    let pods = || vec![pod("a1", "a", "new", "Failed")];
    let plan_now = decide(nodes(), pods());
    assert_eq!((plan_now.failed, plan_now.delete), (vec![("a1".to_owned(), "a".to_owned())], vec!["a1".to_owned()]));
    let wait = Duration::from_secs(4);
    let waiting =
        Observed { backoff: [("a".to_owned(), wait)].into(), ..observed(nodes(), pods(), Strategy::OnDelete) };
    assert_eq!(plan(&waiting, now()), Plan { again_in: Some(wait), ..Plan::default() });
}

#[test]
fn a_pod_that_waits_for_a_node_that_is_gone_is_deleted() {
    let json = r#"{"metadata":{"name":"x"},"spec":{"containers":[],"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["gone"]}]}]}}}}}"#;
    let unbound = Arc::new(Object::decode(json.into()).unwrap());
    let bound = pod("y", "gone", "new", "Running");
    assert_eq!(decide(vec![], vec![unbound, bound]).delete, ["x"]);
}

#[rstest]
#[case::one_at_a_time(["Ready", "Ready", "Ready"], 1, &["a1"])]
#[case::unavailable_first(["Ready", "Running", "Ready"], 1, &["b1"])]
#[case::unavailable_all(["Running", "Running", "Ready"], 1, &["a1", "b1"])]
#[case::several(["Ready", "Ready", "Ready"], 2, &["a1", "b1"])]
fn rolling_update_replaces_old_pods(
    #[case] phases: [&str; 3],
    #[case] max_unavailable: usize,
    #[case] deleted: &[&str],
) {
    let nodes = ["a", "b", "c"].map(|name| node(name, "")).to_vec();
    let pods = ["a", "b", "c"].iter().zip(phases).map(|(node, phase)| pod(&format!("{node}1"), node, "old", phase));
    let strategy = Strategy::Rolling { max_surge: 0, max_unavailable };
    let plan = plan(&observed(nodes, pods.collect(), strategy), now());
    assert_eq!(plan.delete, deleted);
}

#[test]
fn a_new_pod_that_is_not_available_counts() {
    let nodes = vec![node("a", ""), node("b", "")];
    let pods = vec![pod("a1", "a", "new", "Running"), pod("b1", "b", "old", "Ready")];
    let strategy = Strategy::Rolling { max_surge: 0, max_unavailable: 1 };
    assert_eq!(plan(&observed(nodes, pods, strategy), now()), Plan::default());
}

#[test]
fn surge_adds_first_and_deletes_when_the_new_one_is_available() {
    let nodes = || vec![node("a", ""), node("b", "")];
    let old = || vec![pod("a1", "a", "old", "Ready"), pod("b1", "b", "old", "Ready")];
    let strategy = Strategy::Rolling { max_surge: 1, max_unavailable: 0 };
    let first = plan(&observed(nodes(), old(), strategy.clone()), now());
    assert_eq!((first.create_on, first.delete.len()), (vec!["a".to_owned()], 0));
    let with = |phase| [old(), vec![pod("a2", "a", "new", phase)]].concat();
    assert_eq!(plan(&observed(nodes(), with("Running"), strategy.clone()), now()), Plan::default());
    let ready = plan(&observed(nodes(), with("Ready"), strategy), now());
    assert_eq!(ready.delete, ["a1"]);
}

#[test]
fn the_status_counts_nodes() {
    let nodes = vec![node("a", ""), node("b", ""), node("c", ""), tainted("d", "NoSchedule")];
    let pods = vec![pod("a1", "a", "new", "Ready"), pod("b1", "b", "old", "Running"), pod("d1", "d", "old", "Ready")];
    let counts = observed(nodes, pods, Strategy::OnDelete).counts(now());
    let expected = Counts { desired: 3, current: 2, misscheduled: 1, ready: 1, updated: 1, available: 1 };
    assert_eq!(counts, expected);
}

#[test]
fn the_pod_is_tied_to_its_node_and_tolerates_its_problems() {
    let mut template = json::parse(
        br#"{"spec":{"hostNetwork":true,"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"mine","operator":"Exists"}]}}"#,
    )
    .unwrap();
    template::add_tolerations(&mut template);
    template::add_labels(&mut template, "h", Some("3"));
    template::bind_to(&mut template, "n1");
    let tolerations = template.array_at("spec.tolerations");
    assert_eq!(tolerations.len(), 8);
    assert!(tolerations.iter().all(|one| one.get("tolerationSeconds").is_null()));
    assert_eq!(
        json::write(template.at("metadata.labels")),
        r#"{"pod-template-generation":"3","controller-revision-hash":"h"}"#
    );
    let pod = Pod::decode(&json::write(&template)).unwrap();
    assert_eq!(plan::target_node(&pod), Some("n1"));
}

#[rstest]
#[case::absolute(r#"{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":2}}"#, Strategy::Rolling { max_surge: 0, max_unavailable: 2 })]
#[case::percent(r#"{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%","maxUnavailable":0}}"#, Strategy::Rolling { max_surge: 3, max_unavailable: 0 })]
#[case::on_delete(r#"{"type":"OnDelete"}"#, Strategy::OnDelete)]
fn strategies(#[case] json: &str, #[case] expected: Strategy) {
    let set = DaemonSet::decode(
        format!(r#"{{"metadata":{{}},"spec":{{"selector":{{}},"template":{{}},"updateStrategy":{json}}}}}"#).as_bytes(),
    );
    assert_eq!(strategy(&set.unwrap(), 10), expected);
}
