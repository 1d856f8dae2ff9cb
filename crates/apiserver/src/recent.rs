//! Trees that writes left: who changes an object soon after another finds it parsed.
//!
//! Objects change in bursts (a pod is created, bound, and reports its states within seconds), and parsing the stored
//! bytes is a good part of what a change costs. The tree that a write encoded is kept until the next write of the
//! object takes it: it moves in and out and is never copied.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use api::status::Status;
use api::value::Value;
use parking_lot::Mutex;
use store::{Entry, Revision};

use crate::stored;

/// The trees kept. Each object has one place, which it shares with others: the last one written has it.
pub struct Recent {
    places: Box<[Mutex<Option<Kept>>]>,
    hasher: RandomState,
}

struct Kept {
    key: Arc<str>,
    revision: Revision,
    tree: Value,
}

const PLACES: usize = 512;
/// Larger objects are parsed again: a tree takes several times its bytes.
const VALUE_BYTES_MAX: usize = 32 << 10;

// === impl Recent ===

impl Default for Recent {
    fn default() -> Recent {
        Recent { places: (0..PLACES).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Recent {
    /// Keeps the tree of an entry that was just written, in the stored version and without its revision.
    pub fn keep(&self, entry: &Entry, tree: Value) {
        if entry.value.len() <= VALUE_BYTES_MAX {
            let kept = Kept { key: entry.key.clone(), revision: entry.mod_revision, tree };
            let before = self.place(&entry.key).lock().replace(kept);
            // A tree is dropped outside of the lock.
            drop(before);
        }
    }

    /// The tree of an entry that is about to change.
    ///
    /// # Errors
    /// 500 where the stored bytes can't be read.
    pub fn take(&self, entry: &Entry) -> Result<Value, Status> {
        let kept = self.place(&entry.key).lock().take_if(|kept| kept.key == entry.key);
        match kept.filter(|kept| kept.revision == entry.mod_revision) {
            Some(kept) => Ok(kept.tree),
            None => stored::parse(entry),
        }
    }

    fn place(&self, key: &str) -> &Mutex<Option<Kept>> {
        &self.places[self.hasher.hash_one(key) as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use store::{EngineConfig, NoExtract, Options, Store, Txn};

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_tree_is_taken_once_and_only_for_its_revision() {
        const KEY: &str = "/registry/pods/a/b";
        let store = Store::open(EngineConfig::Memory, Arc::new(NoExtract), Options::default()).await.unwrap();
        let recent = Recent::default();
        let write = async |text: &'static str| {
            store.txn(Txn::new().put(KEY, text)).await.unwrap();
            store.get(KEY).unwrap()
        };
        let first = write(r#"{"a":1}"#).await;
        // Told apart from what is stored, to see where it comes from.
        let kept = testing::parse(r#"{"kept":1}"#).unwrap();
        recent.keep(&first, kept.clone());
        assert_eq!(recent.take(&first).unwrap(), kept);
        assert_eq!(recent.take(&first).unwrap(), testing::parse(r#"{"a":1}"#).unwrap());
        recent.keep(&first, kept);
        let second = write(r#"{"a":2}"#).await;
        assert_eq!(recent.take(&second).unwrap(), testing::parse(r#"{"a":2}"#).unwrap());
        assert_eq!(recent.take(&first).unwrap(), testing::parse(r#"{"a":1}"#).unwrap(), "the older tree is gone, too");
    }
}
