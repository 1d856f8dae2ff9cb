//! Security contexts: the container's over the pod's, and what the runtime is told. Upstream: pkg/securitycontext and
//! kuberuntime/security_context.go.

use std::path::Path;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext,
};

use crate::{
    cri::v1::{
        self, Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode,
        NamespaceOption, SeLinuxOption, SecurityProfile, SupplementalGroupsPolicy, security_profile::ProfileType,
    },
    pod::PodExt,
};

/// Hidden from containers unless `procMount` is `Unmasked`.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Read-only in containers unless `procMount` is `Unmasked`.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The node's part in it.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Where profiles of type `Localhost` are.
    pub seccomp_root: &'a Path,
    /// Containers that say nothing get the runtime's profile.
    pub seccomp_default: bool,
    /// The kernel has AppArmor.
    pub apparmor: bool,
}

/// Whom the image runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageUser {
    /// By number.
    pub uid: Option<i64>,
    /// By name, where it says no number.
    pub name: String,
}

/// The container's own settings over the pod's.
pub fn effective(pod: &Pod, container: &Container) -> SecurityContext {
    let own = container.security_context.clone().unwrap_or_default();
    let Some(of_pod) = pod_context(pod) else { return own };
    SecurityContext {
        se_linux_options: own.se_linux_options.or_else(|| of_pod.se_linux_options.clone()),
        run_as_user: own.run_as_user.or(of_pod.run_as_user),
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        run_as_non_root: own.run_as_non_root.or(of_pod.run_as_non_root),
        ..own
    }
}

fn pod_context(pod: &Pod) -> Option<&PodSecurityContext> {
    pod.spec.as_ref()?.security_context.as_ref()
}

/// A container that must not run as root does not.
///
/// # Errors
/// Where it would, or where the image does not tell.
pub fn verify_non_root(pod: &Pod, container: &Container, user: &ImageUser) -> Result<(), String> {
    let context = effective(pod, container);
    if context.run_as_non_root != Some(true) {
        return Ok(());
    }
    let whose = format!("(pod: {:?}, container: {})", pod.described(), container.name);
    match (context.run_as_user, user.uid) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {whose}")),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err(format!("container has runAsNonRoot and image will run as root {whose}")),
        (None, None) if !user.name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {whose}",
            user.name
        )),
        _ => Ok(()),
    }
}

/// What the runtime is told of a container.
///
/// # Errors
/// Where a profile is named and not said.
pub fn container(
    pod: &Pod,
    container: &Container,
    user: &ImageUser,
    settings: Settings<'_>,
) -> Result<LinuxContainerSecurityContext, String> {
    let context = effective(pod, container);
    let of_pod = pod_context(pod);
    let unmasked = context.proc_mount.as_deref() == Some("Unmasked");
    let paths =
        |paths: &[&str]| if unmasked { Vec::new() } else { paths.iter().map(|path| (*path).to_owned()).collect() };
    let own_seccomp = container.security_context.as_ref().and_then(|own| own.seccomp_profile.as_ref());
    let profile = own_seccomp.or_else(|| of_pod.and_then(|own| own.seccomp_profile.as_ref()));
    let apparmor = apparmor(pod, container)?.filter(|_| settings.apparmor);
    let run_as_user = context.run_as_user.or(user.uid);
    Ok(LinuxContainerSecurityContext {
        capabilities: context.capabilities.map(|own| Capability {
            add_capabilities: own.add.unwrap_or_default(),
            drop_capabilities: own.drop.unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged: context.privileged.unwrap_or_default(),
        namespace_options: Some(namespaces(pod)),
        selinux_options: context.se_linux_options.map(selinux),
        run_as_username: if run_as_user.is_none() { user.name.clone() } else { String::new() },
        run_as_user: run_as_user.map(|value| Int64Value { value }),
        run_as_group: context.run_as_group.map(|value| Int64Value { value }),
        readonly_rootfs: context.read_only_root_filesystem.unwrap_or_default(),
        supplemental_groups: groups(of_pod),
        supplemental_groups_policy: policy(of_pod)? as i32,
        no_new_privs: context.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(profile, settings)?),
        apparmor,
    })
}

/// What the runtime is told of a sandbox.
///
/// # Errors
/// Where a policy is none.
pub fn sandbox(pod: &Pod) -> Result<LinuxSandboxSecurityContext, String> {
    let context = pod_context(pod);
    let privileged =
        |container: &Container| container.security_context.as_ref().and_then(|own| own.privileged) == Some(true);
    let number = |value: Option<i64>| value.map(|value| Int64Value { value });
    Ok(LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        selinux_options: context.and_then(|own| own.se_linux_options.clone()).map(selinux),
        run_as_user: number(context.and_then(|own| own.run_as_user)),
        run_as_group: number(context.and_then(|own| own.run_as_group)),
        readonly_rootfs: false,
        supplemental_groups: groups(context),
        supplemental_groups_policy: policy(context)? as i32,
        privileged: pod.all_containers().iter().any(|(_, container)| privileged(container)),
        seccomp: Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        }),
        apparmor: None,
    })
}

/// Which namespaces a pod's containers share with whom.
pub fn namespaces(pod: &Pod) -> NamespaceOption {
    let spec = crate::pod::spec(pod);
    let node = |host: Option<bool>| if host == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = if spec.host_pid == Some(true) {
        NamespaceMode::Node
    } else if spec.share_process_namespace == Some(true) {
        NamespaceMode::Pod
    } else {
        NamespaceMode::Container
    };
    NamespaceOption {
        network: node(spec.host_network) as i32,
        pid: pid as i32,
        ipc: node(spec.host_ipc) as i32,
        target_id: String::new(),
        userns_options: None,
    }
}

