//! Static pods: manifests in a directory, YAML or JSON. Upstream: pkg/kubelet/config.

use std::{fs, hash::Hasher, path::Path};

use k8s_openapi::api::core::v1::{Pod, Toleration};

use crate::pod::{HASH, SOURCE};

/// A manifest that is larger is none; upstream's limit.
const MANIFEST_BYTES_MAX: u64 = 10 << 20;
/// When the pod was first seen.
const SEEN: &str = "kubernetes.io/config.seen";

/// All pods of a directory. A file that can't be read is told of in the log and left out.
pub fn read(directory: &Path, node: &str, now: jiff::Timestamp) -> Vec<Pod> {
    let mut files = crate::volumes::children(directory);
    files
        .retain(|path| path.is_file() && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
    files.sort();
    let mut pods = Vec::new();
    for path in files {
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MANIFEST_BYTES_MAX) {
            tracing::error!(path = %path.display(), "a pod's manifest is too large");
            continue;
        }
        let read = fs::read_to_string(&path).map_err(|error| error.to_string());
        match read.and_then(|text| parse(&text, &path.display().to_string(), node, now)) {
            Ok(pod) => pods.push(pod),
            Err(error) => tracing::error!(path = %path.display(), error, "a pod's manifest can't be read"),
        }
    }
    pods
}

/// A manifest's pod, defaulted as the API server would.
///
/// # Errors
/// Where the text is none.
pub fn parse(text: &str, path: &str, node: &str, now: jiff::Timestamp) -> Result<Pod, String> {
    let tree: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    if tree["kind"] != "Pod" || tree["apiVersion"] != "v1" {
        return Err(format!("invalid pod: expected kind Pod of v1, got {} of {}", tree["kind"], tree["apiVersion"]));
    }
    let mut defaulted = client::json::parse(tree.to_string().as_bytes()).map_err(|error| error.to_string())?;
    api::kinds::pod::defaults::pod(&mut defaulted);
    let mut pod: Pod = serde_json::from_slice(&client::json::write(&defaulted)).map_err(|error| error.to_string())?;
    let name =
        pod.metadata.name.clone().filter(|name| !name.is_empty()).ok_or("invalid pod: name is needed for the pod")?;
    let own_uid = pod.metadata.uid.clone().filter(|uid| !uid.is_empty());
    let uid = own_uid.unwrap_or_else(|| hash(&tree.to_string(), node, path));
    pod.metadata.name = Some(format!("{name}-{}", node.to_lowercase()));
    pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(HASH.to_owned(), uid.clone());
    annotations.insert(SOURCE.to_owned(), "file".to_owned());
    annotations.insert(SEEN.to_owned(), now.to_string());
    pod.metadata.uid = Some(uid);
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(node.to_owned());
    let stays =
        Toleration { operator: Some("Exists".into()), effect: Some("NoExecute".into()), ..Toleration::default() };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&stays) {
        tolerations.push(stays);
    }
    pod.status.get_or_insert_default().phase = Some("Pending".into());
    Ok(pod)
}

/// Another file, node or content is another pod.
fn hash(content: &str, node: &str, path: &str) -> String {
    let mut hasher = Fnv128(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    hasher.write(content.as_bytes());
    hasher.write(format!("host:{node}file:{path}").as_bytes());
    format!("{:032x}", hasher.0)
}

/// FNV-1a, 128 bits.
struct Fnv128(u128);

impl Hasher for Fnv128 {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "the low half, which nobody asks for")]
    fn finish(&self) -> u64 {
        self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: nginx}\n";

    #[test]
    fn a_manifest_becomes_a_pod() {
        let pod = parse(MANIFEST, "/m/web.yaml", "Node1", jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            (pod.metadata.name.as_deref(), pod.metadata.namespace.as_deref()),
            (Some("web-node1"), Some("default"))
        );
        let uid = pod.metadata.uid.clone().unwrap();
        assert_eq!((uid.len(), pod.metadata.annotations.as_ref().unwrap()[HASH].as_str()), (32, uid.as_str()));
        let spec = pod.spec.unwrap();
        assert_eq!((spec.restart_policy.as_deref(), spec.node_name.as_deref()), (Some("Always"), Some("Node1")));
        assert_eq!(spec.containers[0].image_pull_policy.as_deref(), Some("Always"));
        assert_eq!(spec.termination_grace_period_seconds, Some(30));
        let other = parse(MANIFEST, "/m/other.yaml", "Node1", jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_ne!(other.metadata.uid, Some(uid));
    }

    #[test]
    fn what_is_no_pod_is_refused() {
        assert!(parse("kind: Secret\napiVersion: v1\n", "", "n", jiff::Timestamp::UNIX_EPOCH).is_err());
        assert!(parse("{", "", "n", jiff::Timestamp::UNIX_EPOCH).is_err());
    }
}
