//! From an event on a pod to the keys of the controllers' objects that it concerns.

use std::time::Duration;

use client::{Event, Informer, Kind, MetaExt, ObjectKey, View, WorkQueue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Puts an owner's key into the queue whenever something happens to the owner itself.
pub fn watch_owners<K: Kind>(owners: &Informer<K>, queue: &WorkQueue<ObjectKey>) {
    let queue = queue.clone();
    owners.subscribe(move |event| queue.add(event.object().key()));
}

/// Puts the owner of a dependent into the queue when something happens to the dependent; for one without a controller,
/// all owners that could adopt it.
pub fn watch_dependents<D: View, K: Kind>(
    dependents: &Informer<D>,
    owners: &Informer<K>,
    queue: &WorkQueue<ObjectKey>,
    could_adopt: impl Fn(&K, &D) -> bool + Send + Sync + 'static,
) {
    watch_dependents_batched(dependents, owners, queue, Duration::ZERO, could_adopt);
}

/// The same, but an owner comes into the queue only after `delay`, once for all its dependents' events until then.
pub fn watch_dependents_batched<D: View, K: Kind>(
    dependents: &Informer<D>,
    owners: &Informer<K>,
    queue: &WorkQueue<ObjectKey>,
    delay: Duration,
    could_adopt: impl Fn(&K, &D) -> bool + Send + Sync + 'static,
) {
    dependents.subscribe(enqueue_owners(owners, queue, delay, could_adopt));
}

/// As [`watch_dependents`], for the versions that an owner keeps of its template: one that is added with its owner is its
/// owner's work, or somebody's who is not done with it (who restores a backup, say), and is looked at with the rest.
pub fn watch_history<D: View, K: Kind>(
    history: &Informer<D>,
    owners: &Informer<K>,
    queue: &WorkQueue<ObjectKey>,
    could_adopt: impl Fn(&K, &D) -> bool + Send + Sync + 'static,
) {
    let enqueue = enqueue_owners(owners, queue, Duration::ZERO, could_adopt);
    history.subscribe(move |event| {
        if !matches!(event, Event::Added(object) if object.controller_ref().is_some()) {
            enqueue(event);
        }
    });
}

/// Puts those whom an event of a dependent concerns into the queue.
fn enqueue_owners<D: View, K: Kind>(
    owners: &Informer<K>,
    queue: &WorkQueue<ObjectKey>,
    delay: Duration,
    could_adopt: impl Fn(&K, &D) -> bool + Send + Sync + 'static,
) -> impl Fn(&Event<D>) + Send + Sync + 'static {
    let (owners, queue) = (owners.clone(), queue.clone());
    let enqueue_owner = {
        let (owners, queue) = (owners.clone(), queue.clone());
        move |dependent: &D, reference: &OwnerReference| {
            if let Some(key) = resolve(&owners, dependent.namespace(), reference) {
                queue.add_after(key, delay);
            }
        }
    };
    move |event| {
        let now = &event.object().view;
        let was_owned_by = match event {
            Event::Updated { old, .. } => old.controller_ref().cloned(),
            _ => None,
        };
        if let Some(reference) = &was_owned_by
            && now.controller_ref() != Some(reference)
        {
            enqueue_owner(now, reference);
        }
        match (now.controller_ref(), event) {
            (Some(reference), _) => enqueue_owner(now, reference),
            (None, Event::Deleted { .. }) => {}
            (None, Event::Updated { old, .. }) if old.meta().labels == now.meta().labels && was_owned_by.is_none() => {}
            (None, _) => {
                let candidates = owners.with(|cache| {
                    let in_namespace = cache.iter().filter(|owner| owner.namespace() == now.namespace());
                    in_namespace.filter(|owner| could_adopt(owner, now)).map(|owner| owner.key()).collect::<Vec<_>>()
                });
                candidates.into_iter().for_each(|key| queue.add_after(key, delay));
            }
        }
    }
}

/// The key of the owner that a reference means: same kind, same UID, still there.
pub fn resolve<K: Kind>(owners: &Informer<K>, namespace: &str, reference: &OwnerReference) -> Option<ObjectKey> {
    if reference.kind != K::RESOURCE.kind {
        return None;
    }
    let owner = owners.find(namespace, &reference.name)?;
    (owner.uid() == reference.uid).then(|| owner.key())
}
