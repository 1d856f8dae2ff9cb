//! Seeing one's own writes: a reconcile waits until the cache has reached the last revision written for its key.
//! This replaces counting expected events.

use std::collections::HashMap;

use client::{Informer, ObjectKey, View};
use parking_lot::Mutex;

/// The last revisions written to the resource of one informer, by the key on whose behalf.
pub struct ReadBack<T> {
    informer: Informer<T>,
    /// Revisions, and how often the server's had gone back by then.
    written: Mutex<HashMap<ObjectKey, (u64, u64)>>,
}

// === impl ReadBack ===

impl<T: View> ReadBack<T> {
    /// Nothing was written.
    pub fn new(informer: &Informer<T>) -> ReadBack<T> {
        ReadBack { informer: informer.clone(), written: Mutex::default() }
    }

    /// Something was written for `key`.
    pub fn wrote(&self, key: &ObjectKey, revision: u64) {
        if revision > 0 {
            let resets = self.informer.resets();
            let mut written = self.written.lock();
            let (last, since) = written.entry(key.clone()).or_default();
            (*last, *since) = if *since == resets { (revision.max(*last), resets) } else { (revision, resets) };
        }
    }

    /// Waits until the cache shows what was last written for `key`.
    pub async fn wait(&self, key: &ObjectKey) {
        let last = self.written.lock().remove(key);
        if let Some((last, resets)) = last {
            self.informer.reached_since(last, resets).await;
        }
    }
}
