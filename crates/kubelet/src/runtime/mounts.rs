//! What is mounted into a container. Upstream: `makeMounts`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::expand::expand;
use crate::{
    cri::v1::{ImageSpec, Mount, MountPropagation},
    volumes::{Volumes, subpath},
};

/// Where the node's own hosts file is.
const ETC_HOSTS: &str = "/etc/hosts";
/// The mode of what a container writes its last words to: whoever it runs as may.
const TERMINATION_LOG_MODE: u32 = 0o666;

/// What a container's mounts depend on.
pub struct Input<'a> {
    /// The pod's directory.
    pub pod_dir: &'a Path,
    /// Its volumes.
    pub volumes: &'a Volumes,
    /// The container's variables, for `subPathExpr`.
    pub variables: &'a BTreeMap<String, String>,
    /// Text of its `/etc/hosts`; none where it gets none.
    pub hosts: Option<String>,
    /// Image volumes that were pulled, by volume name.
    pub images: &'a BTreeMap<String, ImageSpec>,
    /// The runtime can make mounts read-only with all below them.
    pub recursive_read_only: bool,
}

/// The mounts, the termination log among them.
///
/// # Errors
/// Where a volume is not there or a path can't be had, in upstream's words.
pub fn of(pod: &Pod, container: &Container, input: &Input<'_>) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    let mut own_hosts = false;
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        own_hosts |= mount.mount_path == ETC_HOSTS;
        mounts.push(one(pod, container, index, mount, input)?);
    }
    if let Some(text) = input.hosts.as_ref().filter(|_| !own_hosts) {
        let path = input.pod_dir.join("etc-hosts");
        let written =
            fs::write(&path, text).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)));
        written.map_err(|error| error.to_string())?;
        mounts.push(plain(&path, ETC_HOSTS));
    }
    if let Some(path) = container.termination_message_path.as_deref().filter(|path| !path.is_empty()) {
        let file = termination_log(input.pod_dir, &container.name).map_err(|error| error.to_string())?;
        mounts.push(plain(&file, path));
    }
    Ok(mounts)
}

fn plain(host: &Path, container: &str) -> Mount {
    Mount { host_path: host.display().to_string(), container_path: container.to_owned(), ..Mount::default() }
}

/// A new file each time: its name tells the instances of one container apart.
fn termination_log(pod_dir: &Path, container: &str) -> std::io::Result<PathBuf> {
    let directory = pod_dir.join("containers").join(container);
    fs::create_dir_all(&directory)?;
    let file = directory.join(format!("{:08x}", rand::random::<u32>()));
    fs::File::create(&file)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(TERMINATION_LOG_MODE))?;
    Ok(file)
}

fn one(
    pod: &Pod,
    container: &Container,
    index: usize,
    mount: &VolumeMount,
    input: &Input<'_>,
) -> Result<Mount, String> {
    let (name, owner) = (&mount.name, &container.name);
    let sub_path = sub_path(mount, input.variables)?;
    if !sub_path.is_empty() {
        subpath::validate(&sub_path)?;
    }
    let mut told = Mount {
        container_path: absolute(&mount.mount_path),
        readonly: mount.read_only == Some(true) || Volumes::is_read_only(pod, name),
        propagation: propagation(mount)? as i32,
        recursive_read_only: recursive(mount, input.recursive_read_only)
            .map_err(|error| format!("failed to resolve recursive read-only mode: {error}"))?,
        ..Mount::default()
    };
    if let Some(image) = input.images.get(name) {
        told.image = Some(image.clone());
        told.image_sub_path = sub_path;
        return Ok(told);
    }
    let missing = || format!("cannot find volume {name:?} to mount into container {owner:?}");
    let root = input.volumes.path(pod, name).ok_or_else(missing)?;
    told.host_path = if sub_path.is_empty() {
        root.display().to_string()
    } else {
        // What went wrong is not for the pod's eyes: it could tell of the node's files.
        let log =
            |error: std::io::Error| tracing::warn!(volume = name, container = owner, %error, "a subPath can't be had");
        if fs::symlink_metadata(root.join(&sub_path)).is_err() {
            subpath::make_dirs(&root, &sub_path).map_err(|error| {
                log(error);
                format!("failed to create subPath directory for volumeMount {name:?} of container {owner:?}")
            })?;
        }
        let bound = subpath::bind(input.pod_dir, name, &root, &sub_path, owner, index).map_err(|error| {
            log(error);
            format!("failed to prepare subPath for volumeMount {name:?} of container {owner:?}")
        })?;
        bound.display().to_string()
    };
    Ok(told)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn sub_path(mount: &VolumeMount, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let Some(expression) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(mount.sub_path.clone().unwrap_or_default());
    };
    let missing = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let expanded = expand(expression, &|name| match variables.get(name).filter(|value| !value.is_empty()) {
        Some(value) => Some(value.clone()),
        None => {
            missing.borrow_mut().insert(name.to_owned());
            Some(String::new())
        }
    });
    let missing = missing.into_inner();
    if missing.is_empty() {
        return Ok(expanded);
    }
    Err(format!("missing value for {}", missing.into_iter().collect::<Vec<_>>().join(", ")))
}

