//! Volumes and claims: each claim gets a volume that suits it, each volume knows what became of its claim.
//!
//! Upstream: pkg/controller/volume/persistentvolume. [`plan`] decides, [`edit`] makes the new trees. Volumes are made
//! and deleted by provisioners outside; claims for them are marked. One worker: two claims never take one volume.

pub mod edit;
pub mod plan;
pub mod read;

use std::fmt;
use std::sync::Arc;

use api::value::Value;
use client::{
    Api, Client, ClientError, Event, EventRecorder, EventType, Informer, Kind, MetaExt, Object, ObjectKey, Reconcile,
    ReconcileError, Requeue, WorkQueue, WriteOptions, json,
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use self::plan::{ForClaim, ForVolume};
use self::read::*;
use crate::common::pods;
use crate::common::read_back::ReadBack;
use crate::context::Context;

const NAME: &str = "persistentvolume-controller";
/// The account it acts as.
const ACCOUNT: &str = "persistent-volume-binder";
const PROVISIONER: [&str; 2] =
    ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"];
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A claim.
    Claim(ObjectKey),
    /// A volume.
    Volume(ObjectKey),
}

/// The controller.
pub struct Binder {
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
    client: Client,
    recorder: EventRecorder,
    queue: WorkQueue<Item>,
    wrote_claims: ReadBack<PersistentVolumeClaim>,
    wrote_volumes: ReadBack<PersistentVolume>,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Claim(key) => write!(f, "claim {key}"),
            Item::Volume(key) => write!(f, "volume {key}"),
        }
    }
}

/// Starts the controller.
pub async fn run(context: Context) {
    let informers = &context.informers;
    let queue = WorkQueue::default();
    let client = context.client(ACCOUNT);
    let recorder = EventRecorder::new(client.clone(), NAME, "", context.given.clone(), context.stop.clone());
    let binder = Binder {
        claims: informers.kind(),
        volumes: informers.kind(),
        classes: informers.kind(),
        pods: informers.kind(),
        wrote_claims: ReadBack::new(&informers.kind()),
        wrote_volumes: ReadBack::new(&informers.kind()),
        client,
        recorder,
        queue: queue.clone(),
    };
    tokio::join!(binder.claims.synced(), binder.volumes.synced(), binder.classes.synced(), binder.pods.synced());
    binder.watch();
    client::queue::run(NAME, Arc::new(binder), queue, 1, context.stop).await;
}

impl Binder {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.claims.subscribe(move |event| {
            let claim = event.object();
            queue.add(Item::Claim(claim.key()));
            if matches!(event, Event::Deleted { .. }) && !volume_name(claim).is_empty() {
                queue.add(Item::Volume(ObjectKey::cluster(volume_name(claim))));
            }
        });
        let (claims, queue) = (self.claims.clone(), self.queue.clone());
        self.volumes.subscribe(move |event| {
            let volume = event.object();
            queue.add(Item::Volume(volume.key()));
            if let Some(reference) = &volume_spec(volume).claim_ref {
                let text = |field: &Option<String>| field.clone().unwrap_or_default();
                queue.add(Item::Claim(ObjectKey::new(text(&reference.namespace), text(&reference.name))));
            } else if volume_phase(volume) == "Available" {
                wake_unbound(&claims, &queue);
            }
        });
        // A class may come after the claims that name it, or that would like any.
        let (claims, queue) = (self.claims.clone(), self.queue.clone());
        self.classes.subscribe(move |_| wake_unbound(&claims, &queue));
    }

    fn api<K: Kind>(&self, namespace: &str) -> Api {
        self.client.kind::<K>(namespace)
    }

    fn tell(&self, about: &impl Kind, warning: bool, reason: &str, said: impl Into<String>) {
        let kind = if warning { EventType::Warning } else { EventType::Normal };
        self.recorder.event(about, kind, reason, said);
    }
}

