//! The store as its users see it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::engine::{self, Engine, History};
use crate::expire;
use crate::resource::Resource;
use crate::sequence::Prepared;
use crate::snapshot::Kept;
use crate::state::State;
use crate::{
    CommitError, Committed, EngineConfig, Entry, Extract, OpenError, Options, ReadError, Revision, Scope, Snapshot,
    Txn, Watch, WatchError,
};

/// Keys, bytes and revisions. Clones share one store; it closes with the last of them.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    state: Arc<State>,
    engine: Arc<dyn Engine>,
    kept: Arc<Kept>,
    tasks: Vec<JoinHandle<()>>,
}

// === impl Store ===

impl Store {
    /// Opens a store; memory holds all objects when this returns. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the directory or the etcd can't be used, or what was acknowledged once does not read back.
    pub async fn open(config: EngineConfig, extract: Arc<dyn Extract>, options: Options) -> Result<Self, OpenError> {
        let (state, engine) = engine::open(config, extract, &options).await?;
        Ok(Self::assemble(state, engine, &options))
    }

    /// A store of an engine that is open.
    pub(crate) fn assemble(state: Arc<State>, engine: Arc<dyn Engine>, options: &Options) -> Self {
        let kept = Arc::new(Kept::new(state.limits.kept_snapshots_max, state.limits.kept_snapshot_age_max));
        let mut tasks = vec![tokio::spawn(sweep_by_time(state.clone(), kept.clone()))];
        if state.deadlines.is_some() {
            tasks.push(tokio::spawn(expire::run(state.clone(), engine.clone())));
        }
        if let Some(every) = options.compact_every {
            tasks.push(tokio::spawn(compact_by_time(state.clone(), engine.clone(), kept.clone(), every)));
        }
        Self(Arc::new(Inner { state, engine, kept, tasks }))
    }

    /// Gives the keys under `prefix` (ends in `/`) a map and an event ring of their own. Do it before they are
    /// read or watched; a second time does nothing.
    pub fn add_resource(&self, prefix: &str) {
        self.0.state.add_resource(prefix);
    }

    /// Extracts the index records under `prefix` anew, after the extractor has learned other selectable fields.
    pub fn reindex(&self, prefix: &str) {
        self.0.state.reindex(prefix);
    }

    /// The newest visible revision.
    pub fn revision(&self) -> Revision {
        self.0.state.visible()
    }

    /// History up to here is gone: the oldest revision that can be read, and the earliest a watch can start after.
    pub fn compacted(&self) -> Revision {
        self.0.state.compacted()
    }

    /// Waits until memory holds all that was committed before the call, by this server or another; a consistent
    /// read is this and then a read. Immediate on memory and embedded.
    ///
    /// # Errors
    /// If the etcd can't be asked.
    pub async fn barrier(&self) -> Result<Revision, ReadError> {
        self.0.engine.barrier().await
    }

