//! What the kubelet's server asks: pods and containers by name, their logs, whom the runtime knows them as.

use std::{path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use crate::{
    cri::{Error, v1},
    kubelet::Kubelet,
    observed::{Container, RunState},
    pod::PodExt,
    worker::observe::observe,
};

/// A container and its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// Whom the runtime knows it as.
    pub container_id: String,
    /// The file that is written now.
    pub path: PathBuf,
}

impl Kubelet {
    /// The pod of this name on this node; with a UID only if it is that one.
    pub fn find_pod(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<Arc<Pod>> {
        let pods = self.workers.pods().into_iter();
        let mut found = pods.filter(|pod| pod.namespace() == namespace && pod.name() == name);
        match uid.filter(|uid| !uid.is_empty()) {
            Some(uid) => found.find(|pod| pod.uid() == uid),
            None => found.max_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|time| time.0)),
        }
    }

    /// A pod's status, newer than the API server's.
    pub fn pod_status(&self, pod: &Pod) -> PodStatus {
        self.status.get(pod.uid()).or_else(|| pod.status.clone()).unwrap_or_default()
    }

    /// The newest container of a name, as the runtime has it.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn find_container(&self, pod: &Pod, name: &str) -> Result<Option<Container>, Error> {
        Ok(observe(&self.runtime, pod.uid()).await?.container(name).cloned())
    }

    /// The running container of a name.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn running_container(&self, pod: &Pod, name: &str) -> Result<Option<Container>, Error> {
        let found = self.find_container(pod, name).await?;
        Ok(found.filter(|container| container.state == RunState::Running))
    }

    /// The pod's ready sandbox, for port-forward.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn sandbox_id(&self, pod: &Pod) -> Result<Option<String>, Error> {
        Ok(observe(&self.runtime, pod.uid()).await?.active_sandbox().map(str::to_owned))
    }

    /// The log file of a container, or of the one before it.
    ///
    /// # Errors
    /// Why there is none, in upstream's words.
    pub async fn log_source(&self, pod: &Pod, container: &str, previous: bool) -> Result<LogSource, String> {
        let id = log_id(pod.name(), &self.pod_status(pod), container, previous)?;
        let request = v1::ContainerStatusRequest { container_id: id.clone(), verbose: false };
        let missing = || format!("unable to retrieve container logs for {}://{id}", self.runtime_name);
        let status = self.runtime.container_status(request).await.map_err(|_| missing())?.status;
        let path = status.map(|status| PathBuf::from(status.log_path)).ok_or_else(missing)?;
        Ok(LogSource { container_id: id, path })
    }
}

/// Which container's log is meant. Upstream: `validateContainerLogStatus`.
fn log_id(pod: &str, status: &PodStatus, name: &str, previous: bool) -> Result<String, String> {
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut all = lists.into_iter().flat_map(|list| list.iter().flatten());
    let found: &ContainerStatus = all
        .find(|status| status.name == name)
        .ok_or_else(|| format!("container {name:?} in pod {pod:?} is not available"))?;
    let id_of = |id: &Option<String>| id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned());
    let last = found.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let last_id = last.and_then(|last| id_of(&last.container_id));
    let state = found.state.clone().unwrap_or_default();
    let over = || format!("container {name:?} in pod {pod:?} is terminated");
    if previous {
        return last_id.ok_or_else(|| format!("previous terminated container {name:?} in pod {pod:?} not found"));
    }
    if state.running.is_some() {
        return id_of(&found.container_id).ok_or_else(over);
    }
    if let Some(terminated) = state.terminated {
        return id_of(&terminated.container_id).or(last_id).ok_or_else(over);
    }
    if last.is_some() {
        return last_id.ok_or_else(over);
    }
    let why = match state.waiting.map(|waiting| waiting.reason.unwrap_or_default()).as_deref() {
        Some("ErrImagePull") => ": image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => ": trying and failing to pull image".to_owned(),
        Some(reason) => format!(": {reason}"),
        None => " - no logs yet".to_owned(),
    };
    Err(format!("container {name:?} in pod {pod:?} is waiting to start{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(json!({"running": {}}), json!({}), false, Ok("1"))]
    #[case(json!({"running": {}}), json!({"terminated": {"exitCode": 1, "containerID": "c://0"}}), true, Ok("0"))]
    #[case(json!({"running": {}}), json!({}), true, Err("previous terminated container \"a\" in pod \"p\" not found"))]
    #[case(json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({"terminated": {"exitCode": 1, "containerID": "c://0"}}), false, Ok("0"))]
    #[case(json!({"waiting": {"reason": "ErrImagePull"}}), json!({}), false, Err("container \"a\" in pod \"p\" is waiting to start: image can't be pulled"))]
    #[case(json!({"terminated": {"exitCode": 1, "containerID": "c://1"}}), json!({}), false, Ok("1"))]
    fn logs_of(
        #[case] state: Value,
        #[case] last: Value,
        #[case] previous: bool,
        #[case] expected: Result<&str, &str>,
    ) {
        let status = serde_json::from_value(
            json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": true,
            "restartCount": 0, "containerID": "c://1", "state": state, "lastState": last}]}),
        )
        .unwrap();
        assert_eq!(log_id("p", &status, "a", previous), expected.map(str::to_owned).map_err(str::to_owned));
    }
}
