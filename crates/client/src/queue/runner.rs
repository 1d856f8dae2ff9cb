//! Runs a reconciler over a work queue.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Key, WorkQueue, figures};
use crate::error::ClientError;

/// Why a reconcile failed: it is logged, and the key comes again later.
pub type ReconcileError = Box<dyn std::error::Error + Send + Sync>;

/// When a key is to be looked at again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Only when something happens.
    Never,
    /// After this time.
    After(Duration),
    /// Soon, with a delay that grows while it is said again and again.
    Backoff,
}

/// Brings what is in line with what should be, for one key. Level-triggered: it reads the state of now, so that
/// running it twice changes nothing, and it survives a crash between any two requests.
pub trait Reconcile: Send + Sync + 'static {
    /// What it works on.
    type Key: Key;

    /// Looks at one key and does what is needed.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Requeue, ReconcileError>> + Send;
}

/// Runs `workers` workers over the queue until `stop`; reconciles that have begun are finished first.
/// A panic is logged and counts as a failure of its key.
pub async fn run<R: Reconcile>(
    name: &'static str,
    reconciler: Arc<R>,
    queue: WorkQueue<R::Key>,
    workers: usize,
    stop: CancellationToken,
) {
    figures::register(name, &queue);
    let mut set = JoinSet::new();
    for _ in 0..workers.max(1) {
        set.spawn(work(name, reconciler.clone(), queue.clone()));
    }
    stop.cancelled().await;
    queue.close();
    while set.join_next().await.is_some() {}
}

async fn work<R: Reconcile>(name: &'static str, reconciler: Arc<R>, queue: WorkQueue<R::Key>) {
    while let Some(key) = queue.next().await {
        let outcome = AssertUnwindSafe(reconciler.reconcile(&key)).catch_unwind().await;
        match outcome.unwrap_or_else(|panic| Err(describe(&*panic).into())) {
            Ok(Requeue::Never) => queue.forget(&key),
            Ok(Requeue::After(delay)) => {
                queue.forget(&key);
                queue.add_after(key.clone(), delay);
            }
            Ok(Requeue::Backoff) => queue.add_failed(key.clone()),
            Err(error) => {
                complain(name, &key, &error);
                queue.add_failed(key.clone());
            }
        }
        queue.done(&key);
    }
}

/// Conflicts are part of the game; the rest somebody should see.
fn complain(name: &str, key: &impl Key, error: &ReconcileError) {
    if error.downcast_ref::<ClientError>().is_some_and(ClientError::is_conflict) {
        tracing::debug!(controller = name, %key, %error, "conflict, trying again");
    } else {
        tracing::warn!(controller = name, %key, %error, "reconcile failed, trying again");
    }
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", said.unwrap_or("without a message"))
}
