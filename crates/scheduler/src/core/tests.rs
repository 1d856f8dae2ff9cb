use super::*;
use crate::plugins::default_table;
use crate::testing::{node, pod};
use serde_json::json;
use std::time::Duration;

fn core() -> Core {
    Core::new("default-scheduler", default_table(), 0, 1)
}

#[test]
fn a_pod_is_assumed_until_it_is_known_to_be_bound() {
    let (mut core, now) = (core(), Instant::now());
    core.node(node("a", json!({})), now);
    core.pod(pod("p1", json!({"cpu": "3"})), now);
    core.pod(pod("p2", json!({"cpu": "3"})), now);
    let Some(Work::Bind { queued, node }) = core.next(now) else { panic!("no binding") };
    assert_eq!((queued.pod.uid(), node.as_str()), ("uid-p1", "a"));
    let Some(Work::Explain { diagnosis, .. }) = core.next(now) else { panic!("fits twice") };
    assert!(
        diagnosis.message().starts_with("0/1 nodes are available: 1 Insufficient cpu. preemption: "),
        "{}",
        diagnosis.message()
    );
    core.bound("uid-p1");
    core.pod(pod("p1", json!({"cpu": "3", "nodeName": "a"})), now);
    assert!(!core.state.is_assumed("uid-p1"));
    core.pod_gone(&pod("p1", json!({"cpu": "3", "nodeName": "a"})), now + Duration::from_secs(2));
    assert!(matches!(core.next(now + Duration::from_secs(2)), Some(Work::Bind { .. })), "its room is p2's");
}

#[test]
fn a_failed_binding_frees_the_room_and_is_tried_again_after_a_pause() {
    let (mut core, now) = (core(), Instant::now());
    core.node(node("a", json!({})), now);
    core.pod(pod("p1", json!({"cpu": "3"})), now);
    let Some(Work::Bind { queued, .. }) = core.next(now) else { panic!("no binding") };
    core.not_bound(queued, false, now);
    assert!(core.state.find("a").unwrap().pods.is_empty());
    assert!(core.next(now).is_none());
    assert!(matches!(core.next(now + Duration::from_secs(1)), Some(Work::Bind { .. })));
}

#[test]
fn a_preemptor_waits_for_its_victims_and_gets_their_room() {
    let (mut core, now) = (core(), Instant::now());
    core.node(node("a", json!({})), now);
    let low = pod("low", json!({"cpu": "3", "nodeName": "a", "priority": 1}));
    core.pod(low.clone(), now);
    core.pod(pod("high", json!({"cpu": "3", "priority": 10})), now);
    let Some(Work::Explain { nominate, victims, .. }) = core.next(now) else { panic!("no preemption") };
    assert_eq!((nominate.as_deref(), victims.len()), (Some("a"), 1));
    core.pod(pod("middle", json!({"cpu": "3", "priority": 5})), now);
    core.pod_gone(&low, now + Duration::from_secs(2));
    let now = now + Duration::from_secs(3);
    let first = core.next(now);
    assert!(matches!(first, Some(Work::Bind { queued, .. }) if queued.pod.uid() == "uid-high"));
}

#[test]
fn pods_of_other_schedulers_and_finished_ones_are_not_decided_about() {
    let (mut core, now) = (core(), Instant::now());
    core.node(node("a", json!({})), now);
    core.pod(pod("theirs", json!({"schedulerName": "other"})), now);
    core.pod(pod("over", json!({"status": {"phase": "Succeeded"}})), now);
    assert!(core.next(now).is_none());
}

#[test]
fn without_nodes_a_pod_waits_for_one() {
    let (mut core, now) = (core(), Instant::now());
    core.pod(pod("p", json!({})), now);
    let Some(Work::Explain { diagnosis, .. }) = core.next(now) else { panic!() };
    assert_eq!(diagnosis.message(), "no nodes available to schedule pods");
    core.node(node("a", json!({})), now + Duration::from_secs(2));
    assert!(matches!(core.next(now + Duration::from_secs(2)), Some(Work::Bind { .. })));
}

#[test]
fn a_pod_that_is_being_deleted_is_skipped() {
    let (mut core, now) = (core(), Instant::now());
    core.pod(pod("p", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})), now);
    assert!(matches!(core.next(now), Some(Work::Skip(_))));
}

/// A pod that went, or was bound by somebody else, while it was being decided about came back as a ghost.
#[test]
fn what_goes_during_the_decision_does_not_come_back() {
    let (mut core, now) = (core(), Instant::now());
    core.node(node("a", json!({})), now);
    for assigned in [false, true] {
        core.pod(pod("p", json!({"cpu": "1"})), now);
        let Some(Work::Bind { queued, .. }) = core.next(now) else { panic!("no binding") };
        match assigned {
            false => core.pod_gone(&pod("p", json!({"cpu": "1"})), now),
            true => core.pod(pod("p", json!({"cpu": "1", "nodeName": "a"})), now),
        }
        core.not_bound(queued, false, now);
        assert_eq!(core.queue.lengths(), [0, 0, 0, 0]);
        assert_eq!(core.state.find("a").unwrap().pods.len(), usize::from(assigned));
    }
}

#[test]
fn a_refusal_before_any_node_is_told_as_upstream_tells_it() {
    let (mut core, now) = (core(), Instant::now());
    core.node(node("a", json!({})), now);
    core.pod(pod("p", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]})), now);
    let Some(Work::Explain { diagnosis, nominate, .. }) = core.next(now) else { panic!() };
    assert_eq!(diagnosis.message(), "0/1 nodes are available: persistentvolumeclaim \"c\" not found. not found");
    assert_eq!(nominate, None);
}
