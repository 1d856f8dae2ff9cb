//! A server from its parts: the store opened, the authorizer fed, the cluster seeded.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::codec::json;
use api::user::UserInfo;
use arc_swap::ArcSwap;
use client::Client;
use store::{EngineConfig, Entry, EtcdConfig, Event, Kind, OpenError, Options, Scope, Store};
use tokio_util::sync::CancellationToken;

use crate::admission::plugins;
use crate::api::Api;
use crate::authn::token::discovery::KEYS_PATH;
use crate::authn::token::{Issuer, KeySet};
use crate::authn::{self, Authenticator};
use crate::authz::{Authorizer, Change, Mode, WATCHED};
use crate::boot;
use crate::bootstrap::objects::AuthenticationTrust;
use crate::flow::{Flow, schemas};
use crate::identity::{IssuerDocuments, StoredObjects};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::served::Catalog;
use crate::settings::Settings;
use crate::stored::Extractor;

/// Where cluster state lives.
#[derive(Clone, Debug)]
pub enum Datastore {
    /// Nowhere but in memory, for tests.
    Memory,
    /// A log below this directory.
    Embedded(PathBuf),
    /// An etcd.
    Etcd(Vec<String>),
}

/// By what the server knows others, and others know it.
pub struct Identity {
    pub authentication: authn::Settings,
    pub issuer: Issuer,
    /// The keys that tokens are verified with.
    pub keys: KeySet,
}

/// A running API server without its listeners.
pub struct Server {
    pub api: Arc<Api>,
    pub pipeline: Pipeline,
}

/// What the server's own calls are made as.
pub fn own_user() -> UserInfo {
    UserInfo::authenticated("system:apiserver", &["system:masters"])
}

// === impl Server ===

impl Server {
    /// Opens the store and makes the pipeline. Requests of components in this process can be
    /// answered from now on; [`Server::seed`] makes it ready.
    ///
    /// # Errors
    /// The store can't be opened.
    pub async fn open(
        datastore: Datastore,
        settings: Settings,
        identity: Identity,
        clock: Arc<dyn client::Clock>,
        modes: Vec<Mode>,
    ) -> Result<Server, OpenError> {
        let catalog = Catalog::builtin();
        let engine = match datastore {
            Datastore::Memory => EngineConfig::Memory,
            Datastore::Embedded(dir) => EngineConfig::Embedded { dir },
            Datastore::Etcd(endpoints) => {
                EngineConfig::Etcd(EtcdConfig { endpoints, tls: None, prefix: "/registry/".to_owned() })
            }
        };
        let prefixes = catalog.prefixes().into_iter().chain(["/registry/ranges/".to_owned()]);
        let store = Store::open(engine, Extractor::new(&catalog), Options::with_resources(prefixes)).await?;
        let objects = Arc::new(StoredObjects(store.clone()));
        let keys_uri = format!("https://{}:{}{}", settings.advertise_address, settings.secure_port, KEYS_PATH);
        let api = Arc::new(Api {
            store,
            catalog: ArcSwap::from_pointee(catalog),
            admission: plugins::chain(&settings.disabled_admission_plugins),
            authenticator: Authenticator::new(identity.authentication, objects),
            documents: IssuerDocuments::new(&settings.service_account_issuer, &keys_uri, &identity.keys),
            issuer: identity.issuer,
            documents_of_types: Default::default(),
            authorizer: Authorizer::new(modes),
            flow: Flow::default(),
            metrics: Metrics::default(),
            clock,
            settings,
            kubelets: Default::default(),
            trees: Default::default(),
            quota_turns: Default::default(),
            ready: AtomicBool::new(false),
            components_inside: AtomicBool::new(false),
        });
        Ok(Server { pipeline: Pipeline::new(api.clone()), api })
    }

    /// A client straight into the pipeline.
    pub fn client(&self, user: UserInfo) -> Client {
        Client::in_process(self.pipeline.clone(), user)
    }

