//! When a probe runs and what its results add up to. Upstream: pkg/kubelet/prober/worker.go.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus, Probe};

use super::Purpose;
use crate::{
    plan::{Outcome, restart},
    pod::{PodExt, is_sidecar, is_terminal},
};

/// Containers that started this long before the kubelet keep their state until they are probed; nanoseconds.
const RESTART_GRACE_NANOS: i64 = 10_000_000_000;

/// What a probe remembers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeState {
    /// The container it is about, by the runtime's id.
    pub container_id: String,
    /// No more probing until there is another container.
    on_hold: bool,
    last: Option<Outcome>,
    run: i32,
}

/// What does not change from turn to turn, and the time.
pub struct Context<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its container.
    pub container: &'a Container,
    /// Its probe.
    pub probe: &'a Probe,
    /// What for.
    pub purpose: Purpose,
    /// What counts until the first result.
    pub initial: Outcome,
    /// When the kubelet started.
    pub started_at: i64,
    /// Nanoseconds since 1970.
    pub now: i64,
}

/// What to do in this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Probe.
    Probe,
    /// Nothing any more.
    End,
}

/// A container's status of any kind but ephemeral.
pub fn container<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    all.into_iter()
        .find(|status| status.name == name && status.container_id.as_deref().is_some_and(|id| !id.is_empty()))
}

impl ProbeState {
    /// Looks at the container; the outcome, if any, is to be noted.
    pub fn step(&mut self, context: &Context<'_>, status: &PodStatus) -> (Step, Option<Outcome>) {
        if is_terminal(status.phase.as_deref().unwrap_or_default()) {
            return (Step::End, None);
        }
        let Some(found) = container(status, &context.container.name) else { return (Step::Wait, None) };
        let id = found.container_id.as_deref().and_then(|id| id.split_once("://")).map_or("", |(_, id)| id);
        let running = found.state.as_ref().and_then(|state| state.running.as_ref());
        let started = running.and_then(|running| running.started_at.as_ref());
        let started = started.map_or(0, |at| i64::try_from(at.0.as_nanosecond()).unwrap_or_default());
        let mut note = None;
        if self.container_id != id {
            *self = ProbeState { container_id: id.to_owned(), ..ProbeState::default() };
            let older = running.is_some() && started < context.started_at - RESTART_GRACE_NANOS;
            if !older {
                note = Some(context.initial);
            } else if context.purpose == Purpose::Startup
                && found.started == Some(true)
                && is_sidecar(context.container)
            {
                note = Some(Outcome::Success);
            }
        }
        if self.on_hold {
            return (Step::Wait, note);
        }
        if running.is_none() {
            let exit = found.state.as_ref().and_then(|state| state.terminated.as_ref());
            let over = exit.is_some_and(|exit| {
                !restart::after_exit(context.pod, context.container, exit.exit_code)
                    && !restart::all_should(context.pod, None, status)
            });
            return (if over { Step::End } else { Step::Wait }, Some(Outcome::Failure));
        }
        if context.pod.is_deleted() && context.purpose != Purpose::Readiness {
            return (Step::End, Some(Outcome::Success));
        }
        let delay = i64::from(context.probe.initial_delay_seconds.unwrap_or_default());
        // A clock that was set back makes starts lie ahead; upstream waits for them to come by even without a delay.
        let age = (context.now - started).max(0);
        if age / 1_000_000_000 < delay {
            return (Step::Wait, note);
        }
        let is_startup = context.purpose == Purpose::Startup;
        let step = if (found.started == Some(true)) == is_startup { Step::Wait } else { Step::Probe };
        (step, note)
    }