fn wake_unbound(claims: &Informer<PersistentVolumeClaim>, queue: &WorkQueue<Item>) {
    let is_unbound = |claim: &PersistentVolumeClaim| claim.annotation(BIND_COMPLETED).is_none();
    claims.with(|cache| {
        cache.iter().filter(|claim| is_unbound(claim)).for_each(|claim| queue.add(Item::Claim(claim.key())));
    });
}

impl Reconcile for Binder {
    type Key = Item;

    async fn reconcile(&self, item: &Item) -> Result<Requeue, ReconcileError> {
        // What was written last, for whatever item, is to be seen by the next decision.
        self.wrote_claims.wait(&ObjectKey::default()).await;
        self.wrote_volumes.wait(&ObjectKey::default()).await;
        match item {
            Item::Claim(key) => {
                if let Some(claim) = self.claims.get(key) {
                    self.claim(&claim).await?;
                }
            }
            Item::Volume(key) => {
                if let Some(volume) = self.volumes.get(key) {
                    self.volume(&volume).await?;
                }
            }
        }
        Ok(Requeue::Never)
    }
}

// === claims ===

impl Binder {
    async fn claim(&self, claim: &Object<PersistentVolumeClaim>) -> Result<(), ReconcileError> {
        let class = self.classes.get(&ObjectKey::cluster(claim_class(claim)));
        let delayed = class.as_ref().is_some_and(|class| waits_for_consumer(class));
        let tree = json::parse(&claim.bytes)?;
        match plan::for_claim(claim, &self.volumes.list(), delayed) {
            ForClaim::Bind(volume) => {
                if let Some(volume) = self.volumes.get(&ObjectKey::cluster(volume)) {
                    self.bind(claim, &volume).await?;
                }
            }
            ForClaim::Wait(why) => {
                if let Some((warning, reason, said)) = why {
                    self.tell(&claim.view, warning, reason, said);
                }
                self.set_claim_phase(&tree, "Pending", None).await?;
            }
            ForClaim::Lost(reason, said) => {
                if self.set_claim_phase(&tree, "Lost", None).await? {
                    self.tell(&claim.view, true, reason, said);
                }
            }
            ForClaim::Stolen(said) => {
                self.tell(&claim.view, true, "FailedBinding", said.as_str());
                return Err(format!("invalid binding of claim {}: {said}", claim.key()).into());
            }
            ForClaim::Unmatched => self.unmatched(claim, tree, class.as_deref().map(|class| &class.view)).await?,
        }
        Ok(())
    }

    /// No volume fits: a default class is taken, a consumer waited for, or a provisioner asked.
    async fn unmatched(
        &self,
        claim: &Object<PersistentVolumeClaim>,
        tree: Value,
        class: Option<&StorageClass>,
    ) -> Result<(), ReconcileError> {
        let has_named = claim_spec(claim).storage_class_name.is_some() || claim.annotation(CLASS_ANNOTATION).is_some();
        if let Some(default) = self.default_class().filter(|_| !has_named) {
            let mut tree = tree;
            tree.set("spec.storageClassName", default);
            self.update::<PersistentVolumeClaim>(tree, "").await?;
            return Ok(());
        }
        let waits = class.is_some_and(waits_for_consumer) && claim.annotation(SELECTED_NODE).is_none();
        if waits {
            let (reason, said) = self.waiting(claim);
            self.tell(&claim.view, false, reason, said);
        } else if !claim_class(claim).is_empty() {
            return self.provision(claim, tree, class).await;
        } else {
            let said = "no persistent volumes available for this claim and no storage class is set";
            self.tell(&claim.view, false, "FailedBinding", said);
        }
        self.set_claim_phase(&tree, "Pending", None).await?;
        Ok(())
    }

    /// The newest of the classes that say so; of those the first by name.
    fn default_class(&self) -> Option<String> {
        let classes = self.classes.list();
        let defaults = classes.iter().filter(|class| class.annotation(DEFAULT_CLASS) == Some("true"));
        let newest = defaults.min_by_key(|class| (std::cmp::Reverse(class.created()), class.name().to_owned()));
        newest.map(|class| class.name().to_owned())
    }

