use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;

/// What can happen to a queue.
#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    AddAfter(u8, u64),
    Take,
    /// The n-th of the keys in work is done.
    Done(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..4).prop_map(Step::Add),
        1 => (0u8..4, 1u64..50).prop_map(|(key, ms)| Step::AddAfter(key, ms)),
        3 => Just(Step::Take),
        2 => (0usize..4).prop_map(Step::Done),
        1 => (1u64..50).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..60)
}

fn now_or_never(queue: &WorkQueue<u8>) -> Option<u8> {
    futures::FutureExt::now_or_never(queue.next()).flatten()
}

proptest! {
    /// A key is never in work twice, and after an add it comes out once the work on it is done: no add is lost, and
    /// none comes out twice.
    #[test]
    fn every_add_is_worked_on_once(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let queue = WorkQueue::<u8>::default();
            let mut owed = HashSet::new();
            let mut delayed: Vec<(Instant, u8)> = Vec::new();
            let mut working: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Add(key) => {
                        queue.add(key);
                        owed.insert(key);
                    }
                    Step::AddAfter(key, ms) => {
                        queue.add_after(key, Duration::from_millis(ms));
                        delayed.push((Instant::now() + Duration::from_millis(ms), key));
                    }
                    Step::Pass(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
                    Step::Done(at) if at < working.len() => queue.done(&working.remove(at)),
                    Step::Done(_) => {}
                    Step::Take => {
                        // Of several delays of one key the first counts and stands for all until it has ended.
                        let now = Instant::now();
                        let ended: Vec<u8> = delayed.iter().filter(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
                        owed.extend(&ended);
                        delayed.retain(|(_, key)| !ended.contains(key));
                        let got = now_or_never(&queue);
                        match got {
                            Some(key) => {
                                assert!(!working.contains(&key), "{key} is in work twice");
                                assert!(owed.remove(&key), "{key} came without an add");
                                working.push(key);
                            }
                            None => assert!(owed.iter().all(|key| working.contains(key)), "{owed:?} is kept back"),
                        }
                    }
                }
            }
        });
    }

    /// The delay doubles and stays within its limits.
    #[test]
    fn delays_grow_to_the_limit(failures in 0u32..80) {
        let mut limits = Limits::per_key(Duration::from_millis(5), Duration::from_secs(1000));
        let now = Instant::now();
        let (this, next) = (limits.delay(failures, now), limits.delay(failures + 1, now));
        prop_assert!(this >= Duration::from_millis(5) && next <= Duration::from_secs(1000));
        prop_assert!(next == this * 2 || next == Duration::from_secs(1000));
    }
}

#[tokio::test(start_paused = true)]
async fn the_shortest_delay_counts_and_wakes_a_waiting_worker() {
    let queue = WorkQueue::default();
    let begun = Instant::now();
    queue.add_after("a", Duration::from_secs(60));
    let (key, ()) = tokio::join!(queue.next(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        queue.add_after("a", Duration::from_secs(5));
    });
    assert_eq!((key, begun.elapsed().as_secs()), (Some("a"), 6));
    queue.done(&"a");
    assert!(queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_bucket_bounds_all_retries_together() {
    let mut limits = Limits::default();
    let now = Instant::now();
    let delays: Vec<Duration> = (0..102).map(|_| limits.delay(0, now)).collect();
    assert_eq!(delays[99], Duration::from_millis(5));
    assert_eq!(delays[101].as_millis(), 200);
}

struct Flaky {
    runs: AtomicU32,
    stop: CancellationToken,
}

impl Reconcile for Flaky {
    type Key = &'static str;

    async fn reconcile(&self, _: &&'static str) -> Result<Requeue, ReconcileError> {
        match self.runs.fetch_add(1, Ordering::Relaxed) {
            0 => Err("first".into()),
            1 => panic!("second"),
            2 => Ok(Requeue::Backoff),
            3 => Ok(Requeue::After(Duration::from_secs(7))),
            _ => {
                self.stop.cancel();
                Ok(Requeue::Never)
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_comes_again_and_a_panic_is_a_failure() {
    let stop = CancellationToken::new();
    let flaky = Arc::new(Flaky { runs: AtomicU32::new(0), stop: stop.clone() });
    let queue = WorkQueue::default();
    let begun = Instant::now();
    queue.add("key");
    run("test", flaky.clone(), queue.clone(), 2, stop).await;
    assert_eq!(flaky.runs.load(Ordering::Relaxed), 5);
    assert_eq!(begun.elapsed().as_millis(), 5 + 10 + 20 + 7000);
    let figures = queue.figures();
    assert_eq!((figures.adds, figures.retries, figures.work.count, figures.depth), (5, 3, 5, 0));
    assert!(figures::all().iter().any(|(name, known)| *name == "test" && *known == figures));
    assert_eq!(queue.failures(&"key"), 0);
}
