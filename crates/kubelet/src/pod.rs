//! Questions about a pod's spec that many ask: its names, its containers of each kind, whether it is static.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

/// Where a pod came from: `api`, `file`, `http`.
pub const SOURCE: &str = "kubernetes.io/config.source";
/// Marks a mirror pod and carries the static pod's hash.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// A static pod's hash.
pub const HASH: &str = "kubernetes.io/config.hash";

/// What kind of container one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// In `initContainers`, a sidecar or not.
    Init,
    /// In `containers`.
    Regular,
    /// In `ephemeralContainers`.
    Ephemeral,
}

/// What is asked of pods.
pub trait PodExt {
    /// `metadata.name`.
    fn name(&self) -> &str;
    /// `metadata.namespace`.
    fn namespace(&self) -> &str;
    /// `metadata.uid`.
    fn uid(&self) -> &str;
    /// `spec.initContainers`, sidecars among them.
    fn init_containers(&self) -> &[Container];
    /// `spec.containers`.
    fn containers(&self) -> &[Container];
    /// `spec.ephemeralContainers`.
    fn ephemeral_containers(&self) -> &[EphemeralContainer];
    /// `Always` unless said otherwise.
    fn restart_policy(&self) -> &str;
    /// An annotation.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// In the node's network namespace.
    fn host_network(&self) -> bool;
    /// Made by a source other than the API.
    fn is_static(&self) -> bool;
    /// The API's picture of a static pod.
    fn is_mirror(&self) -> bool;
    /// `metadata.deletionTimestamp` is set.
    fn is_deleted(&self) -> bool;
    /// `status.phase`.
    fn phase(&self) -> &str;
    /// `name_namespace(uid)`: a pod in messages.
    fn described(&self) -> String;
    /// The container of any kind with this name.
    fn find_container(&self, name: &str) -> Option<(Kind, Container)>;
    /// Every container, with its kind: init, regular, ephemeral.
    fn all_containers(&self) -> Vec<(Kind, Container)>;
}

impl PodExt for Pod {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn init_containers(&self) -> &[Container] {
        self.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
    }
    fn containers(&self) -> &[Container] {
        self.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
    }
    fn ephemeral_containers(&self) -> &[EphemeralContainer] {
        self.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default()
    }
    fn restart_policy(&self) -> &str {
        self.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
    fn host_network(&self) -> bool {
        self.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default()
    }
    fn is_static(&self) -> bool {
        self.annotation(SOURCE).is_some_and(|source| source != "api")
    }
    fn is_mirror(&self) -> bool {
        self.annotation(MIRROR).is_some()
    }
    fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
    fn phase(&self) -> &str {
        self.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
    }
    fn described(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }
    fn find_container(&self, name: &str) -> Option<(Kind, Container)> {
        self.all_containers().into_iter().find(|(_, container)| container.name == name)
    }
    fn all_containers(&self) -> Vec<(Kind, Container)> {
        let init = self.init_containers().iter().map(|container| (Kind::Init, container.clone()));
        let regular = self.containers().iter().map(|container| (Kind::Regular, container.clone()));
        let ephemeral = self.ephemeral_containers().iter().map(|common| (Kind::Ephemeral, as_container(common)));
        init.chain(regular).chain(ephemeral).collect()
    }
}

/// The pod's spec; an empty one where the API sent none.
pub fn spec(pod: &Pod) -> std::borrow::Cow<'_, PodSpec> {
    pod.spec.as_ref().map_or_else(|| std::borrow::Cow::Owned(PodSpec::default()), std::borrow::Cow::Borrowed)
}

/// An init container that keeps running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether a phase is the last one.
pub fn is_terminal(phase: &str) -> bool {
    phase == "Succeeded" || phase == "Failed"
}

/// An ephemeral container as the container that it is.
pub fn as_container(common: &EphemeralContainer) -> Container {
    let common = common.clone();
    Container {
        args: common.args,
        command: common.command,
        env: common.env,
        env_from: common.env_from,
        image: common.image,
        image_pull_policy: common.image_pull_policy,
        lifecycle: common.lifecycle,
        liveness_probe: common.liveness_probe,
        name: common.name,
        ports: common.ports,
        readiness_probe: common.readiness_probe,
        resize_policy: common.resize_policy,
        resources: common.resources,
        restart_policy: common.restart_policy,
        restart_policy_rules: common.restart_policy_rules,
        security_context: common.security_context,
        startup_probe: common.startup_probe,
        stdin: common.stdin,
        stdin_once: common.stdin_once,
        termination_message_path: common.termination_message_path,
        termination_message_policy: common.termination_message_policy,
        tty: common.tty,
        volume_devices: common.volume_devices,
        volume_mounts: common.volume_mounts,
        working_dir: common.working_dir,
    }
}
