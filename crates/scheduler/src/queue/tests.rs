use super::*;
use crate::plugins::{Row, default_table};
use crate::testing::{node, pod};
use serde_json::{Value, json};

struct Lab {
    queue: Queue,
    table: Vec<Row>,
    start: Instant,
}

impl Lab {
    fn new() -> Lab {
        Lab { queue: Queue::default(), table: default_table(), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn add(&mut self, name: &str, changes: Value, seconds: u64) {
        let now = self.at(seconds);
        let plugins: Vec<&dyn Plugin> = self.table.iter().map(|row| row.plugin.as_ref()).collect();
        self.queue.add(pod(name, changes), &plugins, now);
    }

    fn update(&mut self, name: &str, changes: Value, seconds: u64) {
        let now = self.at(seconds);
        let plugins: Vec<&dyn Plugin> = self.table.iter().map(|row| row.plugin.as_ref()).collect();
        self.queue.update(pod(name, changes), &plugins, now);
    }

    fn pop(&mut self, seconds: u64) -> Option<String> {
        let now = self.at(seconds);
        self.queue.pop(now).map(|queued| queued.pod.meta.name.clone().unwrap())
    }

    fn fail(&mut self, seconds: u64, rejectors: &[&'static str]) {
        let now = self.at(seconds);
        let queued = self.queue.pop(now).unwrap();
        self.refuse(queued, rejectors, seconds);
    }

    fn refuse(&mut self, queued: QueuedPod, rejectors: &[&'static str], seconds: u64) {
        let now = self.at(seconds);
        let plugins: Vec<&dyn Plugin> = self.table.iter().map(|row| row.plugin.as_ref()).collect();
        self.queue.failed(queued, rejectors.iter().copied().collect(), &plugins, now);
    }

    fn happened(&mut self, event: &ClusterEvent, seconds: u64) {
        let now = self.at(seconds);
        let plugins: Vec<&dyn Plugin> = self.table.iter().map(|row| row.plugin.as_ref()).collect();
        self.queue.happened(event, &plugins, now);
    }
}

#[test]
fn important_first_then_first_come() {
    let mut lab = Lab::new();
    lab.add("old", json!({}), 0);
    lab.add("young", json!({}), 1);
    lab.add("important", json!({"priority": 10}), 2);
    let order: Vec<_> = (0..4).map(|_| lab.pop(3)).collect();
    assert_eq!(order, [Some("important".into()), Some("old".into()), Some("young".into()), None]);
}

#[test]
fn a_refused_pod_waits_for_what_may_help() {
    let mut lab = Lab::new();
    lab.add("a", json!({"cpu": "2", "nodeSelector": {"disk": "ssd"}}), 0);
    lab.fail(0, &["NodeAffinity"]);
    assert_eq!(lab.queue.lengths(), [0, 0, 1, 0]);
    lab.happened(&ClusterEvent::NodeAdded(node("n", json!({}))), 1);
    lab.happened(&ClusterEvent::PodGone(pod("x", json!({"cpu": "1"}))), 1);
    assert_eq!(lab.queue.lengths(), [0, 0, 1, 0], "neither is what it was refused for");
    lab.happened(&ClusterEvent::NodeAdded(node("n", json!({"labels": {"disk": "ssd"}}))), 2);
    assert_eq!(lab.queue.lengths(), [1, 0, 0, 0]);
}

#[test]
fn a_node_that_is_too_small_even_empty_does_not_help() {
    let mut lab = Lab::new();
    lab.add("a", json!({"cpu": "8"}), 0);
    lab.fail(0, &["NodeResourcesFit"]);
    lab.happened(&ClusterEvent::NodeAdded(node("n", json!({}))), 2);
    assert_eq!(lab.queue.lengths(), [0, 0, 1, 0]);
    lab.happened(&ClusterEvent::NodeAdded(node("n", json!({"allocatable": {"cpu": "16"}}))), 2);
    assert_eq!(lab.queue.lengths(), [1, 0, 0, 0]);
}

#[test]
fn pauses_double_up_to_ten_seconds() {
    let mut lab = Lab::new();
    lab.add("a", json!({}), 0);
    let mut now = 0;
    for pause in [1, 2, 4, 8, 10, 10] {
        lab.fail(now, &["NodeResourcesFit"]);
        lab.happened(&ClusterEvent::Other, now);
        assert_eq!(lab.queue.lengths(), [0, 1, 0, 0]);
        now += pause;
        assert_eq!(lab.queue.next_wake(), Some(lab.at(now)));
        lab.queue.wake(lab.at(now));
        assert_eq!(lab.queue.lengths(), [1, 0, 0, 0]);
    }
}

#[test]
fn an_idle_scheduler_does_not_wait_out_a_backoff_unless_it_was_an_error() {
    let mut lab = Lab::new();
    lab.add("a", json!({}), 0);
    lab.fail(0, &["NodeResourcesFit"]);
    lab.happened(&ClusterEvent::Other, 0);
    assert_eq!(lab.pop(0).as_deref(), Some("a"));
    let queued = lab.queue.in_flight["uid-a"].0.clone();
    lab.refuse(queued, &[], 0);
    assert_eq!(lab.pop(0), None);
    assert_eq!(lab.pop(10).as_deref(), Some("a"));
}

#[test]
fn an_event_during_the_decision_is_not_missed() {
    let mut lab = Lab::new();
    lab.add("a", json!({"cpu": "1"}), 0);
    lab.happened(&ClusterEvent::Other, 0);
    let now = lab.at(0);
    let queued = lab.queue.pop(now).unwrap();
    lab.happened(&ClusterEvent::PodGone(pod("x", json!({}))), 0);
    lab.refuse(queued, &["NodeResourcesFit"], 0);
    assert_eq!(lab.queue.lengths(), [0, 1, 0, 0]);
    assert!(lab.queue.events.is_empty(), "kept only while somebody is in flight");
}

#[test]
fn gates_hold_a_pod_back_until_they_open() {
    let mut lab = Lab::new();
    lab.add("a", json!({"schedulingGates": [{"name": "g"}]}), 0);
    lab.happened(&ClusterEvent::Other, 1);
    assert_eq!((lab.queue.lengths(), lab.pop(400)), ([0, 0, 0, 1], None));
    lab.update("a", json!({"schedulingGates": []}), 2);
    assert_eq!(lab.pop(2).as_deref(), Some("a"));
}

#[test]
fn a_change_to_the_pod_itself_is_worth_a_try_but_its_status_is_not() {
    let mut lab = Lab::new();
    lab.add("a", json!({}), 0);
    lab.fail(0, &["TaintToleration"]);
    lab.update("a", json!({"status": {"nominatedNodeName": ""}}), 5);
    assert_eq!(lab.queue.lengths(), [0, 0, 1, 0]);
    lab.update("a", json!({"tolerations": [{"operator": "Exists"}]}), 5);
    assert_eq!(lab.queue.lengths(), [1, 0, 0, 0]);
}

#[test]
fn after_five_minutes_it_is_tried_anyway() {
    let mut lab = Lab::new();
    lab.add("a", json!({}), 0);
    lab.fail(0, &["NodeAffinity"]);
    let plugins: Vec<&dyn Plugin> = lab.table.iter().map(|row| row.plugin.as_ref()).collect();
    lab.queue.flush(&plugins, lab.start + Duration::from_secs(299));
    assert_eq!(lab.queue.lengths(), [0, 0, 1, 0]);
    lab.queue.flush(&plugins, lab.start + Duration::from_secs(301));
    assert_eq!(lab.queue.lengths(), [1, 0, 0, 0]);
}

#[test]
fn a_deleted_pod_is_gone_from_wherever_it_was() {
    let mut lab = Lab::new();
    lab.add("a", json!({}), 0);
    lab.queue.remove("uid-a");
    assert_eq!(lab.pop(0), None);
}
