//! Informers: caches of one resource each, kept up to date by a watch and shared by all who read them.
//!
//! [`Informer`] is the handle; [`cache`] holds the objects and their indexes; [`reflector`] keeps them in step with
//! the server; [`Informers`] hands out one informer for each (resource, view, selection).

pub mod cache;
pub mod factory;
pub mod index;
pub mod reflector;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use smol_str::SmolStr;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::cache::{Cache, Change};
pub use self::factory::Informers;
use crate::client::Client;
use crate::object::{Object, ObjectKey};
use crate::resource::Resource;
use crate::time::Given;
use crate::verbs::Api;
use crate::views::{Kind, View};

/// What an informer holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// One namespace; empty for all.
    pub namespace: String,
    /// Only objects with these labels.
    pub label_selector: String,
    /// Only objects with these fields (`spec.nodeName=n1`).
    pub field_selector: String,
    /// Keep the objects' JSON, which updates edit. Without it the cache is about half as large.
    pub keep_bytes: bool,
}

/// What happened to an object in the cache.
pub enum Event<T> {
    /// It is there now (also: it was there when the handler subscribed).
    Added(Arc<Object<T>>),
    /// It changed.
    Updated {
        /// As it was.
        old: Arc<Object<T>>,
        /// As it is.
        new: Arc<Object<T>>,
    },
    /// It is gone.
    Deleted {
        /// Its last state.
        object: Arc<Object<T>>,
        /// The deletion itself was not seen: this is the last state known (client-go's `DeletedFinalStateUnknown`).
        tombstone: bool,
    },
}

/// Called for every event, in order, after the cache has changed. Runs on the reflector: it is to be quick (put a key
/// into a queue), must not block and must not subscribe.
pub type Handler<T> = Box<dyn Fn(&Event<T>) + Send + Sync>;

/// How far the cache has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first list is in.
    pub synced: bool,
    /// All events up to this revision are in.
    pub revision: u64,
    /// How often the server's revisions have gone back (a restored backup): what was waited for may never come.
    pub resets: u64,
}

/// A cache of one resource. Cheap to clone; all clones are the same cache.
pub struct Informer<T>(Arc<Shared<T>>);

struct Shared<T> {
    api: Api,
    selection: Selection,
    given: Given,
    cache: RwLock<Cache<T>>,
    /// Held while a change is applied and told: handlers see changes in order, and a new one misses none.
    handlers: Mutex<Vec<Handler<T>>>,
    progress: watch::Sender<Progress>,
}

// === impl Selection ===

impl Default for Selection {
    fn default() -> Selection {
        Selection {
            namespace: String::new(),
            label_selector: String::new(),
            field_selector: String::new(),
            keep_bytes: true,
        }
    }
}

// === impl Event ===

impl<T> Event<T> {
    /// The object as it is now, or last was.
    pub fn object(&self) -> &Arc<Object<T>> {
        match self {
            Event::Added(object) | Event::Updated { new: object, .. } | Event::Deleted { object, .. } => object,
        }
    }
}

// === impl Informer ===

impl<T> Clone for Informer<T> {
    fn clone(&self) -> Informer<T> {
        Informer(self.0.clone())
    }
}

impl<T: View> Informer<T> {
    /// An informer that holds nothing until it [runs](Informer::run).
    pub fn new(client: &Client, resource: &Resource, selection: Selection, given: Given) -> Informer<T> {
        Informer(Arc::new(Shared {
            api: client.namespaced(resource, &selection.namespace),
            selection,
            given,
            cache: RwLock::new(Cache::default()),
            handlers: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
        }))
    }

    /// Keeps the cache up to date until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(reflector::Reflector::new(self).run()).await;
    }

    /// The resource.
    pub fn resource(&self) -> &Resource {
        self.0.api.resource()
    }

    /// Calls `handler` for every object that is there and for every event from now on.
    pub fn subscribe(&self, handler: impl Fn(&Event<T>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock();
        let handler: Handler<T> = Box::new(handler);
        for object in self.list() {
            call(&handler, &Event::Added(object));
        }
        handlers.push(handler);
    }

    /// Files objects under the values that `values` gives, to be found by [`Informer::indexed`]. Common ones are in
    /// [`index`]. A second index of the same name changes nothing.
    pub fn add_index(&self, name: &'static str, values: impl Fn(&T) -> Vec<SmolStr> + Send + Sync + 'static) {
        self.0.cache.write().add_index(name, Box::new(values));
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Object<T>>> {
        self.0.cache.read().get(key).cloned()
    }

    /// One object by namespace and name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Object<T>>> {
        self.get(&ObjectKey::new(namespace, name))
    }

    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<Object<T>>> {
        self.0.cache.read().iter().cloned().collect()
    }

    /// The objects that an index files under `value`, in no order. An index that was never added holds nothing.
    pub fn indexed(&self, index: &str, value: &str) -> Vec<Arc<Object<T>>> {
        self.0.cache.read().indexed(index, value).cloned().collect()
    }

    /// Reads the objects without copying their list. The cache can't change meanwhile: be quick.
    pub fn with<R>(&self, read: impl FnOnce(&Cache<T>) -> R) -> R {
        read(&self.0.cache.read())
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.cache.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the first list is in.
    pub fn has_synced(&self) -> bool {
        self.0.progress.borrow().synced
    }

    /// Waits until the first list is in.
    pub async fn synced(&self) {
        self.wait_for(|progress| progress.synced).await;
    }

    /// The revision up to which all events are in.
    pub fn revision(&self) -> u64 {
        self.0.progress.borrow().revision
    }

    /// How often the server's revisions have gone back.
    pub fn resets(&self) -> u64 {
        self.0.progress.borrow().resets
    }

    /// Waits until all events up to `revision` are in: a reconcile that waits for the revision of its own last write
    /// sees that write. Should the server's revisions go back, the wait ends: that write is no more.
    pub async fn reached(&self, revision: u64) {
        self.reached_since(revision, self.resets()).await;
    }

    /// The same for a revision of the time when [`Informer::resets`] was `resets`.
    pub async fn reached_since(&self, revision: u64, resets: u64) {
        self.wait_for(|progress| progress.synced && (progress.revision >= revision || progress.resets != resets)).await;
    }

    async fn wait_for(&self, is: impl FnMut(&Progress) -> bool) {
        // The sender lives as long as this handle, so waiting can't fail.
        let _ = self.0.progress.subscribe().wait_for(is).await;
    }

    /// Applies a change and tells the handlers.
    fn apply(&self, change: Change<T>) {
        let handlers = self.0.handlers.lock();
        let event = self.0.cache.write().apply(change);
        if let Some(event) = event {
            handlers.iter().for_each(|handler| call(handler, &event));
        }
    }

    fn advance(&self, revision: u64) {
        self.0.progress.send_if_modified(|progress| {
            let is_later = revision > progress.revision;
            progress.revision = progress.revision.max(revision);
            is_later
        });
    }
}

impl<K: Kind> Informer<K> {
    /// An informer of a built-in kind in all namespaces.
    pub fn of_kind(client: &Client, given: Given) -> Informer<K> {
        Informer::new(client, &K::RESOURCE, Selection::default(), given)
    }
}

/// A handler that panics must not take the cache down with it.
fn call<T>(handler: &Handler<T>, event: &Event<T>) {
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler(event)));
    if called.is_err() {
        tracing::error!("an informer's event handler panicked");
    }
}
