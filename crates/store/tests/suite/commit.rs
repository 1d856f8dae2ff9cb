//! Transactions: compares, several keys, conflicts, limits.

use rstest::rstest;
use store::{CommitError, Txn};

use crate::harness::*;

#[rstest]
#[tokio::test]
async fn revisions_count_and_stay_with_their_keys(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let start = store.revision();
    let made = store.txn(Txn::create(pod("a", "x"), "one")).await.unwrap();
    assert_eq!(made.revision, start + 1);
    assert_eq!(store.revision(), start + 1);
    let other = store.txn(Txn::create(pod("a", "y"), "other")).await.unwrap();
    let changed = store.txn(Txn::update(pod("a", "x"), made.revision, "two")).await.unwrap();
    assert_eq!((other.revision, changed.revision), (start + 2, start + 3));
    let entry = store.get(&pod("a", "x")).unwrap();
    assert_eq!(show(&entry), format!("a/x=two@{}/{}", start + 1, start + 3));
    assert_eq!(changed.entry().unwrap().mod_revision, start + 3);
}

#[rstest]
#[case::create_of_what_exists(0, true)]
#[case::update_of_an_old_revision(1, true)]
#[case::update_of_what_is_not_there(7, false)]
#[tokio::test]
async fn a_failed_compare_tells_what_is_there(
    #[case] back: u64,
    #[case] exists: bool,
    #[values(Memory, Embedded, Etcd, EtcdNew)] on: On,
) {
    let (_harness, store) = fresh(on).await;
    let key = pod("a", "x");
    let mut at = store.revision();
    if exists {
        store.txn(Txn::create(key.clone(), "one")).await.unwrap();
        at = store.txn(Txn::new().put(key.clone(), "two")).await.unwrap().revision;
    }
    let expected = if back == 0 { 0 } else { at - 1 + u64::from(!exists) * back };
    let error = store.txn(Txn::update(key.clone(), expected, "three")).await.unwrap_err();
    let CommitError::Conflict { key: of, expected: wanted, actual, current } = error else { panic!("{error}") };
    assert_eq!((&*of, wanted), (&*key, expected));
    assert_eq!(actual, if exists { at } else { 0 });
    assert_eq!(current.map(|entry| text(&entry)), exists.then(|| "two".to_owned()));
    assert_eq!(store.revision(), at, "nothing was written");
}

#[rstest]
#[tokio::test]
async fn several_keys_are_one_revision_or_nothing(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let start = store.revision();
    let both = Txn::create(pod("a", "x"), "one").expect_at("/registry/minions/n", 0).put("/registry/minions/n", "node");
    let committed = store.txn(both).await.unwrap();
    assert_eq!(committed.revision, start + 1);
    assert_eq!(store.get("/registry/minions/n").unwrap().mod_revision, start + 1);
    let half =
        Txn::update(pod("a", "x"), start + 1, "two").expect_at("/registry/minions/n", 99).delete("/registry/minions/n");
    assert!(matches!(store.txn(half).await, Err(CommitError::Conflict { expected: 99, .. })));
    assert_eq!(text(&store.get(&pod("a", "x")).unwrap()), "one");
    let gone = store
        .txn(Txn::new().delete(pod("a", "x")).delete("/registry/minions/n").put("/registry/other", "rest"))
        .await
        .unwrap();
    assert_eq!(gone.revision, start + 2);
    let texts: Vec<_> = gone.entries.iter().map(|entry| text(entry.as_ref().unwrap())).collect();
    assert_eq!(texts, ["one", "node", "rest"]);
    assert!(store.get(&pod("a", "x")).is_none() && store.get("/registry/minions/n").is_none());
    assert_eq!(text(&store.get("/registry/other").unwrap()), "rest");
}

#[rstest]
#[tokio::test]
async fn a_key_made_again_starts_anew(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let first = store.txn(Txn::create(pod("a", "x"), "one")).await.unwrap().revision;
    let deleted = store.txn(Txn::remove(pod("a", "x"), first)).await.unwrap();
    assert_eq!(deleted.entry().unwrap().mod_revision, first, "the last state, at its own revision");
    let again = store.txn(Txn::create(pod("a", "x"), "two")).await.unwrap();
    assert_eq!((deleted.revision, again.revision), (first + 1, first + 2));
    assert_eq!(again.entry().unwrap().create_revision, first + 2);
}

#[rstest]
#[tokio::test]
async fn removing_what_is_not_there_makes_no_revision(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let start = store.revision();
    let committed = store.txn(Txn::new().delete(pod("a", "x"))).await.unwrap();
    assert_eq!((committed.revision, store.revision()), (start, start));
    assert!(committed.entries[0].is_none());
}

#[rstest]
#[tokio::test]
async fn what_breaks_a_limit_is_refused(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let start = store.revision();
    let many = (0..129).fold(Txn::new(), |txn, n| txn.put(pod("a", &n.to_string()), "x"));
    assert!(matches!(store.txn(many).await, Err(CommitError::Invalid(_))));
    let twice = Txn::new().put(pod("a", "x"), "x").delete(pod("a", "x"));
    assert!(matches!(store.txn(twice).await, Err(CommitError::Invalid(_))));
    let large = Txn::new().put(pod("a", "x"), vec![b'x'; 9 << 20]);
    assert!(matches!(store.txn(large).await, Err(CommitError::Invalid(_))));
    assert_eq!(store.revision(), start);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_expect_the_same_one_wins(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let (_harness, store) = fresh(on).await;
    let mut revision = store.txn(Txn::create(pod("a", "x"), "start")).await.unwrap().revision;
    for round in 0..5 {
        let tries = (0..16).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.txn(Txn::update(pod("a", "x"), revision, format!("{round}/{n}"))).await })
        });
        let results = futures::future::join_all(tries).await;
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().unwrap().as_ref().ok()).collect();
        let lost = results
            .iter()
            .filter(|result| matches!(result.as_ref().unwrap(), Err(CommitError::Conflict { .. })))
            .count();
        assert_eq!((won.len(), lost), (1, 15));
        assert_eq!(won[0].revision, revision + 1);
        revision = won[0].revision;
    }
}
