//! What only an etcd can do: be shared, be restarted, be compacted by others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rstest::rstest;
use store::{CommitError, EngineConfig, Extract, Options, ReadError, Record, Scope, Store, Txn, WatchError};

use crate::harness::*;

#[rstest]
#[tokio::test]
async fn servers_on_one_etcd_see_each_other(#[values(Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = ours.watch(PODS, Scope::default(), ours.revision()).unwrap();
    for n in 0..50_u64 {
        let written = theirs.txn(Txn::new().put(pod("a", "x"), n.to_string())).await.unwrap().revision;
        assert!(ours.barrier().await.unwrap() >= written);
        assert_eq!(text(&ours.get(&pod("a", "x")).unwrap()), n.to_string(), "a consistent read");
    }
    assert_eq!(events(&mut watch, 50).await.len(), 50);
    let entry = ours.get(&pod("a", "x")).unwrap();
    let gone = ours.txn(Txn::remove(pod("a", "x"), entry.mod_revision)).await.unwrap().revision;
    let error = theirs.txn(Txn::update(pod("a", "x"), entry.mod_revision, "late")).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict { actual: 0, current: None, .. }), "{error}");
    theirs.barrier().await.unwrap();
    assert!(theirs.revision() >= gone && theirs.get(&pod("a", "x")).is_none());
}

#[rstest]
#[tokio::test]
async fn consistent_reads_share_questions_and_never_run_ahead(#[values(Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let (ours, theirs) = (harness.open().await, harness.open().await);
    for n in 0..10 {
        let written = theirs.txn(Txn::new().put("/registry/other/x", n.to_string())).await.unwrap().revision;
        let reads = (0..50).map(|_| async {
            let revision = ours.barrier().await.unwrap();
            (revision, ours.get("/registry/other/x").map(|entry| text(&entry)))
        });
        for (revision, value) in futures::future::join_all(reads).await {
            assert!(revision >= written);
            assert_eq!(value, Some(n.to_string()));
        }
    }
}

/// Values of others come as `foreign:…`.
struct Foreign;

impl Extract for Foreign {
    fn extract(&self, key: &str, value: &Bytes) -> Record {
        Words.extract(key, value)
    }
    fn ingest(&self, _: &str, raw: Bytes) -> Bytes {
        raw.strip_prefix(b"foreign:").map(Bytes::copy_from_slice).unwrap_or(raw)
    }
}

#[rstest]
#[tokio::test]
async fn what_others_write_is_translated_everywhere(#[values(Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let theirs = harness.open().await;
    theirs.txn(Txn::new().put(pod("a", "before"), "foreign:app=1")).await.unwrap();
    let mut options = options();
    options.limits.hot_events_bytes_max = 0;
    let ours = Store::open(harness.config.clone(), Arc::new(Foreign), options).await.unwrap();
    let start = ours.revision();
    theirs
        .txn(Txn::new().put(pod("a", "after"), "foreign:app=2").put(pod("a", "before"), "foreign:app=3"))
        .await
        .unwrap();
    ours.barrier().await.unwrap();
    assert_eq!(ours.snapshot(PODS).iter().map(|entry| text(entry)).collect::<Vec<_>>(), ["app=2", "app=3"]);
    assert_eq!(ours.get(&pod("a", "after")).unwrap().record.label("app"), Some("2"));
    let mut watch = ours.watch(PODS, Scope::default(), start).unwrap();
    let mut batch = Vec::new();
    watch.next(&mut batch).await.unwrap();
    let told = |event: &Arc<store::Event>| (text(&event.entry), event.prev.as_ref().map(|prev| text(prev)));
    let mut told: Vec<_> = batch.iter().map(told).collect();
    told.sort();
    assert_eq!(told, [("app=2".to_owned(), None), ("app=3".to_owned(), Some("app=1".to_owned()))], "history too");
}

#[rstest]
#[tokio::test]
async fn keys_of_others_move_the_revision_only(#[values(Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let ours = harness.open().await;
    let EngineConfig::Etcd(mut config) = harness.config.clone() else { unreachable!() };
    config.prefix = "/elsewhere/".into();
    let others = Store::open(EngineConfig::Etcd(config), Arc::new(Words), Options::default()).await.unwrap();
    let written = others.txn(Txn::create("/elsewhere/x", "x")).await.unwrap().revision;
    assert!(ours.barrier().await.unwrap() >= written, "a revision that brings us no event is waited for all the same");
    assert!(ours.get("/elsewhere/x").is_none());
}

