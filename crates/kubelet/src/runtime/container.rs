//! A container as the runtime is told of it. Upstream: `generateContainerConfig`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{expand::expand, limits, security};
use crate::{
    cri::v1::{
        ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount, NamespaceMode, Signal,
        UserNamespace,
    },
    labels,
};

/// What was worked out for it.
pub struct Parts<'a> {
    /// The image by its reference in the runtime.
    pub image_ref: String,
    /// Whom the image runs as.
    pub image_user: security::ImageUser,
    /// How often it was started before.
    pub restart_count: i32,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// Whose processes an ephemeral container sees: the runtime's id.
    pub target: Option<String>,
    /// Whom its users are on the node, where that differs.
    pub users: Option<UserNamespace>,
    /// The node's part in its security.
    pub security: security::Settings<'a>,
    /// The node's part in its resources.
    pub limits: limits::Settings<'a>,
}

/// What the runtime is told.
///
/// # Errors
/// Where it must not run as root and would, or a profile is not said.
pub fn config(pod: &Pod, container: &Container, parts: Parts<'_>) -> Result<ContainerConfig, String> {
    security::verify_non_root(pod, container, &parts.image_user)?;
    let lookup = |name: &str| parts.variables.get(name).cloned();
    let expanded = |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, &lookup)).collect();
    let mut context = security::container(pod, container, &parts.image_user, parts.security)?;
    if let (Some(target), Some(options)) = (parts.target, context.namespace_options.as_mut())
        && options.pid == NamespaceMode::Container as i32
    {
        options.pid = NamespaceMode::Target as i32;
        options.target_id = target;
    }
    let mut mounts = parts.mounts;
    if let Some(users) = &parts.users {
        // What the node gives it belongs to the same users inside.
        for mount in &mut mounts {
            mount.uid_mappings.clone_from(&users.uids);
            mount.gid_mappings.clone_from(&users.gids);
        }
    }
    if let Some(options) = context.namespace_options.as_mut() {
        options.userns_options = parts.users;
    }
    let variables = parts.variables.iter();
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: parts.restart_count.unsigned_abs() }),
        image: Some(ImageSpec {
            image: parts.image_ref,
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..ImageSpec::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: variables.map(|(key, value)| KeyValue { key: key.clone(), value: value.clone().into_bytes() }).collect(),
        mounts,
        devices: Vec::new(),
        labels: labels::container(pod, container),
        annotations: labels::annotations(pod, container, parts.restart_count),
        log_path: log_path(&container.name, parts.restart_count),
        stdin: container.stdin.unwrap_or_default(),
        stdin_once: container.stdin_once.unwrap_or_default(),
        tty: container.tty.unwrap_or_default(),
        linux: Some(LinuxContainerConfig {
            resources: Some(limits::container(pod, container, parts.limits)),
            security_context: Some(context),
        }),
        stop_signal: stop_signal(container) as i32,
    })
}

/// `<container>/<restarts>.log`, below the pod's log directory.
pub fn log_path(container: &str, restart_count: i32) -> String {
    format!("{container}/{restart_count}.log")
}

fn stop_signal(container: &Container) -> Signal {
    let name = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    name.and_then(|name| Signal::from_str_name(&format!("SIGNAL_{name}"))).unwrap_or(Signal::RuntimeDefault)
}

/// How often a container was started by the logs it left, where the runtime has forgotten.
pub fn restarts_by_logs(directory: &std::path::Path) -> i32 {
    let names = crate::volumes::children(directory).into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        name.split('.').next()?.parse::<i32>().ok()
    });
    names.max().map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cgroups::Version, cri::v1::IdMapping};
    use serde_json::json;

    #[test]
    fn a_container_is_told_as_the_spec_says() {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [
            {"name": "c", "image": "i:1", "command": ["/bin/$(X)"], "args": ["$(X)", "$(Y)"], "tty": true,
             "lifecycle": {"stopSignal": "SIGUSR1"}}]}}),
        )
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let parts = Parts {
            image_ref: "sha256:1".into(),
            image_user: security::ImageUser { uid: Some(0), name: String::new() },
            restart_count: 3,
            variables: BTreeMap::from([("X".to_owned(), "sh".to_owned())]),
            mounts: vec![Mount::default()],
            target: Some("t".into()),
            users: Some(UserNamespace {
                mode: NamespaceMode::Pod as i32,
                uids: vec![IdMapping { host_id: 65_536, container_id: 0, length: 65_536 }],
                gids: Vec::new(),
            }),
            security: security::Settings {
                seccomp_root: std::path::Path::new("/s"),
                seccomp_default: true,
                apparmor: false,
            },
            limits: limits::Settings {
                quota: true,
                period_micros: 100_000,
                memory_capacity: 1,
                huge_page_sizes: &[],
                version: Version::V1,
            },
        };
        let told = config(&pod, container, parts).unwrap();
        assert_eq!((told.command, told.args), (vec!["/bin/sh".to_owned()], vec!["sh".to_owned(), "$(Y)".to_owned()]));
        assert_eq!((told.log_path.as_str(), told.metadata.unwrap().attempt), ("c/3.log", 3));
        assert_eq!(told.mounts[0].uid_mappings[0].host_id, 65_536);
        assert_eq!(told.stop_signal, Signal::Sigusr1 as i32);
        let options = told.linux.unwrap().security_context.unwrap().namespace_options.unwrap();
        assert_eq!((options.pid, options.target_id.as_str()), (NamespaceMode::Target as i32, "t"));
    }

    #[test]
    fn restarts_are_counted_by_logs() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(restarts_by_logs(directory.path()), 0);
        for name in ["0.log", "2.log", "2.log.20260101-000000.gz"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(restarts_by_logs(directory.path()), 3);
    }
}
