use super::*;
use crate::model::node::Node;
use crate::plugins::default_table;
use crate::testing::{node, pod};
use rand::SeedableRng;
use rstest::rstest;
use serde_json::{Value, json};

fn state(nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> State {
    let mut state = State::default();
    nodes.iter().for_each(|node| {
        state.set_node(node.clone());
    });
    pods.iter().for_each(|pod| state.set_pod(pod.clone()));
    state
}

fn search() -> Search {
    Search::new(0, StdRng::seed_from_u64(1))
}

/// The node's name, or why none.
fn place(state: &mut State, pod: &Pod) -> Result<String, String> {
    state.prepare(pod);
    match search().schedule(state, &default_table(), pod) {
        Ok(decision) => Ok(decision.node),
        Err(diagnosis) => Err(diagnosis.message()),
    }
}

fn on(node: &str, name: &str, mut changes: Value) -> Arc<Pod> {
    changes["nodeName"] = json!(node);
    pod(name, changes)
}

fn zone(name: &str, zone: &str) -> Arc<Node> {
    node(name, json!({"labels": {"topology.kubernetes.io/zone": zone}}))
}

fn anti(app: &str, key: &str) -> Value {
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}]}})
}

fn near(app: &str, key: &str) -> Value {
    json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}]}})
}

fn spread(key: &str, max_skew: i64) -> Value {
    json!([{"maxSkew": max_skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}])
}

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

#[rstest]
#[case::no_nodes(vec![], vec![], json!({}), Err("no nodes available to schedule pods"))]
#[case::fits(vec![node("a", json!({}))], vec![], json!({"cpu": "4"}), Ok("a"))]
#[case::too_much_at_all(vec![node("a", json!({}))], vec![], json!({"cpu": "5", "memory": "9Gi"}),
    Err("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."))]
#[case::taken(vec![node("a", json!({})), node("b", json!({}))], vec![on("a", "x", json!({"cpu": "3"}))], json!({"cpu": "2"}), Ok("b"))]
#[case::too_many_pods(vec![node("a", json!({"allocatable": {"pods": "1"}}))], vec![on("a", "x", json!({}))], json!({}),
    Err("0/1 nodes are available: 1 Too many pods."))]
#[case::extended(vec![node("a", json!({})), node("b", json!({"allocatable": {"example.com/gpu": "1"}}))], vec![],
    json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]}), Ok("b"))]
#[case::extended_missing(vec![node("a", json!({}))], vec![],
    json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]}),
    Err("0/1 nodes are available: 1 Insufficient example.com/gpu."))]
#[case::cordoned(vec![node("a", json!({"unschedulable": true, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}))], vec![], json!({}),
    Err("0/1 nodes are available: 1 node(s) were unschedulable."))]
#[case::tainted(vec![node("a", json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]})), node("b", json!({"allocatable": {"cpu": "1"}}))], vec![], json!({"cpu": "2"}),
    Err("0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."))]
#[case::tolerated(vec![node("a", json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}))], vec![],
    json!({"tolerations": [{"key": "k", "operator": "Exists"}]}), Ok("a"))]
#[case::soft_taint_is_avoided(vec![node("a", json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]})), node("b", json!({}))], vec![], json!({}), Ok("b"))]
#[case::node_selector(vec![node("a", json!({})), node("b", json!({"labels": {"disk": "ssd"}}))], vec![], json!({"nodeSelector": {"disk": "ssd"}}), Ok("b"))]
#[case::node_selector_nowhere(vec![node("a", json!({}))], vec![], json!({"nodeSelector": {"disk": "ssd"}}),
    Err("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."))]
#[case::preferred_node(vec![node("a", json!({})), node("b", json!({"labels": {"disk": "ssd"}}))], vec![],
    json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}}), Ok("b"))]
#[case::bound_by_name(vec![node("a", json!({})), node("b", json!({}))], vec![],
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}}}}), Ok("b"))]
#[case::bound_by_name_but_full(vec![node("a", json!({})), node("b", json!({"allocatable": {"cpu": "1"}})), node("c", json!({}))], vec![],
    json!({"cpu": "2", "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}}}}),
    Err("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."))]
#[case::host_port(vec![node("a", json!({})), node("b", json!({}))],
    vec![on("a", "x", json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}))],
    json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}), Ok("b"))]
#[case::host_port_taken(vec![node("a", json!({}))],
    vec![on("a", "x", json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}))],
    json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}),
    Err("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."))]
