//! Claims stay while pods use them, volumes while claims are bound to them, attributes classes while either names them.
//!
//! Upstream: pkg/controller/volume/{pvcprotection,pvprotection,vacprotection}. A finalizer each, put on by admission,
//! taken off here.

use std::sync::Arc;

use api::value::Value;
use client::{
    Client, ClientError, Event, Informer, Kind, MetaExt, Object, ObjectKey, Reconcile, ReconcileError, Requeue,
    WorkQueue, WriteOptions,
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use smol_str::SmolStr;

use crate::common::{owners, pods};
use crate::context::Context;
use crate::persistent_volume::read::volume_phase;

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
const CLASS_FINALIZER: &str = "kubernetes.io/vac-protection";

/// What the finalizer wants of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// It is not there and should be.
    Add,
    /// The object is to go: it may be taken off if nobody uses the object.
    Remove,
    Nothing,
}

fn wish(object: &impl MetaExt, finalizer: &str) -> Wish {
    let has = object.object_meta().finalizers.iter().flatten().any(|one| one == finalizer);
    match (object.is_deleting(), has) {
        (true, true) => Wish::Remove,
        (false, false) => Wish::Add,
        _ => Wish::Nothing,
    }
}

/// A pod holds its claims once it is placed, until it is gone or has ended.
fn holds(pod: &Pod) -> bool {
    !pods::is_finished(pod) && !pods::node_name(pod).is_empty()
}

