//! What the runtime shows of a pod at one moment: its sandboxes and containers, newest first.

use crate::{cri::v1, labels};

/// A container's state in the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunState {
    /// Made, not started.
    Created,
    /// Runs.
    Running,
    /// Ended.
    Exited,
    /// The runtime can't tell.
    #[default]
    Unknown,
}

/// A pod in the runtime.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first.
    pub containers: Vec<Container>,
}

/// A pod's sandbox: its network namespace and the process that holds it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// How many there were before.
    pub attempt: u32,
    /// Its process runs and its network stands.
    pub ready: bool,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// In the node's network namespace.
    pub host_network: bool,
    /// Absent where the runtime tells nothing of the network; empty where it has no address.
    pub addresses: Option<Vec<String>>,
}

/// A container, running or dead.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// Its name in the spec.
    pub name: String,
    /// The sandbox it is in.
    pub sandbox: String,
    /// What it does.
    pub state: RunState,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// Nanoseconds since 1970; zero where it never started.
    pub started_at: i64,
    /// Nanoseconds since 1970; zero where it has not ended.
    pub finished_at: i64,
    /// Of an ended one.
    pub exit_code: i32,
    /// The runtime's: `Completed`, `Error`, `OOMKilled`, …
    pub reason: String,
    /// The runtime's, with the container's own last words.
    pub message: String,
    /// The image as asked for.
    pub image: String,
    /// The image by digest.
    pub image_ref: String,
    /// The image's id.
    pub image_id: String,
    /// Of name and image at the time it was made.
    pub hash: u64,
    /// Restarts before it.
    pub restart_count: i32,
    /// What its cgroup was told, where the runtime says.
    pub resources: Option<v1::LinuxContainerResources>,
    /// Whom it runs as, where the runtime says.
    pub user: Option<v1::LinuxContainerUser>,
    /// What stops it, where the runtime says.
    pub stop_signal: Option<String>,
    /// Its log file.
    pub log_path: String,
}

// === impl Observed ===

impl Observed {
    /// The newest container with this name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The newest container with this name in the current sandbox.
    pub fn active(&self, name: &str) -> Option<&Container> {
        let sandbox = self.active_sandbox()?;
        self.containers.iter().find(|container| container.name == name && container.sandbox == sandbox)
    }

    /// The newest sandbox's id, if it is ready.
    pub fn active_sandbox(&self) -> Option<&str> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready).map(|sandbox| sandbox.id.as_str())
    }

    /// The current sandbox's addresses.
    pub fn addresses(&self) -> Vec<String> {
        let sandbox = self.sandboxes.first().filter(|sandbox| sandbox.ready);
        sandbox.and_then(|sandbox| sandbox.addresses.clone()).unwrap_or_default()
    }

    /// What runs.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| container.state == RunState::Running)
    }

    /// Puts the newest first; equal times are ordered by id.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.id.cmp(&a.id)));
        self.containers.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.id.cmp(&a.id)));
    }
}

// === impl Sandbox ===

impl From<v1::PodSandboxStatus> for Sandbox {
    fn from(status: v1::PodSandboxStatus) -> Self {
        let options = status.linux.as_ref().and_then(|linux| linux.namespaces.as_ref()?.options.as_ref());
        let addresses = status.network.map(|network| {
            let more = network.additional_ips.into_iter().map(|address| address.ip);
            std::iter::once(network.ip).chain(more).filter(|address| !address.is_empty()).collect()
        });
        Sandbox {
            attempt: status.metadata.map(|metadata| metadata.attempt).unwrap_or_default(),
            ready: status.state == v1::PodSandboxState::SandboxReady as i32,
            created_at: status.created_at,
            host_network: options.is_some_and(|options| options.network == v1::NamespaceMode::Node as i32),
            addresses,
            id: status.id,
        }
    }
}

// === impl Container ===

impl Container {
    /// From the runtime's answer, without the container's own last words.
    pub fn from_status(status: v1::ContainerStatus, sandbox: &str) -> Self {
        let notes = labels::notes(&status.annotations);
        let state = state(status.state);
        let ended = state == RunState::Exited;
        let stop_signal = v1::Signal::try_from(status.stop_signal).ok().filter(|signal| *signal as i32 != 0);
        Container {
            name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default(),
            sandbox: sandbox.to_owned(),
            state,
            created_at: status.created_at,
            started_at: if state == RunState::Created { 0 } else { status.started_at },
            finished_at: if ended { status.finished_at } else { 0 },
            exit_code: if ended { status.exit_code } else { 0 },
            reason: if ended { status.reason } else { String::new() },
            message: if ended { status.message } else { String::new() },
            image: status.image.map(|image| image.image).unwrap_or_default(),
            image_id: if status.image_id.is_empty() { status.image_ref.clone() } else { status.image_id },
            image_ref: status.image_ref,
            hash: notes.hash,
            restart_count: notes.restart_count,
            resources: status.resources.and_then(|resources| resources.linux),
            user: status.user.and_then(|user| user.linux),
            stop_signal: stop_signal.map(|signal| signal.as_str_name().trim_start_matches("SIGNAL_").to_owned()),
            log_path: status.log_path,
            id: status.id,
        }
    }
}

/// The runtime's number as a state.
pub fn state(state: i32) -> RunState {
    match v1::ContainerState::try_from(state) {
        Ok(v1::ContainerState::ContainerCreated) => RunState::Created,
        Ok(v1::ContainerState::ContainerRunning) => RunState::Running,
        Ok(v1::ContainerState::ContainerExited) => RunState::Exited,
        _ => RunState::Unknown,
    }
}

impl RunState {
    /// As upstream names it in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Created => "created",
            RunState::Running => "running",
            RunState::Exited => "exited",
            RunState::Unknown => "unknown",
        }
    }
}
