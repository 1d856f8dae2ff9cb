//! A pod's volumes on the node: set up before its containers start, kept up to date while it runs, taken away after.
//!
//! One owner: [`Volumes`]. The layout is upstream's: `<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<name>`. Setting
//! up twice changes nothing, so a sync of the pod is also what brings changed config maps and fresh tokens to it.

pub mod atomic;
pub mod host_path;
pub mod mount;
pub mod ownership;
pub mod payload;
pub mod subpath;
pub mod trust_anchors;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, Volume};

use crate::{
    certificates::PodCertificates,
    objects::{Objects, Tokens},
    pod::PodExt,
    quantity::Quantity,
    runtime::fields,
    status::resources,
};

/// The volumes of one node.
pub struct Volumes {
    root: PathBuf,
    objects: Arc<dyn Objects>,
    tokens: Tokens,
    certificates: Arc<PodCertificates>,
}

/// A volume that could not be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountError {
    /// Its name.
    pub volume: String,
    /// Why.
    pub message: String,
}

/// What a volume is, as far as its place goes.
enum Place {
    /// In the pod's directory, under a plugin's name.
    Own(&'static str),
    /// A path of the node.
    Host(PathBuf),
    /// The runtime's business.
    Image,
    /// Through a claim: known after it is read.
    Claim,
    /// Not supported.
    Unknown,
}

impl Volumes {
    /// For the node whose directory is `root`.
    pub fn new(root: &Path, objects: Arc<dyn Objects>, certificates: Arc<PodCertificates>) -> Self {
        Volumes { root: root.to_owned(), objects, tokens: Tokens::default(), certificates }
    }

    /// Where config maps and the like are read.
    pub fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }

    fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// Where a volume of a pod is on the node; none for images and unknown ones.
    pub fn path(&self, pod: &Pod, name: &str) -> Option<PathBuf> {
        let volume = volumes(pod).iter().find(|volume| volume.name == name)?;
        match place(volume) {
            Place::Own(plugin) => Some(self.own_path(pod, plugin, name)),
            Place::Host(path) => Some(path),
            // A claim's volume is bound or linked to a place of its own.
            Place::Claim => Some(self.own_path(pod, "local-volume", name)),
            Place::Image | Place::Unknown => None,
        }
    }

    fn own_path(&self, pod: &Pod, plugin: &str, name: &str) -> PathBuf {
        self.pod_dir(pod.uid()).join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
    }

