//! Disruption: how many of the pods of a PodDisruptionBudget may be evicted.
//!
//! Upstream: pkg/controller/disruption. [`plan`] works out the status, [`scale`] how many pods there should be;
//! [`stale`] takes back marks of pods whose disruption never came. Evictions take from the status on the server's side.

pub mod plan;
pub mod scale;
pub mod stale;

use std::sync::Arc;

use client::informer::index;
use client::{
    Client, ClientError, EventRecorder, EventType, Given, Informer, MetaExt, Object, ObjectKey, Reconcile,
    ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use self::scale::Scales;
use crate::common::owners;
use crate::common::read_back::ReadBack;
use crate::common::selectors::{selector, selects};
use crate::context::Context;

const NAME: &str = "disruption-controller";
/// What events name as their source.
const SOURCE: &str = "controllermanager";

/// The controller.
pub struct Disruption {
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    scales: Scales,
    client: Client,
    recorder: EventRecorder,
    given: Given,
    wrote: ReadBack<PodDisruptionBudget>,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (budgets, pods) = (context.informers.kind::<PodDisruptionBudget>(), context.informers.kind::<Pod>());
    let queue = WorkQueue::default();
    pods.add_index(index::NAMESPACE, index::namespace);
    budgets.add_index(index::NAMESPACE, index::namespace);
    let client = context.client(NAME);
    let recorder = EventRecorder::new(client.clone(), SOURCE, "", context.given.clone(), context.stop.clone());
    owners::watch_owners(&budgets, &queue);
    watch_pods(&pods, &budgets, &queue, &recorder);
    let controller = Disruption {
        wrote: ReadBack::new(&budgets),
        budgets: budgets.clone(),
        pods: pods.clone(),
        scales: Scales::new(&context, client.clone()),
        client,
        recorder,
        given: context.given.clone(),
    };
    tokio::join!(budgets.synced(), pods.synced(), controller.scales.synced());
    let stale = stale::run(context.clone(), controller.client.clone());
    tokio::join!(client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop.clone()), stale);
}

/// Puts the budget of a pod into the queue when something happens to the pod. One that has several is told.
fn watch_pods(
    pods: &Informer<Pod>,
    budgets: &Informer<PodDisruptionBudget>,
    queue: &WorkQueue<ObjectKey>,
    recorder: &EventRecorder,
) {
    let (budgets, queue, recorder) = (budgets.clone(), queue.clone(), recorder.clone());
    pods.subscribe(move |event| {
        let pod = event.object();
        let mut found: Vec<ObjectKey> = budgets.with(|cache| {
            let in_namespace = cache.indexed(index::NAMESPACE, pod.namespace());
            in_namespace.filter(|budget| is_about(budget, pod)).map(|budget| budget.key()).collect()
        });
        found.sort();
        let Some(first) = found.first() else { return };
        if found.len() > 1 {
            let (namespace, name, chosen) = (pod.namespace(), pod.name(), &first.name);
            let said = format!(
                "Pod {namespace:?}/{name:?} matches multiple PodDisruptionBudgets.  Chose {chosen:?} arbitrarily."
            );
            recorder.event(&pod.view, EventType::Warning, "MultiplePodDisruptionBudgets", said);
        }
        queue.add(first.clone());
    });
}

/// Whether the budget's selector selects the pod; without any it selects none, an empty one selects all.
fn is_about(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let typed = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    typed.is_some_and(|typed| selects(&selector(typed), &pod.metadata.labels))
}

impl Reconcile for Disruption {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        self.wrote.wait(key).await;
        let Some(budget) = self.budgets.get(key) else { return Ok(Requeue::Never) };
        match self.sync(key, &budget).await {
            Err(error) if !is_conflict(&error) => {
                tracing::warn!(%key, %error, "the budget's status can't be worked out");
                let status = plan::failed(&budget, &error.to_string(), self.given.now());
                self.write(key, &budget, &status).await?;
                Ok(Requeue::Never)
            }
            outcome => outcome,
        }
    }
}

fn is_conflict(error: &ReconcileError) -> bool {
    error.downcast_ref::<ClientError>().is_some_and(ClientError::is_conflict)
}

impl Disruption {
    async fn sync(&self, key: &ObjectKey, budget: &Object<PodDisruptionBudget>) -> Result<Requeue, ReconcileError> {
        let pods: Vec<Arc<Object<Pod>>> = self.pods.with(|cache| {
            let in_namespace = cache.indexed(index::NAMESPACE, &key.namespace);
            in_namespace.filter(|pod| is_about(budget, pod)).cloned().collect()
        });
        if pods.is_empty() {
            self.recorder.event(&budget.view, EventType::Normal, "NoPods", "No matching pods found");
        }
        let expected = match self.expected(budget, &pods).await {
            Err(error) => {
                let said = format!("Failed to calculate the number of expected pods: {error}");
                self.recorder.event(&budget.view, EventType::Warning, "CalculateExpectedPodCountFailed", said);
                return Err(error);
            }
            expected => expected?,
        };
        let now = self.given.now();
        let disrupted = plan::disrupted(budget, &pods, now);
        for name in &disrupted.not_deleted {
            // The budget's namespace twice: upstream's words.
            let said = format!("Pod was expected by PDB {0}/{0} to be deleted but it wasn't", key.namespace);
            if let Some(pod) = self.pods.find(&key.namespace, name) {
                self.recorder.event(&pod.view, EventType::Warning, "NotDeleted", said);
            }
        }
        let healthy = plan::healthy(&pods, &disrupted);
        if let Some(status) = plan::status(budget, healthy, expected, &disrupted, now) {
            self.write(key, budget, &status).await?;
        }
        Ok(disrupted.recheck.map_or(Requeue::Never, Requeue::After))
    }

    async fn expected(
        &self,
        budget: &Object<PodDisruptionBudget>,
        pods: &[Arc<Object<Pod>>],
    ) -> Result<plan::Expected, ReconcileError> {
        let spec = budget.spec.clone().unwrap_or_default();
        let count = if plan::needs_scale(&spec) {
            let total = self.scales.total(pods).await?;
            if !total.unmanaged.is_empty() {
                let said = unmanaged(spec.selector.as_ref());
                self.recorder.event(&budget.view, EventType::Warning, "UnmanagedPods", said);
            }
            total.pods
        } else {
            i32::try_from(pods.len()).unwrap_or(i32::MAX)
        };
        Ok(plan::expected(&spec, count)?)
    }

    async fn write(
        &self,
        key: &ObjectKey,
        budget: &Object<PodDisruptionBudget>,
        status: &PodDisruptionBudgetStatus,
    ) -> Result<(), ClientError> {
        let status = json::to_tree(status)?;
        let tree = budget.edit(|tree| tree.set("status", status))?;
        let api = self.client.kind::<PodDisruptionBudget>(&key.namespace);
        let answer = api.update_status(tree, &WriteOptions::default()).await?;
        self.wrote.wrote(key, answer.revision());
        Ok(())
    }
}

/// What somebody should know whose budget counts pods that nobody will replace.
fn unmanaged(selector: Option<&LabelSelector>) -> String {
    let printed = selector.map_or_else(|| "nil".to_owned(), printed);
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {printed}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

/// A selector as Go's generated printers show it.
fn printed(selector: &LabelSelector) -> String {
    let labels: String =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},")).collect();
    let requirement = |one: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement| {
        let values = one.values.clone().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
    };
    let expressions: String = selector.match_expressions.iter().flatten().map(requirement).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