fn propagation(mount: &VolumeMount) -> Result<MountPropagation, String> {
    match mount.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::PropagationPrivate),
        Some("HostToContainer") => Ok(MountPropagation::PropagationHostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::PropagationBidirectional),
        Some(other) => Err(format!("invalid MountPropagation mode: {other:?}")),
    }
}

fn recursive(mount: &VolumeMount, supported: bool) -> Result<bool, String> {
    let name = &mount.name;
    let mode = match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => return Ok(false),
        Some(mode) => mode,
    };
    if mount.read_only != Some(true) {
        return Err(format!("volume {name:?} requested recursive read-only mode, but it is not read-only"));
    }
    if let Some(other) = mount.mount_propagation.as_deref().filter(|mode| *mode != "None") {
        return Err(format!(
            "volume {name:?} requested recursive read-only mode, but it is not compatible with propagation {other:?}"
        ));
    }
    match mode {
        "IfPossible" => Ok(supported),
        "Enabled" if !supported => {
            Err(format!("volume {name:?} requested recursive read-only mode, but it is not supported by the runtime"))
        }
        "Enabled" => Ok(true),
        other => Err(format!("unknown recursive read-only mode {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(json!({"name": "v", "mountPath": "/m", "subPath": "a"}), Ok("a"))]
    #[case(json!({"name": "v", "mountPath": "/m", "subPathExpr": "x/$(POD)"}), Ok("x/p"))]
    #[case(json!({"name": "v", "mountPath": "/m", "subPathExpr": "$(NONE)/$(EMPTY)"}), Err("missing value for EMPTY, NONE"))]
    fn sub_paths(#[case] mount: Value, #[case] expected: Result<&str, &str>) {
        let variables = BTreeMap::from([("POD".to_owned(), "p".to_owned()), ("EMPTY".to_owned(), String::new())]);
        let mount = serde_json::from_value(mount).unwrap();
        assert_eq!(sub_path(&mount, &variables), expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[rstest]
    #[case(json!({"name": "v", "mountPath": "/m", "readOnly": true, "recursiveReadOnly": "IfPossible"}), false, Ok(false))]
    #[case(json!({"name": "v", "mountPath": "/m", "readOnly": true, "recursiveReadOnly": "Enabled"}), true, Ok(true))]
    #[case(json!({"name": "v", "mountPath": "/m", "recursiveReadOnly": "Enabled"}), true, Err("volume \"v\" requested recursive read-only mode, but it is not read-only"))]
    fn recursive_read_only(#[case] mount: Value, #[case] supported: bool, #[case] expected: Result<bool, &str>) {
        let mount = serde_json::from_value(mount).unwrap();
        assert_eq!(recursive(&mount, supported), expected.map_err(str::to_owned));
    }
}
