//! What wakes a worker.

use serde_json::json;

use super::*;
use crate::observed::{Container, RunState, Sandbox};

fn pod(extra: serde_json::Value) -> Arc<Pod> {
    let mut pod =
        json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [], "terminationGracePeriodSeconds": 30}});
    pod["metadata"].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn is_woken(inbox: &Inbox) -> bool {
    let waiting = std::pin::pin!(inbox.news.notified());
    futures::FutureExt::now_or_never(waiting).is_some()
}

#[test]
fn what_a_worker_has_not_seen_wakes_it() {
    let workers = Workers::default();
    let inbox = Arc::new(Inbox::new(pod(json!({}))));
    assert!(is_woken(&inbox));
    workers.known.lock().insert("u".into(), inbox.clone());
    let running = |ids: &[&str]| HashMap::from([("u".to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())]);
    workers.wake_surprised(&running(&["s"]));
    assert!(!is_woken(&inbox), "it has not looked yet, so it will");
    let sandbox = Sandbox { id: "s".into(), ready: true, ..Sandbox::default() };
    let container = Container { id: "c".into(), state: RunState::Running, ..Container::default() };
    inbox.saw(&Observed { sandboxes: vec![sandbox], containers: vec![container] });
    workers.wake_surprised(&running(&["c", "s"]));
    assert!(!is_woken(&inbox));
    workers.wake_surprised(&running(&["s"]));
    assert!(is_woken(&inbox), "the container it saw is gone");
}

#[test]
fn a_second_deletion_can_only_shorten_the_grace() {
    let deleted =
        |seconds: i64| pod(json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": seconds}));
    let inbox = Inbox::new(pod(json!({})));
    assert!(inbox.wanted().ending.is_none() && !inbox.ending.is_cancelled());
    for (seconds, expected) in [(30, 30), (5, 5), (60, 5)] {
        inbox.update(deleted(seconds));
        assert_eq!(inbox.wanted().ending.unwrap().grace, Some(expected));
    }
    assert!(inbox.ending.is_cancelled());
}
