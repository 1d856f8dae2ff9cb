//! Snapshots, old revisions, compaction, resources that come later, keys that expire.

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use store::{ReadError, Scope, Snapshot, Txn, WatchError};

use crate::harness::*;

fn shown(snapshot: &Snapshot) -> Vec<String> {
    snapshot.iter().map(|entry| show(entry)).collect()
}

#[rstest]
#[tokio::test]
async fn a_snapshot_stays_as_it_is(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    for (namespace, name) in [("a", "1"), ("a", "2"), ("a-b", "1"), ("b", "1")] {
        store.txn(Txn::create(pod(namespace, name), "x")).await.unwrap();
    }
    let snapshot = store.snapshot(PODS);
    store.txn(Txn::new().delete(pod("a", "1")).put(pod("a", "3"), "y")).await.unwrap();
    assert_eq!((snapshot.len(), store.snapshot(PODS).len()), (4, 4));
    let keys = |prefix: &str, after: Option<&str>| -> Vec<String> {
        snapshot.range(prefix, after).map(|entry| entry.key[PODS.len()..].to_owned()).collect()
    };
    assert_eq!(keys(PODS, None), ["a-b/1", "a/1", "a/2", "b/1"], "in the order of bytes");
    assert_eq!(keys(&pod("a", ""), None), ["a/1", "a/2"]);
    assert_eq!(keys(PODS, Some(&pod("a", "1"))), ["a/2", "b/1"]);
    assert_eq!(keys(&pod("a", ""), Some(&pod("a", "2"))), [""; 0]);
    assert_eq!(keys(&pod("b", ""), Some(&pod("a", "2"))), ["b/1"], "a start before the prefix is no limit");
    assert!(snapshot.get(&pod("a", "3")).is_none() && snapshot.get(&pod("a", "1")).is_some());
}

#[rstest]
#[case::from_the_ring(1 << 20)]
#[case::from_the_log(2000)]
#[tokio::test]
async fn an_old_revision_is_what_it_was(#[case] hot_bytes: usize, #[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let mut options = options();
    options.limits.hot_events_bytes_max = hot_bytes;
    options.limits.kept_snapshots_max = 2;
    let store = harness.open_with(options).await;
    let mut past = vec![store.snapshot(PODS)];
    for n in 0..60_u32 {
        let key = pod("a", &(n * 7 % 11).to_string());
        let txn = if n % 4 == 3 { Txn::new().delete(key) } else { Txn::new().put(key, n.to_string()) };
        store.txn(txn.put(format!("{NODES}n"), "x")).await.unwrap();
        past.push(store.snapshot(PODS));
    }
    for snapshot in &past {
        let again = store.snapshot_at(PODS, snapshot.revision()).await.unwrap();
        assert_eq!(again.revision(), snapshot.revision());
        assert_eq!(shown(&again), shown(snapshot), "at {}", snapshot.revision());
    }
    let next = store.revision() + 1;
    assert!(matches!(store.snapshot_at(PODS, next).await, Err(ReadError::Future { revision, .. }) if revision == next));
}

#[rstest]
#[tokio::test]
async fn past_compaction_is_gone_but_the_compacted_revision_is_not(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let mut options = options();
    options.limits.kept_snapshots_max = 0;
    let store = harness.open_with(options).await;
    let start = store.revision();
    for n in 1..=10 {
        store.txn(Txn::new().put(pod("a", "x"), n.to_string())).await.unwrap();
    }
    store.compact(start + 5).await.unwrap();
    assert_eq!(store.compacted(), start + 5);
    assert_eq!(
        shown(&store.snapshot_at(PODS, start + 5).await.unwrap()),
        [format!("a/x=5@{}/{}", start + 1, start + 5)]
    );
    assert!(matches!(store.snapshot_at(PODS, start + 4).await, Err(ReadError::Compacted { .. })));
    // Nothing ever happened there, but a list of that time can't be continued either.
    assert!(matches!(store.snapshot_at(NODES, start + 4).await, Err(ReadError::Compacted { .. })));
    let mut watch = store.watch(PODS, Scope::default(), start + 5).unwrap();
    assert_eq!(events(&mut watch, 5).await[0], format!("~a/x=6 {}", start + 6));
    let refused = store.watch(PODS, Scope::default(), start + 4);
    assert!(matches!(refused, Err(WatchError::Compacted { .. })), "{refused:?}");
    assert!(matches!(store.compact(start + 11).await, Err(ReadError::Future { .. })));
    store.compact(start + 3).await.unwrap();
    assert_eq!(store.compacted(), start + 5, "compaction never goes back");
}

