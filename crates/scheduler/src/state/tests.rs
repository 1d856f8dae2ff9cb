use super::*;
use crate::testing::{node, pod};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
enum Op {
    SetNode(u8, u8),
    RemoveNode(u8),
    SetPod { n: u8, node: u8, kind: u8, terminating: bool },
    RemovePod(u8),
    Assume { n: u8, node: u8, kind: u8 },
    Forget(u8),
    Prepare(u8),
    Namespace(Option<u8>),
}

/// Pods of a few kinds: labels, ports, affinity and spread that concern each other.
fn kind(kind: u8) -> Value {
    let term = |app: &str, selector: Option<Value>| json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "zone", "namespaceSelector": selector});
    match kind {
        0 => json!({"labels": {"app": "web"}, "cpu": "1"}),
        1 => json!({"labels": {"app": "db"}, "containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}),
        2 => {
            json!({"labels": {"app": "web"}, "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("web", None)]}}})
        }
        3 => json!({"labels": {"app": "db"}, "affinity": {"podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term("web", Some(json!({"matchLabels": {"team": "a"}}))), term("web", None)],
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": term("db", None)}]}}}),
        _ => json!({"labels": {"app": "web"}, "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]}),
    }
}

fn make(n: u8, node: u8, what: u8, terminating: bool) -> Arc<Pod> {
    let mut changes = kind(what);
    changes["nodeName"] = json!(format!("n{node}"));
    if terminating {
        changes["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    }
    pod(&format!("p{n}"), changes)
}

fn operation() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..4, 0u8..3).prop_map(|(n, zone)| Op::SetNode(n, zone)),
        (0u8..4).prop_map(Op::RemoveNode),
        (0u8..8, 0u8..4, 0u8..5, any::<bool>()).prop_map(|(n, node, kind, terminating)| Op::SetPod {
            n,
            node,
            kind,
            terminating
        }),
        (0u8..8).prop_map(Op::RemovePod),
        (0u8..8, 0u8..4, 0u8..5).prop_map(|(n, node, kind)| Op::Assume { n, node, kind }),
        (0u8..8).prop_map(Op::Forget),
        (0u8..5).prop_map(Op::Prepare),
        proptest::option::of(0u8..2).prop_map(Op::Namespace),
    ]
}

fn apply(state: &mut State, operation: &Op) {
    match operation {
        Op::SetNode(n, zone) => {
            let labels = json!({"labels": {"zone": zone.to_string(), ZONE_LABEL: zone.to_string()},
                "images": [{"names": [format!("image{zone}")], "sizeBytes": 1}]});
            state.set_node(node(&format!("n{n}"), labels));
        }
        Op::RemoveNode(n) => {
            state.remove_node(&format!("n{n}"));
        }
        Op::SetPod { n, node, kind, terminating } => state.set_pod(make(*n, *node, *kind, *terminating)),
        Op::RemovePod(n) => {
            state.remove_pod(&format!("uid-p{n}"));
        }
        Op::Assume { n, node, kind } => {
            // Only pods without a node are assumed.
            if state.pod(&format!("uid-p{n}")).is_none() {
                state.assume(make(*n, *node, *kind, false));
            }
        }
        Op::Forget(n) => {
            state.forget(&format!("uid-p{n}"));
        }
        Op::Prepare(what) => state.prepare(&make(99, 0, *what, false)),
        Op::Namespace(team) => {
            let labels = team.map(|team| [("team".to_string(), ["a", "b"][team as usize].to_string())].into());
            state.set_namespace("ns", labels);
        }
    }
}

/// The same knowledge, taken in anew.
fn recomputed(state: &State) -> State {
    let mut fresh = State::default();
    // Numbers of nodes are given in the order in which they are first seen.
    for info in &state.nodes {
        let name = state.by_name.iter().find(|(_, id)| **id == info.id).map(|(name, _)| name.clone()).unwrap();
        fresh.node_id(&name);
    }
    for info in state.nodes.iter().filter_map(|info| info.node.clone()) {
        fresh.set_node(info);
    }
    fresh.namespaces = state.namespaces.clone();
    for group in state.groups.snapshot().into_keys() {
        fresh.groups.register(group, fresh.pods.values(), &fresh.namespaces);
    }
    for (pod, _) in state.pods.values() {
        fresh.set_pod(pod.clone());
    }
    fresh
}

fn flat(state: &State) -> impl PartialEq + std::fmt::Debug + use<> {
    let nodes: Vec<_> = state
        .nodes
        .iter()
        .map(|info| {
            let mut pods: Vec<String> = info.pods.iter().map(|pod| pod.uid().to_string()).collect();
            pods.sort();
            let ports = info.ports.len();
            (info.name().to_string(), pods, info.requested.clone(), info.requested_with_defaults.clone(), ports)
        })
        .collect();
    let images: BTreeMap<_, _> = state.image_nodes.clone().into_iter().collect();
    let order: Vec<_> = state.order.iter().map(|id| id.0).collect();
    (nodes, order, images, state.groups.snapshot(), state.terms.snapshot())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn kept_up_by_events_equals_taken_in_anew(operations in proptest::collection::vec(operation(), 0..60)) {
        let mut state = State::default();
        for operation in &operations {
            apply(&mut state, operation);
        }
        prop_assert_eq!(format!("{:?}", flat(&state)), format!("{:?}", flat(&recomputed(&state))));
        for (key, values) in state.places.snapshot() {
            for (info, value) in state.nodes.iter().zip(values.into_iter().chain(std::iter::repeat(None))) {
                prop_assert_eq!(info.label(&key).map(str::to_string), value);
            }
        }
    }
}

#[test]
fn nodes_alternate_between_zones() {
    let mut state = State::default();
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")] {
        state.set_node(node(name, json!({"labels": {ZONE_LABEL: zone}})));
    }
    let names: Vec<&str> = state.order().iter().map(|id| state.node(*id).name()).collect();
    assert_eq!(names, ["a1", "b1", "a2", "a3"]);
}

#[test]
fn a_node_that_goes_leaves_its_pods_known() {
    let mut state = State::default();
    state.set_node(node("a", json!({})));
    state.set_pod(make(1, 0, 0, false).on("a").into());
    state.remove_node("a");
    assert!(state.find("a").is_none() && state.order().is_empty());
    state.set_node(node("a", json!({})));
    assert_eq!(state.find("a").unwrap().pods.len(), 1);
}
