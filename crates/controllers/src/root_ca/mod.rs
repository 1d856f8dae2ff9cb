//! Root CA publisher: every active namespace has a ConfigMap by which its pods know the API server.
//!
//! Upstream: pkg/controller/certificates/rootcacertpublisher.

use std::sync::Arc;

use api::value::{Map, Value};
use client::{
    Client, ClientError, Event, Informer, Kind, MetaExt, Object, ObjectKey, Reconcile, ReconcileError, Requeue,
    Selection, WorkQueue, WriteOptions,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};

use crate::common::namespaces::{is_active, watch_namespaces};
use crate::context::Context;

const NAME: &str = "root-ca-cert-publisher";
/// The ConfigMap's name, to which projected volumes refer.
const CONFIG_MAP: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIBED: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

/// The controller. Its keys are namespaces.
pub struct RootCaPublisher {
    namespaces: Informer<Namespace>,
    config_maps: Informer<ConfigMap>,
    client: Client,
    bundle: Arc<str>,
}

/// Starts the controller; `bundle` is what it publishes, in PEM.
pub async fn run(context: Context, workers: usize, bundle: Arc<str>) {
    let named = Selection { field_selector: format!("metadata.name={CONFIG_MAP}"), ..Selection::default() };
    let config_maps = context.informers.view::<ConfigMap>(&ConfigMap::RESOURCE, named);
    let namespaces = context.informers.kind::<Namespace>();
    let queue = WorkQueue::default();
    watch_namespaces(&namespaces, &queue);
    config_maps.subscribe({
        let queue = queue.clone();
        move |event| {
            if !matches!(event, Event::Added(_)) {
                queue.add(ObjectKey::cluster(event.object().namespace()));
            }
        }
    });
    namespaces.synced().await;
    config_maps.synced().await;
    let controller = RootCaPublisher { namespaces, config_maps, client: context.client(NAME), bundle };
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for RootCaPublisher {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        if !self.namespaces.get(key).is_some_and(|namespace| is_active(&namespace)) {
            return Ok(Requeue::Never);
        }
        let api = self.client.kind::<ConfigMap>(&key.name);
        let written = match self.config_maps.find(&key.name, CONFIG_MAP) {
            None => api.create_tree(fresh(&self.bundle), &WriteOptions::default()).await,
            Some(there) => match mended(&there, &self.bundle)? {
                None => return Ok(Requeue::Never),
                Some(tree) => api.update(tree, &WriteOptions::default()).await,
            },
        };
        match written {
            // The namespace ends, or somebody was faster and the cache will show it.
            Err(error) if error.is_not_found() || error.is_namespace_terminating() || error.is_already_exists() => {
                Ok(Requeue::Never)
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(Requeue::Never),
        }
    }
}

fn fresh(bundle: &str) -> Value {
    let mut tree = Value::object();
    tree.set("metadata.name", CONFIG_MAP);
    tree.set("metadata.annotations", Map::from_iter([(DESCRIPTION, DESCRIBED)]));
    tree.set("data", Map::from_iter([(KEY, bundle)]));
    tree
}

/// The ConfigMap as it should be, if it isn't.
fn mended(there: &Object<ConfigMap>, bundle: &str) -> Result<Option<Value>, ClientError> {
    let data = there.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_str()));
    let is_described = there.annotation(DESCRIPTION).is_some_and(|text| !text.is_empty());
    if is_described && data.eq([(KEY, bundle)]) {
        return Ok(None);
    }
    let mend = |tree: &mut Value| {
        tree.set("data", Map::from_iter([(KEY, bundle)]));
        tree.at_or_insert("metadata.annotations").make_object().insert(DESCRIPTION, DESCRIBED);
    };
    there.edit(mend).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::as_it_should_be(r#"{"ca.crt":"PEM"}"#, "said", false)]
    #[case::other_bundle(r#"{"ca.crt":"old"}"#, "said", true)]
    #[case::more_keys(r#"{"ca.crt":"PEM","x":"y"}"#, "said", true)]
    #[case::not_described(r#"{"ca.crt":"PEM"}"#, "", true)]
    fn mends(#[case] data: &str, #[case] description: &str, #[case] expected: bool) {
        let json = format!(
            r#"{{"metadata":{{"name":"a","annotations":{{"{DESCRIPTION}":"{description}","b":"c"}}}},"data":{data}}}"#
        );
        let there: Object<ConfigMap> = Object::decode(json.into()).unwrap();
        let mended = mended(&there, "PEM").unwrap();
        assert_eq!(mended.is_some(), expected);
        if let Some(tree) = mended {
            assert_eq!(tree.get("data"), fresh("PEM").get("data"));
            let annotations = tree.at("metadata.annotations");
            assert_eq!((annotations.get(DESCRIPTION), annotations.str_at("b")), (&DESCRIBED.into(), "c"));
        }
    }
}