    /// Waits until `revision` is visible; the caller sets the limit of patience.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the store is closed first.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), ReadError> {
        if self.0.state.wait_for(revision).await { Ok(()) } else { Err(ReadError::Closed) }
    }

    /// The newest visible state of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.0.state.get(key)
    }

    /// A resource as it is now. `resource` is its prefix; [`Snapshot::range`] narrows it, also for keys of no resource.
    pub fn snapshot(&self, resource: &str) -> Snapshot {
        self.0.state.snapshot(&self.0.state.resource(resource))
    }

    /// Keeps a snapshot for [`Store::snapshot_at`], for a list that will be continued. Count and age are limited;
    /// what was dropped is rebuilt.
    pub fn keep(&self, resource: &str, snapshot: &Snapshot) {
        self.0.kept.sweep(0);
        self.0.kept.keep(&self.0.state.resource(resource), snapshot);
    }

    /// A resource as it was at `revision`: kept, or worked out from the events since, which may have to be read from
    /// the log. Past compaction there is nothing, as with etcd, even where the resource has not changed since.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] if history no longer has it, [`ReadError::Future`] if it is not visible yet.
    pub async fn snapshot_at(&self, resource: &str, revision: Revision) -> Result<Snapshot, ReadError> {
        let compacted = self.0.state.compacted();
        if revision < compacted {
            return Err(ReadError::Compacted { revision, compacted });
        }
        let resource = self.0.state.resource(resource);
        if let Some(kept) = self.0.kept.get(&resource, revision) {
            return Ok(kept);
        }
        let current = self.0.state.visible();
        if revision > current {
            return Err(ReadError::Future { revision, current });
        }
        let (snapshot, is_current) = self.current_as_of(&resource, revision);
        if is_current {
            return Ok(snapshot);
        }
        let snapshot = self.rebuild(&resource, snapshot, revision).await?;
        self.0.kept.sweep(self.0.state.compacted());
        self.0.kept.keep(&resource, &snapshot);
        Ok(snapshot)
    }

    /// Commits a transaction; when this returns it is durable and visible. A caller that stops waiting does not
    /// stop the transaction.
    ///
    /// # Errors
    /// See [`CommitError`]: all but `Unknown` mean that nothing was written.
    pub async fn txn(&self, txn: Txn) -> Result<Committed, CommitError> {
        let state = &self.0.state;
        let txn = Prepared::new(txn, &state.limits, |key, value| state.extract.extract(key, value))?;
        self.0.engine.txn(txn).await
    }

    /// All events of a resource after a revision that concern the scope: those that happened, then those that come.
    /// With [`Snapshot::revision`] of a snapshot, nothing between the two is lost or doubled.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] if history does not reach back so far. An engine that is compacted by others may say
    /// so only at [`Watch::next`].
    pub fn watch(&self, resource: &str, scope: Scope, after: Revision) -> Result<Watch, WatchError> {
        let state = self.0.state.clone();
        let resource = state.resource(resource);
        Watch::new(state, self.0.engine.clone(), resource, scope, after)
    }

    /// Forgets history up to `revision`, at once. What memory still holds may be served on.
    ///
    /// # Errors
    /// [`ReadError::Future`], or the engine's trouble.
    pub async fn compact(&self, revision: Revision) -> Result<(), ReadError> {
        let current = self.0.state.visible();
        if revision > current {
            return Err(ReadError::Future { revision, current });
        }
        if revision > self.0.state.compacted() {
            self.0.engine.compact(revision).await?;
            self.0.kept.sweep(revision);
        }
        Ok(())
    }

    /// Finishes what is queued, ends all watches and lets go of files and connections.
    pub async fn close(&self) {
        self.0.engine.close().await;
        self.0.state.close();
        self.0.tasks.iter().for_each(JoinHandle::abort);
    }

    #[cfg(test)]
    pub(crate) fn resource(&self, prefix: &str) -> Arc<Resource> {
        self.0.state.resource(prefix)
    }

    /// The current objects, named `revision` if nothing has changed since.
    fn current_as_of(&self, resource: &Resource, revision: Revision) -> (Snapshot, bool) {
        let snapshot = self.0.state.snapshot(resource);
        let changed = resource.current.read().changed;
        // Read after the objects: if nothing changed up to now, nothing had changed then.
        if changed <= revision { (snapshot.at(revision), true) } else { (snapshot, false) }
    }

    async fn rebuild(
        &self,
        resource: &Arc<Resource>,
        mut snapshot: Snapshot,
        revision: Revision,
    ) -> Result<Snapshot, ReadError> {
        let newest = snapshot.revision();
        if !self.0.state.wait_for(newest).await {
            return Err(ReadError::Closed);
        }
        let (mut at, mut seen) = (revision, HashSet::new());
        while at < newest {
            let (events, through) = self.events(resource, at, newest).await?;
            snapshot.undo(&events, &mut seen);
            at = through;
        }
        Ok(snapshot.at(revision))
    }

    /// Some events of `(after, upto]` and how far they reach.
    async fn events(
        &self,
        resource: &Arc<Resource>,
        after: Revision,
        upto: Revision,
    ) -> Result<(Vec<Arc<crate::Event>>, Revision), ReadError> {
        let all = resource.ring.lock().all.clone();
        let mut events = Vec::new();
        match all.read(after, &mut None, upto, usize::MAX, |_| true, &mut events) {
            crate::ring::Read::Through(through) => Ok((events, through)),
            crate::ring::Read::Behind { floor } => {
                let query = History { resource: resource.clone(), after, upto: floor.min(upto) };
                let page = self.0.engine.history(query).await?;
                Ok((page.events, page.through))
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("revision", &self.revision()).field("compacted", &self.compacted()).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.state.close();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// How often memory is looked through for what nobody is likely to ask for any more.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// Snapshots of lists that nobody goes on with hold objects that may be long gone: they go though no other list comes.
/// So do events that were hot once: who still wants them reads the log.
async fn sweep_by_time(state: Arc<State>, kept: Arc<Kept>) {
    loop {
        let newest = state.visible();
        tokio::time::sleep(SWEEP_EVERY).await;
        kept.sweep(0);
        state.cool(newest);
    }
}

/// History is kept for at least `every`: each time what was newest the time before is compacted.
async fn compact_by_time(state: Arc<State>, engine: Arc<dyn Engine>, kept: Arc<Kept>, every: Duration) {
    loop {
        let newest = state.visible();
        tokio::time::sleep(every).await;
        if state.is_closed() {
            return;
        }
        if let Err(error) = engine.compact_by_time(newest).await {
            tracing::warn!(%error, revision = newest, "history could not be compacted");
        }
        kept.sweep(state.compacted());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoExtract;

    #[tokio::test(start_paused = true)]
    async fn what_a_forgotten_list_holds_is_let_go_of() {
        let store = Store::open(EngineConfig::Memory, Arc::new(NoExtract), Options::default()).await.unwrap();
        store.txn(Txn::new().put("/a/b", "{}")).await.unwrap();
        let snapshot = store.snapshot("/a/");
        store.keep("/a/", &snapshot);
        let kept = || store.0.kept.get(&store.resource("/a/"), snapshot.revision()).is_some();
        // Whoever goes on with it keeps it.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(kept());
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!kept());
    }

    #[tokio::test(start_paused = true)]
    async fn events_cool_and_are_still_delivered() {
        let store = Store::open(EngineConfig::Memory, Arc::new(NoExtract), Options::default()).await.unwrap();
        let resource = store.resource("/");
        let put = |key: &'static str| store.txn(Txn::new().put(key, "{}"));
        let before = put("/a").await.unwrap().revision;
        let mut watch = store.watch("/", crate::Scope::default(), before).unwrap();
        put("/b").await.unwrap();
        tokio::time::sleep(2 * SWEEP_EVERY).await;
        let last = put("/c").await.unwrap().revision;
        assert_eq!(resource.ring.lock().all.floor(), last - 1, "only the last is in memory");
        let mut batch = Vec::new();
        while watch.next(&mut batch).await.unwrap() < last {}
        assert_eq!(batch.iter().map(|event| &*event.entry.key).collect::<Vec<_>>(), ["/b", "/c"]);
    }
}
