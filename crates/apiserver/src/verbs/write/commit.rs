//! The commit: a tree becomes stored bytes, and one transaction writes them together with what
//! belongs to them (a Service's addresses, for instance).

use std::sync::Arc;
use std::time::Duration;

use api::schema::Schema;
use api::status::{GroupResource, Status};
use api::value::Value;
use store::{CommitError, Entry, Op, Origin, Txn};

use super::Written;
use crate::admission::quota;
use crate::api::Api;
use crate::companions;
use crate::served::Served;
use crate::stored;

/// One change of one key.
pub struct Commit<'c> {
    pub key: &'c str,
    /// Empty for the object itself.
    pub subresource: &'c str,
    /// What must still be there; `None`: nothing may be.
    pub current: Option<&'c Arc<Entry>>,
    /// Its tree, in the stored version.
    pub old: Option<&'c Value>,
    /// The new tree in the stored version, `None` to remove the object.
    pub tree: Option<Value>,
}

/// Why nothing was committed.
#[derive(Debug)]
pub enum Failure {
    /// Somebody else changed the object; its newer state, if it still exists.
    Conflict(Option<Arc<Entry>>),
    Status(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Status(status)
    }
}

/// Attempts to find addresses, ports or room in a quota that nobody else takes at the same time.
const COMPANION_ATTEMPTS_MAX: usize = 32;

/// Commits one change. What changes nothing writes nothing.
pub async fn commit(
    api: &Api,
    served: &Served,
    mut change: Commit<'_>,
    dry_run: bool,
    origin: Arc<Origin>,
) -> Result<Written, Failure> {
    let revision = change.current.map_or(0, |entry| entry.mod_revision);
    let subresource = change.subresource;
    // Held until the write is done.
    let turn = match &change.tree {
        Some(new) => api.quota_turns.take(api, quota::Written { served, subresource, new, old: change.old }).await,
        None => None,
    };
    let attempts = if turn.is_some() || companions::has_any(served) { COMPANION_ATTEMPTS_MAX } else { 1 };
    for attempt in 1..=attempts {
        // Only who may have to choose again keeps a copy.
        let mut tree = if attempt < attempts { change.tree.clone() } else { change.tree.take() };
        // A Service gets its addresses here; other kinds bring nothing along.
        let mut beside = companions::of(api, served, tree.as_mut(), change.old, dry_run).await?;
        if let Some(new) = tree.as_ref().filter(|_| turn.is_some()) {
            beside.extend(quota::charge(api, quota::Written { served, subresource, new, old: change.old })?);
        }
        let mut txn = Txn::new().expect_at(change.key, revision).by(origin.clone());
        match tree {
            None if dry_run => return Ok(Written::Tree(change.old.cloned().unwrap_or_default())),
            None => txn = txn.delete(change.key),
            Some(mut tree) => {
                canonicalize(served, &mut tree)?;
                if dry_run {
                    return Ok(Written::Tree(tree));
                }
                let (value, record) = stored::encode(&mut tree, served.rules());
                if let Some(entry) = change.current.filter(|entry| entry.value == value) {
                    return Ok(Written::Stored(entry.clone(), entry.mod_revision));
                }
                let ttl = time_to_live(served);
                txn = txn.op(Op::Put { key: change.key.into(), value, record: Some(record), ttl });
            }
        }
        let txn = beside.into_iter().fold(txn, |txn, one| one.add_to(txn));
        match api.store.txn(txn).await {
            Ok(committed) => {
                let entry = committed.entry().ok_or_else(vanished)?;
                return Ok(Written::Stored(entry.clone(), committed.revision));
            }
            Err(CommitError::Conflict { key, current, .. }) if &*key == change.key => {
                return Err(Failure::Conflict(current));
            }
            // A companion was taken meanwhile, perhaps by another server: look for another one in what it left.
            Err(CommitError::Conflict { .. }) => {
                api.store.barrier().await.map_err(|error| Status::unavailable(error.to_string()).retry_after(1))?;
            }
            Err(error) => return Err(failed(error).into()),
        }
    }
    if turn.is_some() && !companions::has_any(served) {
        let of = GroupResource { group: "", resource: "resourcequotas" };
        return Err(Status::modified(of, "").into());
    }
    Err(Status::internal("no free address or port found: too many others are taking them at the same time").into())
}

fn canonicalize(served: &Served, tree: &mut Value) -> Result<(), Status> {
    let (schema, id): (&Schema, _) = served.stored_schema();
    api::decode::canonicalize_stored(schema, id, tree).map_err(Status::internal)
}

/// Events live for an hour, upstream's `--event-ttl`.
fn time_to_live(served: &Served) -> Option<Duration> {
    const EVENT_TIME_TO_LIVE: Duration = Duration::from_secs(3600);
    (served.prefix() == "/registry/events/").then_some(EVENT_TIME_TO_LIVE)
}

fn vanished() -> Status {
    Status::internal("the store acknowledged a write without its result")
}

/// What the client is told of a failed commit.
pub fn failed(error: CommitError) -> Status {
    match error {
        CommitError::Full { needed, free } => Status::new(
            507,
            "InsufficientStorage",
            format!("the datastore's disk is full: {needed} bytes needed, {free} free"),
        ),
        // Neither success nor conflict: the client must look for itself.
        CommitError::Unknown(_) => Status::internal(error),
        CommitError::Invalid(why) => Status::too_large(format!("etcdserver: request is too large: {why}")),
        other => Status::unavailable(other.to_string()).retry_after(1),
    }
}
