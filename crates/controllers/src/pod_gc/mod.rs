//! Pod collector: pods that nobody will ever end, and more ended pods than are to be kept.
//!
//! Upstream: pkg/controller/podgc. Looks at a pod when something happens to it or to its node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::informer::index;
use client::{
    Client, ClientError, DeleteOptions, Event, Given, Informer, MetaExt, Object, ObjectKey, Reconcile, ReconcileError,
    Requeue, WorkQueue,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use smol_str::SmolStr;
use tokio::time::Instant;

use crate::common::{pod_status, pods};
use crate::context::Context;
use crate::node_lifecycle::plan::condition;

const NAME: &str = "pod-garbage-collector";
/// How long a node must be missing before its pods go.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Ended pods are counted at most this often.
const COUNT_EVERY: Duration = Duration::from_secs(20);
/// `--terminated-pod-gc-threshold`.
const ENDED_MAX: usize = 12_500;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What becomes of a pod.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is somebody else's business.
    Stays,
    /// Its node is missing.
    Quarantined,
    /// Nobody will end it: it is deleted at once.
    Goes,
}

/// The controller.
pub struct PodCollector {
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    client: Client,
    given: Given,
    /// Since when nodes are known to be missing.
    missing: Mutex<HashMap<SmolStr, Instant>>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (pods, nodes) = (context.informers.kind::<Pod>(), context.informers.kind::<Node>());
    let queue = WorkQueue::default();
    pods.add_index(index::NODE_NAME, index::node_name);
    watch(&pods, &nodes, &queue);
    let controller = PodCollector {
        pods: pods.clone(),
        nodes: nodes.clone(),
        client: context.client(NAME),
        given: context.given.clone(),
        missing: Mutex::default(),
    };
    tokio::join!(pods.synced(), nodes.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

/// The key that stands for counting ended pods.
fn count_key() -> ObjectKey {
    ObjectKey::default()
}

fn watch(pods: &Informer<Pod>, nodes: &Informer<Node>, queue: &WorkQueue<ObjectKey>) {
    pods.subscribe({
        let (nodes, queue) = (nodes.clone(), queue.clone());
        move |event| {
            let pod = event.object();
            if matches!(event, Event::Deleted { .. }) {
                return;
            }
            if pods::is_finished(pod) {
                queue.add_after(count_key(), COUNT_EVERY);
            }
            let node = nodes.get(&ObjectKey::cluster(pods::node_name(pod)));
            if fate(pod, node.as_deref().map(|node| &node.view)) != Fate::Stays {
                queue.add(pod.key());
            }
        }
    });
    let (pods, queue) = (pods.clone(), queue.clone());
    nodes.subscribe(move |event| {
        if !matches!(event, Event::Added(_)) {
            let on_node = pods.indexed(index::NODE_NAME, event.object().name());
            let node = if let Event::Updated { new, .. } = event { Some(&new.view) } else { None };
            let concerned = on_node.iter().filter(|pod| fate(pod, node) != Fate::Stays);
            concerned.for_each(|pod| queue.add(pod.key()));
        }
    });
}

fn fate(pod: &Pod, node: Option<&Node>) -> Fate {
    match node {
        None if pods::node_name(pod).is_empty() => match pod.is_deleting() {
            true => Fate::Goes,
            false => Fate::Stays,
        },
        None => Fate::Quarantined,
        Some(node) => {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
            let is_out = taints.into_iter().flatten().any(|taint| taint.key == OUT_OF_SERVICE);
            match is_out && condition(node, "Ready") != Some("True") && pods::is_terminating(pod) {
                true => Fate::Goes,
                false => Fate::Stays,
            }
        }
    }
}

impl Reconcile for PodCollector {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        if *key == count_key() {
            self.remove_ended().await?;
            return Ok(Requeue::Never);
        }
        let Some(pod) = self.pods.get(key) else { return Ok(Requeue::Never) };
        let node = SmolStr::from(pods::node_name(&pod));
        let known = self.nodes.get(&ObjectKey::cluster(node.clone()));
        if known.is_some() {
            self.missing.lock().remove(&node);
        }
        match fate(&pod, known.as_deref().map(|node| &node.view)) {
            Fate::Stays => {}
            Fate::Goes => self.end(&pod, None).await?,
            Fate::Quarantined => {
                let since = *self.missing.lock().entry(node.clone()).or_insert_with(Instant::now);
                let left = (since + QUARANTINE).saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Ok(Requeue::After(left));
                }
                // Caches may be behind: ask.
                if self.client.kind::<Node>("").get_opt(&node).await?.is_none() {
                    let (reason, message) = ("DeletionByPodGC", "PodGC: node no longer exists");
                    let condition = pod_status::disruption(&pod, reason, message, self.given.now());
                    self.end(&pod, Some(condition)).await?;
                }
            }
        }
        Ok(Requeue::Never)
    }
}