    /// Whether a volume's content is read-only whatever the mount says.
    pub fn is_read_only(pod: &Pod, name: &str) -> bool {
        volumes(pod).iter().find(|volume| volume.name == name).is_some_and(|volume| {
            let claim = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only);
            volume.config_map.is_some()
                || volume.secret.is_some()
                || volume.projected.is_some()
                || volume.downward_api.is_some()
                || volume.image.is_some()
                || claim == Some(true)
        })
    }

    /// Sets all volumes of a pod up, or brings them up to date.
    ///
    /// # Errors
    /// Every volume that could not be, and why.
    pub async fn mount(&self, pod: &Pod, node: fields::Node<'_>, now: jiff::Timestamp) -> Result<(), Vec<MountError>> {
        let sources = payload::Sources {
            objects: &*self.objects,
            tokens: &self.tokens,
            certificates: &self.certificates,
            node,
            now: now.as_second(),
        };
        let mut errors = Vec::new();
        for volume in volumes(pod) {
            if let Err(message) = self.mount_one(pod, volume, &sources, now).await {
                errors.push(MountError { volume: volume.name.clone(), message });
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    async fn mount_one(
        &self,
        pod: &Pod,
        volume: &Volume,
        sources: &payload::Sources<'_>,
        now: jiff::Timestamp,
    ) -> Result<(), String> {
        let group = fs_group(pod);
        let own = |plugin| self.own_path(pod, plugin, &volume.name);
        let mode = |mode: Option<i32>| mode.unwrap_or(payload::MODE_DEFAULT);
        if let Some(source) = &volume.empty_dir {
            return empty_dir(pod, &own("empty-dir"), source, group, sources.node).map_err(|error| error.to_string());
        }
        if let Some(source) = &volume.host_path {
            return host_path::check(Path::new(&source.path), source.type_.as_deref().unwrap_or_default());
        }
        if let Some(source) = &volume.persistent_volume_claim {
            let (claim, bound) =
                self.objects.claim(pod.namespace(), &source.claim_name).await.map_err(|error| error.to_string())?;
            return self.claim(pod, &volume.name, &claim, &bound);
        }
        let (plugin, memory, files) = if let Some(source) = &volume.config_map {
            let optional = source.optional == Some(true);
            let files = sources.config_map(
                pod.namespace(),
                &source.name,
                source.items.as_ref(),
                mode(source.default_mode),
                optional,
            );
            ("configmap", false, files.await?)
        } else if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            let optional = source.optional == Some(true);
            let files =
                sources.secret(pod.namespace(), name, source.items.as_ref(), mode(source.default_mode), optional);
            ("secret", true, files.await?)
        } else if let Some(source) = &volume.downward_api {
            ("downward-api", true, sources.downward(pod, source.items.as_ref(), mode(source.default_mode))?)
        } else if let Some(source) = &volume.projected {
            ("projected", true, sources.projected(pod, &volume.name, source).await?)
        } else if volume.image.is_some() {
            return Ok(());
        } else {
            return Err("no volume plugin matched".into());
        };
        write_files(&own(plugin), memory, &files, group, now).map_err(|error| error.to_string())?;
        make_nested(pod, volume, &own(plugin)).map_err(|error| error.to_string())
    }

    /// Host paths and local directories behind a claim are bound into the pod's directory.
    fn claim(
        &self,
        pod: &Pod,
        name: &str,
        claim: &PersistentVolumeClaim,
        bound: &PersistentVolume,
    ) -> Result<(), String> {
        let spec = bound.spec.as_ref();
        let local = spec.and_then(|spec| spec.local.as_ref()).map(|local| (local.path.as_str(), ""));
        let host = spec
            .and_then(|spec| spec.host_path.as_ref())
            .map(|host| (host.path.as_str(), host.type_.as_deref().unwrap_or_default()));
        let Some((path, type_)) = local.or(host) else {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            return Err(format!("no volume plugin matched the volume of the claim {name:?}"));
        };
        host_path::check(Path::new(path), type_)?;
        if !Path::new(path).exists() {
            if local.is_some() {
                return Err(format!("path {path:?} does not exist"));
            }
            // Runtimes do so for a host path that a pod names itself.
            fs::create_dir_all(path).map_err(|error| error.to_string())?;
        }
        let target = self.own_path(pod, "local-volume", name);
        if mount::is_mount_point(&target) {
            return Ok(());
        }
        let fs_type = || -> io::Result<()> {
            fs::create_dir_all(&target)?;
            mount::bind(Path::new(path), &target)?;
            match fs_group(pod) {
                Some(group) if local.is_some() && !ownership::root_matches(&target, group, false) => {
                    ownership::apply(&target, group, false)
                }
                _ => Ok(()),
            }
        };
        fs_type().map_err(|error| error.to_string())
    }

    /// Takes everything of a pod away: mounts first, then files.
    ///
    /// # Errors
    /// While something is still in use.
    pub fn unmount(&self, uid: &str) -> io::Result<()> {
        let pod_dir = self.pod_dir(uid);
        if !pod_dir.exists() {
            return Ok(());
        }
        for point in mount::below(&pod_dir) {
            mount::unmount(&point)?;
        }
        subpath::clean(&pod_dir)?;
        // Nothing is mounted below any more, so nothing of others' is removed.
        if mount::below(&pod_dir).is_empty() {
            remove_tree(&pod_dir.join("volumes"))?;
        }
        self.tokens.forget(uid);
        self.certificates.forget(uid);
        Ok(())
    }

    /// Removes the pod's directory, when its containers are gone too.
    ///
    /// # Errors
    /// While something is still mounted there.
    pub fn remove_pod_dir(&self, uid: &str) -> io::Result<()> {
        self.unmount(uid)?;
        remove_tree(&self.pod_dir(uid))
    }

    /// The UIDs of pods that have a directory.
    pub fn on_disk(&self) -> Vec<String> {
        let names = children(&self.root.join("pods")).into_iter();
        names.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}

/// What is in a directory.
pub(crate) fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn volumes(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

fn place(volume: &Volume) -> Place {
    if volume.empty_dir.is_some() {
        Place::Own("empty-dir")
    } else if volume.config_map.is_some() {
        Place::Own("configmap")
    } else if volume.secret.is_some() {
        Place::Own("secret")
    } else if volume.downward_api.is_some() {
        Place::Own("downward-api")
    } else if volume.projected.is_some() {
        Place::Own("projected")
    } else if let Some(host) = &volume.host_path {
        Place::Host(PathBuf::from(&host.path))
    } else if volume.image.is_some() {
        Place::Image
    } else if volume.persistent_volume_claim.is_some() {
        Place::Claim
    } else {
        Place::Unknown
    }
}

fn empty_dir(
    pod: &Pod,
    path: &Path,
    source: &EmptyDirVolumeSource,
    group: Option<u32>,
    node: fields::Node<'_>,
) -> io::Result<()> {
    let medium = source.medium.as_deref().unwrap_or_default();
    if path.exists() && (medium.is_empty() || mount::is_mount_point(path)) {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    let limit = source.size_limit.as_ref().map(|limit| Quantity::from(limit).value()).filter(|bytes| *bytes > 0);
    if medium == "Memory" {
        // Without a size of its own, what the pod or the node may use bounds it.
        let memory = |list: &crate::quantity::ResourceList| list.get("memory").map(|memory| memory.value());
        let pod_limit = memory(&resources::limits(pod)).filter(|_| resources::is_limited(pod, "memory"));
        let most = pod_limit.or_else(|| memory(node.allocatable)).filter(|bytes| *bytes > 0);
        let bytes = match (limit, most) {
            (Some(limit), Some(most)) => Some(limit.min(most)),
            (limit, most) => limit.or(most),
        };
        mount::tmpfs(path, bytes.and_then(|bytes| u64::try_from(bytes).ok()))?;
    } else if let Some(size) = medium.strip_prefix("HugePages") {
        let size = size.trim_start_matches('-');
        let size = if size.is_empty() { "2Mi" } else { size };
        mount::hugetlbfs(path, &size.replace("i", ""), limit.and_then(|bytes| u64::try_from(bytes).ok()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    match group {
        Some(group) => ownership::apply(path, group, false),
        None => Ok(()),
    }
}

fn write_files(
    path: &Path,
    memory: bool,
    files: &atomic::Files,
    group: Option<u32>,
    now: jiff::Timestamp,
) -> io::Result<()> {
    for name in files.keys() {
        atomic::validate(name).map_err(io::Error::other)?;
    }
    fs::create_dir_all(path)?;
    if memory && !mount::is_mount_point(path) {
        mount::tmpfs(path, None)?;
    }
    if fs::metadata(path)?.permissions().mode() & 0o777 != 0o777 && group.is_none() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    }
    let changed = atomic::write(path, files, now)?;
    match group {
        Some(group) if changed => ownership::apply(path, group, true),
        _ => Ok(()),
    }
}

/// A read-only volume can't have mount points made in it later: those of volumes that are mounted inside it are made now.
fn make_nested(pod: &Pod, volume: &Volume, path: &Path) -> io::Result<()> {
    for (_, container) in pod.all_containers() {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        for outer in mounts.iter().filter(|mount| mount.name == volume.name) {
            let prefix = format!("{}/", outer.mount_path.trim_end_matches('/'));
            let inner = mounts.iter().filter_map(|mount| mount.mount_path.strip_prefix(&prefix));
            for relative in inner.filter(|relative| !relative.starts_with("..") && !relative.is_empty()) {
                let target = path.join(relative);
                if fs::symlink_metadata(&target).is_err() {
                    fs::create_dir_all(&target)?;
                }
            }
        }
    }
    Ok(())
}
