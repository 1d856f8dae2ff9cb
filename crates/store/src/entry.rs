//! One object at one revision, and one change of it.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Forms, Origin, Record, Revision};

/// One object at one revision. Readers share it as an `Arc`; nobody changes it.
#[derive(Debug)]
pub struct Entry {
    /// The whole key, `/registry/pods/NS/NAME`.
    pub key: Arc<str>,
    /// The stored bytes.
    pub value: Bytes,
    /// The revision that made the key.
    pub create_revision: Revision,
    /// The revision that wrote this value.
    pub mod_revision: Revision,
    /// What can be selected by without reading the value.
    pub record: Record,
    /// Set on a key that expires. Unix milliseconds (memory, embedded) or the lease's id (etcd).
    pub lease: Option<NonZeroU64>,
    /// Where the engine finds this version again: segment and offset of its frame in the embedded log, else 0.
    pub(crate) place: u64,
    pub(crate) forms: Forms,
}

/// What happened to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The key was written; it was made if [`Event::prev`] is none.
    Put,
    /// The key was removed, by a caller or because its time was up.
    Delete,
}

/// One change of one key. Several events share a revision if they came from one transaction.
#[derive(Debug)]
pub struct Event {
    /// The revision of the change; for a deletion it is newer than the entry's.
    pub revision: Revision,
    /// Written or removed.
    pub kind: Kind,
    /// What was written, or the last state of what was removed.
    pub entry: Arc<Entry>,
    /// The state before: none if the key was made, the same as `entry` if it was removed.
    pub prev: Option<Arc<Entry>>,
    /// Who did it, where that is known (own transactions that said so).
    pub origin: Option<Arc<Origin>>,
    pub(crate) forms: Forms,
}

// === impl Entry ===

impl Entry {
    /// Derived bytes by id, made at most once and shared. See [`Forms::get_or_make`].
    ///
    /// They live as long as the entry: keep here what many readers will want.
    pub fn form<E>(&self, id: u64, make: impl FnOnce(&Entry) -> Result<Bytes, E>) -> Result<Bytes, E> {
        self.forms.get_or_make(id, || make(self))
    }

    /// The derived bytes if they were made already.
    pub fn form_made(&self, id: u64) -> Option<Bytes> {
        self.forms.get(id)
    }
}

impl Entry {
    /// The same version with another index record.
    pub(crate) fn with_record(&self, record: Record) -> Self {
        Self {
            key: self.key.clone(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            record,
            lease: self.lease,
            place: self.place,
            forms: Forms::default(),
        }
    }
}

// === impl Event ===

impl Event {
    pub(crate) fn put(entry: Arc<Entry>, prev: Option<Arc<Entry>>, origin: Option<Arc<Origin>>) -> Self {
        Self { revision: entry.mod_revision, kind: Kind::Put, entry, prev, origin, forms: Forms::default() }
    }

    pub(crate) fn delete(revision: Revision, last: Arc<Entry>, origin: Option<Arc<Origin>>) -> Self {
        Self { revision, kind: Kind::Delete, entry: last.clone(), prev: Some(last), origin, forms: Forms::default() }
    }

    /// Whether this event made the key.
    pub fn created(&self) -> bool {
        self.prev.is_none()
    }

    /// Derived bytes by id, made at most once and shared. See [`Forms::get_or_make`].
    pub fn form<E>(&self, id: u64, make: impl FnOnce(&Event) -> Result<Bytes, E>) -> Result<Bytes, E> {
        self.forms.get_or_make(id, || make(self))
    }
}
