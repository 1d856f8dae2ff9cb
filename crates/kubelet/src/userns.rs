//! Ranges of user ids for pods with `hostUsers: false`, no two pods the same. Upstream: pkg/kubelet/userns.
//!
//! Which range a pod has is written into its directory before its sandbox is made: it stays through restarts.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    cri::v1::{IdMapping, NamespaceMode, UserNamespace},
    pod::PodExt,
};

/// Ids of one pod; the first range after the node's own is the first that is given.
const LENGTH: u32 = 65_536;
/// In a pod's directory, as upstream writes it.
const FILE: &str = "userns";

/// The ranges of one node.
pub struct UserNamespaces {
    pods_dir: PathBuf,
    /// As many as there may be pods.
    count: u32,
    /// First host ids, by pod.
    used: Mutex<HashMap<String, u32>>,
}

impl UserNamespaces {
    /// Takes up what the pods' directories tell.
    pub fn load(root: &Path, max_pods: u32) -> Self {
        let pods_dir = root.join("pods");
        let used = crate::volumes::children(&pods_dir).into_iter().filter_map(|directory| {
            let uid = directory.file_name()?.to_str()?.to_owned();
            Some((uid, first_of(&fs::read(directory.join(FILE)).ok()?)?))
        });
        UserNamespaces { used: Mutex::new(used.collect()), count: max_pods, pods_dir }
    }

    /// A pod's namespace, a new one the first time; none where it uses the node's. `supported`: by its handler.
    ///
    /// # Errors
    /// In upstream's words, where it can't have one.
    pub fn of(&self, pod: &Pod, handler: &str, supported: bool) -> Result<Option<UserNamespace>, String> {
        if !wants_own(pod) {
            return Ok(None);
        }
        if !supported {
            let who = match handler {
                "" => "runtime does".to_owned(),
                handler => format!("RuntimeClass handler {handler:?} does"),
            };
            return Err(format!("can't set `spec.hostUsers: false`, {who} not support user namespaces"));
        }
        let mut used = self.used.lock();
        if let Some(first) = used.get(pod.uid()) {
            return Ok(Some(namespace(*first)));
        }
        let taken: HashSet<u32> = used.values().copied().collect();
        let first = (1..=self.count).map(|at| at * LENGTH).find(|first| !taken.contains(first));
        let first = first.ok_or("create user namespace: could not find an empty slot to allocate a user namespace")?;
        self.write(pod.uid(), first).map_err(|error| format!("create user namespace: {error}"))?;
        used.insert(pod.uid().to_owned(), first);
        Ok(Some(namespace(first)))
    }

    /// Nothing of the pod runs any more.
    pub fn release(&self, uid: &str) {
        if self.used.lock().remove(uid).is_some() {
            // Whatever is left of it goes with the directory.
            let _ = fs::remove_file(self.pods_dir.join(uid).join(FILE));
        }
    }

    fn write(&self, uid: &str, first: u32) -> io::Result<()> {
        let mapping = json!([{"hostId": first, "containerId": 0, "length": LENGTH}]);
        let directory = self.pods_dir.join(uid);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(FILE), json!({"uidMappings": mapping, "gidMappings": mapping}).to_string())
    }
}

/// `hostUsers: false`.
pub fn wants_own(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_users) == Some(false)
}

fn first_of(text: &[u8]) -> Option<u32> {
    let file: Value = serde_json::from_slice(text).ok()?;
    u32::try_from(file["uidMappings"][0]["hostId"].as_u64()?).ok()
}

fn namespace(first: u32) -> UserNamespace {
    let mapping = vec![IdMapping { host_id: first, container_id: 0, length: LENGTH }];
    UserNamespace { mode: NamespaceMode::Pod as i32, uids: mapping.clone(), gids: mapping }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": {"hostUsers": false, "containers": []}}))
            .unwrap()
    }

    #[test]
    fn ranges_are_apart_and_stay() {
        let root = tempfile::tempdir().unwrap();
        let first =
            |own: &UserNamespaces, uid: &str| own.of(&pod(uid), "", true).map(|own| own.unwrap().uids[0].host_id);
        let own = UserNamespaces::load(root.path(), 2);
        assert_eq!((first(&own, "a"), first(&own, "b"), first(&own, "a")), (Ok(65_536), Ok(131_072), Ok(65_536)));
        assert!(first(&own, "c").unwrap_err().contains("could not find an empty slot"));
        let own = UserNamespaces::load(root.path(), 2);
        own.release("a");
        assert_eq!((first(&own, "c"), first(&own, "b")), (Ok(65_536), Ok(131_072)));
        assert!(!root.path().join("pods/a").join(FILE).exists());
    }

    #[test]
    fn who_asks_for_none_gets_none_and_who_can_not_is_told() {
        let root = tempfile::tempdir().unwrap();
        let own = UserNamespaces::load(root.path(), 2);
        assert_eq!(own.of(&Pod::default(), "", false), Ok(None));
        let refused = |handler| own.of(&pod("a"), handler, false).unwrap_err();
        assert_eq!(refused(""), "can't set `spec.hostUsers: false`, runtime does not support user namespaces");
        assert!(refused("x").contains("RuntimeClass handler \"x\" does not support user namespaces"));
    }
}
