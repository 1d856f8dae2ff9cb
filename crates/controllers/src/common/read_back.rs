//! Seeing one's own writes: a reconcile waits until the cache has reached the last revision written for its key.
//! This replaces counting expected events.

use std::collections::HashMap;

use client::{Informer, ObjectKey, View};
use parking_lot::Mutex;

/// The last revisions written to the resource of one informer, by the key on whose behalf.
pub struct ReadBack<T> {
    informer: Informer<T>,
    written: Mutex<HashMap<ObjectKey, u64>>,
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
            let mut written = self.written.lock();
            let last = written.entry(key.clone()).or_default();
            *last = revision.max(*last);
        }
    }

    /// Waits until the cache shows what was last written for `key`.
    pub async fn wait(&self, key: &ObjectKey) {
        let last = self.written.lock().remove(key);
        if let Some(last) = last {
            self.informer.reached(last).await;
        }
    }
}
