//! ServiceAccounts: every active namespace has one of the name `default`.
//!
//! Upstream: pkg/controller/serviceaccount/serviceaccounts_controller.go.

use std::sync::Arc;

use api::value::Value;
use client::{
    Client, Event, Informer, Kind, ObjectKey, Reconcile, ReconcileError, Requeue, Selection, WorkQueue, WriteOptions,
};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};

use crate::common::namespaces::{is_active, watch_namespaces};
use crate::context::Context;

const NAME: &str = "service-account-controller";
/// The account that every namespace has.
const DEFAULT: &str = "default";

/// The controller. Its keys are namespaces.
pub struct ServiceAccountController {
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
    client: Client,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let named = Selection { field_selector: format!("metadata.name={DEFAULT}"), ..Selection::default() };
    let accounts = context.informers.view::<ServiceAccount>(&ServiceAccount::RESOURCE, named);
    let namespaces = context.informers.kind::<Namespace>();
    let queue = WorkQueue::default();
    watch_namespaces(&namespaces, &queue);
    accounts.subscribe({
        let queue = queue.clone();
        move |event| {
            if let Event::Deleted { object, .. } = event {
                queue.add(ObjectKey::cluster(object.key().namespace));
            }
        }
    });
    namespaces.synced().await;
    accounts.synced().await;
    let controller = ServiceAccountController { namespaces, accounts, client: context.client(NAME) };
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for ServiceAccountController {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let is_there = self.accounts.find(&key.name, DEFAULT).is_some();
        if is_there || !self.namespaces.get(key).is_some_and(|namespace| is_active(&namespace)) {
            return Ok(Requeue::Never);
        }
        let mut account = Value::object();
        account.set("metadata.name", DEFAULT);
        account.set("metadata.namespace", &key.name);
        let api = self.client.kind::<ServiceAccount>(&key.name);
        match api.create_tree(account, &WriteOptions::default()).await {
            Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error.into()),
            _ => Ok(Requeue::Never),
        }
    }
}
