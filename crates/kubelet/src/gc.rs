//! Takes away what is left over: dead containers and sandboxes, everything of pods that are no more, unused images,
//! full logs. Upstream: kuberuntime_gc.go, `HandlePodCleanups`, the image GC and log managers.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use client::EventType;
use tokio_util::sync::CancellationToken;

use crate::{
    cri::{Error, v1},
    images::gc::{Ages, Disk, Policy},
    kubelet::Kubelet,
    labels, logs,
    node::machine,
    pod::PodExt,
    runtime::container::log_path,
};

/// Between two looks at containers and leftovers.
const CONTAINER_INTERVAL: Duration = Duration::from_secs(60);
/// Between two looks at images.
const IMAGE_INTERVAL: Duration = Duration::from_secs(300);
/// Orphans get this long to end, in seconds; nobody knows their pod's grace.
const ORPHAN_GRACE_SECONDS: i64 = 2;

/// Cleans until told to stop. Begins when all pods are known.
pub async fn run(kubelet: Arc<Kubelet>, stop: CancellationToken) {
    let containers = async {
        loop {
            if let Err(error) = containers(&kubelet).await {
                tracing::warn!(%error, "dead containers could not be removed");
            }
            leftovers(&kubelet);
            tokio::time::sleep(CONTAINER_INTERVAL).await;
        }
    };
    let images = async {
        let mut ages = Ages::default();
        loop {
            if let Err(error) = images(&kubelet, &mut ages).await {
                tracing::warn!(%error, "unused images could not be removed");
            }
            tokio::time::sleep(IMAGE_INTERVAL).await;
        }
    };
    let logs = async {
        loop {
            tokio::time::sleep(kubelet.config.log_check_interval).await;
            rotate_logs(&kubelet).await;
        }
    };
    stop.run_until_cancelled(async { tokio::join!(containers, images, logs) }).await;
}

/// Dead containers beyond those that are kept, dead sandboxes, and all of pods that have no worker.
async fn containers(kubelet: &Kubelet) -> Result<(), Error> {
    let all = kubelet.runtime.list_containers(v1::ListContainersRequest::default()).await?.containers;
    let sandboxes = kubelet.runtime.list_pod_sandbox(v1::ListPodSandboxRequest::default()).await?.items;
    let known = |uid: &str| kubelet.workers.contains(uid);
    let mut orphans: HashSet<String> = HashSet::new();
    orphans.extend(all.iter().filter_map(|container| container.labels.get(labels::POD_UID).cloned()));
    orphans.extend(sandboxes.iter().filter_map(|sandbox| Some(sandbox.metadata.as_ref()?.uid.clone())));
    orphans.retain(|uid| !uid.is_empty() && !known(uid));
    for uid in &orphans {
        end_orphan(kubelet, uid, &all).await?;
    }
    for id in excess(&all, kubelet.config.dead_containers_per_container, &orphans) {
        kubelet.runtime.remove_container(v1::RemoveContainerRequest { container_id: id }).await?;
    }
    for id in dead_sandboxes(&sandboxes, &all, &orphans) {
        kubelet.runtime.stop_pod_sandbox(&id).await?;
        kubelet.runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: id }).await?;
    }
    let alive: HashSet<&str> = all.iter().map(|container| container.id.as_str()).collect();
    kubelet.probes.retain(|id| alive.contains(id));
    Ok(())
}

async fn end_orphan(kubelet: &Kubelet, uid: &str, all: &[v1::Container]) -> Result<(), Error> {
    tracing::info!(uid, "a pod that nobody wants is ended");
    let running = all.iter().filter(|container| {
        container.labels.get(labels::POD_UID).is_some_and(|own| own == uid)
            && container.state == v1::ContainerState::ContainerRunning as i32
    });
    for container in running {
        kubelet.runtime.stop_container(&container.id, ORPHAN_GRACE_SECONDS).await?;
    }
    crate::worker::remove_from_runtime(kubelet, uid).await
}

