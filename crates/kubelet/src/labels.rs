//! The labels and annotations that sandboxes and containers carry in the runtime: what a restarted kubelet knows them by.
//!
//! The keys are upstream's, so that either kubelet picks up the other's containers.

use std::{collections::HashMap, hash::Hasher};

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

/// The pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// The pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The pod's UID.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// The container's name in the spec.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";

const DELETION_GRACE: &str = "io.kubernetes.pod.deletionGracePeriod";
const TERMINATION_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
const HASH: &str = "io.kubernetes.container.hash";
const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
const PORTS: &str = "io.kubernetes.container.ports";

/// What a container's annotations say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerNotes {
    /// Hash of the fields whose change restarts the container.
    pub hash: u64,
    /// How often it was started before.
    pub restart_count: i32,
    /// Grace of the pod's deletion at the time it was made.
    pub deletion_grace: Option<i64>,
    /// Grace of the pod's spec.
    pub termination_grace: Option<i64>,
    /// Where it may leave its last words.
    pub message_path: String,
    /// Whether the log's end stands in for them.
    pub message_policy: String,
    /// To be run before it is stopped, also when its spec is gone.
    pub pre_stop: Option<LifecycleHandler>,
}

/// A sandbox's labels: the pod's own, and who it is.
pub fn sandbox(pod: &Pod) -> HashMap<String, String> {
    let mut labels: HashMap<_, _> = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(identity(pod));
    labels
}

/// A container's labels.
pub fn container(pod: &Pod, container: &Container) -> HashMap<String, String> {
    let mut labels = identity(pod);
    labels.insert(CONTAINER_NAME.into(), container.name.clone());
    labels
}

/// The selector of everything that belongs to the pod with this UID.
pub fn selector(uid: &str) -> HashMap<String, String> {
    HashMap::from([(POD_UID.to_owned(), uid.to_owned())])
}

/// A container's annotations.
pub fn annotations(pod: &Pod, container: &Container, restart_count: i32) -> HashMap<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut notes = HashMap::from([
        (HASH.to_owned(), format!("{:x}", hash(container))),
        (RESTART_COUNT.to_owned(), restart_count.to_string()),
        (MESSAGE_PATH.to_owned(), text(&container.termination_message_path)),
        (MESSAGE_POLICY.to_owned(), text(&container.termination_message_policy)),
    ]);
    if let Some(seconds) = pod.metadata.deletion_grace_period_seconds {
        notes.insert(DELETION_GRACE.to_owned(), seconds.to_string());
    }
    if let Some(seconds) = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) {
        notes.insert(TERMINATION_GRACE.to_owned(), seconds.to_string());
    }
    let pre_stop = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(json) = pre_stop.and_then(|hook| serde_json::to_string(hook).ok()) {
        notes.insert(PRE_STOP.to_owned(), json);
    }
    if let Some(ports) = container.ports.as_ref().filter(|ports| !ports.is_empty())
        && let Ok(json) = serde_json::to_string(ports)
    {
        notes.insert(PORTS.to_owned(), json);
    }
    notes
}

/// Reads a container's annotations; what is missing or unreadable counts as not said.
pub fn notes(annotations: &HashMap<String, String>) -> ContainerNotes {
    let text = |key: &str| annotations.get(key).cloned().unwrap_or_default();
    ContainerNotes {
        hash: u64::from_str_radix(&text(HASH), 16).unwrap_or_default(),
        restart_count: text(RESTART_COUNT).parse().unwrap_or_default(),
        deletion_grace: text(DELETION_GRACE).parse().ok(),
        termination_grace: text(TERMINATION_GRACE).parse().ok(),
        message_path: text(MESSAGE_PATH),
        message_policy: text(MESSAGE_POLICY),
        pre_stop: annotations.get(PRE_STOP).and_then(|json| serde_json::from_str(json).ok()),
    }
}

/// The hash of a container's name and image: a running container with another is replaced.
///
/// Upstream hashes (FNV-1a, 32 bits) the debug print of the bytes of `{"image":…,"name":…}`.
pub fn hash(container: &Container) -> u64 {
    let fields = serde_json::json!({"image": container.image.as_deref().unwrap_or_default(), "name": container.name});
    let json = go_json(&fields.to_string());
    let printed: Vec<String> = json.bytes().map(|byte| byte.to_string()).collect();
    let mut hasher = Fnv32(0x811c_9dc5);
    hasher.write(format!("([]uint8)[{}]", printed.join(" ")).as_bytes());
    hasher.finish()
}

/// Go's encoder escapes what could end a script element.
fn go_json(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn identity(pod: &Pod) -> HashMap<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    HashMap::from([
        (POD_NAME.to_owned(), text(&pod.metadata.name)),
        (POD_NAMESPACE.to_owned(), text(&pod.metadata.namespace)),
        (POD_UID.to_owned(), text(&pod.metadata.uid)),
    ])
}

struct Fnv32(u32);

impl Hasher for Fnv32 {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upstream's own sample (pkg/kubelet/container/container_hash_test.go).
    #[test]
    fn the_hash_is_upstreams() {
        let container =
            Container { name: "test_container".into(), image: Some("foo/image:v1".into()), ..Default::default() };
        assert_eq!(hash(&container), 0x8e45_cbd0);
    }

    #[test]
    fn notes_survive_the_runtime() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "c", "deletionGracePeriodSeconds": 5},
            "spec": {"terminationGracePeriodSeconds": 30, "containers": []},
        }))
        .unwrap();
        let made: Container = serde_json::from_value(serde_json::json!({
            "name": "x", "image": "i", "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File", "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
        }))
        .unwrap();
        let read = notes(&annotations(&pod, &made, 3));
        assert_eq!(read.hash, hash(&made));
        assert_eq!((read.restart_count, read.deletion_grace, read.termination_grace), (3, Some(5), Some(30)));
        assert_eq!(read.message_path, "/dev/termination-log");
        assert_eq!(read.pre_stop, made.lifecycle.unwrap().pre_stop);
    }
}
