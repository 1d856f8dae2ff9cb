//! Keys whose time is up are deleted by ordinary transactions, for the engines that keep no time themselves.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::engine::Engine;
use crate::extract::Extract as _;
use crate::sequence::Prepared;
use crate::state::State;
use crate::{CommitError, NoExtract, Txn};

/// Keys deleted at one time; they share a sync.
const EXPIRE_MAX: usize = 256;
/// The wall clock is looked at again after this long: it may have been set.
const CLOCK_CHECK: Duration = Duration::from_secs(60);
/// Wait when the engine takes no writes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Deletes keys as their time comes, until the store is closed.
pub(crate) async fn run(state: Arc<State>, engine: Arc<dyn Engine>) {
    let Some(deadlines) = &state.deadlines else { return };
    while !state.is_closed() {
        let Some(earliest) = deadlines.earliest() else {
            deadlines.earlier.notified().await;
            continue;
        };
        let now = state.clock.now_ms();
        if earliest > now {
            let wait = Duration::from_millis(earliest - now).min(CLOCK_CHECK);
            // Early or late is the same: look again.
            let _ = tokio::time::timeout(wait, deadlines.earlier.notified()).await;
            continue;
        }
        if !expire(&state, &*engine, deadlines.due(now, EXPIRE_MAX)).await {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// Deletes some of what is due; false if the engine could not.
async fn expire(state: &State, engine: &dyn Engine, due: Vec<(u64, Arc<str>)>) -> bool {
    let deletes = due.into_iter().filter_map(|(at, key)| {
        let entry = state.get(&key)?;
        // Written again meanwhile: it has another deadline or none.
        let expired = entry.lease.is_some_and(|lease| lease.get() == at);
        expired.then(|| Txn::remove(key, entry.mod_revision))
    });
    let results = join_all(deletes.map(|txn| async {
        let txn = Prepared::new(txn, &state.limits, |key, value| NoExtract.extract(key, value))?;
        engine.txn(txn).await
    }));
    results.await.iter().all(|result| matches!(result, Ok(_) | Err(CommitError::Conflict { .. })))
}