#[case::image_is_there(vec![node("a", json!({})), node("b", json!({"images": [{"names": ["web:latest"], "sizeBytes": 2_000_000_000_i64}]}))], vec![], json!({}), Ok("b"))]
#[case::near_others(vec![zone("a", "1"), zone("b", "2")], vec![on("b", "x", json!({"labels": {"app": "db"}}))], json!({"affinity": near("db", ZONE)}), Ok("b"))]
#[case::near_nobody(vec![zone("a", "1")], vec![], json!({"affinity": near("db", ZONE)}),
    Err("0/1 nodes are available: 1 node(s) didn't match pod affinity rules."))]
#[case::first_of_its_kind(vec![zone("a", "1")], vec![], json!({"labels": {"app": "web"}, "affinity": near("web", ZONE)}), Ok("a"))]
#[case::far_from_others(vec![zone("a", "1"), zone("b", "2")], vec![on("b", "x", json!({"labels": {"app": "db"}}))], json!({"affinity": anti("db", ZONE)}), Ok("a"))]
#[case::far_from_everybody(vec![zone("a", "1")], vec![on("a", "x", json!({"labels": {"app": "db"}}))], json!({"affinity": anti("db", ZONE)}),
    Err("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."))]
#[case::others_keep_off(vec![zone("a", "1"), zone("b", "1")], vec![on("b", "x", json!({"affinity": anti("web", ZONE)}))], json!({"labels": {"app": "web"}}),
    Err("0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."))]
#[case::preferred_near(vec![zone("a", "1"), zone("b", "2")], vec![on("b", "x", json!({"labels": {"app": "db"}, "cpu": "1"}))],
    json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": ZONE}}]}}}), Ok("b"))]
#[case::spread_evenly(vec![zone("a", "1"), zone("b", "2")], vec![on("a", "x", json!({"labels": {"app": "web"}}))],
    json!({"labels": {"app": "web"}, "topologySpreadConstraints": spread(ZONE, 1)}), Ok("b"))]
#[case::spread_is_full(vec![zone("a", "1"), node("b", json!({"unschedulable": true, "labels": {ZONE: "2"}}))], vec![on("a", "x", json!({"labels": {"app": "web"}}))],
    json!({"labels": {"app": "web"}, "topologySpreadConstraints": spread(ZONE, 1)}),
    Err("0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."))]
#[case::spread_without_label(vec![node("a", json!({}))], vec![], json!({"labels": {"app": "web"}, "topologySpreadConstraints": spread(ZONE, 1)}),
    Err("0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)."))]
#[case::terminating_pods_do_not_count(vec![zone("a", "1"), zone("b", "2")],
    vec![on("a", "x", json!({"labels": {"app": "web"}, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})), on("b", "y", json!({"labels": {"app": "web"}}))],
    json!({"labels": {"app": "web"}, "topologySpreadConstraints": spread(HOST, 1)}), Ok("a"))]
fn placement(
    #[case] nodes: Vec<Arc<Node>>,
    #[case] pods: Vec<Arc<Pod>>,
    #[case] wanted: Value,
    #[case] expected: Result<&str, &str>,
) {
    let mut state = state(&nodes, &pods);
    let result = place(&mut state, &pod("new", wanted));
    assert_eq!(result.as_deref().map_err(String::as_str), expected);
}

#[test]
fn pods_of_a_service_are_spread_by_default() {
    let pods = [on("a", "x", json!({"labels": {"app": "web"}})), on("a", "y", json!({"labels": {"app": "web"}}))];
    let other = on("b", "z", json!({"cpu": "1", "memory": "2Gi"}));
    let mut state = state(&[node("a", json!({})), node("b", json!({}))], &[pods.to_vec(), vec![other]].concat());
    let new = pod("new", json!({"labels": {"app": "web"}, "cpu": "100m", "memory": "100Mi"}));
    assert_eq!(place(&mut state, &new).unwrap(), "a", "more is free there");
    let selector = [("app".to_string(), "web".to_string())].into();
    state.owners_mut().set_service("ns", "svc", Some(selector));
    assert_eq!(place(&mut state, &new).unwrap(), "b");
}