fn groups(context: Option<&PodSecurityContext>) -> Vec<i64> {
    let fs_group = context.and_then(|own| own.fs_group);
    fs_group
        .into_iter()
        .chain(context.into_iter().flat_map(|own| own.supplemental_groups.iter().flatten().copied()))
        .collect()
}

fn policy(context: Option<&PodSecurityContext>) -> Result<SupplementalGroupsPolicy, String> {
    match context.and_then(|own| own.supplemental_groups_policy.as_deref()) {
        None | Some("Merge") => Ok(SupplementalGroupsPolicy::Merge),
        Some("Strict") => Ok(SupplementalGroupsPolicy::Strict),
        Some(other) => Err(format!("unsupported supplementalGroupsPolicy: {other}")),
    }
}

fn selinux(own: k8s_openapi::api::core::v1::SELinuxOptions) -> SeLinuxOption {
    SeLinuxOption {
        user: own.user.unwrap_or_default(),
        role: own.role.unwrap_or_default(),
        r#type: own.type_.unwrap_or_default(),
        level: own.level.unwrap_or_default(),
    }
}

fn seccomp(profile: Option<&SeccompProfile>, settings: Settings<'_>) -> Result<SecurityProfile, String> {
    let plain = |kind: ProfileType| v1::SecurityProfile { profile_type: kind as i32, localhost_ref: String::new() };
    match profile.map(|profile| profile.type_.as_str()) {
        None if settings.seccomp_default => Ok(plain(ProfileType::RuntimeDefault)),
        Some("RuntimeDefault") => Ok(plain(ProfileType::RuntimeDefault)),
        Some("Localhost") => {
            let name = profile.and_then(|profile| profile.localhost_profile.as_deref()).filter(|name| !name.is_empty());
            let name = name.ok_or("localhostProfile must be set if seccompProfile type is Localhost.")?;
            let localhost_ref = settings.seccomp_root.join(name).display().to_string();
            Ok(SecurityProfile { profile_type: ProfileType::Localhost as i32, localhost_ref })
        }
        _ => Ok(plain(ProfileType::Unconfined)),
    }
}

fn apparmor(pod: &Pod, container: &Container) -> Result<Option<SecurityProfile>, String> {
    let own = container.security_context.as_ref().and_then(|own| own.app_armor_profile.as_ref());
    let profile: Option<&AppArmorProfile> =
        own.or_else(|| pod_context(pod).and_then(|own| own.app_armor_profile.as_ref()));
    let Some(profile) = profile else { return Ok(None) };
    let (kind, localhost_ref) = match profile.type_.as_str() {
        "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        "Unconfined" => (ProfileType::Unconfined, String::new()),
        "Localhost" => {
            let name = profile.localhost_profile.clone().ok_or("missing localhost apparmor profile name")?;
            (ProfileType::Localhost, name)
        }
        other => return Err(format!("unknown apparmor profile type: {other:?}")),
    };
    Ok(Some(SecurityProfile { profile_type: kind as i32, localhost_ref }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(of_pod: Value, own: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {
            "securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]}}))
        .unwrap()
    }

    fn settings() -> Settings<'static> {
        Settings { seccomp_root: Path::new("/"), seccomp_default: false, apparmor: false }
    }

    #[rstest]
    #[case(json!({"runAsNonRoot": true}), json!({}), Some(0), "", Some("container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"))]
    #[case(json!({"runAsNonRoot": true}), json!({"runAsUser": 0}), Some(5), "", Some("container's runAsUser breaks non-root policy (pod: \"p_ns(u)\", container: c)"))]
    #[case(json!({"runAsNonRoot": true}), json!({}), None, "web", Some("container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root (pod: \"p_ns(u)\", container: c)"))]
    #[case(json!({"runAsNonRoot": true, "runAsUser": 5}), json!({}), Some(0), "", None)]
    #[case(json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false}), Some(0), "", None)]
    #[case(json!({"runAsNonRoot": true}), json!({}), Some(7), "", None)]
    fn non_root(
        #[case] of_pod: Value,
        #[case] own: Value,
        #[case] uid: Option<i64>,
        #[case] name: &str,
        #[case] expected: Option<&str>,
    ) {
        let pod = pod(of_pod, own);
        let verdict = verify_non_root(&pod, &pod.containers()[0], &ImageUser { uid, name: name.into() });
        assert_eq!(verdict.err().as_deref(), expected);
    }

    #[test]
    fn the_containers_settings_win() {
        let pod = pod(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4], "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"runAsUser": 9, "allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "procMount": "Unmasked"}),
        );
        let told = container(&pod, &pod.containers()[0], &ImageUser::default(), settings()).unwrap();
        assert_eq!((told.run_as_user.unwrap().value, told.run_as_group.unwrap().value), (9, 2));
        assert_eq!(told.supplemental_groups, [3, 4]);
        assert!(told.no_new_privs && told.masked_paths.is_empty());
        assert_eq!(told.capabilities.unwrap().drop_capabilities, ["ALL"]);
        assert_eq!(told.seccomp.unwrap().profile_type, ProfileType::RuntimeDefault as i32);
    }

    #[test]
    fn nothing_said_is_unconfined_as_the_image_says() {
        let pod = pod(json!({}), json!({}));
        let told =
            container(&pod, &pod.containers()[0], &ImageUser { uid: Some(65534), name: String::new() }, settings())
                .unwrap();
        assert_eq!(told.run_as_user.unwrap().value, 65534);
        assert_eq!(told.seccomp.unwrap().profile_type, ProfileType::Unconfined as i32);
        assert_eq!(told.namespace_options.unwrap().pid, NamespaceMode::Container as i32);
        assert_eq!(told.masked_paths.len(), 12);
    }
}
