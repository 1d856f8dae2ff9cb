use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::*;

fn recorder() -> EventRecorder {
    let (sender, receiver) = mpsc::channel(1);
    std::mem::forget(receiver);
    let given = Given::virtual_from(jiff::Timestamp::UNIX_EPOCH, 1);
    EventRecorder { sender, component: "kubelet".into(), host: "n1".into(), given }
}

fn pod(name: &str) -> Pod {
    let metadata = ObjectMeta { name: Some(name.into()), namespace: Some("x".into()), ..ObjectMeta::default() };
    Pod { metadata, ..Pod::default() }
}

fn event(object: &Pod, message: &str) -> Event {
    recorder().make(reference(object), EventType::Warning, "BackOff", message.into())
}

#[tokio::test(start_paused = true)]
async fn the_same_event_counts_up_and_keeps_its_name() {
    let mut correlator = Correlator::new();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let first = correlator.correlate(event(&pod("a"), "m"), now).unwrap();
    assert!(!first.is_repeated);
    correlator.written(&first, "a.123".into());
    let second = correlator.correlate(event(&pod("a"), "m"), now).unwrap();
    assert!(second.is_repeated);
    assert_eq!((second.event.name(), second.event.count), ("a.123", Some(2)));
    assert!(!correlator.correlate(event(&pod("b"), "m"), now).unwrap().is_repeated);
}

#[tokio::test(start_paused = true)]
async fn the_tenth_similar_event_is_combined_with_those_before() {
    let mut correlator = Correlator::new();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let said = |at: usize, correlator: &mut Correlator| {
        let correlated = correlator.correlate(event(&pod("a"), &format!("m{at}")), now).unwrap();
        (correlated.event.message.unwrap(), correlated.event.count.unwrap(), correlated.is_repeated)
    };
    for at in 0..9 {
        assert_eq!(said(at, &mut correlator), (format!("m{at}"), 1, false));
    }
    assert_eq!(said(9, &mut correlator), ("(combined from similar events): m9".into(), 1, false));
    assert_eq!(said(10, &mut correlator), ("(combined from similar events): m10".into(), 2, true));
}

#[tokio::test(start_paused = true)]
async fn a_flood_about_one_object_is_cut_after_25() {
    let mut correlator = Correlator::new();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let passed = (0..40).filter(|_| correlator.correlate(event(&pod("a"), "m"), now).is_some()).count();
    assert_eq!(passed, 25);
    assert!(correlator.correlate(event(&pod("b"), "m"), now).is_some());
    tokio::time::advance(Duration::from_secs(301)).await;
    assert!(correlator.correlate(event(&pod("a"), "m"), now).is_some());
}

#[test]
fn a_repeated_event_patches_count_time_and_message() {
    let mut event = Event { count: Some(3), message: Some("m".into()), ..Event::default() };
    event.last_timestamp = Some(Time(jiff::Timestamp::from_second(1).unwrap()));
    let Patch::Strategic(patch) = count_patch(&event) else { panic!() };
    assert_eq!(crate::json::write(&patch), r#"{"count":3,"message":"m","lastTimestamp":"1970-01-01T00:00:01Z"}"#);
}