#[test]
fn scores_are_upstreams() {
    // LeastAllocated: (75 + 75) / 2; balanced: 50 + (50 + 100 - 100) / 2 = 75; taints 100 * 3; others nothing.
    let state = state(&[node("a", json!({}))], &[]);
    let new = pod("new", json!({"cpu": "1", "memory": "2Gi"}));
    let cycle = Cycle { state: &state, pod: &new };
    assert_eq!(scores(cycle, &default_table(), state.order()), [75 + 75 + 300]);
    // Half of the CPU alone: (50 + 97) / 2 = 73 (memory counts 200 MiB of 8 GiB: 97); balanced: 50 + (50 + 75 - 100) / 2.
    let new = pod("new", json!({"cpu": "2"}));
    let cycle = Cycle { state: &state, pod: &new };
    assert_eq!(scores(cycle, &default_table(), state.order()), [73 + 62 + 300]);
}

#[test]
fn a_nominated_node_is_tried_first_and_kept_free_for_its_pod() {
    let mut state = state(&[node("a", json!({})), node("b", json!({}))], &[]);
    let important = pod("important", json!({"cpu": "3", "priority": 10, "status": {"nominatedNodeName": "a"}}));
    state.nominate(&important, "a");
    assert_eq!(place(&mut state, &pod("new", json!({"cpu": "2"}))).unwrap(), "b");
    assert_eq!(
        place(&mut state, &pod("vip", json!({"cpu": "4", "priority": 20, "nodeSelector": {HOST: "a"}}))).unwrap(),
        "a"
    );
    assert_eq!(place(&mut state, &important).unwrap(), "a");
}

#[test]
fn large_clusters_are_searched_in_part_and_in_turn() {
    let nodes: Vec<_> = (0..1_000).map(|n| node(&format!("n{n}"), json!({}))).collect();
    let state = state(&nodes, &[]);
    let mut search = search();
    let first = search.schedule(&state, &default_table(), &pod("new", json!({}))).unwrap();
    // 50 % less 1 % for every 125 nodes.
    assert_eq!((first.evaluated, first.feasible), (420, 420));
    assert_eq!(search.next, 420);
}

#[rstest]
#[case(50, 50)]
#[case(100, 100)]
#[case(1_000, 420)]
#[case(5_000, 500)]
#[case(10_000, 500)]
fn enough(#[case] nodes: usize, #[case] expected: usize) {
    assert_eq!(search().enough(nodes), expected);
}

#[test]
fn equals_are_chosen_by_chance() {
    let nodes: Vec<_> = (0..10).map(|n| node(&format!("n{n}"), json!({}))).collect();
    let mut state = state(&nodes, &[]);
    let new = pod("new", json!({}));
    state.prepare(&new);
    let mut search = search();
    let chosen: BTreeSet<String> =
        (0..200).map(|_| search.schedule(&state, &default_table(), &new).unwrap().node).collect();
    assert_eq!(chosen.len(), 10);
}

#[rstest]
#[case::no_claim(json!({}), "c", Err("0/2 nodes are available: persistentvolumeclaim \"c\" not found."))]
#[case::not_bound(json!({"spec": {"storageClassName": "now"}}), "c", Err("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."))]
#[case::waits(json!({"spec": {"storageClassName": "later"}}), "c", Err("0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."))]
#[case::bound(json!({"spec": {"volumeName": "v"}, "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}}), "c", Ok("b"))]
#[case::volume_gone(json!({"spec": {"volumeName": "w"}, "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}}), "c",
    Err("0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."))]
#[case::lost(json!({"spec": {"volumeName": "w"}, "status": {"phase": "Lost"}}), "c",
    Err("0/2 nodes are available: persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"w\"."))]
fn volumes(#[case] claim: Value, #[case] name: &str, #[case] expected: Result<&str, &str>) {
    use crate::state::volumes::{Claim, Class, Volume};
    use client::View;
    let mut state = state(&[node("a", json!({})), node("b", json!({}))], &[]);
    let volume = json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": HOST, "operator": "In", "values": ["b"]}]}]}}}});
    state.volumes_mut().set_volume("v", Some(Volume::decode(volume.to_string().as_bytes()).unwrap()));
    let later = json!({"volumeBindingMode": "WaitForFirstConsumer"});
    state.volumes_mut().set_class("later", Some(Class::decode(later.to_string().as_bytes()).unwrap()));
    if claim != json!({}) {
        state.volumes_mut().set_claim("ns", name, Some(Claim::decode(claim.to_string().as_bytes()).unwrap()));
    }
    let new = pod("new", json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}));
    assert_eq!(place(&mut state, &new).as_deref().map_err(String::as_str), expected);
}
