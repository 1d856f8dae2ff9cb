//! Claims, volumes and classes as the binder reads them.

use api::quantity::Quantity;
use client::MetaExt;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
use k8s_openapi::api::storage::v1::StorageClass;
use std::sync::LazyLock;

/// Where classes were named before there was a field.
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// The scheduler's choice, for claims that wait for a consumer.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Both sides of the binding are done.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The binding was ours, not the user's.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Who made the volume for its claim.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// The claim's spec, empty where there is none.
pub fn claim_spec(claim: &PersistentVolumeClaim) -> &PersistentVolumeClaimSpec {
    static EMPTY: LazyLock<PersistentVolumeClaimSpec> = LazyLock::new(Default::default);
    claim.spec.as_ref().unwrap_or(&EMPTY)
}

/// The volume's spec, empty where there is none.
pub fn volume_spec(volume: &PersistentVolume) -> &PersistentVolumeSpec {
    static EMPTY: LazyLock<PersistentVolumeSpec> = LazyLock::new(Default::default);
    volume.spec.as_ref().unwrap_or(&EMPTY)
}

/// The claim's class; empty for none.
pub fn claim_class(claim: &PersistentVolumeClaim) -> &str {
    let named = claim_spec(claim).storage_class_name.as_deref();
    claim.annotation(CLASS_ANNOTATION).or(named).unwrap_or_default()
}

/// The volume's class; empty for none.
pub fn volume_class(volume: &PersistentVolume) -> &str {
    let named = volume_spec(volume).storage_class_name.as_deref();
    volume.annotation(CLASS_ANNOTATION).or(named).unwrap_or_default()
}

/// The volume that the claim names; empty for none.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim_spec(claim).volume_name.as_deref().unwrap_or_default()
}

/// `status.phase` of a claim.
pub fn claim_phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// `status.phase` of a volume.
pub fn volume_phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// What the claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let requests = claim_spec(claim).resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")?.0.parse().ok()).unwrap_or(Quantity::ZERO)
}

/// What the volume has.
pub fn capacity(volume: &PersistentVolume) -> Quantity {
    let capacity = volume_spec(volume).capacity.as_ref();
    capacity.and_then(|capacity| capacity.get("storage")?.0.parse().ok()).unwrap_or(Quantity::ZERO)
}

/// Whether the volume has all modes that the claim asks for.
pub fn has_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let there = volume_spec(volume).access_modes.as_deref().unwrap_or_default();
    claim_spec(claim).access_modes.iter().flatten().all(|mode| there.contains(mode))
}

/// Whether both are file systems, or both blocks.
pub fn same_volume_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    mode(&volume_spec(volume).volume_mode) == mode(&claim_spec(claim).volume_mode)
}

/// Whether both name the same attributes class.
pub fn same_attributes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let class = |class: &Option<String>| class.clone().unwrap_or_default();
    class(&volume_spec(volume).volume_attributes_class_name) == class(&claim_spec(claim).volume_attributes_class_name)
}

/// Whether the volume is meant for the claim, by us or by its maker (who may not know the claim's UID).
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume_spec(volume).claim_ref.as_ref().is_some_and(|reference| {
        let same = |field: &Option<String>, text: &str| field.as_deref().unwrap_or_default() == text;
        same(&reference.name, claim.name())
            && same(&reference.namespace, claim.namespace())
            && (same(&reference.uid, "") || same(&reference.uid, claim.uid()))
    })
}

/// Whether volumes of the class wait for a pod that needs them.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}
