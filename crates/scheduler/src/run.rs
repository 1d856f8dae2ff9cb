//! The scheduler on the API: informers in, actions out.

use crate::actions::Actions;
use crate::core::{Core, Work};
use crate::model::labels::{Labels, RawSelector, Selector};
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::plugins::default_table;
use crate::preemption::Budget;
use crate::queue::event::ClusterEvent;
use crate::state::volumes::{Claim, Class, Volume};
use client::views::Metadata;
use client::{
    Client, ClientError, Event, EventRecorder, Informer, Informers, MetaExt, Resource, Selection, View, resources,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The name of the scheduler for pods that name none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Bindings and explanations under way at once; decisions wait beyond that, as the API can't keep up.
const ACTIONS_MAX: usize = 512;

/// Decisions between two looks at other tasks of the thread.
const DECISIONS_AT_ONCE: usize = 16;

/// How the scheduler is to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name by which pods choose it.
    pub scheduler_name: String,
    /// The share of nodes to find before choosing, in percent; 0: by the cluster's size.
    pub percentage_of_nodes_to_score: usize,
}

/// What of a workload, Service or budget is read: its selector.
struct Selecting {
    meta: ObjectMeta,
    /// `spec.selector`, as a label selector or as plain labels.
    selector: Option<RawSelector>,
    labels: Option<Labels>,
    disruptions_allowed: i64,
    disrupted: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config { scheduler_name: DEFAULT_SCHEDULER.to_string(), percentage_of_nodes_to_score: 0 }
    }
}

/// Schedules until `stop`.
pub async fn run(config: Config, client: Client, informers: &Informers, stop: CancellationToken) {
    let given = informers.given().clone();
    let (name, percentage) = (&config.scheduler_name, config.percentage_of_nodes_to_score);
    let core = Arc::new(Mutex::new(Core::new(name, default_table(), percentage, given.chance.u64())));
    let changed = Arc::new(Notify::new());
    let events = EventRecorder::new(client.clone(), name, "", given.clone(), stop.clone());
    let actions = Actions { client, events, given, core: core.clone(), changed: changed.clone() };
    let synced = subscribe(informers, &core, &changed);
    informers.start(&stop);
    let work = async {
        synced.await;
        decide(actions).await;
    };
    stop.run_until_cancelled(work).await;
}

/// Decides, one pod after the other; actions go on beside it.
async fn decide(actions: Actions) {
    let slots = Arc::new(Semaphore::new(ACTIONS_MAX));
    let mut decided = 0;
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let work = actions.core.lock().next(Instant::now());
        let Some(work) = work else {
            drop(slot);
            let wake = actions.core.lock().queue.next_wake();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { () = actions.changed.notified() => {}, () = sleep => {} }
            continue;
        };
        let act = actions.clone();
        tokio::spawn(async move {
            match work {
                Work::Bind { queued, node } => act.bind(queued, node).await,
                Work::Explain { pod, diagnosis, nominate, victims } => {
                    act.explain(pod, diagnosis, nominate, victims).await
                }
                Work::Skip(pod) => act.skip(&pod),
            }
            drop(slot);
        });
        decided += 1;
        if decided % DECISIONS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Takes in all that decides; the future ends when everything was listed.
fn subscribe(
    informers: &Informers,
    core: &Arc<Mutex<Core>>,
    changed: &Arc<Notify>,
) -> impl Future<Output = ()> + use<> {
    let on = Subscriber { informers, core, changed };
    let living = Selection {
        field_selector: "status.phase!=Succeeded,status.phase!=Failed".to_string(),
        keep_bytes: false,
        ..Selection::default()
    };
    let pods = on.each::<Pod>(&resources::PODS, living, |core, pod, there| match there {
        true => core.pod(Arc::new(pod.clone()), Instant::now()),
        false => core.pod_gone(&Arc::new(pod.clone()), Instant::now()),
    });
    let nodes = on.all::<Node>(&resources::NODES, |core, node, there| match there {
        true => core.node(Arc::new(node.clone()), Instant::now()),
        false => core.node_gone(&node.name, Instant::now()),
    });
    let namespaces = on.all::<Metadata>(&resources::NAMESPACES, |core, namespace, there| {
        let labels = namespace.metadata.labels.clone().unwrap_or_default().into_iter().collect();
        core.namespace(namespace.name(), there.then_some(labels), Instant::now());
    });
    let services = on.all::<Selecting>(&resources::SERVICES, |core, service, there| {
        let selector = service.labels.clone().filter(|_| there);
        core.state.owners_mut().set_service(service.namespace(), service.name(), selector);
    });
    let budgets = on.all::<Selecting>(&resources::POD_DISRUPTION_BUDGETS, |core, budget, there| {
        core.budget(budget.name(), budget.namespace(), there.then(|| budget.budget()));
    });
    let workloads = [resources::REPLICA_SETS, resources::STATEFUL_SETS, resources::REPLICATION_CONTROLLERS];
    let workloads = workloads.map(|resource| {
        let kind = resource.kind.clone();
        on.all::<Selecting>(&resource, move |core, workload, there| {
            let selector = there.then(|| workload.selector());
            core.state.owners_mut().set_workload(&kind, workload.namespace(), workload.name(), selector);
        })
    });
    let claims = on.all::<Claim>(&resources::PERSISTENT_VOLUME_CLAIMS, |core, claim, there| {
        let now = there.then(|| claim.clone());
        core.state.volumes_mut().set_claim(claim.namespace(), claim.name(), now);
        core.happened(&ClusterEvent::Other, Instant::now());
    });
    let volumes = on.all::<Volume>(&resources::PERSISTENT_VOLUMES, |core, volume, there| {
        core.state.volumes_mut().set_volume(volume.name(), there.then(|| volume.clone()));
        core.happened(&ClusterEvent::Other, Instant::now());
    });
    let classes = on.all::<Class>(&resources::STORAGE_CLASSES, |core, class, there| {
        core.state.volumes_mut().set_class(class.name(), there.then(|| class.clone()));
        core.happened(&ClusterEvent::Other, Instant::now());
    });
    async move {
        claims.synced().await;
        volumes.synced().await;
        classes.synced().await;
        nodes.synced().await;
        namespaces.synced().await;
        services.synced().await;
        budgets.synced().await;
        for workload in workloads {
            workload.synced().await;
        }
        pods.synced().await;
    }
}

struct Subscriber<'a> {
    informers: &'a Informers,
    core: &'a Arc<Mutex<Core>>,
    changed: &'a Arc<Notify>,
}

