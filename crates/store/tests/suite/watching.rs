//! Watches: from any revision, filed by scope, complete, bounded.

use std::time::Duration;

use rstest::rstest;
use store::{Scope, Txn, WatchError};

use crate::harness::*;

#[rstest]
#[tokio::test]
async fn a_watch_goes_on_from_any_revision(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let start = store.revision();
    store.txn(Txn::create(pod("a", "x"), "one")).await.unwrap();
    store.txn(Txn::new().put(pod("a", "x"), "two")).await.unwrap();
    store.txn(Txn::new().put("/registry/minions/n", "node")).await.unwrap();
    store.txn(Txn::new().delete(pod("a", "x"))).await.unwrap();
    let all = [
        format!("+a/x=one {}", start + 1),
        format!("~a/x=two {}", start + 2),
        format!("-a/x=two {}", start + 4),
        format!("+a/y=new {}", start + 5),
    ];
    for (skip, after) in [(0, start), (1, start + 1), (2, start + 2), (2, start + 3)] {
        let mut watch = store.watch(PODS, Scope::default(), after).unwrap();
        if after == start + 3 {
            store.txn(Txn::create(pod("a", "y"), "new")).await.unwrap();
        }
        let count = if after == start + 3 { 2 } else { 3 - skip };
        assert_eq!(events(&mut watch, count).await, all[skip..skip + count], "after {after}");
    }
}

#[rstest]
#[tokio::test]
async fn a_watch_from_the_future_waits_for_it(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let start = store.revision();
    let mut watch = store.watch(PODS, Scope::default(), start + 2).unwrap();
    for n in 1..=4 {
        store.txn(Txn::create(pod("a", &n.to_string()), "x")).await.unwrap();
    }
    assert_eq!(events(&mut watch, 2).await, [format!("+a/3=x {}", start + 3), format!("+a/4=x {}", start + 4)]);
}

#[rstest]
#[case::all(Scope::default(), &["+a/x", "+a/y", "+b/x", "~a/x", "~b/x", "-a/y"])]
#[case::namespace(Scope { namespace: Some("a".into()), ..Scope::default() }, &["+a/x", "+a/y", "~a/x", "-a/y"])]
#[case::name(Scope { name: Some("x".into()), ..Scope::default() }, &["+a/x", "+b/x", "~a/x", "~b/x"])]
#[case::object(Scope { namespace: Some("b".into()), name: Some("x".into()), field: None }, &["+b/x", "~b/x"])]
#[case::field_before_or_after(Scope { field: Some(("node".into(), "n1".into())), ..Scope::default() }, &["+a/y", "~a/x", "~b/x", "-a/y"])]
#[case::field_left(Scope { field: Some(("node".into(), "n2".into())), ..Scope::default() }, &["+b/x", "~b/x"])]
#[case::field_and_namespace(Scope { namespace: Some("a".into()), field: Some(("node".into(), "n1".into())), name: None }, &["+a/y", "~a/x", "-a/y"])]
#[tokio::test]
async fn a_scope_hears_what_may_concern_it(
    #[case] scope: Scope,
    #[case] expected: &[&str],
    #[values(false, true)] before: bool,
    #[values(Memory, Embedded, Etcd, EtcdNew)] on: On,
) {
    let (_harness, store) = fresh(on).await;
    let start = store.revision();
    let mut watch = before.then(|| store.watch(PODS, scope.clone(), start).unwrap());
    store.txn(Txn::create(pod("a", "x"), "app=1")).await.unwrap();
    store.txn(Txn::create(pod("a", "y"), "node=n1")).await.unwrap();
    store.txn(Txn::create(pod("b", "x"), "node=n2")).await.unwrap();
    store.txn(Txn::new().put(pod("a", "x"), "app=1 node=n1")).await.unwrap();
    store.txn(Txn::new().put(pod("b", "x"), "node=n1")).await.unwrap();
    let last = store.txn(Txn::new().delete(pod("a", "y"))).await.unwrap().revision;
    let watch = watch.get_or_insert_with(|| store.watch(PODS, scope, start).unwrap());
    let got = events_through(watch, last).await;
    let keys: Vec<_> = got.iter().map(|event| show_event(event).split('=').next().unwrap().to_owned()).collect();
    assert_eq!(keys, expected);
}

#[rstest]
#[tokio::test]
async fn progress_moves_on_without_events(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let scope = Scope { field: Some(("node".into(), "n1".into())), ..Scope::default() };
    let mut watch = store.watch(PODS, scope, store.revision()).unwrap();
    let mut batch = Vec::new();
    let waiting = tokio::time::timeout(Duration::from_millis(50), watch.next(&mut batch)).await;
    assert!(waiting.is_err(), "nothing to deliver");
    let other = store.txn(Txn::create(pod("a", "x"), "node=n2")).await.unwrap().revision;
    assert_eq!(watch.progress(), other);
    let mine = store.txn(Txn::create(pod("a", "y"), "node=n1")).await.unwrap().revision;
    assert_eq!(watch.progress(), other, "an event waits to be read");
    assert_eq!(watch.next(&mut batch).await.unwrap(), mine);
    assert_eq!((batch.len(), watch.progress()), (1, mine));
}