    /// What a claim waits for whose class wants a consumer first.
    fn waiting(&self, claim: &PersistentVolumeClaim) -> (&'static str, String) {
        let mut names: Vec<String> = self.pods.with(|cache| {
            let needing = cache.iter().filter(|pod| pod.namespace() == claim.namespace());
            let needing = needing
                .filter(|pod| pods::node_name(pod).is_empty() && pods::claims(pod).any(|one| one == claim.name()));
            needing.map(|pod| pod.name().to_owned()).collect()
        });
        names.sort();
        match names.as_slice() {
            [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
            [one] => ("WaitForPodScheduled", format!("waiting for pod {one} to be scheduled")),
            all => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", all.join(","))),
        }
    }

    /// Asks the class's provisioner for a volume.
    async fn provision(
        &self,
        claim: &Object<PersistentVolumeClaim>,
        mut tree: Value,
        class: Option<&StorageClass>,
    ) -> Result<(), ReconcileError> {
        let Some(class) = class else {
            let why = format!("storageclass.storage.k8s.io {:?} not found", claim_class(claim));
            self.tell(&claim.view, true, "ProvisioningFailed", why.as_str());
            // The class's own coming wakes the claim.
            return Ok(());
        };
        let provisioner = class.provisioner.as_str();
        if provisioner.starts_with("kubernetes.io/") {
            let why = "no volume plugin matched";
            self.tell(&claim.view, true, "ProvisioningFailed", why);
            return Ok(());
        }
        if PROVISIONER.iter().any(|key| claim.annotation(key) != Some(provisioner)) {
            let annotations = tree.at_or_insert("metadata.annotations").make_object();
            PROVISIONER.iter().for_each(|key| drop(annotations.insert(*key, provisioner)));
            self.update::<PersistentVolumeClaim>(tree, "").await?;
        }
        let said = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        );
        self.tell(&claim.view, false, "ExternalProvisioning", said);
        Ok(())
    }

    /// Four steps, each of which can be the one that a crash left undone.
    async fn bind(
        &self,
        claim: &Object<PersistentVolumeClaim>,
        volume: &Object<PersistentVolume>,
    ) -> Result<(), ClientError> {
        let mut volume_tree = json::parse(&volume.bytes)?;
        if let Some(tree) = edit::volume_names_claim(&volume_tree, volume, claim) {
            volume_tree = self.update::<PersistentVolume>(tree, "").await?;
        }
        self.set_volume_phase(&volume_tree, "Bound", "").await?;
        let mut claim_tree = json::parse(&claim.bytes)?;
        if let Some(tree) = edit::claim_names_volume(&claim_tree, volume.name()) {
            claim_tree = self.update::<PersistentVolumeClaim>(tree, "").await?;
        }
        self.set_claim_phase(&claim_tree, "Bound", Some(&volume_tree)).await?;
        Ok(())
    }

    /// Writes an object, or its status, and gives what it is then.
    async fn update<K: Kind>(&self, tree: Value, subresource: &str) -> Result<Value, ClientError> {
        let api = self.api::<K>(tree.str_at("metadata.namespace"));
        let answer = api.update_subresource(tree, subresource, &WriteOptions::default()).await?;
        let all = ObjectKey::default();
        match K::RESOURCE.plural == PersistentVolume::RESOURCE.plural {
            true => self.wrote_volumes.wrote(&all, answer.revision()),
            false => self.wrote_claims.wrote(&all, answer.revision()),
        }
        answer.tree()
    }

    async fn set_claim_phase(&self, tree: &Value, phase: &str, volume: Option<&Value>) -> Result<bool, ClientError> {
        let Some(tree) = edit::claim_status(tree, phase, volume) else { return Ok(false) };
        self.update::<PersistentVolumeClaim>(tree, "status").await?;
        Ok(true)
    }