impl Subscriber<'_> {
    fn all<T: View>(
        &self,
        resource: &Resource,
        take: impl Fn(&mut Core, &T, bool) + Send + Sync + 'static,
    ) -> Informer<T> {
        self.each(resource, Selection { keep_bytes: false, ..Selection::default() }, take)
    }

    /// Calls `take` for every event with whether the object is there.
    fn each<T: View>(
        &self,
        resource: &Resource,
        selection: Selection,
        take: impl Fn(&mut Core, &T, bool) + Send + Sync + 'static,
    ) -> Informer<T> {
        let informer = self.informers.view::<T>(resource, selection);
        let (core, changed) = (self.core.clone(), self.changed.clone());
        informer.subscribe(move |event| {
            let there = !matches!(event, Event::Deleted { .. });
            take(&mut core.lock(), &event.object().view, there);
            changed.notify_one();
        });
        informer
    }
}

// === impl Selecting ===

impl View for Selecting {
    fn decode(bytes: &[u8]) -> Result<Selecting, ClientError> {
        #[derive(Deserialize)]
        struct Raw {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: RawSpec,
            #[serde(default)]
            status: RawStatus,
        }
        #[derive(Default, Deserialize)]
        struct RawSpec {
            #[serde(default)]
            selector: Option<BTreeMap<String, serde_json::Value>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct RawStatus {
            disruptions_allowed: i64,
            disrupted_pods: Option<BTreeMap<String, serde_json::Value>>,
        }
        let raw: Result<Raw, serde_json::Error> = serde_json::from_slice(bytes);
        let decode =
            |error: serde_json::Error| ClientError::Decode { what: "a selector".into(), why: error.to_string() };
        let Raw { mut metadata, spec, status } = raw.map_err(decode)?;
        (metadata.managed_fields, metadata.annotations) = (None, None);
        // Services and ReplicationControllers have plain labels there, the others a label selector.
        let is_selector = |selector: &BTreeMap<String, serde_json::Value>| selector.values().any(|v| !v.is_string());
        let text = |value: &serde_json::Value| value.as_str().map(str::to_string);
        let labels = spec
            .selector
            .as_ref()
            .filter(|selector| !is_selector(selector))
            .map(|selector| selector.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect());
        let selector = spec.selector.filter(is_selector).map(|fields| {
            serde_json::from_value(serde_json::Value::Object(fields.into_iter().collect())).unwrap_or_default()
        });
        Ok(Selecting {
            meta: metadata,
            selector,
            labels,
            disruptions_allowed: status.disruptions_allowed,
            disrupted: status.disrupted_pods.unwrap_or_default().into_keys().collect(),
        })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl Selecting {
    fn selector(&self) -> Selector {
        match &self.labels {
            Some(labels) if !labels.is_empty() => Selector::of_labels(labels),
            _ => Selector::new(self.selector.as_ref()),
        }
    }

    fn budget(&self) -> Budget {
        Budget {
            namespace: self.namespace().to_string(),
            selector: self.selector(),
            disruptions_allowed: self.disruptions_allowed,
            disrupted: self.disrupted.clone(),
        }
    }
}