#[rstest]
#[tokio::test]
async fn a_resource_that_comes_later_takes_its_keys_along(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let prefix = "/registry/example.com/widgets/";
    store.txn(Txn::create(format!("{prefix}a/x"), "one")).await.unwrap();
    store.txn(Txn::create("/registry/example.com/wheels/a/x", "other")).await.unwrap();
    store.add_resource(prefix);
    let snapshot = store.snapshot(prefix);
    assert_eq!(snapshot.len(), 1);
    let mut watch = store.watch(prefix, Scope::default(), snapshot.revision()).unwrap();
    store.txn(Txn::new().put(format!("{prefix}a/x"), "two")).await.unwrap();
    assert!(events(&mut watch, 1).await[0].starts_with("~/registry/example.com/widgets/a/x=two"));
    assert_eq!(store.snapshot("/registry/example.com/wheels/").len(), 1);
    let before = store.snapshot_at(prefix, snapshot.revision()).await.unwrap();
    assert_eq!(text(before.get(&format!("{prefix}a/x")).unwrap()), "one");
}

#[rstest]
#[tokio::test]
async fn a_key_expires_with_a_deletion(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let mut watch = store.watch(PODS, Scope::default(), store.revision()).unwrap();
    let short = Duration::from_secs(1);
    store.txn(Txn::new().put_for(pod("a", "short"), "x", short)).await.unwrap();
    store.txn(Txn::new().put_for(pod("a", "kept"), "x", short)).await.unwrap();
    store.txn(Txn::new().put_for(pod("a", "long"), "x", Duration::from_secs(3600))).await.unwrap();
    store.txn(Txn::new().put(pod("a", "kept"), "for ever")).await.unwrap();
    let got = events(&mut watch, 5).await;
    assert!(got[4].starts_with("-a/short=x"), "{got:?}");
    assert_eq!(
        store.snapshot(PODS).iter().map(|entry| &entry.key[PODS.len()..]).collect::<Vec<_>>(),
        ["a/kept", "a/long"]
    );
    assert_eq!(store.get(&pod("a", "kept")).unwrap().lease, None);
    assert!(store.get(&pod("a", "long")).unwrap().lease.is_some());
}

#[rstest]
#[tokio::test]
async fn memory_can_be_waited_for(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let next = store.revision() + 1;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for(next).await.map(|()| store.revision()) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    store.txn(Txn::create(pod("a", "x"), "x")).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, waiting).await.unwrap().unwrap().unwrap(), next);
    assert!(store.barrier().await.unwrap() >= next);
}

#[rstest]
#[tokio::test]
async fn records_can_be_extracted_anew(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let record = store::Record::new(&store::Parts { name: "stale".into(), ..store::Parts::default() });
    let op = store::Op::Put { key: Arc::from(pod("a", "x")), value: "app=1".into(), record: Some(record), ttl: None };
    store.txn(Txn::new().op(op)).await.unwrap();
    assert_eq!(store.get(&pod("a", "x")).unwrap().record.name(), "stale", "the caller's record is taken");
    store.reindex(PODS);
    let entry = store.get(&pod("a", "x")).unwrap();
    assert_eq!((entry.record.name(), entry.record.label("app")), ("x", Some("1")));
}