#[rstest]
#[tokio::test]
async fn a_restart_of_etcd_is_waited_for(#[values(Etcd, EtcdNew)] on: On) {
    let (mut harness, store) = fresh(on).await;
    let mut watch = store.watch(PODS, Scope::default(), store.revision()).unwrap();
    store.txn(Txn::create(pod("a", "x"), "one")).await.unwrap();
    let etcd = harness.etcd.as_mut().unwrap();
    etcd.kill();
    let error = store.txn(Txn::new().put(pod("a", "x"), "lost")).await.unwrap_err();
    assert!(matches!(error, CommitError::Unavailable(_) | CommitError::Unknown(_)), "{error}");
    assert!(matches!(store.barrier().await, Err(ReadError::Unavailable(_))));
    assert_eq!(text(&store.get(&pod("a", "x")).unwrap()), "one", "reads go on");
    etcd.run();
    let again = async {
        while store.txn(Txn::new().put(pod("a", "y"), "two")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, again).await.expect("etcd is found again");
    let seen = events(&mut watch, 2).await;
    assert!(seen[0].starts_with("+a/x=one") && seen.last().unwrap().contains("a/y=two"), "{seen:?}");
}

#[rstest]
#[tokio::test]
async fn what_was_compacted_while_away_is_listed_anew(#[values(Etcd, EtcdNew)] on: On) {
    let (mut harness, store) = fresh(on).await;
    store.txn(Txn::create(pod("a", "goes"), "x").put(pod("a", "stays"), "x")).await.unwrap();
    let before = store.revision();
    let mut watch = store.watch(PODS, Scope::default(), before).unwrap();
    let etcd = harness.etcd.as_mut().unwrap();
    let address = etcd.move_to(None);
    let other = Store::open(EngineConfig::Etcd(etcd.config()), Arc::new(Words), options()).await.unwrap();
    other.txn(Txn::new().delete(pod("a", "goes"))).await.unwrap();
    let last = other.txn(Txn::new().put(pod("a", "comes"), "x")).await.unwrap().revision;
    other.compact(last).await.unwrap();
    drop(other);
    etcd.move_to(Some(address));
    tokio::time::timeout(SOON, store.wait_for(last)).await.expect("the list comes").unwrap();
    let keys: Vec<_> = store.snapshot(PODS).iter().map(|entry| entry.key[PODS.len()..].to_owned()).collect();
    assert_eq!(keys, ["a/comes", "a/stays"]);
    let error = tokio::time::timeout(SOON, watch.next(&mut Vec::new())).await.expect("the watch is told").unwrap_err();
    assert!(matches!(error, WatchError::Compacted { .. }), "{error}");
    let mut watch = store.watch(PODS, Scope::default(), store.revision()).unwrap();
    store.txn(Txn::new().put(pod("a", "new"), "x")).await.unwrap();
    assert!(events(&mut watch, 1).await[0].starts_with("+a/new=x"), "it goes on");
}

#[rstest]
#[tokio::test]
async fn many_objects_are_listed_in_pages_at_one_revision(#[values(Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let store = harness.open().await;
    for chunk in 0..20 {
        let txn = (0..100).fold(Txn::new(), |txn, n| txn.put(pod("a", &format!("{chunk:02}{n:02}")), "x".repeat(1000)));
        store.txn(txn).await.unwrap();
    }
    let again = harness.open().await;
    assert_eq!((again.snapshot(PODS).len(), again.revision()), (2000, store.revision()));
    let shown = |store: &Store| store.snapshot(PODS).iter().map(|entry| show(entry)).collect::<Vec<_>>();
    assert_eq!(shown(&store), shown(&again));
}

#[rstest]
#[tokio::test]
async fn compaction_by_others_ends_what_needs_it(#[values(Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let ours = harness.open().await;
    let start = ours.revision();
    for n in 0..5 {
        ours.txn(Txn::new().put(pod("a", "x"), n.to_string())).await.unwrap();
    }
    harness.open().await.compact(start + 5).await.unwrap();
    let mut options = options();
    options.limits.hot_events_bytes_max = 0;
    let late = harness.open_with(options).await;
    let mut watch = late.watch(PODS, Scope::default(), start).unwrap();
    assert!(matches!(watch.next(&mut Vec::new()).await, Err(WatchError::Compacted { .. })));
    assert!(matches!(late.snapshot_at(PODS, start + 2).await, Err(ReadError::Compacted { .. })));
    let mut hot = ours.watch(PODS, Scope::default(), start).unwrap();
    assert_eq!(events(&mut hot, 5).await.len(), 5, "memory serves what it has");
}

#[rstest]
#[tokio::test]
async fn an_etcd_may_ask_for_certificates(#[values(Etcd, EtcdNew)] on: On) {
    let etcd = EtcdServer::start_with_tls(on);
    let config = EngineConfig::Etcd(etcd.config());
    let store = Store::open(config, Arc::new(Words), options()).await.unwrap();
    let mut watch = store.watch(PODS, Scope::default(), store.revision()).unwrap();
    let written = store.txn(Txn::create(pod("a", "x"), "x")).await.unwrap().revision;
    assert!(store.barrier().await.unwrap() >= written);
    assert_eq!(events(&mut watch, 1).await, [format!("+a/x=x {written}")]);
    let mut stranger = etcd.config();
    if let Some(tls) = &mut stranger.tls {
        tls.certificate.clear();
    }
    let opening = Store::open(EngineConfig::Etcd(stranger), Arc::new(Words), options());
    assert!(tokio::time::timeout(Duration::from_millis(500), opening).await.is_err(), "who is not known waits outside");
}
