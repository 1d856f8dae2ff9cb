use super::*;
use crate::cycle::Search;
use crate::model::node::Node;
use crate::plugins::default_table;
use crate::testing::{node, pod};
use rand::SeedableRng;
use serde_json::{Value, json};

fn running(node: &str, name: &str, priority: i32, cpu: &str, start: &str, labels: Value) -> Arc<Pod> {
    let status = json!({"startTime": format!("2026-01-01T00:00:{start}Z")});
    pod(name, json!({"nodeName": node, "priority": priority, "cpu": cpu, "status": status, "labels": labels}))
}

fn try_preempt(nodes: &[Arc<Node>], pods: &[Arc<Pod>], new: &Pod, budgets: &[Budget]) -> Outcome {
    let mut state = State::default();
    nodes.iter().for_each(|node| {
        state.set_node(node.clone());
    });
    pods.iter().for_each(|pod| state.set_pod(pod.clone()));
    state.prepare(new);
    let table = default_table();
    let mut chance = StdRng::seed_from_u64(1);
    let diagnosis = Search::new(0, StdRng::seed_from_u64(1)).schedule(&state, &table, new).unwrap_err();
    preempt(&state, &table, new, &diagnosis, budgets, &mut chance)
}

fn names(outcome: &Outcome) -> (String, Vec<String>) {
    match outcome {
        Outcome::Preempt { node, victims } => {
            (node.clone(), victims.iter().map(|victim| victim.meta.name.clone().unwrap()).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_few_as_possible_go_and_the_important_stay() {
    let pods = [
        running("a", "low-old", 1, "1", "01", json!({})),
        running("a", "low-young", 1, "1", "02", json!({})),
        running("a", "middle", 5, "1", "03", json!({})),
        running("a", "high", 100, "1", "04", json!({})),
    ];
    let new = pod("new", json!({"cpu": "1", "priority": 10}));
    let outcome = try_preempt(&[node("a", json!({}))], &pods, &new, &[]);
    assert_eq!(names(&outcome), ("a".to_string(), vec!["low-young".to_string()]));
}

#[test]
fn the_node_with_the_least_important_victims_is_chosen() {
    let pods = [running("a", "five", 5, "4", "01", json!({})), running("b", "one", 1, "4", "01", json!({}))];
    let new = pod("new", json!({"cpu": "1", "priority": 10}));
    let outcome = try_preempt(&[node("a", json!({})), node("b", json!({}))], &pods, &new, &[]);
    assert_eq!(names(&outcome).0, "b");
}

#[test]
fn budgets_are_minded_before_priorities() {
    let pods = [
        running("a", "five", 5, "4", "01", json!({"app": "free"})),
        running("b", "one", 1, "4", "01", json!({"app": "guarded"})),
    ];
    let selector = Selector::of_labels(&[("app".to_string(), "guarded".to_string())].into());
    let budget = Budget { namespace: "ns".to_string(), selector, disruptions_allowed: 0, disrupted: Vec::new() };
    let new = pod("new", json!({"cpu": "1", "priority": 10}));
    let nodes = [node("a", json!({})), node("b", json!({}))];
    assert_eq!(names(&try_preempt(&nodes, &pods, &new, &[budget])).0, "a");
}

#[test]
fn no_use_is_told_in_upstreams_words() {
    let nodes = [
        node("a", json!({})),
        node("b", json!({"taints": [{"key": "k", "effect": "NoSchedule"}]})),
        node("c", json!({"allocatable": {"cpu": "1"}})),
    ];
    let pods = [running("a", "equal", 10, "4", "01", json!({}))];
    let new = pod("new", json!({"cpu": "2", "priority": 10}));
    let text = "0/3 nodes are available: 1 No preemption victims found for incoming pod, \
                2 Preemption is not helpful for scheduling.";
    assert_eq!(try_preempt(&nodes, &pods, &new, &[]), Outcome::Useless(text.to_string()));
}

#[test]
fn who_must_not_preempt_does_not() {
    let pods = [running("a", "low", 1, "4", "01", json!({}))];
    let new = pod("new", json!({"cpu": "2", "priority": 10, "preemptionPolicy": "Never"}));
    let text = "not eligible due to preemptionPolicy=Never.";
    assert_eq!(try_preempt(&[node("a", json!({}))], &pods, &new, &[]), Outcome::NotNow(text.to_string()));
}

#[test]
fn who_waits_for_victims_to_end_waits() {
    let victim = pod(
        "victim",
        json!({"nodeName": "a", "cpu": "4", "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}}),
    );
    let new = pod("new", json!({"cpu": "2", "priority": 10, "status": {"nominatedNodeName": "a"}}));
    let text = "not eligible due to a terminating pod on the nominated node.";
    assert_eq!(try_preempt(&[node("a", json!({}))], &[victim], &new, &[]), Outcome::NotNow(text.to_string()));
}

#[test]
fn anti_affinity_of_victims_goes_with_them() {
    let anti = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}});
    let guard = pod("guard", json!({"nodeName": "a", "priority": 1, "affinity": anti}));
    let new = pod("new", json!({"priority": 10, "labels": {"app": "web"}}));
    assert_eq!(names(&try_preempt(&[node("a", json!({}))], &[guard], &new, &[])).1, ["guard"]);
}
