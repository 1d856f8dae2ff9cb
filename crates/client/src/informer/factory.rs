//! One informer for each (resource, view, selection), shared by all who ask.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Informer, Selection};
use crate::client::Client;
use crate::resource::Resource;
use crate::time::Given;
use crate::transport::BoxFuture;
use crate::views::{Kind, View};

/// Hands out shared informers and runs them. Cheap to clone.
#[derive(Clone)]
pub struct Informers(Arc<Inner>);

struct Inner {
    client: Client,
    given: Given,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<(TypeId, Resource, Selection), Known>,
    /// Set once started: informers asked for later run at once.
    running: Option<CancellationToken>,
}

/// An informer whose view's type is forgotten, with what is needed of it all the same.
struct Known {
    /// The `Informer<T>`.
    informer: Box<dyn Any + Send>,
    run: Box<dyn Fn(CancellationToken) + Send>,
    synced: Box<dyn Fn() -> BoxFuture<()> + Send>,
}

// === impl Informers ===

impl Informers {
    /// All informers read through `client`.
    pub fn new(client: Client, given: Given) -> Informers {
        Informers(Arc::new(Inner { client, given, state: Mutex::default() }))
    }

    /// The informer of a built-in kind in all namespaces.
    pub fn kind<K: Kind>(&self) -> Informer<K> {
        self.view(&K::RESOURCE, Selection::default())
    }

    /// The informer of a view of a resource, of what `selection` selects.
    pub fn view<T: View>(&self, resource: &Resource, selection: Selection) -> Informer<T> {
        let mut state = self.0.state.lock();
        let key = (TypeId::of::<T>(), resource.clone(), selection.clone());
        if let Some(informer) = state.known.get(&key).and_then(|known| known.informer.downcast_ref::<Informer<T>>()) {
            return informer.clone();
        }
        let informer = Informer::<T>::new(&self.0.client, resource, selection, self.0.given.clone());
        let known = Known::new(&informer);
        if let Some(stop) = &state.running {
            (known.run)(stop.clone());
        }
        state.known.insert(key, known);
        informer
    }

    /// Runs all informers, those asked for later too, until `stop`. A second call changes nothing.
    pub fn start(&self, stop: &CancellationToken) {
        let mut state = self.0.state.lock();
        if state.running.is_none() {
            state.known.values().for_each(|known| (known.run)(stop.clone()));
            state.running = Some(stop.clone());
        }
    }

    /// Waits until the first lists of all informers asked for so far are in.
    pub async fn synced(&self) {
        let waits: Vec<_> = self.0.state.lock().known.values().map(|known| (known.synced)()).collect();
        join_all(waits).await;
    }

    /// Time and chance, as given to the informers.
    pub fn given(&self) -> &Given {
        &self.0.given
    }
}

// === impl Known ===

impl Known {
    fn new<T: View>(informer: &Informer<T>) -> Known {
        let (runner, waiter) = (informer.clone(), informer.clone());
        Known {
            informer: Box::new(informer.clone()),
            run: Box::new(move |stop| {
                tokio::spawn(runner.clone().run(stop));
            }),
            synced: Box::new(move || {
                let informer = waiter.clone();
                Box::pin(async move { informer.synced().await })
            }),
        }
    }
}
