//! Informers against a scripted API server.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::informer::index;
use client::{Client, Event, Given, Informer, Kind, MetaExt, ObjectKey};
use fake::{Fake, Reply, added, bookmark, deleted, end_of_list, gone, modified, pod};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What a handler was told, as short texts: `+a@1` added, `~a@1>2` changed, `-a@2` deleted, `!a@2` lost.
type Told = Arc<Mutex<Vec<String>>>;

fn start(fake: &Fake) -> (Informer<Pod>, Told, CancellationToken) {
    let client = Client::in_process(fake.service(), api::user::UserInfo::authenticated("test", &[]));
    let informer = Informer::<Pod>::of_kind(&client, Given::default());
    informer.add_index(index::NODE_NAME, index::node_name);
    let told = Told::default();
    let tell = told.clone();
    informer.subscribe(move |event| {
        let text = match event {
            Event::Added(new) => format!("+{}@{}", new.name(), new.revision),
            Event::Updated { old, new } => format!("~{}@{}>{}", new.name(), old.revision, new.revision),
            Event::Deleted { object, tombstone: false } => format!("-{}@{}", object.name(), object.revision),
            Event::Deleted { object, tombstone: true } => format!("!{}@{}", object.name(), object.revision),
        };
        tell.lock().push(text);
    });
    let stop = CancellationToken::new();
    tokio::spawn(informer.clone().run(stop.clone()));
    (informer, told, stop)
}

fn sorted(told: &Told) -> Vec<String> {
    let mut told = told.lock().clone();
    told.sort();
    told
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_fills_the_cache_and_live_events_follow() {
    let fake = Fake::new([Reply::watch([
        added(&pod("a", 1)),
        added(&pod("b", 2)),
        end_of_list(5),
        modified(&pod("a", 6)),
        deleted(&pod("b", 7)),
        bookmark(9),
    ])
    .and_hang()]);
    let (informer, told, _stop) = start(&fake);
    informer.reached(9).await;
    assert_eq!(told.lock().as_slice()[2..], ["~a@1>6", "-b@7"]);
    assert_eq!(informer.list().len(), 1);
    let a = informer.find("x", "a").unwrap();
    assert_eq!((a.revision, a.meta_managed()), (6, false));
    assert!(a.edit(|tree| tree.set("spec.nodeName", "n")).unwrap().array_at("metadata.managedFields").len() == 1);
    let query = fake.requests()[0].clone();
    assert!(query.contains("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), "{query}");
}

trait Managed {
    fn meta_managed(&self) -> bool;
}

impl Managed for Pod {
    fn meta_managed(&self) -> bool {
        self.metadata.managed_fields.is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_is_resumed_from_the_last_revision() {
    let fake = Fake::new([
        Reply::watch([added(&pod("a", 1)), end_of_list(5), bookmark(8)]),
        Reply::watch([]).and_break(),
        Reply::watch([modified(&pod("a", 9))]).and_hang(),
    ]);
    let (informer, told, _stop) = start(&fake);
    informer.reached(9).await;
    assert_eq!(sorted(&told), ["+a@1", "~a@1>9"]);
    for request in &fake.requests()[1..] {
        assert!(request.contains("resourceVersion=8&") && !request.contains("sendInitialEvents"), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_begins_with_a_list_and_tells_the_difference() {
    let fake = Fake::new([
        Reply::watch([added(&pod("a", 1)), added(&pod("b", 2)), added(&pod("c", 3)), end_of_list(5), gone()]),
        Reply::watch([added(&pod("a", 1)), added(&pod("b", 20)), end_of_list(21)]).and_hang(),
    ]);
    let (informer, told, _stop) = start(&fake);
    informer.reached(21).await;
    assert_eq!(sorted(&told), ["!c@3", "+a@1", "+b@2", "+c@3", "~b@2>20"]);
    assert!(fake.requests()[1].contains("sendInitialEvents"));
}

#[tokio::test(start_paused = true)]
async fn without_streaming_lists_it_lists_in_pages_and_watches() {
    let fake = Fake::new([
        Reply::status(422, "Invalid"),
        Reply::list(30, "next", &[pod("a", 1)]),
        Reply::list(30, "", &[pod("b", 2)]),
        Reply::watch([added(&pod("c", 31))]).and_hang(),
    ]);
    let (informer, told, _stop) = start(&fake);
    informer.reached(31).await;
    assert_eq!(sorted(&told), ["+a@1", "+b@2", "+c@31"]);
    let requests = fake.requests();
    assert!(requests[1].contains("limit=500") && requests[2].contains("continue=next"), "{requests:?}");
    assert!(requests[3].contains("resourceVersion=30&"), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_cut_short_never_counts() {
    let fake = Fake::new([
        Reply::watch([added(&pod("a", 1))]).and_break(),
        Reply::status(503, "ServiceUnavailable"),
        Reply::watch([added(&pod("b", 2)), end_of_list(5)]).and_hang(),
    ]);
    let (informer, told, _stop) = start(&fake);
    informer.synced().await;
    assert_eq!(sorted(&told), ["+b@2"]);
}

/// A server restored from a backup: what was waited for will never come.
#[tokio::test(start_paused = true)]
async fn revisions_that_go_back_begin_anew_and_end_all_waiting() {
    let too_large = r#"{"kind":"Status","code":504,"reason":"Timeout","message":"Too large resource version: 9, current: 4","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}]}}"#;
    let fake = Fake::new([
        Reply::watch([added(&pod("a", 8)), end_of_list(9)]),
        Reply::json(too_large).code(504),
        Reply::watch([added(&pod("a", 3)), end_of_list(4)]).and_hang(),
    ]);
    let (informer, told, _stop) = start(&fake);
    informer.reached(9).await;
    informer.reached(12).await;
    assert_eq!((informer.revision(), told.lock().as_slice()), (4, &["+a@8".to_owned(), "~a@8>3".to_owned()][..]));
}

#[tokio::test(start_paused = true)]
async fn another_object_of_the_same_name_is_a_deletion_and_an_addition() {
    let fake = Fake::new([
        Reply::watch([added(&pod("a", 1)), end_of_list(5), gone()]),
        Reply::watch([added(&pod("a", 20).replace("uid-a", "uid-other")), end_of_list(21)]).and_hang(),
    ]);
    let (informer, told, _stop) = start(&fake);
    informer.reached(21).await;
    assert_eq!(told.lock().as_slice(), ["+a@1", "!a@1", "+a@20"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_handler_sees_what_is_there_and_a_panicking_one_harms_nobody() {
    let fake = Fake::new([Reply::watch([added(&pod("a", 1)), end_of_list(5), modified(&pod("a", 6))]).and_hang()]);
    let (informer, _, _stop) = start(&fake);
    informer.synced().await;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    informer.subscribe(|_| panic!("a bug in a handler"));
    informer.subscribe(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    informer.reached(6).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(informer.get(&ObjectKey::new("x", "a")).is_some_and(|pod| pod.revision == 6));
    assert!(seen.load(Ordering::Relaxed) >= 1);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_watch() {
    let fake = Fake::new([Reply::watch([end_of_list(5)]).and_hang()]);
    let (informer, _, stop) = start(&fake);
    informer.synced().await;
    assert_eq!(fake.open(), 1);
    stop.cancel();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(fake.open(), 0);
    assert_eq!(Pod::RESOURCE.plural, "pods");
}
