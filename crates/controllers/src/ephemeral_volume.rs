//! Ephemeral volumes: a claim for each, owned by its pod.
//!
//! Upstream: pkg/controller/volume/ephemeral.

use std::sync::Arc;

use api::value::Value;
use client::{
    Client, Event, EventRecorder, EventType, Informer, MetaExt, Object, ObjectKey, Reconcile, ReconcileError, Requeue,
    WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::common::claim::Owner;
use crate::common::pods;
use crate::context::Context;

const NAME: &str = "ephemeral-volume-controller";
/// What events name as their source.
const SOURCE: &str = "ephemeral_volume";

/// The controller.
pub struct EphemeralVolumes {
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    client: Client,
    recorder: EventRecorder,
}

/// Starts the controller.
pub async fn run(context: Context, workers: usize) {
    let (pods, claims) = (context.informers.kind::<Pod>(), context.informers.kind::<PersistentVolumeClaim>());
    let queue = WorkQueue::default();
    pods.add_index(pods::CLAIM_INDEX, pods::claim_index);
    let wanting = queue.clone();
    pods.subscribe(move |event| {
        if !matches!(event, Event::Deleted { .. }) && needs_claims(event.object()) {
            wanting.add(event.object().key());
        }
    });
    let (wanting, users) = (queue.clone(), pods.clone());
    claims.subscribe(move |event| {
        if let Event::Deleted { object, .. } = event {
            let users = users.indexed(pods::CLAIM_INDEX, &object.key().to_string());
            users.iter().filter(|pod| needs_claims(pod)).for_each(|pod| wanting.add(pod.key()));
        }
    });
    let client = context.client(NAME);
    let recorder = EventRecorder::new(client.clone(), SOURCE, "", context.given.clone(), context.stop.clone());
    let controller = EphemeralVolumes { pods: pods.clone(), claims: claims.clone(), client, recorder };
    tokio::join!(pods.synced(), claims.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

fn needs_claims(pod: &Pod) -> bool {
    !pod.is_deleting() && pods::spec(pod).volumes.iter().flatten().any(|volume| volume.ephemeral.is_some())
}

/// The claim for a volume, if it is an ephemeral one.
fn claim_for(pod: &Object<Pod>, volume: &Value) -> Option<Value> {
    let template = volume.field("ephemeral")?.at("volumeClaimTemplate");
    let mut claim = Value::object();
    claim.set("metadata.name", pods::ephemeral_claim(pod, volume.str_at("name")));
    for path in ["metadata.annotations", "metadata.labels", "spec"] {
        if !template.at(path).is_null() {
            claim.set(path, template.at(path).clone());
        }
    }
    claim.set("metadata.ownerReferences", vec![Owner::of(&pod.view).reference()]);
    Some(claim)
}

impl Reconcile for EphemeralVolumes {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(pod) = self.pods.get(key).filter(|pod| needs_claims(pod)) else { return Ok(Requeue::Never) };
        let tree = json::parse(&pod.bytes)?;
        for volume in tree.array_at("spec.volumes") {
            let Some(claim) = claim_for(&pod, volume) else { continue };
            if let Err(why) = self.ensure(&pod, claim).await {
                let name = volume.str_at("name");
                self.recorder.event(
                    &pod.view,
                    EventType::Warning,
                    "FailedBinding",
                    format!("ephemeral volume {name}: {why}"),
                );
                return Err(format!("pod {key}, ephemeral volume {name}: {why}").into());
            }
        }
        Ok(Requeue::Never)
    }
}

impl EphemeralVolumes {
    /// Makes the claim, unless it is there; one that is somebody else's is none.
    async fn ensure(&self, pod: &Object<Pod>, claim: Value) -> Result<(), String> {
        let name = claim.str_at("metadata.name").to_owned();
        if let Some(known) = self.claims.find(pod.namespace(), &name) {
            return match known.controller_uid() == Some(pod.uid()) {
                true => Ok(()),
                false => Err(format!(
                    "PVC {0}/{name} was not created for pod {0}/{1} (pod is not owner)",
                    pod.namespace(),
                    pod.name()
                )),
            };
        }
        let api = self.client.kind::<PersistentVolumeClaim>(pod.namespace());
        let made = api.create_tree(claim, &WriteOptions::default()).await;
        made.map(drop).map_err(|error| format!("create PVC {name}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_the_pods() {
        let text = r#"{"metadata":{"name":"p","namespace":"x","uid":"u"},"spec":{"containers":[],"volumes":[{"name":"v","ephemeral":{"volumeClaimTemplate":{"metadata":{"labels":{"a":"b"}},"spec":{"accessModes":["ReadWriteOnce"]}}}},{"name":"e","emptyDir":{}}]}}"#;
        let pod: Object<Pod> = Object::decode(text.into()).unwrap();
        let tree = json::parse(text.as_bytes()).unwrap();
        let volumes = tree.array_at("spec.volumes");
        let claim = claim_for(&pod, &volumes[0]).unwrap();
        assert_eq!(claim.str_at("metadata.name"), "p-v");
        assert_eq!(claim.array_at("metadata.ownerReferences")[0].str_at("uid"), "u");
        assert_eq!(claim.at("metadata.labels").str_at("a"), "b");
        assert!(claim_for(&pod, &volumes[1]).is_none() && needs_claims(&pod));
    }
}