/// Of each container of a pod, the dead ones but the newest few.
fn excess(all: &[v1::Container], keep: usize, orphans: &HashSet<String>) -> Vec<String> {
    let mut dead: BTreeMap<(&str, &str), Vec<&v1::Container>> = BTreeMap::new();
    for container in all.iter().filter(|container| container.state == v1::ContainerState::ContainerExited as i32) {
        let label = |key: &str| container.labels.get(key).map_or("", String::as_str);
        let uid = label(labels::POD_UID);
        if !orphans.contains(uid) {
            dead.entry((uid, label(labels::CONTAINER_NAME))).or_default().push(container);
        }
    }
    let mut excess = Vec::new();
    for list in dead.values_mut() {
        list.sort_by_key(|container| std::cmp::Reverse(container.created_at));
        excess.extend(list.iter().skip(keep).map(|container| container.id.clone()));
    }
    excess
}

/// Sandboxes that are not ready, not their pod's newest and empty.
fn dead_sandboxes(sandboxes: &[v1::PodSandbox], all: &[v1::Container], orphans: &HashSet<String>) -> Vec<String> {
    let used: HashSet<&str> = all.iter().map(|container| container.pod_sandbox_id.as_str()).collect();
    let uid =
        |sandbox: &v1::PodSandbox| sandbox.metadata.as_ref().map(|metadata| metadata.uid.clone()).unwrap_or_default();
    let is_newest = |sandbox: &v1::PodSandbox| {
        !sandboxes.iter().any(|other| uid(other) == uid(sandbox) && other.created_at > sandbox.created_at)
    };
    let ready = v1::PodSandboxState::SandboxReady as i32;
    let dead = sandboxes.iter().filter(|sandbox| {
        sandbox.state != ready
            && !is_newest(sandbox)
            && !used.contains(sandbox.id.as_str())
            && !orphans.contains(&uid(sandbox))
    });
    dead.map(|sandbox| sandbox.id.clone()).collect()
}

/// Directories, cgroups and logs of pods that are no more.
fn leftovers(kubelet: &Kubelet) {
    let known = |uid: &str| kubelet.workers.contains(uid);
    for uid in kubelet.volumes.on_disk().into_iter().filter(|uid| !known(uid)) {
        if let Err(error) = kubelet.volumes.remove_pod_dir(&uid) {
            tracing::warn!(uid, %error, "an orphaned pod's directory could not be removed");
        }
    }
    if let Some(cgroups) = &kubelet.cgroups {
        for (uid, path) in cgroups.pods().into_iter().filter(|(uid, _)| !known(uid)) {
            if let Err(error) = cgroups.remove(&path) {
                tracing::debug!(uid, %error, "an orphaned pod's cgroup could not be removed");
            }
        }
    }
    for directory in crate::volumes::children(&kubelet.config.pod_logs_dir) {
        let uid = directory.file_name().and_then(|name| name.to_str()?.rsplit('_').next().map(str::to_owned));
        if uid.is_some_and(|uid| !known(&uid)) && std::fs::remove_dir_all(&directory).is_err() {
            tracing::debug!(directory = %directory.display(), "orphaned logs could not be removed");
        }
    }
    logs::remove_dead_links(&kubelet.config.container_logs_dir);
}

/// All images, and the names of those that something uses or may use.
async fn images_and_used(kubelet: &Kubelet) -> Result<(Vec<v1::Image>, HashSet<String>), Error> {
    let images = kubelet.runtime.list_images(v1::ListImagesRequest::default()).await?.images;
    let containers = kubelet.runtime.list_containers(v1::ListContainersRequest::default()).await?.containers;
    let names = containers.into_iter().flat_map(|container| {
        [container.image_ref, container.image_id, container.image.map(|image| image.image).unwrap_or_default()]
    });
    let wanted = kubelet.workers.pods();
    let wanted = wanted.iter().flat_map(|pod| pod.all_containers()).filter_map(|(_, container)| container.image);
    let used: HashSet<String> = names.chain(wanted).chain(kubelet.config.pinned_images.iter().cloned()).collect();
    Ok((images, used))
}

/// Removes every image that nothing uses: the disk is short.
///
/// # Errors
/// What the runtime says.
pub async fn remove_unused_images(kubelet: &Kubelet) -> Result<(), Error> {
    let (images, used) = images_and_used(kubelet).await?;
    let all = Policy { high_percent: 0, low_percent: 0, age_min: Duration::ZERO, age_max: Duration::ZERO };
    let disk = Some(Disk { capacity: u64::MAX, available: 0 });
    for id in Ages::default().plan(&images, &used, disk, all, kubelet.now()) {
        let image = v1::ImageSpec { image: id, ..v1::ImageSpec::default() };
        kubelet.runtime.remove_image(v1::RemoveImageRequest { image: Some(image) }).await?;
    }
    Ok(())
}

