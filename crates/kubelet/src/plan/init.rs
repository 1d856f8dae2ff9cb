//! Init containers and sidecars: which is next, which restarts. Upstream: `computeInitContainerActions`.

use k8s_openapi::api::core::v1::Container;

use super::{Actions, Cause, Look, Outcome, any_regular_active, kill, restart};
use crate::{
    labels,
    observed::{self, RunState},
    pod::{PodExt, is_sidecar},
};

/// What one look at an init container tells about those before it.
enum Verdict {
    /// It is done or up: the pod is initialized if it is the last one.
    Done,
    /// Still under way.
    Waiting,
    /// It failed for good; the pod ends.
    Fatal,
}

/// Adds what the init containers need; says whether the pod is initialized.
///
/// Goes backwards: the runtime may have lost the earlier ones' records, the last one's is enough.
pub fn plan(look: Look<'_>, actions: &mut Actions) -> bool {
    let Look { pod, observed, .. } = look;
    let containers = pod.init_containers();
    if containers.is_empty() {
        return true;
    }
    let mut initialized = any_regular_active(pod, observed);
    let mut previously = initialized;
    for (index, container) in containers.iter().enumerate().rev() {
        let Some(status) = observed.active(&container.name) else {
            if previously && is_sidecar(container) {
                actions.start_init.push(index);
            }
            continue;
        };
        if previously && !is_sidecar(container) {
            continue;
        }
        let step = Step { look, container, index, status, previously, last: index + 1 == containers.len() };
        match step.plan(actions) {
            Verdict::Fatal => {
                actions.kill_pod = true;
                actions.start_init.clear();
                return false;
            }
            Verdict::Done if step.last => initialized = true,
            _ => {}
        }
        previously = true;
    }
    if !previously {
        actions.start_init.push(0);
    }
    actions.start_init.reverse();
    initialized
}

struct Step<'a> {
    look: Look<'a>,
    container: &'a Container,
    index: usize,
    status: &'a observed::Container,
    /// A later one has been reached before.
    previously: bool,
    last: bool,
}

impl Step<'_> {
    fn plan(&self, actions: &mut Actions) -> Verdict {
        let sidecar = is_sidecar(self.container);
        match self.status.state {
            // The runtime failed to start it: once more.
            RunState::Created => {
                actions.start_init.push(self.index);
                Verdict::Waiting
            }
            RunState::Running if sidecar => self.running_sidecar(actions),
            RunState::Running => {
                // Whoever runs only once is not restarted for it.
                self.look.resize(self.container, self.status, actions);
                Verdict::Waiting
            }
            RunState::Exited if sidecar => {
                actions.start_init.push(self.index);
                Verdict::Waiting
            }
            RunState::Exited if failed(self.status) => {
                if !restart::should(self.look.pod, self.container, self.look.observed) {
                    return Verdict::Fatal;
                }
                actions.start_init.push(self.index);
                Verdict::Waiting
            }
            RunState::Exited => {
                self.next(actions);
                Verdict::Done
            }
            RunState::Unknown => self.unknown(sidecar, actions),
        }
    }

    fn next(&self, actions: &mut Actions) {
        if !self.last {
            actions.start_init.push(self.index + 1);
        }
    }

    fn running_sidecar(&self, actions: &mut Actions) -> Verdict {
        let findings = self.look.findings;
        let (name, id) = (&self.container.name, &self.status.id);
        if self.container.startup_probe.is_some() {
            match findings.startup.get(id) {
                Some(Outcome::Success) => {}
                Some(Outcome::Failure) => {
                    let message = format!("Init container {name} failed startup probe");
                    self.replace(message, Cause::StartupProbe, actions);
                    return Verdict::Waiting;
                }
                _ => return Verdict::Waiting,
            }
        }
        if !self.last && !self.previously {
            actions.start_init.push(self.index + 1);
        }
        if labels::hash(self.container) != self.status.hash {
            self.replace(format!("Init container {name} definition changed"), Cause::Other, actions);
        } else if self.container.liveness_probe.is_some() && findings.liveness.get(id) == Some(&Outcome::Failure) {
            self.replace(format!("Init container {name} failed liveness probe"), Cause::LivenessProbe, actions);
        } else if !self.look.resize(self.container, self.status, actions) {
            actions.start_init.push(self.index);
        }
        Verdict::Done
    }

    fn unknown(&self, sidecar: bool, actions: &mut Actions) -> Verdict {
        let policy = self.container.restart_policy.as_deref().unwrap_or(self.look.pod.restart_policy());
        if !sidecar && policy == "Never" {
            return Verdict::Fatal;
        }
        let state = self.status.state.as_str();
        let message = format!("Init container is in {state:?} state, try killing it before restart");
        self.replace(message, Cause::Other, actions);
        Verdict::Waiting
    }

    fn replace(&self, message: String, cause: Cause, actions: &mut Actions) {
        actions.kill.push(kill(&self.status.id, &self.container.name, message, cause));
        actions.start_init.push(self.index);
    }
}

/// Killed for memory counts as failed, whatever the code.
fn failed(status: &observed::Container) -> bool {
    status.reason == "OOMKilled" || status.exit_code != 0
}
