//! What is written in the same transaction as an object because it belongs to it: the addresses
//! and ports that a Service takes.

use std::sync::Arc;

use api::status::Status;
use api::value::Value;
use bytes::Bytes;
use store::{Op, Revision, Txn};

use crate::api::Api;
use crate::served::Served;

/// One more change in an object's transaction.
pub struct Companion {
    pub key: Arc<str>,
    /// What the key must be at; 0: it must not exist. `None`: whatever is there.
    pub expected: Option<Revision>,
    /// The new bytes, `None` to remove the key.
    pub value: Option<Bytes>,
}

// === impl Companion ===

impl Companion {
    /// Adds this change and its condition.
    pub fn add_to(self, txn: Txn) -> Txn {
        let txn = match self.expected {
            Some(revision) => txn.expect_at(self.key.clone(), revision),
            None => txn,
        };
        match self.value {
            Some(value) => txn.op(Op::Put { key: self.key, value, record: None, ttl: None }),
            None => txn.delete(self.key),
        }
    }
}

/// Whether objects of this resource bring anything along.
pub fn has_any(served: &Served) -> bool {
    (served.group(), served.plural()) == ("", "services")
}

/// Fills in what can be said before validation without taking anything: fields that go together,
/// and what an update leaves out although the server had chosen it.
///
/// # Errors
/// 422 where wishes contradict each other.
pub fn prepare(api: &Api, served: &Served, new: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    match (served.group(), served.plural()) {
        ("", "services") => crate::allocation::prepare_service(new, old, api.settings.service_cluster_ip_range),
        _ => Ok(()),
    }
}

/// The companions of a write; fills what they decide into the new object. `new` is missing on deletion.
///
/// # Errors
/// 422 where a wish can't be met (an address that is taken), 500 where nothing is left.
pub async fn of(
    api: &Api,
    served: &Served,
    new: Option<&mut Value>,
    old: Option<&Value>,
    dry_run: bool,
) -> Result<Vec<Companion>, Status> {
    match (served.group(), served.plural()) {
        ("", "services") => crate::allocation::of_service(api, new, old, dry_run).await,
        _ => Ok(Vec::new()),
    }
}