async fn images(kubelet: &Kubelet, ages: &mut Ages) -> Result<(), Error> {
    let (images, used) = images_and_used(kubelet).await?;
    let now = kubelet.now();
    ages.update(&images, &used, now);
    let disk = image_disk(kubelet).await;
    let config = &kubelet.config;
    let policy = Policy {
        high_percent: config.image_gc_high_percent,
        low_percent: config.image_gc_low_percent,
        age_min: config.image_minimum_gc_age,
        age_max: config.image_maximum_gc_age,
    };
    for id in ages.plan(&images, &used, disk, policy, now) {
        tracing::info!(id, "an unused image is removed");
        let image = v1::ImageSpec { image: id, ..v1::ImageSpec::default() };
        if let Err(error) = kubelet.runtime.remove_image(v1::RemoveImageRequest { image: Some(image) }).await {
            let message = format!("Failed to garbage collect required amount of images: {error}");
            kubelet.events.node(&config.node_name, EventType::Warning, "ImageGCFailed", message);
        }
    }
    Ok(())
}

async fn image_disk(kubelet: &Kubelet) -> Option<Disk> {
    let info = kubelet.runtime.image_fs_info(v1::ImageFsInfoRequest {}).await.ok()?;
    let mount = info.image_filesystems.into_iter().next()?.fs_id?.mountpoint;
    let disk = machine::disk(Path::new(&mount)).ok()?;
    Some(Disk { capacity: disk.capacity, available: disk.available })
}

/// The logs of what runs, as last seen: no questions to the runtime where none is full.
async fn rotate_logs(kubelet: &Kubelet) {
    let policy =
        logs::rotate::Policy { bytes_max: kubelet.config.log_bytes_max, files_max: kubelet.config.log_files_max };
    for container in kubelet.snapshot.running().iter() {
        let label = |key: &str| container.labels.get(key).map_or("", String::as_str);
        let directory =
            kubelet.config.pod_log_dir(label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID));
        let restarts = labels::notes(&container.annotations).restart_count;
        let path = directory.join(log_path(label(labels::CONTAINER_NAME), restarts));
        if !logs::rotate::is_full(&path, policy) {
            continue;
        }
        let rotated = match logs::rotate::rotate(&path, policy, kubelet.given.now()) {
            Ok(rotated) => rotated,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a log could not be rotated");
                continue;
            }
        };
        let request = v1::ReopenContainerLogRequest { container_id: container.id.clone() };
        if let Err(error) = kubelet.runtime.reopen_container_log(request).await {
            // The runtime still writes to the old one: it gets its name back.
            tracing::warn!(path = %path.display(), %error, "a rotated log could not be opened anew");
            if let Err(error) = std::fs::rename(&rotated, &path) {
                tracing::warn!(path = %path.display(), %error, "a log could not be put back");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(id: &str, name: &str, created_at: i64) -> v1::Container {
        let labels = [(labels::POD_UID, "u"), (labels::CONTAINER_NAME, name)];
        v1::Container {
            id: id.into(),
            state: v1::ContainerState::ContainerExited as i32,
            created_at,
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            pod_sandbox_id: "s2".into(),
            ..v1::Container::default()
        }
    }

    #[test]
    fn the_newest_dead_of_each_container_stays() {
        let all = [dead("1", "a", 1), dead("3", "a", 3), dead("2", "a", 2), dead("4", "b", 4)];
        assert_eq!(excess(&all, 1, &HashSet::new()), ["2", "1"]);
        assert!(excess(&all, 1, &HashSet::from(["u".to_owned()])).is_empty());
    }

    #[test]
    fn old_empty_sandboxes_go() {
        let sandbox = |id: &str, created_at| v1::PodSandbox {
            id: id.into(),
            state: v1::PodSandboxState::SandboxNotready as i32,
            created_at,
            metadata: Some(v1::PodSandboxMetadata { uid: "u".into(), ..v1::PodSandboxMetadata::default() }),
            ..v1::PodSandbox::default()
        };
        let sandboxes = [sandbox("s1", 1), sandbox("s2", 2), sandbox("s3", 3)];
        assert_eq!(dead_sandboxes(&sandboxes, &[dead("1", "a", 1)], &HashSet::new()), ["s1"]);
    }
}
