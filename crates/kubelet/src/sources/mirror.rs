//! Mirror pods: what the API server shows of a static pod. Upstream: pkg/kubelet/pod/mirror_client.go.

use std::sync::Arc;

use client::{DeleteOptions, Kind, WriteOptions};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use crate::{
    kubelet::Kubelet,
    pod::{HASH, MIRROR, PodExt},
};

/// Makes the mirror of a static pod, or makes it anew where it shows another.
pub async fn ensure(kubelet: &Kubelet, pod: &Pod) {
    let pods = kubelet.client.kind::<Pod>(pod.namespace());
    if let Some(mirror) = kubelet.pods.find(pod.namespace(), pod.name()) {
        let shows = mirror.view.is_mirror()
            && mirror.view.annotation(HASH) == pod.annotation(HASH)
            && !mirror.view.is_deleted();
        if shows {
            return;
        }
        if mirror.view.is_mirror() {
            delete(kubelet, &mirror.view).await;
        }
    }
    if !kubelet.pods.has_synced() {
        return;
    }
    let mut mirror = pod.clone();
    let hash = pod.annotation(HASH).unwrap_or_default().to_owned();
    mirror.metadata.annotations.get_or_insert_default().insert(MIRROR.to_owned(), hash);
    mirror.metadata.uid = None;
    mirror.metadata.owner_references = Some(owner(kubelet).await.into_iter().collect());
    mirror.status = None;
    match pods.create(mirror.encode(), &WriteOptions::default()).await {
        Ok(_) => {}
        Err(error) if error.is_already_exists() => {}
        Err(error) => tracing::warn!(pod = pod.described(), %error, "a mirror pod could not be made"),
    }
}

/// The static pod is gone.
pub async fn remove(kubelet: &Kubelet, pod: &Pod) {
    if let Some(mirror) = kubelet.pods.find(pod.namespace(), pod.name()).filter(|mirror| mirror.view.is_mirror()) {
        delete(kubelet, &mirror.view).await;
    }
}

/// A mirror is there, or has changed: the static pod's status may have to be written to it.
pub fn seen(kubelet: &Arc<Kubelet>, mirror: &Pod) {
    let hash = mirror.annotation(HASH).unwrap_or_default();
    match kubelet.workers.pod(hash) {
        Some(pod) => kubelet.status.refresh(pod.uid()),
        None if mirror.is_deleted() => {}
        None => tracing::debug!(pod = mirror.described(), "a mirror pod without its static pod"),
    }
}

async fn owner(kubelet: &Kubelet) -> Option<OwnerReference> {
    let name = &kubelet.config.node_name;
    let node: Node = kubelet.client.kind::<Node>("").get(name).await.ok()?.view().ok()?;
    Some(OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.clone(),
        uid: node.metadata.uid?,
        controller: Some(true),
        ..OwnerReference::default()
    })
}

async fn delete(kubelet: &Kubelet, mirror: &Pod) {
    let options = DeleteOptions::of_uid(mirror.uid()).grace(0);
    match kubelet.client.kind::<Pod>(mirror.namespace()).delete(mirror.name(), &options).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() || error.is_conflict() => {}
        Err(error) => tracing::warn!(pod = mirror.described(), %error, "a mirror pod could not be deleted"),
    }
}