#[rstest]
#[tokio::test]
async fn a_transaction_comes_in_one_batch(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let mut watch = store.watch(PODS, Scope::default(), store.revision()).unwrap();
    let txn = (0..100).fold(Txn::new(), |txn, n| txn.put(pod("a", &format!("{n:03}")), "x"));
    let revision = store.txn(txn).await.unwrap().revision;
    let mut batch = Vec::new();
    assert_eq!(watch.next(&mut batch).await.unwrap(), revision);
    assert_eq!(batch.len(), 100);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_a_snapshot_and_its_watch_nothing_is_lost_or_doubled(
    #[values(Memory, Embedded, Etcd, EtcdNew)] on: On,
) {
    const WRITES: usize = 300;
    let (_harness, store) = fresh(on).await;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..WRITES {
                let key = pod("a", &(n % 7).to_string());
                let txn = if n % 5 == 4 { Txn::new().delete(key) } else { Txn::new().put(key, n.to_string()) };
                store.txn(txn).await.unwrap();
            }
        })
    };
    let mut watchers = Vec::new();
    while !writer.is_finished() {
        let snapshot = store.snapshot(PODS);
        let watch = store.watch(PODS, Scope::default(), snapshot.revision()).unwrap();
        watchers.push((snapshot, watch));
        // The writer may be done.
        let _ = tokio::time::timeout(Duration::from_millis(20), store.wait_for(store.revision() + 1)).await;
        if watchers.len() >= 40 {
            break;
        }
    }
    writer.await.unwrap();
    let end = store.snapshot(PODS);
    for (snapshot, mut watch) in watchers {
        let mut state: std::collections::BTreeMap<_, _> =
            snapshot.iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
        let mut last = snapshot.revision();
        for event in events_through(&mut watch, end.revision()).await {
            assert!(event.revision > last, "each once, in order");
            last = event.revision;
            let before = state.get(&event.entry.key).map(|entry| entry.mod_revision);
            assert_eq!(before, event.prev.as_ref().map(|prev| prev.mod_revision), "prev is what was there");
            match event.kind {
                store::Kind::Put => state.insert(event.entry.key.clone(), event.entry.clone()),
                store::Kind::Delete => state.remove(&event.entry.key),
            };
        }
        let show_all = |entries: Vec<_>| {
            entries.iter().map(|entry: &std::sync::Arc<store::Entry>| show(entry)).collect::<Vec<_>>()
        };
        assert_eq!(show_all(state.into_values().collect()), show_all(end.iter().cloned().collect()));
    }
}

#[rstest]
#[tokio::test]
async fn a_slow_watcher_reads_on_from_the_log_until_it_is_compacted(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let mut options = options();
    options.limits.hot_events_bytes_max = 4000;
    let store = harness.open_with(options).await;
    let start = store.revision();
    let mut slow = store.watch(PODS, Scope::default(), start).unwrap();
    let mut slower = store.watch(PODS, Scope { namespace: Some("a".into()), ..Scope::default() }, start).unwrap();
    for n in 0..100 {
        store.txn(Txn::new().put(pod("a", "x"), n.to_string())).await.unwrap();
    }
    let got = events_through(&mut slow, start + 100).await;
    let expected: Vec<_> =
        (0..100).map(|n| format!("{}a/x={n} {}", if n == 0 { '+' } else { '~' }, start + 1 + n)).collect();
    assert_eq!(got.iter().map(|event| show_event(event)).collect::<Vec<_>>(), expected);
    assert!(
        got[1..]
            .iter()
            .zip(&got)
            .all(|(event, before)| event.prev.as_ref().unwrap().mod_revision == before.entry.mod_revision)
    );
    store.compact(start + 50).await.unwrap();
    let mut batch = Vec::new();
    let error = slower.next(&mut batch).await.unwrap_err();
    assert!(matches!(error, WatchError::Compacted { after, .. } if after == start), "{error}");
    assert!(batch.is_empty());
}

#[rstest]
#[tokio::test]
async fn closing_ends_watches_and_waits(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let mut watch = store.watch(PODS, Scope::default(), store.revision()).unwrap();
    let watching = tokio::spawn(async move { watch.next(&mut Vec::new()).await });
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for(store.revision() + 1).await }
    });
    tokio::task::yield_now().await;
    store.close().await;
    assert!(matches!(tokio::time::timeout(SOON, watching).await.unwrap().unwrap(), Err(WatchError::Closed)));
    assert!(tokio::time::timeout(SOON, waiting).await.unwrap().unwrap().is_err());
    assert!(matches!(store.txn(Txn::create(pod("a", "x"), "x")).await, Err(store::CommitError::Closed)));
}