    /// Feeds the authorizer, makes what a fresh cluster has, and says that the server is ready.
    ///
    /// # Errors
    /// The request that failed.
    pub async fn seed(&self, trust: &AuthenticationTrust, stop: &CancellationToken) -> Result<(), client::ClientError> {
        feed_authorizer(&self.api, stop);
        // Upstream's name for the server as a manager of fields.
        let client = self.client(own_user()).named("kube-apiserver");
        boot::seed(&client, &self.api.settings, trust, self.api.clock.now()).await?;
        follow_flows(&self.api, client.clone(), stop);
        boot::publish_endpoints(&client, &self.api.settings).await?;
        self.api.ready.store(true, Ordering::Release);
        Ok(())
    }
}

/// Keeps the flows that requests belong to.
fn follow_flows(api: &Arc<Api>, client: Client, stop: &CancellationToken) {
    let (api, stop) = (api.clone(), stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = schemas::keep(api, client) => {}
            () = stop.cancelled() => {}
        }
    });
}

/// Fills the authorizer's indexes with what is stored, and keeps them up to date.
fn feed_authorizer(api: &Arc<Api>, stop: &CancellationToken) {
    for (group, plural) in WATCHED {
        let Some(served) = api.catalog.load().stored(group, plural).cloned() else { continue };
        let snapshot = api.store.snapshot(served.prefix());
        for entry in snapshot.iter() {
            put(api, group, plural, &entry.value);
        }
        let (api, stop, after) = (api.clone(), stop.clone(), snapshot.revision());
        tokio::spawn(async move {
            tokio::select! {
                () = follow(&api, group, plural, served.prefix(), after) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Applies every event after a revision; begins anew from the whole state should history be gone.
async fn follow(api: &Api, group: &str, plural: &str, prefix: &str, mut after: u64) {
    let mut batch = Vec::new();
    loop {
        let Ok(mut watch) = api.store.watch(prefix, Scope::default(), after) else { return };
        while watch.next(&mut batch).await.is_ok() {
            for event in batch.drain(..) {
                let record = &event.entry.record;
                match event.kind {
                    Kind::Put if is_free_pod(plural, &event) => {}
                    Kind::Put => put(api, group, plural, &event.entry.value),
                    Kind::Delete => {
                        let gone = Change::Delete { namespace: record.namespace(), name: record.name() };
                        api.authorizer.apply(group, plural, gone);
                    }
                }
            }
        }
        let snapshot = api.store.snapshot(prefix);
        snapshot.iter().for_each(|entry| put(api, group, plural, &entry.value));
        if snapshot.revision() <= after {
            return;
        }
        after = snapshot.revision();
    }
}

/// Whether it is about a pod that has no node and had none before: it ties nothing to any node, and need not be read.
fn is_free_pod(plural: &str, event: &Event) -> bool {
    let is_free = |entry: &Arc<Entry>| entry.record.field("spec.nodeName").is_none_or(str::is_empty);
    plural == "pods" && is_free(&event.entry) && event.prev.as_ref().is_none_or(is_free)
}

fn put(api: &Api, group: &str, plural: &str, value: &[u8]) {
    match json::parse(value) {
        Ok(tree) => api.authorizer.apply(group, plural, Change::Put(&tree)),
        Err(error) => tracing::warn!(%group, %plural, %error, "an object that authorizes can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Txn;

    #[tokio::test]
    async fn a_pod_concerns_the_node_authorizer_once_it_has_a_node() {
        let extractor = Extractor::new(&Catalog::builtin());
        let options = Options::with_resources(["/registry/pods/".to_owned()]);
        let store = Store::open(EngineConfig::Memory, extractor, options).await.unwrap();
        let mut watch = store.watch("/registry/pods/", Scope::default(), store.revision()).unwrap();
        for node in ["", r#","spec":{"nodeName":"n"}"#, ""] {
            let pod = format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"a","namespace":"b"}}{node}}}"#);
            store.txn(Txn::new().put("/registry/pods/b/a", pod)).await.unwrap();
        }
        let mut events = Vec::new();
        while events.len() < 3 {
            watch.next(&mut events).await.unwrap();
        }
        let free: Vec<bool> = events.iter().map(|event| is_free_pod("pods", event)).collect();
        assert_eq!(free, [true, false, false]);
        assert!(!is_free_pod("persistentvolumes", &events[0]));
    }
}
