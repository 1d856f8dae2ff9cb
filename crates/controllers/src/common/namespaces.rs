//! For controllers that keep something in every namespace.

use client::{Event, Informer, MetaExt, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::Namespace;

/// Whether things may be created in the namespace.
pub fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Active") && !namespace.is_deleting()
}

/// Puts a namespace into the queue when it comes or changes.
pub fn watch_namespaces(namespaces: &Informer<Namespace>, queue: &WorkQueue<ObjectKey>) {
    let queue = queue.clone();
    namespaces.subscribe(move |event| {
        if !matches!(event, Event::Deleted { .. }) {
            queue.add(event.object().key());
        }
    });
}
