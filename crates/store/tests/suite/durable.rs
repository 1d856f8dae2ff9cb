//! What survives the store's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rstest::rstest;
use store::{Clock, NoExtract, OpenError, Options, Scope, Store, Txn};

use crate::harness::*;

#[rstest]
#[case::closed(true)]
#[case::dropped(false)]
#[tokio::test]
async fn everything_is_there_after_opening_again(#[case] close: bool, #[values(Embedded, Etcd, EtcdNew)] on: On) {
    let (harness, store) = fresh(on).await;
    let start = store.revision();
    store.txn(Txn::create(pod("a", "x"), "app=1 node=n1")).await.unwrap();
    store.txn(Txn::new().put(pod("a", "x"), "app=2 node=n1").put(pod("b", "y"), "")).await.unwrap();
    let last = store.txn(Txn::new().delete(pod("b", "y"))).await.unwrap().revision;
    if close {
        store.close().await;
    }
    drop(store);
    let store = harness.open_again().await;
    assert_eq!(store.revision(), last, "also when the newest change left no object behind");
    let entry = store.get(&pod("a", "x")).unwrap();
    assert_eq!(show(&entry), format!("a/x=app=2 node=n1@{}/{}", start + 1, start + 2));
    assert_eq!(
        (entry.record.name(), entry.record.label("app"), entry.record.field("node")),
        ("x", Some("2"), Some("n1"))
    );
    assert_eq!(store.snapshot(PODS).len(), 1);
    let mut watch = store.watch(PODS, Scope::default(), start).unwrap();
    let next = store.txn(Txn::new().put(pod("a", "z"), "new")).await.unwrap().revision;
    assert_eq!(next, last + 1);
    let expected = [
        format!("+a/x=app=1 node=n1 {}", start + 1),
        format!("~a/x=app=2 node=n1 {}", start + 2),
        format!("+b/y= {}", start + 2),
    ];
    assert_eq!(events(&mut watch, 5).await[..3], expected, "history, too");
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let (harness, store) = fresh(Embedded).await;
    let second = Store::open(harness.config.clone(), Arc::new(NoExtract), Options::default()).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    store.close().await;
    harness.open().await;
}

#[tokio::test]
async fn nobody_else_reads_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (harness, store) = fresh(Embedded).await;
    store.txn(Txn::create(pod("a", "x"), "secret")).await.unwrap();
    let store::EngineConfig::Embedded { dir } = &harness.config else { unreachable!() };
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700);
    for file in dir.read_dir().unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

/// A clock that tests set.
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn what_expired_while_the_store_was_closed_goes_when_it_opens() {
    let harness = Harness::new(Embedded).await;
    let clock = Arc::new(SetClock(AtomicU64::new(1_000_000)));
    let options = || Options { clock: clock.clone(), ..options() };
    let store = harness.open_with(options()).await;
    store.txn(Txn::new().put_for(pod("a", "short"), "x", Duration::from_secs(60))).await.unwrap();
    store.txn(Txn::new().put_for(pod("a", "long"), "x", Duration::from_secs(3600))).await.unwrap();
    store.close().await;
    clock.0.fetch_add(120_000, Ordering::Relaxed);
    let store = harness.open_with(options()).await;
    let mut watch = store.watch(PODS, Scope::default(), store.revision()).unwrap();
    assert!(events(&mut watch, 1).await[0].starts_with("-a/short=x"));
    assert_eq!(store.snapshot(PODS).len(), 1);
}

#[rstest]
#[tokio::test]
async fn history_is_compacted_by_time(#[values(Memory, Embedded, Etcd, EtcdNew)] on: On) {
    let harness = Harness::new(on).await;
    let store = harness.open_with(Options { compact_every: Some(Duration::from_millis(20)), ..options() }).await;
    let revision = store.txn(Txn::create(pod("a", "x"), "x")).await.unwrap().revision;
    let compacted = async {
        while store.compacted() < revision {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, compacted).await.expect("what is old is compacted");
    assert!(matches!(store.watch(PODS, Scope::default(), revision - 1), Err(store::WatchError::Compacted { .. })));
    assert_eq!(store.snapshot(PODS).len(), 1, "the newest state stays");
}

/// A small file system of its own; gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where mounting is not allowed: the store's own tests fill a simulated disk as well.
    fn mount(bytes: usize) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(directory.path());
        mount.status().ok()?.success().then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_real_full_disk_is_seen_before_the_append_and_can_be_emptied() {
    let Some(disk) = SmallDisk::mount(2 << 20) else {
        eprintln!("mounting a tmpfs is not allowed here: only the simulated full disk is tested");
        return;
    };
    let config = store::EngineConfig::Embedded { dir: disk.0.path().join("store") };
    let open = || Store::open(config.clone(), Arc::new(Words), options());
    let store = open().await.unwrap();
    let mut written = 0;
    let error = loop {
        match store.txn(Txn::create(pod("a", &written.to_string()), vec![b'x'; 20_000])).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, store::CommitError::Full { needed: 1.., .. }), "{error}");
    assert!(written > 20, "{written}");
    assert_eq!(store.snapshot(PODS).len(), written, "reads go on, and nothing is half there");
    store.txn(Txn::new().delete(pod("a", "0"))).await.expect("a deletion has room kept for it");
    store.close().await;
    let store = open().await.unwrap();
    assert_eq!(store.snapshot(PODS).len(), written - 1);
}
