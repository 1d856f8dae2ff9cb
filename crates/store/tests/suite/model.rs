//! Any sequence of transactions, against a model that is a map and a counter.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rstest::rstest;
use store::{CommitError, Event, Kind, Op, Revision, Scope, Store, Txn};

use crate::harness::*;

/// What the model knows of a key: value, created at, changed at.
type State = BTreeMap<String, (String, Revision, Revision)>;

#[derive(Debug, Clone)]
enum Step {
    /// Each key with its compare (0: must not exist, 1: as it is, 2: as it is not, 3: none) and what happens to it.
    Txn(Vec<(u8, u8, bool, u16)>),
    /// Opens again what survives.
    Reopen,
    /// Compacts to a part of history.
    Compact(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = (0..8_u8, 0..4_u8, prop::bool::weighted(0.7), 0..400_u16);
    let txn = prop::collection::vec(op, 1..4).prop_map(|mut ops| {
        ops.sort_by_key(|op| op.0);
        ops.dedup_by_key(|op| op.0);
        Step::Txn(ops)
    });
    let step = prop_oneof![20 => txn, 1 => Just(Step::Reopen), 1 => any::<u8>().prop_map(Step::Compact)];
    prop::collection::vec(step, 1..60)
}

fn key(n: u8) -> String {
    if n < 6 { pod(["a", "b"][n as usize % 2], &n.to_string()) } else { format!("{NODES}{n}") }
}

struct Model {
    state: State,
    revision: Revision,
    /// The state at each revision since the last compaction.
    past: BTreeMap<Revision, State>,
    serial: usize,
}

impl Model {
    /// The transaction for the store, and whether it should commit.
    fn txn(&mut self, ops: &[(u8, u8, bool, u16)]) -> (Txn, bool) {
        self.serial += 1;
        let (mut txn, mut holds) = (Txn::new(), true);
        for &(n, compare, put, length) in ops {
            let actual = self.state.get(&key(n)).map_or(0, |(_, _, changed)| *changed);
            if compare < 3 {
                let expected = [0, actual, actual + 1][compare as usize];
                holds &= expected == actual;
                txn = txn.expect_at(key(n), expected);
            }
            let value = format!("v={} {}", self.serial, "x".repeat(length.into()));
            txn = if put { txn.put(key(n), value) } else { txn.delete(key(n)) };
        }
        (txn, holds)
    }

    fn commit(&mut self, txn: &Txn) {
        let revision = self.revision + 1;
        let mut changed = false;
        for op in &txn.ops {
            match op {
                Op::Put { key, value, .. } => {
                    let created = self.state.get(&**key).map_or(revision, |(_, created, _)| *created);
                    let value = String::from_utf8(value.to_vec()).unwrap();
                    self.state.insert(key.to_string(), (value, created, revision));
                    changed = true;
                }
                Op::Delete { key } => changed |= self.state.remove(&**key).is_some(),
            }
        }
        if changed {
            self.revision = revision;
            self.past.insert(revision, self.state.clone());
        }
    }
}

fn contents(entries: impl Iterator<Item = Arc<store::Entry>>) -> State {
    entries.map(|entry| (entry.key.to_string(), (text(&entry), entry.create_revision, entry.mod_revision))).collect()
}

fn of_pods(state: &State) -> State {
    state.iter().filter(|(key, _)| key.starts_with(PODS)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn follow(state: &mut State, event: &Event) {
    let before = state.get(&*event.entry.key).map(|(value, _, changed)| (value.clone(), *changed));
    let told = event.prev.as_ref().map(|prev| (text(prev), prev.mod_revision));
    assert_eq!(told, before, "what was there before revision {}", event.revision);
    match event.kind {
        Kind::Put => {
            let entry = &event.entry;
            state.insert(entry.key.to_string(), (text(entry), entry.create_revision, event.revision));
        }
        Kind::Delete => drop(state.remove(&*event.entry.key)),
    }
}

async fn run(on: On, steps: Vec<Step>) {
    let harness = Harness::new(on).await;
    let small = || {
        let mut options = options();
        options.limits.hot_events_bytes_max = 3000;
        options.limits.log_growth_bytes_max = 8000;
        options.limits.kept_snapshots_max = 3;
        options
    };
    let mut store = harness.open_with(small()).await;
    let mut model = Model { state: State::new(), revision: store.revision(), past: BTreeMap::new(), serial: 0 };
    model.past.insert(model.revision, State::new());
    let start = model.revision;
    let mut live = store.watch(PODS, Scope::default(), start).unwrap();
    let mut followed = State::new();
    for step in steps {
        match step {
            Step::Txn(ops) => {
                let (txn, holds) = model.txn(&ops);
                match store.txn(txn.clone()).await {
                    Ok(committed) => {
                        assert!(holds);
                        model.commit(&txn);
                        assert_eq!(committed.revision, model.revision);
                    }
                    Err(CommitError::Conflict { .. }) => assert!(!holds),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Compact(part) => {
                // Who is too slow may lose what is compacted.
                for event in events_through(&mut live, model.revision).await {
                    follow(&mut followed, &event);
                }
                let revision = start + (model.revision - start) * u64::from(part) / 256;
                store.compact(revision).await.unwrap();
                // An etcd does not tell after opening what was compacted before.
                let oldest = model.past.keys().next().copied().unwrap_or(start);
                let compacted = revision.max(oldest);
                let at = model.past.range(..=compacted).next_back().map(|(_, state)| state.clone()).unwrap();
                model.past.retain(|revision, _| *revision > compacted);
                model.past.insert(compacted, at);
            }
            Step::Reopen if on == Memory => {}
            Step::Reopen => {
                for event in events_through(&mut live, model.revision).await {
                    follow(&mut followed, &event);
                }
                store.close().await;
                store = harness.open_with(small()).await;
                live = store.watch(PODS, Scope::default(), model.revision).unwrap();
            }
        }
        assert_eq!(store.revision(), model.revision);
    }
    check(&store, &model, on).await;
    for event in events_through(&mut live, model.revision).await {
        follow(&mut followed, &event);
    }
    assert_eq!(followed, of_pods(&model.state), "a watcher knows the state");
}

async fn check(store: &Store, model: &Model, on: On) {
    let pods = contents(store.snapshot(PODS).iter().cloned());
    assert_eq!(pods, of_pods(&model.state));
    for (key, expected) in &model.state {
        let entry = store.get(key).unwrap();
        assert_eq!((text(&entry), entry.create_revision, entry.mod_revision), *expected);
    }
    // etcd answers each from the network: some are enough.
    let every = if matches!(on, Etcd | EtcdNew) { 13 } else { 1 };
    for (revision, state) in model.past.iter().step_by(every) {
        let old = store.snapshot_at(PODS, *revision).await.unwrap();
        assert_eq!(contents(old.iter().cloned()), of_pods(state), "as it was at {revision}");
        let mut watch = store.watch(PODS, Scope::default(), *revision).unwrap();
        let mut followed = of_pods(state);
        for event in events_through(&mut watch, model.revision).await {
            follow(&mut followed, &event);
        }
        assert_eq!(followed, pods, "a watch from {revision}");
    }
}

#[rstest]
#[case::memory(Memory, 60)]
#[case::embedded(Embedded, 40)]
#[case::etcd(Etcd, 2)]
#[case::etcd_new(EtcdNew, 2)]
fn any_sequence_does_what_the_model_does(#[case] on: On, #[case] cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime
            .block_on(async { tokio::spawn(run(on, steps)).await })
            .map_err(|error| TestCaseError::fail(error.to_string()))
    });
    result.unwrap();
}
