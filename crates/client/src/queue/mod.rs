//! Work queues: keys to be reconciled.
//!
//! A key that is in the queue is not put in again; one that is being worked on comes back when that is done. So a key
//! is never worked on twice at the same time, and no change is missed. Keys can be added after a delay, or after a
//! delay that grows with their failures ([`limits`]).

pub mod figures;
pub mod limits;
pub mod runner;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::figures::Figures;
pub use self::limits::{Limits, TokenBucket};
pub use self::runner::{Reconcile, ReconcileError, Requeue, run};

/// What can be a key.
pub trait Key: Clone + Eq + Hash + Send + Sync + std::fmt::Display + 'static {}

impl<K: Clone + Eq + Hash + Send + Sync + std::fmt::Display + 'static> Key for K {}

/// A queue of keys. Cheap to clone; all clones are the same queue. Memory is bounded by the number of distinct keys.
pub struct WorkQueue<K>(Arc<Shared<K>>);

struct Shared<K> {
    state: Mutex<State<K>>,
    /// Something may be ready, or the next delay became shorter.
    changed: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// What needs work: all of `ready`, and what changed while it was worked on. Since when.
    dirty: HashMap<K, Instant>,
    /// Since when.
    working: HashMap<K, Instant>,
    delayed: BTreeMap<(Instant, u64), K>,
    delayed_at: HashMap<K, (Instant, u64)>,
    /// Tells delays apart that end at the same time.
    serial: u64,
    failures: HashMap<K, u32>,
    limits: Limits,
    closed: bool,
    figures: Figures,
}

// === impl WorkQueue ===

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> WorkQueue<K> {
        WorkQueue(self.0.clone())
    }
}

impl<K: Key> Default for WorkQueue<K> {
    fn default() -> WorkQueue<K> {
        WorkQueue::new(Limits::default())
    }
}

impl<K: Key> WorkQueue<K> {
    /// An empty queue.
    pub fn new(limits: Limits) -> WorkQueue<K> {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashMap::new(),
            working: HashMap::new(),
            delayed: BTreeMap::new(),
            delayed_at: HashMap::new(),
            serial: 0,
            failures: HashMap::new(),
            limits,
            closed: false,
            figures: Figures::default(),
        };
        WorkQueue(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Puts a key in, unless it is in.
    pub fn add(&self, key: K) {
        if self.0.state.lock().add(key) {
            self.0.changed.notify_one();
        }
    }

    /// Puts a key in after `delay`. Of several delays for one key the shortest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        if self.0.state.lock().add_at(key, Instant::now() + delay) {
            self.0.changed.notify_one();
        }
    }

    /// Puts a key in after a delay that grows with every failure since the last [`WorkQueue::forget`].
    pub fn add_failed(&self, key: K) {
        let delay = {
            let state = &mut *self.0.state.lock();
            state.figures.retries += 1;
            let failures = state.failures.entry(key.clone()).or_default();
            let delay = state.limits.delay(*failures, Instant::now());
            *failures = failures.saturating_add(1);
            delay
        };
        self.add_after(key, delay);
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &K) {
        self.0.state.lock().failures.remove(key);
    }

    /// A key's failures since it was last forgotten.
    pub fn failures(&self, key: &K) -> u32 {
        self.0.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// The next key, as soon as there is one; none once the queue is closed. It must be given back with
    /// [`WorkQueue::done`].
    pub async fn next(&self) -> Option<K> {
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let wake = {
                let state = &mut *self.0.state.lock();
                if state.closed {
                    return None;
                }
                state.ripen(Instant::now());
                if let Some(key) = state.take(Instant::now()) {
                    // Somebody else may take what is left, and mind the next delay.
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        self.0.changed.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.keys().next().map(|(at, _)| *at)
            };
            match wake {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// The work on a key is done. If the key was added meanwhile, it is ready again.
    pub fn done(&self, key: &K) {
        if self.0.state.lock().done(key, Instant::now()) {
            self.0.changed.notify_one();
        }
    }

    /// What has happened in the queue so far.
    pub fn figures(&self) -> Figures {
        let state = self.0.state.lock();
        Figures { depth: state.ready.len(), ..state.figures.clone() }
    }

    /// Nothing more is given out or taken in.
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_waiters();
    }

    /// How many keys are ready.
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Whether no key is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no key is ready, delayed or worked on.
    pub fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        state.dirty.is_empty() && state.working.is_empty() && state.delayed.is_empty()
    }
}

// === impl State ===

impl<K: Key> State<K> {
    /// Whether somebody must be woken.
    fn add(&mut self, key: K) -> bool {
        if self.closed || self.dirty.contains_key(&key) {
            return false;
        }
        self.dirty.insert(key.clone(), Instant::now());
        self.figures.adds += 1;
        if self.working.contains_key(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    /// Whether this is now the first delay to end.
    fn add_at(&mut self, key: K, at: Instant) -> bool {
        if self.closed {
            return false;
        }
        match self.delayed_at.get(&key) {
            Some((known, _)) if *known <= at => return false,
            Some(known) => {
                self.delayed.remove(known);
            }
            None => {}
        }
        self.serial += 1;
        self.delayed.insert((at, self.serial), key.clone());
        self.delayed_at.insert(key, (at, self.serial));
        self.delayed.keys().next() == Some(&(at, self.serial))
    }

    /// Moves what has waited long enough to the ready keys.
    fn ripen(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            self.delayed_at.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self, now: Instant) -> Option<K> {
        let key = self.ready.pop_front()?;
        if let Some(since) = self.dirty.remove(&key) {
            self.figures.wait.observe(now.saturating_duration_since(since));
        }
        self.working.insert(key.clone(), now);
        Some(key)
    }

    fn done(&mut self, key: &K, now: Instant) -> bool {
        if let Some(since) = self.working.remove(key) {
            self.figures.work.observe(now.saturating_duration_since(since));
        }
        if self.dirty.contains_key(key) {
            self.ready.push_back(key.clone());
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests;