impl PodCollector {
    /// Deletes a pod at once; it counts as failed, since nobody tells how it ended.
    async fn end(&self, pod: &Object<Pod>, condition: Option<api::value::Value>) -> Result<(), ClientError> {
        let api = self.client.kind::<Pod>(pod.namespace());
        if !pods::is_finished(pod) {
            pod_status::patch(&api, pod, "Failed", condition).await?;
        }
        match api.delete(pod.name(), &DeleteOptions::of_uid(pod.uid()).grace(0)).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the oldest of too many ended pods, evicted ones first.
    async fn remove_ended(&self) -> Result<(), ClientError> {
        let mut ended = self.pods.list();
        ended.retain(|pod| pods::is_finished(pod));
        for pod in surplus(ended, ENDED_MAX) {
            self.end(&pod, None).await?;
        }
        Ok(())
    }
}

fn surplus(mut ended: Vec<Arc<Object<Pod>>>, most: usize) -> Vec<Arc<Object<Pod>>> {
    let count = ended.len().saturating_sub(most);
    if count > 0 {
        let stays = |pod: &Pod| pod.status.as_ref().is_none_or(|status| status.reason.as_deref() != Some("Evicted"));
        ended.sort_by(|a, b| (stays(a), a.created(), a.name()).cmp(&(stays(b), b.created(), b.name())));
    }
    ended.truncate(count);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::View;
    use rstest::rstest;

    const OUT: &str = r#"{"metadata":{"name":"n"},"spec":{"taints":[{"key":"node.kubernetes.io/out-of-service","effect":"NoExecute"}]}}"#;
    const DELETING: &str = r#","deletionTimestamp":"2026-01-01T00:00:00Z""#;

    #[rstest]
    #[case::not_yet_placed("", "", None, Fate::Stays)]
    #[case::never_placed(DELETING, "", None, Fate::Goes)]
    #[case::node_gone("", "n", None, Fate::Quarantined)]
    #[case::runs("", "n", Some(r#"{"metadata":{"name":"n"}}"#), Fate::Stays)]
    #[case::ends(DELETING, "n", Some(r#"{"metadata":{"name":"n"}}"#), Fate::Stays)]
    #[case::ends_out_of_service(DELETING, "n", Some(OUT), Fate::Goes)]
    #[case::out_of_service("", "n", Some(OUT), Fate::Stays)]
    fn fates(#[case] meta: &str, #[case] node_name: &str, #[case] node: Option<&str>, #[case] expected: Fate) {
        let pod = format!(r#"{{"metadata":{{"name":"p"{meta}}},"spec":{{"containers":[],"nodeName":"{node_name}"}}}}"#);
        let node = node.map(|json| Node::decode(json.as_bytes()).unwrap());
        assert_eq!(fate(&Pod::decode(pod.as_bytes()).unwrap(), node.as_ref()), expected);
    }

    #[test]
    fn evicted_ones_go_first_then_the_oldest() {
        let pod = |name: &str, day: u8, reason: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"{name}","creationTimestamp":"2026-01-0{day}T00:00:00Z"}},"status":{{"reason":"{reason}"}}}}"#
            );
            Arc::new(Object::decode(json.into()).unwrap())
        };
        let ended = vec![pod("new", 3, ""), pod("old", 1, ""), pod("evicted", 2, "Evicted")];
        let names: Vec<String> = surplus(ended, 1).iter().map(|pod| pod.name().to_owned()).collect();
        assert_eq!(names, ["evicted", "old"]);
    }
}