    /// Takes a result; gives the outcome where the thresholds are reached.
    pub fn record(&mut self, outcome: Outcome, context: &Context<'_>) -> Option<Outcome> {
        if self.last == Some(outcome) {
            self.run += 1;
        } else {
            self.last = Some(outcome);
            self.run = 1;
        }
        let threshold = match outcome {
            Outcome::Success => context.probe.success_threshold.unwrap_or(1),
            _ => context.probe.failure_threshold.unwrap_or(3),
        };
        if self.run < threshold {
            return None;
        }
        let failed_liveness = context.purpose == Purpose::Liveness && outcome == Outcome::Failure;
        if failed_liveness || context.purpose == Purpose::Startup {
            // Probing a container that is being stopped could harm it.
            self.on_hold = true;
            self.run = 0;
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    struct Fixture {
        pod: Pod,
        container: Container,
        probe: Probe,
    }

    fn fixture(probe: Value) -> Fixture {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}),
        )
        .unwrap();
        Fixture { container: pod.containers()[0].clone(), pod, probe: serde_json::from_value(probe).unwrap() }
    }

    fn context(fixture: &Fixture, purpose: Purpose, now: i64) -> Context<'_> {
        Context {
            pod: &fixture.pod,
            container: &fixture.container,
            probe: &fixture.probe,
            purpose,
            initial: purpose.initial(),
            started_at: 0,
            now: now * 1_000_000_000,
        }
    }

    fn status(id: &str, state: Value, started: bool) -> PodStatus {
        serde_json::from_value(json!({"phase": "Running", "containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "containerID": format!("containerd://{id}"), "state": state, "started": started}]}))
        .unwrap()
    }

    fn running(id: &str, started: bool) -> PodStatus {
        status(id, json!({"running": {"startedAt": "1970-01-01T00:01:40Z"}}), started)
    }

    #[rstest]
    #[case(Purpose::Readiness, true, 100, Step::Probe)]
    #[case(Purpose::Readiness, false, 100, Step::Wait)]
    #[case(Purpose::Startup, false, 100, Step::Probe)]
    #[case(Purpose::Startup, true, 100, Step::Wait)]
    fn others_wait_for_the_start(
        #[case] purpose: Purpose,
        #[case] started: bool,
        #[case] now: i64,
        #[case] expected: Step,
    ) {
        let fixture = fixture(json!({}));
        let (step, note) = ProbeState::default().step(&context(&fixture, purpose, now), &running("1", started));
        assert_eq!((step, note), (expected, Some(purpose.initial())));
    }

    #[test]
    fn waits_for_the_initial_delay() {
        let fixture = fixture(json!({"initialDelaySeconds": 5}));
        let mut state = ProbeState::default();
        assert_eq!(state.step(&context(&fixture, Purpose::Liveness, 104), &running("1", true)).0, Step::Wait);
        assert_eq!(state.step(&context(&fixture, Purpose::Liveness, 105), &running("1", true)), (Step::Probe, None));
    }

    #[test]
    fn a_clock_set_back_does_not_keep_from_probing() {
        let mut state = ProbeState::default();
        let fixture = fixture(json!({}));
        assert_eq!(state.step(&context(&fixture, Purpose::Readiness, 3), &running("1", true)).0, Step::Probe);
    }

    #[test]
    fn thresholds_count_in_a_row() {
        let fixture = fixture(json!({"failureThreshold": 2, "successThreshold": 2}));
        let context = context(&fixture, Purpose::Readiness, 100);
        let mut state = ProbeState::default();
        use Outcome::{Failure, Success};
        let results: Vec<_> = [Failure, Success, Failure, Failure, Success, Success]
            .into_iter()
            .map(|outcome| state.record(outcome, &context))
            .collect();
        assert_eq!(results, [None, None, None, Some(Failure), None, Some(Success)]);
    }

    #[test]
    fn a_dead_container_is_not_probed_until_there_is_another() {
        let fixture = fixture(json!({"failureThreshold": 1}));
        let context = context(&fixture, Purpose::Liveness, 100);
        let mut state = ProbeState::default();
        state.step(&context, &running("1", true));
        assert_eq!(state.record(Outcome::Failure, &context), Some(Outcome::Failure));
        assert_eq!(state.step(&context, &running("1", true)), (Step::Wait, None));
        assert_eq!(state.step(&context, &running("2", true)), (Step::Probe, Some(Outcome::Success)));
    }

    #[test]
    fn ends_with_its_container() {
        let fixture = fixture(json!({}));
        let context = context(&fixture, Purpose::Readiness, 100);
        let ended = status("1", json!({"terminated": {"exitCode": 1}}), false);
        assert_eq!(ProbeState::default().step(&context, &ended), (Step::End, Some(Outcome::Failure)));
    }
}
