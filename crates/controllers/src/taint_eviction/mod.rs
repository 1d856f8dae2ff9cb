//! Taint eviction: pods leave a node with a `NoExecute` taint that they don't tolerate, or no longer.
//!
//! Upstream: pkg/controller/tainteviction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::informer::index;
use client::{
    Client, ClientError, DeleteOptions, Event, EventRecorder, EventType, Given, Informer, MetaExt, Object, ObjectKey,
    Reconcile, ReconcileError, Requeue, WorkQueue,
};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::common::{pod_status, pods};
use crate::context::Context;
use client::placement::tolerates;

const NAME: &str = "taint-eviction-controller";
/// The account it acts as.
const ACCOUNT: &str = "node-controller";

/// How long a pod may stay on a tainted node.
#[derive(Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    For(Duration),
}

/// The controller.
pub struct TaintEviction {
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    client: Client,
    recorder: EventRecorder,
    given: Given,
    /// Since when pods have been on tainted nodes, by pod, with its UID.
    since: Mutex<HashMap<ObjectKey, (String, Instant)>>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (pods, nodes) = (context.informers.kind::<Pod>(), context.informers.kind::<Node>());
    let queue = WorkQueue::default();
    pods.add_index(index::NODE_NAME, index::node_name);
    watch(&pods, &nodes, &queue);
    let controller = TaintEviction {
        pods: pods.clone(),
        nodes: nodes.clone(),
        client: context.client(ACCOUNT),
        recorder: context.recorder(ACCOUNT),
        given: context.given.clone(),
        since: Mutex::default(),
    };
    tokio::join!(pods.synced(), nodes.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

fn watch(pods: &Informer<Pod>, nodes: &Informer<Node>, queue: &WorkQueue<ObjectKey>) {
    pods.subscribe({
        let (nodes, queue) = (nodes.clone(), queue.clone());
        move |event| {
            let pod = event.object();
            if let Event::Updated { old, new } = event
                && pods::spec(old).tolerations == pods::spec(new).tolerations
                && pods::node_name(old) == pods::node_name(new)
                && old.uid() == new.uid()
            {
                return;
            }
            let node = nodes.get(&ObjectKey::cluster(pods::node_name(pod)));
            if matches!(event, Event::Deleted { .. }) || node.is_some_and(|node| !taints(&node).is_empty()) {
                queue.add(pod.key());
            }
        }
    });
    let (pods, queue) = (pods.clone(), queue.clone());
    nodes.subscribe(move |event| {
        let node = event.object();
        let changed = match event {
            Event::Added(_) => !taints(node).is_empty(),
            Event::Updated { old, new } => taints(old) != taints(new),
            Event::Deleted { .. } => true,
        };
        if changed {
            pods.indexed(index::NODE_NAME, node.name()).iter().for_each(|pod| queue.add(pod.key()));
        }
    });
}

/// The taints that drive pods away.
fn taints(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints.filter(|taint| taint.effect == "NoExecute").collect()
}

/// The shortest time of the tolerations that are needed for these taints; none if a taint is not tolerated.
fn stay(tolerations: &[Toleration], taints: &[&Taint]) -> Stay {
    let mut shortest = Stay::Forever;
    for taint in taints {
        let Some(used) = tolerations.iter().find(|toleration| tolerates(toleration, taint)) else {
            return Stay::For(Duration::ZERO);
        };
        if let Some(seconds) = used.toleration_seconds {
            let time = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            shortest = match shortest {
                Stay::For(known) if known <= time => Stay::For(known),
                _ => Stay::For(time),
            };
        }
    }
    shortest
}

impl Reconcile for TaintEviction {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(pod) = self.pods.get(key) else {
            self.since.lock().remove(key);
            return Ok(Requeue::Never);
        };
        let node = self.nodes.get(&ObjectKey::cluster(pods::node_name(&pod)));
        let taints = node.as_deref().map(|node| taints(node)).unwrap_or_default();
        let tolerations = pods::spec(&pod).tolerations.as_deref().unwrap_or_default();
        let Stay::For(time) = stay(tolerations, &taints) else {
            if self.since.lock().remove(key).is_some() && !pod.is_deleting() {
                let said = format!("Cancelling deletion of Pod {key}");
                self.recorder.event(&pod.view, EventType::Normal, "TaintManagerEviction", said);
            }
            return Ok(Requeue::Never);
        };
        let since = {
            let mut all = self.since.lock();
            let entry = all.entry(key.clone()).or_insert_with(|| (pod.uid().to_owned(), Instant::now()));
            if entry.0 != pod.uid() {
                *entry = (pod.uid().to_owned(), Instant::now());
            }
            entry.1
        };
        let left = (since + time).saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Ok(Requeue::After(left));
        }
        if !pod.is_deleting() {
            self.evict(&pod).await?;
        }
        Ok(Requeue::Never)
    }
}

impl TaintEviction {
    async fn evict(&self, pod: &Object<Pod>) -> Result<(), ClientError> {
        let said = format!("Marking for deletion Pod {}", pod.key());
        self.recorder.event(&pod.view, EventType::Normal, "TaintManagerEviction", said);
        let api = self.client.kind::<Pod>(pod.namespace());
        let (reason, message) = ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
        let condition = pod_status::disruption(pod, reason, message, self.given.now());
        pod_status::patch(&api, pod, "", Some(condition)).await?;
        match api.delete(pod.name(), &DeleteOptions::of_uid(pod.uid())).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::json;
    use rstest::rstest;

    #[rstest]
    #[case::not_tolerated("[]", &["a"], Stay::For(Duration::ZERO))]
    #[case::tolerated(r#"[{"key":"a","operator":"Exists"}]"#, &["a"], Stay::Forever)]
    #[case::for_a_time(r#"[{"key":"a","operator":"Exists","tolerationSeconds":300}]"#, &["a"], Stay::For(Duration::from_secs(300)))]
    #[case::the_shortest(
        r#"[{"key":"a","operator":"Exists","tolerationSeconds":300},{"key":"b","operator":"Exists","tolerationSeconds":5}]"#,
        &["a", "b"],
        Stay::For(Duration::from_secs(5))
    )]
    #[case::one_of_two(r#"[{"key":"a","operator":"Exists"}]"#, &["a", "b"], Stay::For(Duration::ZERO))]
    #[case::negative(r#"[{"key":"a","operator":"Exists","tolerationSeconds":-1}]"#, &["a"], Stay::For(Duration::ZERO))]
    #[case::no_taints("[]", &[], Stay::Forever)]
    fn stays(#[case] tolerations: &str, #[case] taints: &[&str], #[case] expected: Stay) {
        let tolerations: Vec<Toleration> = json::from_tree(&json::parse(tolerations.as_bytes()).unwrap()).unwrap();
        let taint = |key: &&str| Taint { key: (*key).to_owned(), effect: "NoExecute".to_owned(), ..Taint::default() };
        let taints: Vec<Taint> = taints.iter().map(taint).collect();
        assert_eq!(stay(&tolerations, &taints.iter().collect::<Vec<_>>()), expected);
    }
}