    async fn set_volume_phase(&self, tree: &Value, phase: &str, message: &str) -> Result<bool, ClientError> {
        let Some(tree) = edit::volume_status(tree, phase, message) else { return Ok(false) };
        self.update::<PersistentVolume>(tree, "status").await?;
        Ok(true)
    }
}

// === volumes ===

impl Binder {
    async fn volume(&self, volume: &Object<PersistentVolume>) -> Result<(), ReconcileError> {
        let claim = self.claim_of(volume).await?;
        let tree = json::parse(&volume.bytes)?;
        match plan::for_volume(volume, claim.as_deref().map(|claim| &claim.view)) {
            ForVolume::Phase(phase) => {
                self.set_volume_phase(&tree, phase, "").await?;
            }
            ForVolume::Reclaim => self.reclaim(volume, &tree).await?,
            ForVolume::Unbind => {
                let tree = self.update::<PersistentVolume>(edit::unbound(&tree), "").await?;
                self.set_volume_phase(&tree, "Available", "").await?;
            }
            ForVolume::AskClaim => {
                if let Some(claim) = claim {
                    self.queue.add(Item::Claim(claim.key()));
                }
            }
            ForVolume::Mismatch => {
                let Some(claim) = claim else { return Ok(()) };
                let (claim_name, name) = (claim.name(), volume.name());
                let said = format!(
                    "Cannot bind PersistentVolume to requested PersistentVolumeClaim {claim_name:?} due to incompatible volumeMode."
                );
                self.tell(&volume.view, true, "VolumeMismatch", said);
                let said = format!(
                    "Cannot bind PersistentVolume {name:?} to requested PersistentVolumeClaim due to incompatible volumeMode."
                );
                self.tell(&claim.view, true, "VolumeMismatch", said);
            }
        }
        Ok(())
    }

    /// The claim that the volume names. Before a volume is given up, the server is asked.
    async fn claim_of(
        &self,
        volume: &Object<PersistentVolume>,
    ) -> Result<Option<Arc<Object<PersistentVolumeClaim>>>, ClientError> {
        let Some(reference) = &volume_spec(volume).claim_ref else { return Ok(None) };
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name, uid) = (text(&reference.namespace), text(&reference.name), text(&reference.uid));
        if uid.is_empty() {
            return Ok(None);
        }
        let cached = self.claims.find(&namespace, &name);
        if cached.as_ref().is_some_and(|claim| claim.uid() == uid) {
            return Ok(cached);
        }
        if cached.is_none() && matches!(volume_phase(volume), "Released" | "Failed") {
            return Ok(None);
        }
        let Some(answer) = self.api::<PersistentVolumeClaim>(&namespace).get_opt(&name).await? else { return Ok(None) };
        let claim = answer.object::<PersistentVolumeClaim>()?;
        Ok(Some(Arc::new(claim)).filter(|claim| claim.uid() == uid))
    }

    /// Releases a volume and does what its policy says. Those of provisioners are deleted by these.
    async fn reclaim(&self, volume: &Object<PersistentVolume>, tree: &Value) -> Result<(), ClientError> {
        let phase = volume_phase(volume);
        if matches!(phase, "Released" | "Failed") {
            return Ok(());
        }
        self.set_volume_phase(tree, "Released", "").await?;
        let policy = volume_spec(volume).persistent_volume_reclaim_policy.as_deref().unwrap_or("Retain");
        let (reason, said) = match policy {
            "Retain" => return Ok(()),
            "Delete" if volume.annotation(PROVISIONED_BY).is_some() => return Ok(()),
            "Delete" => (
                "VolumeFailedDelete",
                format!("error getting deleter volume plugin for volume {:?}: no volume plugin matched", volume.name()),
            ),
            "Recycle" => ("VolumeFailedRecycle", "no volume plugin matched".to_owned()),
            _ => ("VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy".to_owned()),
        };
        let released = self.api::<PersistentVolume>("").get(volume.name()).await?.tree()?;
        if self.set_volume_phase(&released, "Failed", &said).await? {
            self.tell(&volume.view, true, reason, said);
        }
        Ok(())
    }
}
