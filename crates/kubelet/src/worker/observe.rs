//! Asks the runtime what there is of a pod. Upstream: kuberuntime's `GetPodStatus`.

use std::path::Path;

use futures::future::try_join_all;

use crate::{
    cri::{Error, Runtime, v1},
    labels, logs,
    observed::{Container, Observed, RunState, Sandbox},
};

/// Last words kept of one container, in bytes.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Lines of a log that stand in for them.
const LOG_LINES_MAX: usize = 80;
/// Bytes of a log that stand in for them.
const LOG_BYTES_MAX: usize = 2048;

/// All sandboxes and containers of the pod with this UID.
///
/// # Errors
/// What the runtime says; what vanished between two questions counts as not there.
pub async fn observe(runtime: &Runtime, uid: &str) -> Result<Observed, Error> {
    let (sandboxes, containers) = runtime.list_labelled(&labels::selector(uid)).await?;
    let sandboxes = sandboxes.into_iter().map(|sandbox| one_sandbox(runtime, sandbox.id));
    let containers = containers.into_iter().map(|container| one_container(runtime, container));
    let (sandboxes, containers) = tokio::try_join!(try_join_all(sandboxes), try_join_all(containers))?;
    let mut observed = Observed {
        sandboxes: sandboxes.into_iter().flatten().collect(),
        containers: containers.into_iter().flatten().collect(),
    };
    observed.sort();
    Ok(observed)
}

async fn one_sandbox(runtime: &Runtime, id: String) -> Result<Option<Sandbox>, Error> {
    match runtime.pod_sandbox_status(v1::PodSandboxStatusRequest { pod_sandbox_id: id, verbose: false }).await {
        Ok(answer) => Ok(answer.status.map(Sandbox::from)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn one_container(runtime: &Runtime, listed: v1::Container) -> Result<Option<Container>, Error> {
    let request = v1::ContainerStatusRequest { container_id: listed.id, verbose: false };
    let status = match runtime.container_status(request).await {
        Ok(answer) => answer.status,
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    Ok(status.map(|status| {
        let words = last_words(&status);
        let mut container = Container::from_status(status, &listed.pod_sandbox_id);
        if container.state == RunState::Exited && !words.is_empty() {
            let separator = if container.message.is_empty() { "" } else { ": " };
            container.message = format!("{}{separator}{words}", container.message);
        }
        container
    }))
}

/// What an ended container left at its termination message path, or the end of its log.
fn last_words(status: &v1::ContainerStatus) -> String {
    if status.state != v1::ContainerState::ContainerExited as i32 {
        return String::new();
    }
    let notes = labels::notes(&status.annotations);
    let mount =
        status.mounts.iter().find(|mount| !notes.message_path.is_empty() && mount.container_path == notes.message_path);
    let mut words = String::new();
    if let Some(mount) = mount {
        match logs::end_of(Path::new(&mount.host_path), MESSAGE_BYTES_MAX) {
            Ok(bytes) => words = String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return format!("Error on reading termination log {}: {error}", mount.host_path),
        }
    }
    let by_log = notes.message_policy == "FallbackToLogsOnError"
        && status.exit_code != 0
        && status.reason != "ContainerCannotRun";
    if !words.is_empty() || !by_log {
        return words;
    }
    match logs::tail(Path::new(&status.log_path), LOG_LINES_MAX, LOG_BYTES_MAX) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("Error on reading termination message from logs: {error}"),
    }
}