async fn write<K: Kind>(client: &Client, object: &Object<K>, finalizer: &str, wish: Wish) -> Result<(), ClientError> {
    let tree = object.edit(|tree| {
        let mut finalizers = tree.array_at("metadata.finalizers").to_vec();
        match wish {
            Wish::Add => finalizers.push(finalizer.into()),
            _ => finalizers.retain(|one| one.as_str() != Some(finalizer)),
        }
        match finalizers.is_empty() {
            true => drop(tree.remove("metadata.finalizers")),
            false => tree.set("metadata.finalizers", Value::Array(finalizers)),
        }
    })?;
    match client.kind::<K>(object.namespace()).update(tree, &WriteOptions::default()).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The controller of claims.
struct ClaimProtection {
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
    client: Client,
}

/// Starts the controller of claims.
pub async fn run_claims(context: Context, workers: usize) {
    const NAME: &str = "pvc-protection-controller";
    let (claims, pods) = (context.informers.kind::<PersistentVolumeClaim>(), context.informers.kind::<Pod>());
    let queue = WorkQueue::default();
    pods.add_index(pods::CLAIM_INDEX, pods::claim_index);
    owners::watch_owners(&claims, &queue);
    let (released, known) = (queue.clone(), claims.clone());
    pods.subscribe(move |event| {
        let pod = event.object();
        if matches!(event, Event::Deleted { .. }) || !holds(pod) {
            for claim in pods::claims(pod) {
                let key = ObjectKey::new(pod.namespace(), claim);
                if known.get(&key).is_some_and(|claim| claim.is_deleting()) {
                    released.add(key);
                }
            }
        }
    });
    let controller = ClaimProtection { claims: claims.clone(), pods: pods.clone(), client: context.client(NAME) };
    tokio::join!(claims.synced(), pods.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for ClaimProtection {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(claim) = self.claims.get(key) else { return Ok(Requeue::Never) };
        let wish = wish(&claim.view, CLAIM_FINALIZER);
        let stays = match wish {
            Wish::Nothing => true,
            Wish::Add => false,
            Wish::Remove => self.is_used(key).await?,
        };
        if !stays {
            write(&self.client, &claim, CLAIM_FINALIZER, wish).await?;
        }
        Ok(Requeue::Never)
    }
}

impl ClaimProtection {
    /// The cache may not know a pod yet that has just been placed: where it knows none, the server is asked.
    async fn is_used(&self, key: &ObjectKey) -> Result<bool, ClientError> {
        if self.pods.indexed(pods::CLAIM_INDEX, &key.to_string()).iter().any(|pod| holds(pod)) {
            return Ok(true);
        }
        let list = self.client.kind::<Pod>(&key.namespace).list_all(&Default::default()).await?;
        let pods = list.objects::<Pod>()?;
        Ok(pods.iter().any(|pod| holds(pod) && pods::claims(pod).any(|claim| key.name == claim)))
    }
}

/// The controller of volumes.
struct VolumeProtection {
    volumes: Informer<PersistentVolume>,
    client: Client,
}

/// Starts the controller of volumes.
pub async fn run_volumes(context: Context, workers: usize) {
    const NAME: &str = "pv-protection-controller";
    let volumes = context.informers.kind::<PersistentVolume>();
    let queue = WorkQueue::default();
    owners::watch_owners(&volumes, &queue);
    let controller = VolumeProtection { volumes: volumes.clone(), client: context.client(NAME) };
    volumes.synced().await;
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for VolumeProtection {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(volume) = self.volumes.get(key) else { return Ok(Requeue::Never) };
        let wish = wish(&volume.view, VOLUME_FINALIZER);
        let is_used = wish == Wish::Remove && volume_phase(&volume) == "Bound";
        if wish != Wish::Nothing && !is_used {
            write(&self.client, &volume, VOLUME_FINALIZER, wish).await?;
        }
        Ok(Requeue::Never)
    }
}

/// The controller of attributes classes.
struct ClassProtection {
    classes: Informer<VolumeAttributesClass>,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    client: Client,
}

/// Index of claims and of volumes by the attributes classes that they name.
const CLASS_INDEX: &str = "vac-name-key-index";

fn classes_of_claim(claim: &PersistentVolumeClaim) -> Vec<SmolStr> {
    let status = claim.status.as_ref();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let target = status
        .and_then(|status| status.modify_volume_status.as_ref())
        .and_then(|modify| modify.target_volume_attributes_class_name.as_deref());
    [wanted, current, target].into_iter().flatten().filter(|name| !name.is_empty()).map(SmolStr::new).collect()
}

fn classes_of_volume(volume: &PersistentVolume) -> Vec<SmolStr> {
    let name = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    name.filter(|name| !name.is_empty()).map(SmolStr::new).into_iter().collect()
}

/// Files the objects of `users` by the classes that they name, and looks at a class again when one lets go of it.
fn watch_users<K: Kind>(users: &Informer<K>, queue: &WorkQueue<ObjectKey>, classes: fn(&K) -> Vec<SmolStr>) {
    users.add_index(CLASS_INDEX, classes);
    let queue = queue.clone();
    users.subscribe(move |event| {
        let (before, after) = match event {
            Event::Added(_) => return,
            Event::Updated { old, new } => (classes(old), classes(new)),
            Event::Deleted { object, .. } => (classes(object), Vec::new()),
        };
        for class in before.iter().filter(|class| !after.contains(class)) {
            queue.add(ObjectKey::new("", class.as_str()));
        }
    });
}

/// Starts the controller of attributes classes.
pub async fn run_classes(context: Context, workers: usize) {
    const NAME: &str = "volumeattributesclass-protection-controller";
    let informers = &context.informers;
    let controller = ClassProtection {
        classes: informers.kind(),
        claims: informers.kind(),
        volumes: informers.kind(),
        client: context.client(NAME),
    };
    let queue = WorkQueue::default();
    owners::watch_owners(&controller.classes, &queue);
    watch_users(&controller.claims, &queue, classes_of_claim);
    watch_users(&controller.volumes, &queue, classes_of_volume);
    tokio::join!(controller.classes.synced(), controller.claims.synced(), controller.volumes.synced());
    client::queue::run(NAME, Arc::new(controller), queue, workers, context.stop).await;
}

impl Reconcile for ClassProtection {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(class) = self.classes.get(key) else { return Ok(Requeue::Never) };
        let wish = wish(&class.view, CLASS_FINALIZER);
        let is_used = || {
            !self.claims.indexed(CLASS_INDEX, &key.name).is_empty()
                || !self.volumes.indexed(CLASS_INDEX, &key.name).is_empty()
        };
        if wish == Wish::Add || wish == Wish::Remove && !is_used() {
            write(&self.client, &class, CLASS_FINALIZER, wish).await?;
        }
        Ok(Requeue::Never)
    }
}

#[cfg(test)]
mod tests {
    use client::View;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::new("{}", Wish::Add)]
    #[case::protected(r#"{"finalizers":["kubernetes.io/pvc-protection"]}"#, Wish::Nothing)]
    #[case::to_go(
        r#"{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["kubernetes.io/pvc-protection"]}"#,
        Wish::Remove
    )]
    #[case::held_by_others(r#"{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["x.org/y"]}"#, Wish::Nothing)]
    fn wishes(#[case] meta: &str, #[case] expected: Wish) {
        let claim = PersistentVolumeClaim::decode(format!(r#"{{"metadata":{meta}}}"#).as_bytes()).unwrap();
        assert_eq!(wish(&claim, CLAIM_FINALIZER), expected);
    }

    #[rstest]
    #[case::none("{}", &[])]
    #[case::wanted(r#"{"spec":{"volumeAttributesClassName":"gold"}}"#, &["gold"])]
    #[case::on_the_way(
        r#"{"spec":{"volumeAttributesClassName":"gold"},"status":{"currentVolumeAttributesClassName":"silver",
            "modifyVolumeStatus":{"status":"InProgress","targetVolumeAttributesClassName":"gold"}}}"#,
        &["gold", "silver", "gold"]
    )]
    fn what_a_claim_names(#[case] claim: &str, #[case] expected: &[&str]) {
        assert_eq!(classes_of_claim(&PersistentVolumeClaim::decode(claim.as_bytes()).unwrap()), expected);
    }

    #[rstest]
    #[case::not_placed(r#"{"spec":{"containers":[]}}"#, false)]
    #[case::runs(r#"{"spec":{"containers":[],"nodeName":"n"}}"#, true)]
    #[case::ended(r#"{"spec":{"containers":[],"nodeName":"n"},"status":{"phase":"Failed"}}"#, false)]
    fn who_holds(#[case] pod: &str, #[case] expected: bool) {
        assert_eq!(holds(&Pod::decode(pod.as_bytes()).unwrap()), expected);
    }
}
